"""One run: a task through set-up, baseline, attempts, gate and publication."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from agent import attempt, events, set_up
from agent.budget import BudgetSpent
from agent.climb import Climb
from agent.config import Settings
from agent.environment import connect_driver, environment_of, sandbox_limits
from agent.errors import AgentError, EnvironmentFault, ModelError, NotSetUp, Refused
from agent.events import EventLog
from agent.facts import base_of, lay, proven_tests, suspects_of
from agent.hypotheses import Base, changed_places, ledger
from agent.lanes import side_by_side
from agent.models.google_cache import Caches
from agent.models.registry import open_model, paid, parse_spec, sdk_of, thrifty_info, warning
from agent.orientation.orient import Orientation
from agent.prompts import render, system_prompt
from agent.redaction import redact
from agent.result import RunEnding, build_result, servers_used, write_atomically
from agent.root_cause import Dossier, Rejection, brief
from agent.routing import choose, task_facts
from agent.types import Task, Verdict, issue_title
from sandboxes.errors import SandboxDied, SandboxError, SetupFailed
from sandboxes.spares import Spares

if TYPE_CHECKING:
    from agent.budget import Budget
    from agent.forge.publish import Publication
    from agent.gate import Baseline, Runner, Shelf
    from agent.git import Repository
    from agent.models import Model
    from agent.models.provider import FailedTry
    from sandboxes.driver import Driver
    from sandboxes.types import Environment
    from tools.junit import TestOutcome


@dataclass(frozen=True, slots=True)
class Publish:
    """Where an accepted patch goes besides the run's folder."""

    output: Path | None = None
    branch: str | None = None
    forge: Publication | None = None
    """GitHub: a pull request for an accepted patch, a comment for any other end."""


@dataclass(slots=True)
class Start:
    """What every attempt and every judgement of a run starts from."""

    spares: Spares
    environment: Environment
    gate: Runner
    baseline: Baseline
    """It gains its second run while the model works."""
    base: Base
    """What is known of the files of the base commit."""
    orientation: Orientation
    """What models are told of them."""
    stated: anyio.Event
    """Set with the first root cause."""
    suspects: dict[tuple[object, ...], str] = field(default_factory=dict)
    """What was seen of lines that only failing tests run, by tests."""


