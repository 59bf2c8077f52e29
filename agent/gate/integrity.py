"""Can a green run be believed? The code under test could have written it itself."""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from agent.gate.compare import Outcomes, is_passed
from agent.gate.poison import poisoned_file
from agent.gate.suites import FAILING, SuiteRun, file_of
from tools.suite import TestOutcome

SHARE = 0.15
"""Of the suite's time, for the tests that are made to fail besides those that show the fix."""
SECONDS = 2.0
"""At least this much, so that small suites are made to fail whole."""
MOST = 200
"""About so many tests are made to fail in all: pytest takes tens of milliseconds to tell of each one."""

Run = Callable[[Mapping[str, str], Sequence[str]], Awaitable[SuiteRun]]
"""Runs some test files once, with these sources laid over."""


def chosen(first: Collection[str], after: Outcomes, seconds: float) -> list[str]:
    """The test files to be made to fail: `first`, and others at random while `SHARE` of the suite's `seconds` lasts."""
    took: dict[str, float] = {}
    for test, outcome in after.items():
        took[file_of(test)] = took.get(file_of(test), 0.0) + outcome.seconds
    others = sorted(took.keys() - first)
    random.SystemRandom().shuffle(others)
    left = max(SECONDS, SHARE * seconds)
    files = [file for file in took if file in first]
    for file in others:
        if took[file] <= left:
            left -= took[file]
            files.append(file)
    return files


async def forged(
    sources: Mapping[str, str], first: Collection[str], after: Outcomes, patched: Run, base: Run
) -> tuple[list[str], int]:
    """The tests that pass with the fix although they were made to fail, and how many were made to fail.

    `sources` are test modules by file, `first` the tests that show the fix. `base` runs without the fix: what does not
    fail as it must there either says nothing of the fix (a decorator that swallows failures, a suite that stops at the
    first one), and is not counted.
    """
    word = f"{secrets.token_hex(8)}"
    laid: dict[str, str] = {}
    must_fail: list[str] = []
    for file, mine in _drawn(sources, first, after).items():
        text, found = poisoned_file(file, sources[file], set(mine.values()), word)
        if found:
            laid[file] = text
            must_fail += [test for test, name in mine.items() if name in found]
    if not must_fail:
        return [], 0
    run = await patched(laid, list(laid))
    if run.problem:  # of a busy machine, perhaps: what hides failures that way does so again
        run = await patched(laid, list(laid))
    failed = {test for test in must_fail if _fails(run.outcomes.get(test), word)}
    odd: list[str] = []
    if len(failed) < len(must_fail):
        control = await base(laid, list(laid))
        odd = [t for t in must_fail if t not in failed and _fails(control.outcomes.get(t), word)]
    return odd, len(failed) + len(odd)


def _drawn(sources: Mapping[str, str], first: Collection[str], after: Outcomes) -> dict[str, dict[str, str]]:
    """Which tests to make fail, by file, with their names in it: those of `first`, then others at random, to `MOST`."""
    functions: dict[tuple[str, str], list[str]] = {}
    for test in after:
        if file_of(test) in sources and is_passed(after, test):
            functions.setdefault((file_of(test), _name(test)), []).append(test)
    ordered = list(functions)
    random.SystemRandom().shuffle(ordered)
    shown = {(file_of(test), _name(test)) for test in first}
    ordered.sort(key=lambda function: function not in shown)
    drawn: dict[str, dict[str, str]] = {}
    count = 0
    for function in ordered:
        if count >= MOST:
            break
        file, name = function
        count += len(functions[function])
        drawn.setdefault(file, {}).update(dict.fromkeys(functions[function], name))
    return drawn


def _name(test: str) -> str:
    """A test's name in its file; in Python without its parameters (elsewhere a bracket may be part of a title)."""
    file, _, name = test.partition("::")
    return name.partition("[")[0] if file.endswith(".py") else name


def _fails(outcome: TestOutcome | None, word: str) -> bool:
    return outcome is not None and outcome.outcome in FAILING and word in outcome.message + outcome.detail
