"""One run of a suite in a fresh sandbox, and what may be believed of it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.gate.effects import Effects, look
from agent.git import Repository
from agent.lanes import Started, side_by_side
from agent.laying import lay_tree
from tools.runners import SCRIPT, SELECTS
from tools.suite import EXIT_CODE, NotASuite, TestOutcome, parse_junit, runner_of, suite_command

if TYPE_CHECKING:
    from sandboxes.driver import Sandbox, Sandboxes
    from sandboxes.types import Environment, Limits

MAX_REPORT = 64 * 1024 * 1024
"""Bytes of a JUnit report."""
TAIL = 4000
"""Characters kept of a run's output: its end, where runners sum up."""
FAILING = frozenset({"failed", "error"})

_SUMMARY = re.compile(r"^=*\s*(\d+ [a-z]+(?: [a-z]+)?(?:, \d+ [a-z]+(?: [a-z]+)?)*) in \d[\d.]*s\b.*$", re.M)


@dataclass(frozen=True)
class SuiteRun:
    """What one run gave."""

    outcomes: Mapping[str, TestOutcome] = field(default_factory=dict)
    exit_code: int | None = 0
    """None when it was stopped by the time limit."""
    tail: str = ""
    """The end of its output."""
    seconds: float = 0.0
    problem: str = ""
    """Why there is no usable report; empty when there is one."""
    runner: str = "pytest"
    """What ran the tests, as runner_of names it."""
    effects: Effects | None = None
    """What a run of the whole suite left behind and used; None where that was not asked or could not be seen."""
    tree: str = ""
    """Id of the tree that it ran on."""

    @property
    def hung_or_crashed(self) -> bool:
        """Whether the code under test never came back: it was stopped by the time limit or died by a signal."""
        return bool(self.problem) and (self.exit_code is None or self.exit_code > 128)

    @property
    def files(self) -> set[str]:
        """The files that the report names tests of."""
        return {file_of(test) for test in self.outcomes}

    @property
    def by_exit_code(self) -> bool:
        """Whether the exit code is all that is known: the whole command counts as one test."""
        return any(file_of(test) == EXIT_CODE for test in self.outcomes)

    @property
    def selects(self) -> bool:
        """Whether the suite can be run in part; else each run is of the whole."""
        return not self.by_exit_code and (self.runner in SELECTS or self.runner in ("pytest", SCRIPT))

    def disagreement(self) -> str:
        """Where exit code, report and output contradict each other; empty when they agree.

        By the exit code alone they always agree: the report is made of it.
        """
        if self.problem:
            return self.problem
        failing = sum(outcome.outcome in FAILING for outcome in self.outcomes.values())
        if self.exit_code == 0 and failing:
            return f"the exit code is 0, but the report has {failing} failing tests"
        # pytest's, and unittest's from Python 3.12 on: no test was collected, or all were skipped.
        allowed = (0, 5) if self.runner in ("pytest", "unittest", "junit") else (0,)
        if self.exit_code not in allowed and not failing:
            return f"the exit code is {self.exit_code}, but the report has no failing test"
        said = self.passes_said()
        passed = sum(outcome.outcome in ("passed", "xpassed") for outcome in self.outcomes.values())
        if said is not None and said != passed:
            return f"the runner's last line counts {said} passed tests, its report {passed}"
        return ""

    def passes_said(self) -> int | None:
        """How many tests passed by the last line of pytest's output; None when there is no such line."""
        lines = _SUMMARY.findall(self.tail) if self.runner in ("pytest", "junit") else []
        if not lines:
            return None
        counts = dict(reversed(part.split(" ", 1)) for part in lines[-1].split(", "))
        return int(counts.get("passed", 0)) + int(counts.get("xpassed", 0))


def counts(run: SuiteRun) -> str:
    """ "3 passed, 1 failed"."""
    if run.by_exit_code:
        return (
            f"the exit code of the whole command is {run.exit_code}, which is all that is known of its tests"
        )
    outcomes = [outcome.outcome for outcome in run.outcomes.values()]
    return ", ".join(f"{outcomes.count(name)} {name}" for name in sorted(set(outcomes))) or "no tests"


def file_of(test: str) -> str:
    """The file that an id names; "exit code" for the one test of a command that is judged by that alone."""
    return test.partition("::")[0]


def prefix_of(tested: Iterable[str], files: Iterable[str]) -> str:
    """The folder that test ids are relative to ("" or "folder/"): a test command may change into one."""
    files = set(files)
    for test in sorted(tested):
        if test in files:
            return ""
        ends = [file for file in files if file.endswith("/" + test)]
        if len(ends) == 1:
            return ends[0].removesuffix(test)
    return ""


async def run_suite(
    driver: Sandboxes,
    repository: Repository,
    environment: Environment,
    tree: str,
    test_command: str,
    *,
    files: Sequence[str] = (),
    timeout: float,
    run_id: str,
    limits: Limits | None = None,
) -> SuiteRun:
    """Run the suite, or only its `files`, on a tree in a sandbox of its own; `timeout` in seconds.

    What the tree's code does to its run ends in the SuiteRun. Raises SandboxError when the sandbox fails and
    UsageError when the test command cannot give a report.
    """
    report = f"/tmp/{secrets.token_hex(16)}.xml"  # noqa: S108 (in the sandbox)
    try:
        runner = runner_of(test_command)
        command = suite_command(test_command, report, files)
    except NotASuite as error:
        raise UsageError(str(error)) from error
    options = f"{environment.variables.get('PYTEST_ADDOPTS', '')} --continue-on-collection-errors".strip()
    variables = {"PYTEST_ADDOPTS": options, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    async with (
        side_by_side() as tasks,
        driver.sandbox(environment, run_id=run_id, limits=limits) as sandbox,
    ):
        laid = await lay_tree(sandbox, repository, tree)
        done = await sandbox.run(command, timeout=timeout, env=variables)
        tail = done.output.decode("utf-8", "replace")[-TAIL:]
        if done.timed_out:
            problem = f"the suite was stopped after {timeout:.0f} s"
            return SuiteRun({}, None, tail, done.seconds, problem, runner, tree=tree)
        looking = partial(look, sandbox, repository, tree, laid=laid, report=report, seconds=done.seconds)
        left = None if files else Started(tasks, looking)
        outcomes: Mapping[str, TestOutcome] = {}
        problem = ""
        try:
            outcomes = parse_junit(await _read(sandbox, report, left))
        except FileNotFoundError:
            problem = f"the run ended with exit code {done.exit_code} and left no report"
        except ValueError as error:
            problem = f"the report is not usable: {error}"
        effects = await left.result() if left else None
    return SuiteRun(outcomes, done.exit_code, tail, done.seconds, problem, runner, effects, tree)


async def _read(sandbox: Sandbox, report: str, left: Started[Effects | None] | None) -> bytes:
    """The report. While it is looked for what the tests left, nothing of theirs, or in their name, may be started."""
    if left:
        try:
            return await sandbox.read(report, MAX_REPORT, keeper=True)
        except (FileNotFoundError, ValueError):
            await left.result()  # the tests may have kept it to themselves
    return await sandbox.read(report, MAX_REPORT)
