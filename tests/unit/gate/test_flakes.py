"""Flaky or broken: over seeded suites whose tests fail by chance, and by a fix."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import anyio

from agent.gate.flakes import Classes, classify
from agent.gate.suites import SuiteRun
from tools.suite import TestOutcome

Chance = Mapping[str, float]


def a_run(chances: Chance, dice: random.Random) -> SuiteRun:
    return SuiteRun(
        {
            test: TestOutcome(test, "failed" if dice.random() < chance else "passed", "", "", 0.0)
            for test, chance in chances.items()
        }
    )


def told(
    tests: Sequence[str], patched: Chance, base: Chance, suite: Chance, base_suite: Chance, seed: int = 0
) -> tuple[Classes, int]:
    dice = random.Random(seed)
    runs = 0

    def alone(chances: Chance) -> Callable[[Sequence[str]], object]:
        async def run(files: Sequence[str]) -> SuiteRun:
            nonlocal runs
            runs += 1
            return a_run({t: c for t, c in chances.items() if t.partition("::")[0] in files}, dice)

        return run

    def whole(chances: Chance) -> Callable[[], object]:
        async def run() -> SuiteRun:
            nonlocal runs
            runs += 1
            return a_run(chances, dice)

        return run

    made = anyio.run(classify, tests, alone(patched), alone(base), whole(suite), whole(base_suite))
    return made, runs


T = "tests/test_a.py::test_t"


def test_a_test_that_always_fails_with_the_fix_is_broken_in_few_runs() -> None:
    classes, runs = told([T], {T: 1}, {T: 0}, {T: 1}, {T: 0})
    assert classes.broken == (T,) and runs == 9


def test_a_test_that_fails_without_the_fix_as_well_is_flaky() -> None:
    classes, _ = told([T], {T: 1}, {T: 1}, {T: 1}, {T: 1})
    assert not classes.broken and "without it" in classes.flaky[T]


def test_a_test_that_fails_in_the_suite_only_and_only_with_the_fix_is_broken() -> None:
    assert told([T], {T: 0}, {T: 0}, {T: 1}, {T: 0})[0].broken == (T,)
    assert T in told([T], {T: 0}, {T: 0}, {T: 1}, {T: 1})[0].flaky
    assert T in told([T], {T: 0}, {T: 0}, {T: 0}, {T: 0})[0].flaky


def test_many_tests_at_once_are_no_flakes() -> None:
    tests = [f"tests/test_a.py::test_{n}" for n in range(50)]
    always, never = dict.fromkeys(tests, 1.0), dict.fromkeys(tests, 0.0)
    classes, runs = told(tests, always, never, always, never)
    assert classes.broken == tuple(tests) and runs == 1


def test_chance_is_hardly_ever_taken_for_a_fault() -> None:
    for chance in (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.8):
        same = {T: chance}
        wrong = sum(bool(told([T], same, same, same, same, seed)[0].broken) for seed in range(2000))
        assert wrong <= 20, (chance, wrong)  # 1 %


def test_to_have_been_flaky_is_no_licence_to_break() -> None:
    always, rarely = {T: 1.0}, {T: 0.05}
    right = sum(bool(told([T], always, rarely, always, rarely, seed)[0].broken) for seed in range(500))
    assert right >= 490


def test_a_fix_that_breaks_a_test_most_of_the_time_is_mostly_told() -> None:
    most, never = {T: 0.75}, {T: 0.0}
    right = sum(bool(told([T], most, never, most, never, seed)[0].broken) for seed in range(500))
    assert right >= 400
