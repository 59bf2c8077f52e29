"""Whether a run's exit code, report and output agree, by what its runner means by them."""

from __future__ import annotations

import pytest

from agent.gate.suites import SuiteRun, counts
from tools.junit import TestOutcome

PASSED = TestOutcome("a.js::x", "passed", "", "", 0.1)
FAILED = TestOutcome("a.js::y", "failed", "", "", 0.1)


@pytest.mark.parametrize(
    ("runner", "code", "outcomes", "tail", "says"),
    [
        ("go", 0, [PASSED], "", ""),
        ("go", 2, [PASSED, FAILED], "", ""),
        ("go", 0, [PASSED, FAILED], "", "the exit code is 0, but the report has 1 failing tests"),
        ("jest", 1, [PASSED], "", "the exit code is 1, but the report has no failing test"),
        ("jest", 5, [PASSED], "", "the exit code is 5, but the report has no failing test"),
        ("pytest", 5, [], "", ""),
        ("unittest", 5, [], "", ""),
        (
            "pytest",
            0,
            [PASSED],
            "2 passed in 0.1s\n",
            "the runner's last line counts 2 passed tests, its report 1",
        ),
        ("node", 0, [PASSED], "2 passed in 0.1s\n", ""),
    ],
)
def test_disagreement(runner: str, code: int, outcomes: list[TestOutcome], tail: str, says: str) -> None:
    run = SuiteRun({outcome.id: outcome for outcome in outcomes}, code, tail, runner=runner)
    assert run.disagreement() == says


@pytest.mark.parametrize(("code", "outcome"), [(0, "passed"), (3, "failed")])
def test_an_exit_code_agrees_with_itself_and_says_how_little_it_is(code: int, outcome: str) -> None:
    test = TestOutcome("exit code::make check", outcome, "", "", 0.0)
    run = SuiteRun({test.id: test}, code, runner="exit code")
    assert run.by_exit_code
    assert run.disagreement() == ""
    assert f"exit code of the whole command is {code}, which is all that is known" in counts(run)
