"""Does the fix hold in another order of the tests?

A product may depend on which test ran before: on a count of calls, on a cache that an earlier test filled. So the files
of the tests that show the fix run in another order with it: pytest's backwards, other runners' shuffled where they can
be told to. Tests may honestly depend on their order too. So nothing is rejected here: a person is shown what fails as
it does without the fix, and what fails with the fix alone; the rest is only told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.gate import compare
from agent.gate.compare import LISTED, Outcomes, Red
from agent.gate.runner import Tried
from agent.gate.suites import file_of
from agent.types import Check
from tools.suite import NotASuite, runner_of, shuffled

if TYPE_CHECKING:
    from agent.gate.judge import Judgement

MAX_SECONDS = 20.0
"""Of the tests in one order: slower ones are not tried."""
MAX_LINE = 60_000
"""Characters of the ids on one command line: more don't surely fit."""


async def ordered(judgement: Judgement, red: Red) -> Tried:
    """Run the tests that show the fix, and those beside them, in another order."""
    before = judgement.before
    there = [test for test in before if file_of(test) in set(map(file_of, red.ids))]
    if not red.ids or red.files or judgement.intake.set_aside:
        return Tried()
    if sum(before[test].seconds for test in there) > MAX_SECONDS:
        return Tried()
    how, command, ids = other_order(judgement.runner.test_command, there, judgement.base_text)
    if not ids:
        return Tried()
    runner = replace(judgement.runner, test_command=command)

    async def run(what: str, tree: str) -> Outcomes:
        return (await runner.run(f"{what}, {how}", tree, ids, baseline=judgement.baseline)).outcomes

    seen = await run("the patched tree", judgement.after_tree)
    expected = {*red.ids, *(test for test in there if compare.is_passed(before, test))}
    failing = [test for test in seen if test in expected and compare.is_failing(seen, test)]
    if not failing:
        asked = len(expected & seen.keys())
        return Tried((Check("order", True, f"{asked} tests pass {how} too"),) if asked else ())
    again = await run("the patched tree", judgement.after_tree)
    base = await run("the base", judgement.before_tree)
    failing = [test for test in failing if compare.is_failing(again, test)]
    unmended, broken = dependent(failing, red.ids, before, base, seen)
    suspicions = [
        f"{how}, {what}:\n{judgement.secret.told(tests, seen)}"
        for tests, what in (
            (unmended, "these fail as they do without the fix"),
            (broken, "these fail with the fix alone"),
        )
        if tests
    ]
    told = [f"depends on the order of the tests: {judgement.secret.name(test)}" for test in failing[:LISTED]]
    return Tried((Check("order", True, "\n".join(told) or f"tests are flaky {how}"),), tuple(suspicions))


def other_order(
    command: str, tests: Sequence[str], read: Callable[[str], str]
) -> tuple[str, str, tuple[str, ...]]:
    """What the order is called, the command that runs it, and the ids to run: none where there is no other order.

    `tests` are in the suite's order; `read` gives the text of a file of the repository.
    """
    try:
        runner = runner_of(command, read)
        if runner in ("pytest", "unittest"):
            names = [test.partition("[")[0] for test in reversed(tests)]
            fit = sum(map(len, names)) <= MAX_LINE
            return "backwards", command, tuple(dict.fromkeys(names)) if fit else ()
        line = shuffled(command, read)
    except NotASuite:
        return "", command, ()
    return "shuffled", line or command, tuple(sorted(set(map(file_of, tests)))) if line else ()


def dependent(
    failing: Sequence[str], red: Sequence[str], before: Outcomes, base: Outcomes, seen: Outcomes
) -> tuple[list[str], list[str]]:
    """Of the tests that fail in the other order with the fix: those that show it, and fail as they do without it; and
    those that pass there without it. What the others depend on is the order, whatever the fix.

    `before` is without the fix in the suite's order, `base` without it and `seen` with it in the other one.
    """
    unmended = [
        test
        for test in failing
        if test in red and compare.first_line(seen, test) == compare.first_line(before, test)
    ]
    return unmended, [test for test in failing if test not in red and compare.is_passed(base, test)]
