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
    sources: Mapping[str, str], after: Outcomes, patched: Run, base: Run
) -> tuple[list[str], int]:
    """The tests that pass with the fix although they were made to fail, and how many were made to fail.

    `sources` are test modules by file; `base` runs without the fix: what does not fail as it must there either says
    nothing of the fix (a decorator that swallows failures, a suite that stops at the first one).
    """
    word = f"{secrets.token_hex(8)}"
    laid: dict[str, str] = {}
    must_fail: list[str] = []
    for file, source in sources.items():
        mine = {test: _name(test) for test in after if file_of(test) == file and is_passed(after, test)}
        text, found = poisoned_file(file, source, set(mine.values()), word)
        if found:
            laid[file] = text
            must_fail += [test for test, name in mine.items() if name in found]
    if not must_fail:
        return [], 0
    run = await patched(laid, list(laid))
    odd = [test for test in must_fail if not _fails(run.outcomes.get(test), word)]
    if odd:
        control = await base(laid, list(laid))
        odd = [test for test in odd if _fails(control.outcomes.get(test), word)]
    return odd, len(must_fail)


def _name(test: str) -> str:
    """A test's name in its file; in Python without its parameters (elsewhere a bracket may be part of a title)."""
    file, _, name = test.partition("::")
    return name.partition("[")[0] if file.endswith(".py") else name


def _fails(outcome: TestOutcome | None, word: str) -> bool:
    return outcome is not None and outcome.outcome in FAILING and word in outcome.message + outcome.detail
