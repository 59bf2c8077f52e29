"""Whether a candidate is a case: its tests fail before the fix and pass after, seen twice by the gate's own runner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from agent.cases.candidates import Candidate
from agent.config import Settings
from agent.environment import connect_driver, environment_of, sandbox_limits
from agent.errors import EnvironmentFault
from agent.gate import Runner, Shelf
from agent.gate.compare import is_failing, is_passed, unloaded
from agent.gate.suites import SuiteRun, file_of
from agent.git import Repository
from agent.lanes import Started, side_by_side
from sandboxes.errors import SandboxError


@dataclass(frozen=True, slots=True)
class Case:
    candidate: Candidate
    fail_to_pass: tuple[str, ...]
    """Ids that fail with the tests alone, and pass with the fix."""
    pass_to_pass: int
    """How many pass before and after."""
    test_patch: bytes
    gold_patch: bytes
    """The fix without its tests."""


class Unfit(Exception):
    """The candidate is no case; the text says why."""


async def verify(
    candidate: Candidate,
    repository: Repository,
    settings: Settings,
    shelf: Shelf,
    run_id: str,
    log: Callable[[str], None],
) -> Case:
    """The case that a candidate makes. Raises Unfit, and EnvironmentFault where its suite can't be run at all."""
    try:
        return await _verified(candidate, repository, settings, shelf, run_id, log)
    except SandboxError as error:
        raise EnvironmentFault(str(error)) from error


async def _verified(
    candidate: Candidate,
    repository: Repository,
    settings: Settings,
    shelf: Shelf,
    run_id: str,
    log: Callable[[str], None],
) -> Case:
    base = repository.tree_of(candidate.parent)
    before = repository.with_files(base, candidate.tests)
    after = repository.with_files(before, candidate.product)
    driver = await connect_driver(settings, log)
    async with environment_of(base, driver, settings, repository, log) as begun:
        limits = sandbox_limits(settings, settings.test_timeout)
        runner = Runner(
            driver, repository, begun, settings.test, settings.test_timeout, run_id, log, limits, shelf
        )
        baseline = (await runner.baseline(candidate.parent)).run
        trees = {"the base with the fix's tests": before, "the fix": after}
        red, green = await _runs(runner, trees, baseline)
        shown = _shown(red, green)
        again = await _runs(runner, trees, baseline)
    twice = sorted(set(shown) & set(_shown(*again)))
    if not twice:
        raise Unfit("what failed before and passed after did not do so twice: flaky")
    return Case(
        candidate,
        tuple(twice),
        sum(is_passed(red.outcomes, test) and is_passed(green.outcomes, test) for test in red.outcomes),
        repository.diff(base, before),
        repository.diff(base, repository.with_files(base, candidate.product)),
    )


async def _runs(runner: Runner, trees: dict[str, str], baseline: SuiteRun) -> list[SuiteRun]:
    """The suite on each tree, side by side as far as there are CPUs."""
    await runner.count_lanes()
    async with side_by_side() as tasks:
        runs = [
            Started(tasks, partial(runner.run, what, tree, baseline=baseline)) for what, tree in trees.items()
        ]
        return [await run.result() for run in runs]


def _shown(before: SuiteRun, after: SuiteRun) -> list[str]:
    """The tests that fail without the fix and pass with it; one in a file that can't be loaded without it fails.

    Raises Unfit where there are none, or where the fix breaks others: the gate would refuse it.
    """
    if doubt := after.disagreement():
        raise Unfit(f"with the fix: {doubt}")
    if before.problem:
        raise Unfit(f"without the fix: {before.problem}")
    broken = unloaded(before.outcomes) - unloaded(after.outcomes)
    passed = [test for test in after.outcomes if is_passed(after.outcomes, test)]
    shown = [
        test
        for test in passed
        if is_failing(before.outcomes, test) or (test not in before.outcomes and file_of(test) in broken)
    ]
    lost = [
        test
        for test in before.outcomes
        if is_passed(before.outcomes, test) and not is_passed(after.outcomes, test)
    ]
    if lost:
        raise Unfit(f"with the fix {len(lost)} tests no longer pass, such as {sorted(lost)[0]}")
    if not shown:
        raise Unfit("no test fails without the fix and passes with it")
    return shown