@dataclass
class Run:
    """One task on its way. `execute` is the whole of it; the rest are its steps."""

    run_id: str
    task: Task
    settings: Settings
    log: EventLog
    folder: Path
    repository: Repository
    publish: Publish
    shelf: Shelf | None = None
    """Where baselines are kept for the next run."""
    seed: int = 0
    result: dict[str, Any] | None = None
    reached: RunEnding | None = None
    """What a run has come to that goes on looking for something better."""
    caches: Caches = field(default_factory=Caches)
    """Gemini's explicit caches: made once, used by all attempts, deleted at the end."""
    budget: Budget | None = None
    """Where each request to a provider is reserved; models without one need none."""

    async def execute(self) -> dict[str, Any]:
        """Take the task to its end and return what result.json holds, which is then also on disk.

        Faults end the run with their status. Only cancellation goes on to the caller, after the result is written.
        """
        ending = RunEnding("interrupted")
        needed = partial(_import_sdks, self.settings.models, servers=bool(self.settings.servers))
        threading.Thread(target=needed, daemon=True).start()
        try:
            ending = await self._ended()
            ending = self.reached = await self._to_forge(self.reached or ending)
        except BaseException:
            self.reached = self._unpublished(self.reached)
            raise
        finally:
            self.log.append(events.RunEnded(self._keep(self.reached or ending)))
        assert self.result is not None
        return self.result

    async def _ended(self) -> RunEnding:
        """How the run ended, whatever happened to it but cancellation."""
        try:
            try:
                return await self._steps()
            finally:
                with anyio.CancelScope(shield=True):
                    await self.caches.close()
        except (SetupFailed, NotSetUp) as error:
            for line in error.log.splitlines():
                self._note(line)
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
        trace = self.folder / "internal-error.txt"
        write_atomically(trace, traceback.format_exc().encode("utf-8", "backslashreplace"))
        return f"internal error: {error!r}; please report {trace}"

    def _keep(self, ending: RunEnding) -> dict[str, Any]:
        """What the run has come to, put on disk as result.json."""
        self.result = redact(build_result(self.log.events, self.task, self.run_id, ending), self.log.secrets)
        write_atomically(self.folder / "result.json", json.dumps(self.result, indent=2).encode() + b"\n")
        return self.result

    async def _to_forge(self, ending: RunEnding) -> RunEnding:
        """Publish how the run ended, from its folder, where the verdict is whatever becomes of that."""
        forge = self.publish.forge
        if forge is None:
            return ending
        self._keep(ending)
        self.log.append(events.PhaseStarted("publish"))
        again = f"; try it again with: {forge.again(self.folder)}"
        try:
            done = await anyio.to_thread.run_sync(forge, self.folder, abandon_on_cancel=True)
        except Refused as refused:
            fault = f"not published: {refused}"
        except (AgentError, OSError) as error:
            fault = f"not published: {error}{again}"
        except Exception as error:
            fault = f"not published: {self._internal(error)}{again}"
        else:
            for what in filter(None, (done.pr_url, done.comment_url)):
                self._note(f"published: {what}")
            accepted = ending.status == "accepted"
            return replace(ending, branch=done.branch, pr_url=done.pr_url) if accepted else ending
        self._note(fault, "warning")
        return replace(ending, error=fault if ending.status == "accepted" else ending.error or fault)

    def _unpublished(self, reached: RunEnding | None) -> RunEnding | None:
        """What an interrupted run has come to: accepted, but not where the user asked for it, is no success."""
        forge = self.publish.forge
        if forge is None or reached is None or reached.status != "accepted" or reached.error:
            return reached
        return replace(
            reached, error=f"interrupted before it was published; publish it with: {forge.again(self.folder)}"
        )

    async def _steps(self) -> RunEnding:
        for line in filter(None, map(warning, dict.fromkeys(self.settings.models))):
            self._note(line, "warning")
        with self._orientation() as orientation:
            self.log.append(events.PhaseStarted("setup"))
            driver = await connect_driver(self.settings, self._note)
            attempts = partial(self._run, orientation, driver)
            try:
                return await attempts()
            except (SetupFailed, NotSetUp) as fault:
                spec = next(filter(paid, self.settings.models), None)
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
            self.repository.tree_of(self.task.base),
            driver,
            self.settings,
            self.repository,
            self._note,
            setup=wrote.commands if wrote else None,
            ready=self._ready,
        )
        async with opened as environment, side_by_side() as tasks:
            try:
                start = await self._baseline(Spares(driver, tasks), environment, orientation)
                if wrote:
                    self._keep_setup(wrote)
                if self.task.test_patch is None and (
                    fault := _not_red(self.task.fail_to_pass, start.baseline.outcomes)
                ):
                    return RunEnding("not_reproduced", error=fault)
                tasks.start_soon(self._again, start)
                return await self._attempts(start)
            finally:
                tasks.cancel_scope.cancel()

    async def _attempts(self, start: Start) -> RunEnding:
        climb = Climb(
            self.log,
            self.settings.models,
            self._first_rung(start),
            self.settings.attempts,
            self.settings.best_of,
            anyio.current_time() + self.settings.minutes * 60,
            partial(self._work, start),
            partial(self._judge, start),
            partial(self._published, start),
        )
        return await climb.to_the_end()

    def _first_rung(self, start: Start) -> int:
        """The place on the ladder where this task begins, told with its reason where there is a choice."""
        task, models = self.task, self.settings.models
        if len(models) == 1:
            return 0
        paths = self.repository.files(self.repository.tree_of(task.base))
        facts = task_facts(task.issue, paths, start.baseline.outcomes, task.fail_to_pass)
        place, why = choose(self.settings.routes, facts, len(models))
        self._note(f"routed to rung {place + 1} of {len(models)}, {models[place]}: {why}")
        return place

    async def _rewritten(
        self,
        attempts: Callable[[set_up.Written], Awaitable[RunEnding]],
        fault: SetupFailed | NotSetUp,
        spec: str,
    ) -> RunEnding | None:
        """The run with set-up commands that a model writes; None when it writes none that hold."""
        tree = self.repository.tree_of(self.task.base)
        facts = await anyio.to_thread.run_sync(set_up.facts, self.settings, self.repository, tree)

        def model() -> Model:
            retried = self._retried(set_up.ATTEMPT)
            return open_model(spec, seed=self.seed, on_failed_try=retried, budget=self.budget)

        writer = set_up.Writer(model, self.log, fault, facts)
        while (wrote := await writer.next()) is not None:
            try:
                return await attempts(wrote)
            except (SetupFailed, NotSetUp) as failed:
                writer.failed(failed)
        return None

    def _keep_setup(self, wrote: set_up.Written) -> None:
        """Put what a model wrote, and the baseline holds good, where the user finds it."""
        path = self.folder / "setup.toml"
        write_atomically(path, wrote.as_toml().encode())
        self.log.append(events.SetupWritten(wrote.model, wrote.commands, wrote.why, str(path)))

    def _ready(self, environment: Environment, seconds: float) -> None:
        told = environment.image, environment.digest, environment.summary
        self.log.append(events.EnvironmentReady(*told, seconds))

    @contextmanager
    def _orientation(self) -> Iterator[Orientation]:
        """The repository is parsed from now on, beside all else."""
        tree = self.repository.tree_of(self.task.base)
        made = Orientation(
            self.repository,
            tree,
            self.task.issue,
            self.settings.context,
            lambda: base_of(self.repository, tree).is_product,
            self._note,
        )
        made.begin(self.settings.models)
        try:
            yield made
        finally:
            made.close()

    async def _baseline(self, spares: Spares, environment: Environment, orientation: Orientation) -> Start:
        """The outcomes of the repository's tests at the base commit; the first attempt's sandbox starts beside it."""
        from agent.gate import Runner

        limits = sandbox_limits(self.settings, self.settings.minutes * 60)
        spares.keep(environment, run_id=self.run_id, limits=limits, number=self.settings.best_of)

        self.log.append(events.PhaseStarted("baseline", self.settings.test))
        started = time.monotonic()
        gate = Runner(
            spares,
            self.repository,
            environment,
            self.settings.test,
            self.settings.test_timeout,
            self.run_id,
            self._note,
            sandbox_limits(self.settings, self.settings.test_timeout),
            self.shelf,
        )
        # A suite that hangs on the base must not take more than what the whole run was given.
        hasty = replace(gate, timeout=min(self.settings.test_timeout, self.settings.minutes * 60))
        baseline = await hasty.baseline(self.task.base)
        outcomes = list(baseline.outcomes.values())
        failing = sorted(t for t, o in baseline.outcomes.items() if o in ("failed", "error"))
        counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        self.log.append(events.BaselineTaken(counts, failing, time.monotonic() - started))
        tree = self.repository.tree_of(self.task.base)
        stated = anyio.Event()
        self.log.listeners.append(
            lambda event: stated.set() if event["type"] == "hypothesis_stated" else None
        )
        base = base_of(self.repository, tree)
        return Start(spares, environment, gate, baseline, base, orientation, stated)

    async def _again(self, start: Start) -> None:
        """The suite on the base once more, while the model works: what ends otherwise now is flaky."""
        try:
            start.baseline = await start.gate.again(self.task.base, start.baseline)
        except EnvironmentFault as fault:
            self._note(f"the suite could not be run a second time on the base commit: {fault}", "warning")
        if flaky := sorted(start.baseline.flaky):
            listed = ", ".join(flaky[:10]) + (f" and {len(flaky) - 10} more" if len(flaky) > 10 else "")
            self._note(f"flaky on the base commit: {listed}", "warning")

    async def _work(
        self,
        start: Start,
        spec: str,
        number: int,
        rejections: Sequence[Rejection],
        deadline: float,
        *,
        attempts: int,
    ) -> attempt.Ending:
        """The model's part: a new sandbox, a new conversation, verified facts."""
        from agent.servers.client import open_servers
        from agent.toolbox import opening

        whole = await start.orientation.whole(spec)
        system = logged = system_prompt(spec)
        if whole is not None:
            system += "\n" + render("repository", files=whole.text)
            logged += "\n" + render("repository", files=whole.stands_for)
        left = deadline - anyio.current_time()
        model = open_model(
            spec,
            seconds=left,
            seed=self.seed,
            attempt=number,
            on_failed_try=self._retried(number),
            budget=self.budget,
            caches=self.caches,
            lasting=whole is not None,
        )
        self.log.append(events.AttemptStarted(number, spec, parse_spec(spec).thinking, logged))
        tests = await anyio.to_thread.run_sync(proven_tests, self.repository, self.task.base, rejections)
        suspects = await self._suspects(start, tests) if rejections else ""
        # A model that searches by a plan of its own calls no tools but ours.
        asked = () if model.repeats_itself else self.settings.servers
        started = time.monotonic()
        try:
            limits = sandbox_limits(self.settings, left)
            async with opening(
                start.spares.sandbox(start.environment, run_id=self.run_id, limits=limits),
                test_command=self.settings.test,
                servers=lambda sandbox: open_servers(asked, sandbox, attempt=number, report=self.log.append),
                then=partial(self._warm, start),
            ) as toolbox:
                if asked:
                    await toolbox.there()  # only then it is known which tools they have
                laid, faults = await lay(toolbox, tests)
                for fault in faults:
                    self._note(fault, "warning")
                dossier = Dossier(rejections, ledger(self.log.events), laid, suspects)
                repository_map = "" if whole else await start.orientation.map(spec, self._red(start))
                told = brief(
                    self.task,
                    self.settings.test,
                    start.baseline.outcomes,
                    dossier,
                    number=number,
                    attempts=attempts,
                    is_product=start.base.is_product,
                    repository_map=repository_map,
                )
                self.log.append(events.UserSaid(number, told))
                ending = await attempt.Attempt(
                    number,
                    model,
                    toolbox,
                    self.log,
                    start.base,
                    system,
                    self.settings.turns,
                    deadline,
                    thrifty_info(spec),
                    toolbox.read,
                ).work()
        except SandboxDied as died:
            turns = sum(isinstance(e, events.ModelReplied) and e.attempt == number for e in self.log.events)
            ending = attempt.Ending(
                "sandbox_died", str(died), turns=turns, seconds=time.monotonic() - started
            )
        finally:
            with anyio.CancelScope(shield=True):
                await model.close()
        self.log.append(
            events.AttemptEnded(
                number,
                ending.how,
                ending.detail,
                ending.root_cause,
                hashlib.sha256(ending.patch).hexdigest() if ending.patch else None,
                ending.turns,
                ending.seconds,
                changed_places(ending.patch or b""),
            )
        )
        return ending

    def _red(self, start: Start) -> dict[str, TestOutcome]:
        """The outcomes of the tests that the user named, as far as the base has them."""
        from agent.gate.compare import matching

        if self.task.test_patch is not None:
            return {}
        seen = start.baseline.run.outcomes
        found = {test for name in self.task.fail_to_pass for test in matching(name, seen)}
        return {test: seen[test] for test in sorted(found) if seen[test].outcome in ("failed", "error")}

    async def _warm(self, start: Start) -> None:
        """Have the sandboxes that judge first started while the model thinks: once it has stated a root cause, since
        what comes before no patch can. To start one takes half a second of a CPU."""
        await start.stated.wait()
        await start.gate.count_lanes()
        limits = sandbox_limits(self.settings, self.settings.test_timeout)
        lanes = int(start.gate.lanes.total_tokens)
        start.spares.keep(start.environment, run_id=self.run_id, limits=limits, number=lanes)

    async def _suspects(self, start: Start, tests: Mapping[str, str]) -> str:
        """Which lines of the base only failing tests run, as text; empty where nothing can be told of that."""
        failing = tuple(self.task.fail_to_pass) if self.task.test_patch is None else ()
        key = (*failing, *sorted(tests.items()))
        if key not in start.suspects:
            told, reason = await suspects_of(start.gate, self.task, failing, tests)
            if reason:
                self._note(f"no lines that only failing tests run: {reason}")
            start.suspects[key] = told
        return start.suspects[key]

    async def _judge(self, start: Start, number: int, patch: bytes) -> Verdict:
        """The gate's word on `patch`, kept in the run's folder with the patch itself."""
        from agent.gate.judge import judge
        from agent.gate.proof import proof, verdict_json

        self.log.append(events.PhaseStarted("gate", f"attempt {number}"))
        write_atomically(self.folder / "gate" / f"{number}.diff", patch)
        verdict = await judge(start.gate, patch, **self._inputs(start))
        data = redact(verdict_json(verdict), self.log.secrets)
        write_atomically(self.folder / "gate" / f"{number}.json", json.dumps(data, indent=2).encode() + b"\n")
        self.log.append(events.VerdictReached(number, data))
        if verdict.accepted:
            evidence = proof(
                verdict,
                base=self.task.base,
                patch=patch,
                environment=start.environment,
                test_command=self.settings.test,
                fail_to_pass=self.task.fail_to_pass,
                test_patch=self.task.test_patch,
            )
            evidence["mcp_servers"] = servers_used(self.log.events)
            write_atomically(
                self.folder / "proof.json",
                json.dumps(redact(evidence, self.log.secrets), indent=2).encode() + b"\n",
            )
        return verdict

    def _inputs(self, start: Start) -> dict[str, Any]:
        """What the gate judges by, beside the patch."""
        return {
            "base": self.task.base,
            "fail_to_pass": self.task.fail_to_pass,
            "test_patch": self.task.test_patch,
            "baseline": start.baseline,
            "extra_checks": self.settings.checks,
        }

    async def _offer_smaller(self, start: Start, patch: bytes, verdict: Verdict) -> None:
        """Put a smaller patch that is accepted too beside an accepted one."""
        from agent.gate.smaller import smaller

        try:
            found = await smaller(start.gate, verdict, patch, **self._inputs(start))
        except EnvironmentFault as fault:
            self._note(f"not looked for a smaller patch: {fault}", "warning")
            return
        if found:
            path = self.folder / "smaller.diff"
            write_atomically(path, found.patch)
            left = "\n".join(found.left_out)
            self._note(f"accepted as well without these hunks, as {path}:\n{left}")

    async def _published(self, start: Start, patch: bytes, verdict: Verdict) -> RunEnding:
        """Put the patch where the user asked for it; the run's folder always has it."""
        status = verdict.status
        path = self.folder / "patch.diff"
        write_atomically(path, patch)
        try:
            if self.publish.output is not None:
                write_atomically(self.publish.output, patch)
                path = self.publish.output
            branch = self.publish.branch if verdict.accepted else None
            if branch is not None:
                base = self.task.base
                tree = self.repository.apply(self.repository.tree_of(base), patch)
                title = issue_title(self.task.issue)
                message = f"Fix: {title[:68]}\n\nAccepted by the gate of run {self.run_id}.\n"
                self.repository.create_branch(branch, tree, base, message)
        except (OSError, AgentError) as error:
            # The verdict stands and the patch is safe; only its second home failed.
            self._note(f"the patch is in {self.folder / 'patch.diff'}, but not published: {error}", "warning")
            self.reached = RunEnding(
                status, patch=str(self.folder / "patch.diff"), error=f"not published: {error}"
            )
            return self.reached
        # An interruption from here on takes nothing back.
        self.reached = RunEnding(status, patch=str(path), branch=branch)
        if verdict.accepted:
            await self._offer_smaller(start, patch, verdict)
        return self.reached

    def _note(self, text: str, level: Any = "info") -> None:
        self.log.append(events.Note(text, level))

    def _retried(self, number: int) -> Any:
        def note(tried: FailedTry) -> None:
            self.log.append(
                events.ModelRetried(number, tried.reason, tried.wait_seconds, tried.usage, tried.cost_usd)
            )

        return note


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
