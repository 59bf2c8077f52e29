"""One run: a task through set-up, baseline, attempts, gate and publication."""

from __future__ import annotations

import difflib
import importlib
import json
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from agent import events, set_up
from agent.budget import BudgetSpent
from agent.climb import Climb
from agent.environment import connect_driver, environment_of, sandbox_limits
from agent.errors import AgentError, EnvironmentFault, ModelError, NotSetUp, Refused
from agent.facts import base_of
from agent.job import Job, Start
from agent.judging import Publishing, judged, offer_smaller
from agent.lanes import side_by_side
from agent.models.registry import open_model, paid, sdk_of, warning
from agent.orientation.orient import Orientation
from agent.redaction import redact
from agent.result import RunEnding, build_result, write_atomically
from agent.routing import choose, task_facts
from agent.types import Verdict
from agent.working import work
from sandboxes.errors import SandboxError, SetupFailed
from sandboxes.spares import Spares

if TYPE_CHECKING:
    from agent.forge.publish import Publication
    from agent.gate import Shelf
    from agent.models import Model
    from sandboxes.driver import Driver
    from sandboxes.types import Environment


@dataclass(frozen=True, slots=True)
class Publish:
    """Where an accepted patch goes besides the run's folder."""

    output: Path | None = None
    branch: str | None = None
    forge: Publication | None = None
    """GitHub: a pull request for an accepted patch, a comment for any other end."""
    smaller: bool = True
    """Whether a smaller patch that is accepted too is looked for."""


