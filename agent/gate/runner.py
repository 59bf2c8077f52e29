"""Runs of one repository's suite on trees, and the baseline."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.errors import EnvironmentFault
from agent.gate.suites import SuiteRun, counts, run_suite
from agent.git import Repository
from sandboxes.errors import SandboxError
from tools.suite import TestOutcome

if TYPE_CHECKING:
    from sandboxes.docker import Docker
    from sandboxes.types import Environment, Limits

_NOT_SET_UP = re.compile(
    r"ImportError|ModuleNotFoundError|Cannot find (?:module|package)|ERR_MODULE_NOT_FOUND|Failed to resolve import"
    r"|no required module provides|cannot find (?:module|package)|dial tcp|package [\w.]+ does not exist"
)
"""How runners say that what a test file needs is not installed."""


@dataclass(frozen=True)
class Baseline:
    """The suite's run on the base commit."""

    run: SuiteRun

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome per test id."""
        return named_outcomes(self.run.outcomes)


@dataclass(frozen=True)
class Runner:
    """Runs the suite on trees of one repository."""

    docker: Docker
    repository: Repository
    environment: Environment
    test_command: str
    timeout: float
    run_id: str
    log: Callable[[str], None]
    limits: Limits | None

    async def run(
        self, what: str, tree: str, files: Sequence[str] = (), *, baseline: SuiteRun | None = None
    ) -> SuiteRun:
        self.log(f"running {f'{len(files)} test files' if files else 'the suite'} on {what}")
        try:
            return await run_suite(
                self.docker,
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
        except SandboxError as error:
            raise EnvironmentFault(f"the sandbox failed during a run of the suite: {error}") from error

    async def baseline(self, base: str) -> Baseline:
        run = await self.run("the base commit", self.repository.tree_of(base))
        # A suite in which nothing passes may show the fault; one that can't import what it needs shows the set-up's.
        unloadable = all(
            outcome.outcome == "skipped"
            or (outcome.collection and _NOT_SET_UP.search(f"{outcome.message}\n{outcome.detail}"))
            for outcome in run.outcomes.values()
        )
        if not run.problem and not unloadable:
            return Baseline(run)
        reason = run.problem or f"no test passes ({counts(run)})"
        raise EnvironmentFault(
            f"the suite is of no use on the base commit: {reason}; mend the set-up or give another command "
            f"than `{self.test_command}` with --test\n{last_lines(run)}".rstrip()
        )


def named_outcomes(outcomes: Mapping[str, TestOutcome]) -> dict[str, str]:
    return {test: outcome.outcome for test, outcome in outcomes.items()}


def last_lines(run: SuiteRun, most: int = 15) -> str:
    return "\n".join(run.tail.strip().splitlines()[-most:])
