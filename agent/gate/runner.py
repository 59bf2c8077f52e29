"""Runs of one repository's suite on trees, and the baseline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from agent.errors import EnvironmentFault, NotSetUp
from agent.gate.baseline import Baseline, Shelf
from agent.gate.missing import missing, not_set_up, unloadable
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
OTHERWISE = (
    "mend the set-up (`setup = [...]` in [sandbox] of agent.toml, or --image), or give another command than `{}` "
    "with --test"
)


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
        # Code that hangs need not use up a limit made for the slowest of suites.
        limit = min(self.timeout, max(60.0, 10 * baseline.seconds)) if baseline else self.timeout
        done = await self._within(limit, said, tree, files)
        if done.exit_code is not None or baseline is None or not baseline.tree or limit == self.timeout:
            return done
        # Or it is the machine that has become slow, which the suite on the base then shows.
        now = await self._within(limit, "running the suite on the base, for its time now", baseline.tree, ())
        if now.seconds < 2 * baseline.seconds:
            return done
        limit = min(self.timeout, max(limit, 10 * now.seconds))
        return await self._within(limit, f"{said}, once more: the machine has become slow", tree, files)

    async def _within(self, seconds: float, said: str, tree: str, files: Sequence[str]) -> SuiteRun:
        async with self.lane(said):
            return await run_suite(
                self.driver,
                self.repository,
                self.environment,
                tree,
                self.test_command,
                files=files,
                timeout=seconds,
                run_id=self.run_id,
                limits=self.limits,
            )

    async def baseline(self, base: str) -> Baseline:
        """The baseline, from the shelf if it is there."""
        found = self.shelf.get(*self._key(base)) if self.shelf else None
        if found:
            self.log("the baseline is that of an earlier judgement of this commit")
            return found
        run = await self.run("the base commit", self._tree(base))
        return self._kept(base, Baseline(self._usable(run, base)))

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

    def _usable(self, run: SuiteRun, base: str) -> SuiteRun:
        """The run, if a suite in which something may fail is of use. Raises NotSetUp for one that shows a fault of the
        set-up, EnvironmentFault for another that is of no use."""
        files = set(self.repository.files(self._tree(base)))
        broken, lacks = len(unloadable(run, files)), missing(run, files)
        blamed = not_set_up(run, files)
        if run.outcomes and not run.problem and not blamed:
            if broken and lacks:
                self.log(
                    f"warning: {broken} of {len(run.files)} test files can't be loaded on the base commit: "
                    f"{lacks.what}; {lacks.mend}"
                )
            return run
        reason = run.problem or (counts(run) if run.by_exit_code else f"no test passes ({counts(run)})")
        if broken:
            reason = f"{broken} of {len(run.files)} test files can't be loaded"
        told = [f"the set-up said: {warning}" for warning in self.environment.warnings]
        if unasked := self.environment.unasked:
            told.append(f'the image is that of {unasked}, which nobody named; --dockerfile "" sets it aside')
        log = "\n".join([last_lines(run), *told]).strip()
        if lacks and blamed:
            raise NotSetUp(
                f"the tests can't run on the base commit: {lacks.what} ({reason}); {lacks.mend}", log
            )
        fault = f"the suite is of no use on the base commit: {reason}; {OTHERWISE.format(self.test_command)}"
        if blamed:
            raise NotSetUp(fault, log)
        raise EnvironmentFault(f"{fault}\n{log}".rstrip())


def named_outcomes(outcomes: Mapping[str, TestOutcome]) -> dict[str, str]:
    return {test: outcome.outcome for test, outcome in outcomes.items()}


def last_lines(run: SuiteRun, most: int = 15) -> str:
    return "\n".join(run.tail.strip().splitlines()[-most:])