@dataclass
class Run:
    """A job on its way. `execute` is the whole of it; the rest are its steps."""

    job: Job
    publish: Publish
    shelf: Shelf | None = None
    """Where baselines are kept for the next run."""
    result: dict[str, Any] | None = None
    reached: RunEnding | None = None
    """What a run has come to that goes on looking for something better."""

    async def execute(self) -> dict[str, Any]:
        """Take the task to its end and return what result.json holds, which is then also on disk.

        Faults end the run with their status. Only cancellation goes on to the caller, after the result is written.
        """
        ending = RunEnding("interrupted")
        asked = self.job.settings.models if self.job.open_model is open_model else ()
        needed = partial(_import_sdks, asked, servers=bool(self.job.settings.servers))
        threading.Thread(target=needed, daemon=True).start()
        try:
            ending = await self._ended()
            ending = self.reached = await self._to_forge(self.reached or ending)
        except BaseException:
            self.reached = self._unpublished(self.reached)
            raise
        finally:
            self.job.log.append(events.RunEnded(self._keep(self.reached or ending)))
        assert self.result is not None
        return self.result

    async def _ended(self) -> RunEnding:
        """How the run ended, whatever happened to it but cancellation."""
        try:
            try:
                return await self._steps()
            finally:
                with anyio.CancelScope(shield=True):
                    await self.job.caches.close()
        except (SetupFailed, NotSetUp) as error:
            for line in error.log.splitlines():
                self.job.note(line)
            return RunEnding("environment", error=str(error))
        except (SandboxError, AgentError, OSError) as error:
            return RunEnding(
                "model_error" if isinstance(error, ModelError) else "environment", error=str(error)
            )
        except BudgetSpent as spent:
            return RunEnding("limit", error=str(spent))
        except Exception as error:
            return RunEnding("environment", error=self._internal(error))

    def _internal(self, error: Exception) -> str:
        """A fault of ours in a line; all of it is in a file."""
        trace = self.job.folder / "internal-error.txt"
        write_atomically(trace, traceback.format_exc().encode("utf-8", "backslashreplace"))
        return f"internal error: {error!r}; please report {trace}"

    def _keep(self, ending: RunEnding) -> dict[str, Any]:
        """What the run has come to, put on disk as result.json."""
        self.result = redact(
            build_result(self.job.log.events, self.job.task, self.job.run_id, ending), self.job.log.secrets
        )
        write_atomically(self.job.folder / "result.json", json.dumps(self.result, indent=2).encode() + b"\n")
        return self.result

    async def _to_forge(self, ending: RunEnding) -> RunEnding:
        """Publish how the run ended, from its folder, where the verdict is whatever becomes of that."""
        forge = self.publish.forge
        if forge is None:
            return ending
        self._keep(ending)
        self.job.log.append(events.PhaseStarted("publish"))
        again = f"; try it again with: {forge.again(self.job.folder)}"
        try:
            done = await anyio.to_thread.run_sync(forge, self.job.folder, abandon_on_cancel=True)
        except Refused as refused:
            fault = f"not published: {refused}"
        except (AgentError, OSError) as error:
            fault = f"not published: {error}{again}"
        except Exception as error:
            fault = f"not published: {self._internal(error)}{again}"
        else:
            for what in filter(None, (done.pr_url, done.comment_url)):
                self.job.note(f"published: {what}")
            accepted = ending.status == "accepted"
            return replace(ending, branch=done.branch, pr_url=done.pr_url) if accepted else ending
        self.job.note(fault, "warning")
        return replace(ending, error=fault if ending.status == "accepted" else ending.error or fault)

    def _unpublished(self, reached: RunEnding | None) -> RunEnding | None:
        """What an interrupted run has come to: accepted, but not where the user asked for it, is no success."""
        forge = self.publish.forge
        if forge is None or reached is None or reached.status != "accepted" or reached.error:
            return reached
        return replace(
            reached,
            error=f"interrupted before it was published; publish it with: {forge.again(self.job.folder)}",
        )

    async def _steps(self) -> RunEnding:
        for line in filter(None, map(warning, dict.fromkeys(self.job.settings.models))):
            self.job.note(line, "warning")
        with self._orientation() as orientation:
            self.job.log.append(events.PhaseStarted("setup"))
            driver = await connect_driver(self.job.settings, self.job.note)
            attempts = partial(self._run, orientation, driver)
            if (kept := self.job.past.setup) is not None:
                return await attempts(set_up.Written(kept.model, tuple(kept.commands), kept.why))
            try:
                return await attempts()
            except (SetupFailed, NotSetUp) as fault:
                spec = next(filter(paid, self.job.settings.models), None)
                ending = await self._rewritten(attempts, fault, spec) if spec else None
                if ending is None:
                    raise
                return ending

    async def _run(
        self, orientation: Orientation, driver: Driver, wrote: set_up.Written | None = None
    ) -> RunEnding:
        """Set up, by the commands that a model wrote if there are any, take the baseline, and make the attempts.
        Raises SetupFailed, NotSetUp."""
        opened = environment_of(
            self.job.repository.tree_of(self.job.task.base),
            driver,
            self.job.settings,
            self.job.repository,
            self.job.note,
            setup=wrote.commands if wrote else None,
            ready=self._ready,
        )
        async with opened as environment, side_by_side() as tasks:
            try:
                start = await self._baseline(Spares(driver, tasks), environment, orientation)
                if wrote and not self.job.past.setup:
                    self._keep_setup(wrote)
                unseen = self.job.task.test_patch is None and not self.job.past.first
                if unseen and (fault := _not_red(self.job.task.fail_to_pass, start.baseline.outcomes)):
                    return RunEnding("not_reproduced", error=fault)
                tasks.start_soon(self._again, start)
                return await self._attempts(start)
            finally:
                tasks.cancel_scope.cancel()

    async def _attempts(self, start: Start) -> RunEnding:
        climb = Climb(
            self.job.log,
            self.job.settings.models,
            self._first_rung(start),
            self.job.settings.attempts,
            self.job.settings.best_of,
            anyio.current_time() + self.job.settings.minutes * 60 - self.job.past.seconds,
            partial(work, self.job, start),
            partial(judged, self.job, start),
            partial(self._published, start),
            self.job.past.ended.keys(),
        )
        return await climb.to_the_end()

    def _first_rung(self, start: Start) -> int:
        """The place on the ladder where this task begins, told with its reason where there is a choice."""
        task, models = self.job.task, self.job.settings.models
        if len(models) == 1:
            return 0
        if self.job.past.first in models:
            return models.index(self.job.past.first)
        paths = self.job.repository.files(self.job.repository.tree_of(task.base))
        facts = task_facts(task.issue, paths, start.baseline.outcomes, task.fail_to_pass)
        place, why = choose(self.job.settings.routes, facts, len(models))
        self.job.note(f"routed to rung {place + 1} of {len(models)}, {models[place]}: {why}")
        return place

    async def _rewritten(
        self,
        attempts: Callable[[set_up.Written], Awaitable[RunEnding]],
        fault: SetupFailed | NotSetUp,
        spec: str,
    ) -> RunEnding | None:
        """The run with set-up commands that a model writes; None when it writes none that hold."""
        tree = self.job.repository.tree_of(self.job.task.base)
        facts = await anyio.to_thread.run_sync(set_up.facts, self.job.settings, self.job.repository, tree)

        def model() -> Model:
            retried = self.job.retried(set_up.ATTEMPT)
            return self.job.open_model(
                spec, seed=self.job.seed, on_failed_try=retried, budget=self.job.budget
            )

        writer = set_up.Writer(model, self.job.log, fault, facts)
        while (wrote := await writer.next()) is not None:
            try:
                return await attempts(wrote)
            except (SetupFailed, NotSetUp) as failed:
                writer.failed(failed)
        return None

    def _keep_setup(self, wrote: set_up.Written) -> None:
        """Put what a model wrote, and the baseline holds good, where the user finds it."""
        path = self.job.folder / "setup.toml"
        write_atomically(path, wrote.as_toml().encode())
        self.job.log.append(events.SetupWritten(wrote.model, wrote.commands, wrote.why, str(path)))

    def _ready(self, environment: Environment, seconds: float) -> None:
        told = environment.image, environment.digest, environment.summary
        self.job.log.append(events.EnvironmentReady(*told, seconds))

    @contextmanager
    def _orientation(self) -> Iterator[Orientation]:
        """The repository is parsed from now on, beside all else."""
        tree = self.job.repository.tree_of(self.job.task.base)
        made = Orientation(
            self.job.repository,
            tree,
            self.job.task.issue,
            self.job.settings.context,
            lambda: base_of(self.job.repository, tree).is_product,
            self.job.note,
        )
        made.begin(self.job.settings.models)
        try:
            yield made
        finally:
            made.close()

    async def _baseline(self, spares: Spares, environment: Environment, orientation: Orientation) -> Start:
        """The outcomes of the repository's tests at the base commit; the first attempt's sandbox starts beside it."""
        from agent.gate import Runner

        limits = sandbox_limits(self.job.settings, self.job.settings.minutes * 60)
        spares.keep(environment, run_id=self.job.run_id, limits=limits, number=self.job.settings.best_of)

        self.job.log.append(events.PhaseStarted("baseline", self.job.settings.test))
        started = time.monotonic()
        gate = Runner(
            spares,
            self.job.repository,
            environment,
            self.job.settings.test,
            self.job.settings.test_timeout,
            self.job.run_id,
            self.job.note,
            sandbox_limits(self.job.settings, self.job.settings.test_timeout),
            self.shelf,
        )
        # A suite that hangs on the base must not take more than what the whole run was given.
        hasty = replace(gate, timeout=min(self.job.settings.test_timeout, self.job.settings.minutes * 60))
        baseline = await hasty.baseline(self.job.task.base)
        outcomes = list(baseline.outcomes.values())
        failing = sorted(t for t, o in baseline.outcomes.items() if o in ("failed", "error"))
        counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        self.job.log.append(events.BaselineTaken(counts, failing, time.monotonic() - started))
        tree = self.job.repository.tree_of(self.job.task.base)
        stated = anyio.Event()
        if any(isinstance(event, events.HypothesisStated) for event in self.job.log.events):
            stated.set()
        self.job.log.listeners.append(
            lambda event: stated.set() if event["type"] == "hypothesis_stated" else None
        )
        base = base_of(self.job.repository, tree)
        return Start(spares, environment, gate, baseline, base, orientation, stated)

    async def _again(self, start: Start) -> None:
        """The suite on the base once more, while the model works: what ends otherwise now is flaky."""
        try:
            start.baseline = await start.gate.again(self.job.task.base, start.baseline)
        except EnvironmentFault as fault:
            self.job.note(f"the suite could not be run a second time on the base commit: {fault}", "warning")
        if flaky := sorted(start.baseline.flaky):
            listed = ", ".join(flaky[:10]) + (f" and {len(flaky) - 10} more" if len(flaky) > 10 else "")
            self.job.note(f"flaky on the base commit: {listed}", "warning")

    async def _published(self, start: Start, patch: bytes, verdict: Verdict) -> RunEnding:
        """Put the patch where the user asked for it."""
        # An interruption from here on takes nothing back.
        publishing = Publishing(self.job, self.publish.output, self.publish.branch)
        self.reached = publishing.published(patch, verdict)
        if verdict.accepted and self.publish.smaller and not self.reached.error:
            await offer_smaller(self.job, start, patch, verdict)
        return self.reached


def _import_sdks(specs: Sequence[str], *, servers: bool) -> None:
    """Import what is heavy while the environment is made: a provider's SDK takes up to 1.4 s of CPU, and mcp, for the
    user's own servers, 0.8 s."""
    for package in (*dict.fromkeys(map(sdk_of, specs)), "tenacity", "mcp" if servers else None):
        if package is not None:
            importlib.import_module(package)


def _not_red(named: Sequence[str], baseline: Mapping[str, str]) -> str | None:
    """Why the tests that the user named do not show the bug on the base commit, if they do not."""
    from agent.gate.compare import matching

    for name in named:
        outcomes = {baseline[test] for test in matching(name, baseline)}
        if outcomes & {"failed", "error"}:
            continue
        if outcomes:
            how = "passes" if outcomes == {"passed"} else f"is {', '.join(sorted(outcomes))}"
            return f"not red on the base commit: {name} {how}"
        if (
            name.split("::")[0] not in baseline
        ):  # a file that does not even load stands in the baseline itself
            near = difflib.get_close_matches(name, baseline, 1, 0)
            return f"no such test on the base commit: {name}" + (
                f"; the nearest is {near[0]}" if near else ""
            )
    return None
