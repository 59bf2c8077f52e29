"""Is a test that does not pass after the fix broken by it, or one that fails now and then?

What decides is how often it fails without the fix and with it, each time in a fresh sandbox. A test that fails in at
most half of six runs with the fix is taken for flaky, and so is one that fails at times without it, unless it then
fails in all of twelve runs with the fix and in at most six of twelve without: to have been flaky before is no licence
to break. The base is asked as often as the counts leave doubt. For a test that fails by chance p with and without an
honest fix, a false "broken" needs four failures out of four and six passes on the base, or four of six and twenty
passes, or twelve of twelve and six passes of twelve: less than 1 % of such events for every p (test_flakes.py counts
them).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.gate.suites import SuiteRun, file_of

PATCHED_RUNS = 5
UNANIMOUS = 3
"""Runs with the fix after which tests that failed in all of them are asked no more."""
BASE_RUNS = 20
BASE_RUNS_UNANIMOUS = 6
ALL_RUNS = 12
RARE_RUNS = 12
RARE = 6
"""Failures in `RARE_RUNS` runs without the fix up to which a test that fails in all of `ALL_RUNS` with it is broken."""
SUITE_RUNS = 2
BASE_SUITE_RUNS = 5
MOST = 30
"""More tests than these are not flaky at once: one run decides."""

Alone = Callable[[Sequence[str]], Awaitable[SuiteRun]]
"""Runs some test files once in a fresh sandbox."""
Whole = Callable[[], Awaitable[SuiteRun]]
"""Runs the whole suite once in a fresh sandbox."""


@dataclass(frozen=True)
class Classes:
    """What became of tests that did not pass once."""

    broken: tuple[str, ...] = ()
    flaky: Mapping[str, str] = field(default_factory=dict)
    """Test id to how it was told."""


async def classify(
    tests: Sequence[str], patched: Alone, base: Alone, suite: Whole, base_suite: Whole
) -> Classes:
    """Tell flaky tests from broken ones; each of `tests` did not pass in one run of the suite with the fix."""
    missed = dict.fromkeys(tests, 1)
    runs = 1
    while runs <= (PATCHED_RUNS if len(tests) <= MOST else 1):
        for test in _unpassed(await patched(_files(tests)), tests):
            missed[test] += 1
        runs += 1
        if runs > UNANIMOUS and all(count == runs for count in missed.values()):
            break
    broken = [test for test in tests if 2 * missed[test] > runs]
    often = {
        test: f"failed in {missed[test]} of {runs} runs with the fix{_alone(missed[test])}" for test in tests
    }
    flaky = {test: often[test] for test in tests if test not in broken}
    rare: dict[str, int] = {}
    unanimous = all(missed[test] == runs for test in broken)
    base_runs = 0
    while broken and base_runs < (BASE_RUNS_UNANIMOUS if unanimous else BASE_RUNS) and len(broken) <= MOST:
        base_runs += 1
        for test in _unpassed(await base(_files(broken)), broken):
            broken.remove(test)
            flaky[test] = f"{often[test]}, and fails at times without it"
            if unanimous:
                rare[test] = 1
    for test in await _rare(rare, base_runs, runs, patched, base):
        broken.append(test)
        del flaky[test]
    ordered = await _in_order([test for test in flaky if missed[test] == 1], suite, base_suite)
    return Classes(
        tuple(test for test in tests if test in broken or test in ordered),
        {test: how for test, how in flaky.items() if test not in ordered},
    )


async def _rare(missed: dict[str, int], base_runs: int, runs: int, patched: Alone, base: Alone) -> list[str]:
    """Those of the tests, which failed in all of `runs` runs with the fix, that go on doing so, and seldom fail without
    it; `missed` are their failures in `base_runs` runs there so far."""
    while missed and base_runs < RARE_RUNS:
        base_runs += 1
        for test in _unpassed(await base(_files(missed)), missed):
            missed[test] += 1
        missed = {test: count for test, count in missed.items() if count <= RARE}
    left = list(missed)
    while left and runs < ALL_RUNS:
        runs += 1
        left = _unpassed(await patched(_files(left)), left)
    return left


async def _in_order(tests: Sequence[str], suite: Whole, base_suite: Whole) -> set[str]:
    """Those of `tests`, which pass alone, that fail in the suite each time with the fix and never without it: the
    fix leaves something behind that breaks them."""
    left = set(tests)
    for _ in range(SUITE_RUNS):
        if left:
            left &= set(_unpassed(await suite(), left))
    for _ in range(BASE_SUITE_RUNS):
        if left:
            left -= set(_unpassed(await base_suite(), left))
    return left


def _alone(missed: int) -> str:
    """What is to be said of a test that did not pass in the suite, and then when its file ran alone."""
    return ": in the suite, never alone (order, time or chance)" if missed == 1 else ""


def _unpassed(run: SuiteRun, tests: Iterable[str]) -> list[str]:
    return [test for test in tests if test not in run.outcomes or run.outcomes[test].outcome != "passed"]


def _files(tests: Iterable[str]) -> list[str]:
    return sorted({file_of(test) for test in tests})
