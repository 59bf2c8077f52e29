"""Tests that are made to fail: which, and what is said of those that do not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import anyio
import pytest

from agent.gate.integrity import MOST, Run, forged
from agent.gate.suites import SuiteRun
from tools.suite import TestOutcome

FILE, OTHER = "test_a.py", "test_b.py"
SOURCE = "".join(f"def test_{number}(): pass\n" for number in range(MOST))
AFTER = {
    name: TestOutcome(name, "passed", "", "", 0.001)
    for name in (f"{file}::test_{number}" for file in (FILE, OTHER) for number in range(MOST))
}
SHOWN = f"{OTHER}::test_7"


def run(told: list[Mapping[str, str]], passes: Callable[[str], bool] = lambda test: False) -> Run:
    """A run that fails as it was made to, but for the tests that `passes` names; what it was given goes to `told`."""

    async def made(laid: Mapping[str, str], files: Sequence[str]) -> SuiteRun:
        told.append(laid)
        outcomes = {}
        for file, text in laid.items():
            for name, body in re.findall(r"def (test_\d+)\(\):\n((?:    .*\n)+)", text):
                test, word = f"{file}::{name}", re.search(r"AssertionError\('(\w+)'\)", body)
                outcome = "failed" if word and not passes(test) else "passed"
                outcomes[test] = TestOutcome(test, outcome, word[1] if word else "", "", 0.001)
        return SuiteRun(outcomes)

    return made


async def stopped(laid: Mapping[str, str], files: Sequence[str]) -> SuiteRun:
    return SuiteRun(exit_code=None, problem="the suite was stopped after 60 s")


def found(patched: Run, base: Run) -> tuple[list[str], int]:
    return anyio.run(forged, {FILE: SOURCE, OTHER: SOURCE}, [SHOWN], AFTER, patched, base)


def test_not_all_of_many_tests_are_made_to_fail_but_those_that_show_the_fix_are() -> None:
    told: list[Mapping[str, str]] = []
    assert found(run(told), stopped) == ([], MOST)
    (laid,) = told
    assert sum(text.count("raise AssertionError(") for text in laid.values()) == MOST
    body = laid[OTHER].partition("def test_7():\n")[2].partition("def ")[0]
    assert "raise AssertionError(" in body


def test_what_passes_with_the_fix_alone_is_forged() -> None:
    assert found(run([], lambda test: test == SHOWN), run([])) == ([SHOWN], MOST)


def test_what_does_not_fail_without_the_fix_either_is_not_counted() -> None:
    swallows = run([], lambda test: test == SHOWN)
    assert found(swallows, swallows) == ([], MOST - 1)
    assert found(stopped, stopped) == ([], 0)


@pytest.mark.parametrize("again", [True, False])
def test_a_run_without_a_report_is_made_once_more(again: bool) -> None:
    told: list[Mapping[str, str]] = []
    whole = run(told)

    async def patched(laid: Mapping[str, str], files: Sequence[str]) -> SuiteRun:
        seen = await whole(laid, files)
        return seen if again and len(told) == 2 else await stopped(laid, files)

    odd, asked = found(patched, run([]))
    assert (len(odd), asked, len(told)) == (0 if again else MOST, MOST, 2)
