"""Runs of one repository's suite on trees, and the baseline."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from agent.errors import EnvironmentFault
from agent.gate.baseline import Baseline, Shelf
from agent.gate.suites import SuiteRun, counts, run_suite
from agent.git import Repository
from agent.types import Check
from sandboxes.errors import SandboxDied, SandboxError
from sandboxes.types import Limits
from tools.suite import TestOutcome

if TYPE_CHECKING:
    from sandboxes.driver import Sandboxes
    from sandboxes.types import Environment


MAX_LANES = 4
"""Runs side by side: more of them gain little, and use up the memory."""

_NOT_SET_UP = re.compile(
    r"ImportError|ModuleNotFoundError|Cannot find (?:module|package)|ERR_MODULE_NOT_FOUND|Failed to resolve import"
    r"|no required module provides|cannot find (?:module|package)|dial tcp|package [\w.]+ does not exist"
)
"""How runners say that what a test file needs is not installed."""


@dataclass(frozen=True)
class Tried:
    """What a trial found: checks, and what a person must look at."""

    checks: tuple[Check, ...] = ()
    suspicions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Runner:
    """Runs the suite on trees of one repository; runs that are asked for at once go side by side, one for each CPU
    of `limits`."""

    driver: Sandboxes
    repository: Repository
    environment: Environment
    test_command: str
    timeout: float
    run_id: str
    log: Callable[[str], None]
    limits: Limits | None = None
    shelf: Shelf | None = None
    lanes: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    async def count_lanes(self) -> None:
        """Ask the driver for its CPUs, once; from then on lanes are given in the order of asking."""
        cpus = await self.driver.cpus(self.limits or Limits())
        self.lanes.total_tokens = min(max(int(cpus), 1), MAX_LANES)

    @asynccontextmanager
    async def lane(self, what: str) -> AsyncIterator[None]:
        """Wait until one more sandbox may run, and say what it is for. Raises EnvironmentFault for what the sandbox
        is to blame for."""
        try:
            await self.count_lanes()
            async with self.lanes:
                self.log(what)
                yield
        except SandboxError as error:
            raise EnvironmentFault(f"the sandbox failed during a run of the suite: {error}") from error

    async def run(
        self, what: str, tree: str, files: Sequence[str] = (), *, baseline: SuiteRun | None = None
    ) -> SuiteRun:
        said = f"running {f'{len(files)} test files' if files else 'the suite'} on {what}"
        try:
            return await self._run(said, tree, files, baseline)
        except EnvironmentFault as fault:
            if not isinstance(fault.__cause__, SandboxDied):
                raise
        return await self._run(f"{said}, once more: its sandbox died", tree, files, baseline)

    async def _run(self, said: str, tree: str, files: Sequence[str], baseline: SuiteRun | None) -> SuiteRun:
        async with self.lane(said):
            return await run_suite(
                self.driver,
                self.repository,
                self.environment,
                tree,
                self.test_command,
                files=files,
                # Code that hangs need not use up a limit made for the slowest of suites.
                timeout=min(self.timeout, max(60.0, 10 * baseline.seconds)) if baseline else self.timeout,
                run_id=self.run_id,
                limits=self.limits,
            )

    async def baseline(self, base: str) -> Baseline:
        """The baseline, from the shelf if it is there."""
        found = self.shelf.get(*self._key(base)) if self.shelf else None
        if found:
            self.log("the baseline is that of an earlier judgement of this commit")
            return found
        return self._kept(base, Baseline(self._usable(await self.run("the base commit", self._tree(base)))))

    async def again(self, base: str, baseline: Baseline) -> Baseline:
        """The baseline with a second run, which shows tests that fail now and then."""
        if baseline.again and not baseline.again.problem:
            return baseline
        run = await self.run("the base commit, again", self._tree(base), baseline=baseline.run)
        return self._kept(base, replace(baseline, again=run))

    def _tree(self, base: str) -> str:
        return self.repository.tree_of(base)

    def _key(self, base: str) -> tuple[str, ...]:
        return (self._tree(base), self.environment.image, self.environment.digest, self.test_command)

    def _kept(self, base: str, baseline: Baseline) -> Baseline:
        if self.shelf:
            try:
                self.shelf.put(baseline, *self._key(base))
            except OSError as error:
                self.log(f"the baseline cannot be kept for the next time: {error}")
        return baseline

    def _usable(self, run: SuiteRun) -> SuiteRun:
        # A suite in which nothing passes may show the fault; one that can't import what it needs shows the set-up's.
        unloadable = all(
            outcome.outcome == "skipped"
            or (outcome.collection and _NOT_SET_UP.search(f"{outcome.message}\n{outcome.detail}"))
            for outcome in run.outcomes.values()
        )
        if not run.problem and not unloadable:
            return run
        reason = run.problem or f"no test passes ({counts(run)})"
        raise EnvironmentFault(
            f"the suite is of no use on the base commit: {reason}; mend the set-up or give another command "
            f"than `{self.test_command}` with --test\n{last_lines(run)}".rstrip()
            + "".join(f"\nthe set-up said: {warning}" for warning in self.environment.warnings)
        )


def named_outcomes(outcomes: Mapping[str, TestOutcome]) -> dict[str, str]:
    return {test: outcome.outcome for test, outcome in outcomes.items()}


def last_lines(run: SuiteRun, most: int = 15) -> str:
    return "\n".join(run.tail.strip().splitlines()[-most:])
