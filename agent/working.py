"""The model's part of an attempt: a fresh sandbox, verified facts, the loop; gone on with where it was interrupted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from agent import attempt, events
from agent.attempt import SAME
from agent.calls import mended
from agent.environment import sandbox_limits
from agent.errors import EnvironmentFault
from agent.facts import lay, proven_tests, suspects_of
from agent.hypotheses import changed_places, ledger
from agent.job import Job, Start
from agent.models.registry import parse_spec, thrifty_info
from agent.past import patch_path
from agent.prompts import render, system_prompt
from agent.result import write_atomically
from agent.root_cause import Dossier, Rejection, brief
from agent.toolbox import tool_specs
from agent.types import ToolCall
from sandboxes.errors import EngineUnavailable, SandboxDied

if TYPE_CHECKING:
    from agent.events import Event
    from agent.models import Model
    from agent.toolbox import Opening
    from tools.junit import TestOutcome

SANDBOXES = 3
"""That one attempt may use up: a model that kills each of them gets nowhere."""


async def work(
    job: Job,
    start: Start,
    spec: str,
    number: int,
    rejections: Sequence[Rejection],
    deadline: float,
    *,
    attempts: int,
) -> attempt.Ending:
    """Attempt `number` of at most `attempts`, to its end, which is logged; what it came to before stands."""
    if (ended := job.past.ending(number)) is not None:
        return ended
    whole = await start.orientation.whole(spec)
    system = logged = system_prompt(spec)
    if whole is not None:
        system += "\n" + render("repository", files=whole.text)
        logged += "\n" + render("repository", files=whole.stands_for)
    model = job.open_model(
        spec,
        seconds=deadline - anyio.current_time(),
        seed=job.seed,
        attempt=number,
        on_failed_try=job.retried(number),
        budget=job.budget,
        caches=job.caches,
        lasting=whole is not None,
        answered=sum(isinstance(e, events.ModelReplied) for e in job.log.of(number)),
    )
    if model.repeats_itself:  # it searches by a plan that no log holds, and asks no money for it
        job.log.forget(number)
    if not any(isinstance(event, events.AttemptStarted) for event in job.log.of(number)):
        job.log.append(events.AttemptStarted(number, spec, parse_spec(spec).thinking, logged))
    part = _Part(job, start, spec, number, rejections, deadline, attempts, model, system, whole is not None)
    try:
        ending = await part.in_sandboxes()
    finally:
        with anyio.CancelScope(shield=True):
            await model.close()
    digest = None
    if ending.patch:
        digest = hashlib.sha256(ending.patch).hexdigest()
        # Before the log tells of it: the gate may be asked about it by another process.
        await anyio.to_thread.run_sync(write_atomically, patch_path(job.folder, number), ending.patch)
    job.log.append(
        events.AttemptEnded(
            number,
            ending.how,
            ending.detail,
            ending.root_cause,
            digest,
            ending.turns,
            ending.seconds,
            changed_places(ending.patch or b""),
            ending.provider_down,
        )
    )
    return ending


@dataclass
class Waiting:
    """For an engine that was there a moment ago, and is most likely being restarted."""

    seconds: float = 120.0
    _until: float = 0.0
    _stand: int | None = None

    async def goes_on(self, stand: int, deadline: float = float("inf")) -> bool:
        """Wait a little; False once it was away for long. `stand` is how far the work is: it goes up between two times
        that the engine is away."""
        now = anyio.current_time()
        if stand != self._stand:
            self._stand, self._until = stand, now + self.seconds
        if now >= min(self._until, deadline):
            return False
        await anyio.sleep(1.0)
        return True


@dataclass
class _Part:
    """One attempt in its sandboxes."""

    job: Job
    start: Start
    spec: str
    number: int
    rejections: Sequence[Rejection]
    deadline: float
    attempts: int
    model: Model
    system: str
    whole: bool
    """The model is told all of the repository."""

    async def in_sandboxes(self) -> attempt.Ending:
        """The attempt's end, in a new sandbox with the same files when one is lost, or its engine is for a while."""
        started, left, lost, waiting = anyio.current_time(), SANDBOXES, "", Waiting()
        while True:
            try:
                return await self._once(lost)
            except SandboxDied as died:
                left, fault = left - 1, str(died)
                if not left or self.model.repeats_itself or anyio.current_time() >= self.deadline:
                    seconds = anyio.current_time() - started
                    return attempt.Ending("sandbox_died", fault, turns=self._replies(), seconds=seconds)
            except EngineUnavailable as gone:
                fault = str(gone)
                if self.model.repeats_itself or not await waiting.goes_on(self._replies(), self.deadline):
                    raise
            self.start.spares.forget()
            if fault != lost:
                self.job.log.append(events.SandboxRemade(self.number, self._replies(), fault))
            lost = fault

    def _replies(self) -> int:
        return sum(isinstance(event, events.ModelReplied) for event in self.job.log.of(self.number))

    async def _once(self, lost: str) -> attempt.Ending:
        from agent.servers.client import open_servers
        from agent.toolbox import opening

        job, start, number = self.job, self.start, self.number
        tests = await anyio.to_thread.run_sync(proven_tests, job.repository, job.task.base, self.rejections)
        # A model that searches by a plan of its own calls no tools but ours.
        asked = () if self.model.repeats_itself else job.settings.servers
        limits = sandbox_limits(job.settings, self.deadline - anyio.current_time())
        async with opening(
            start.spares.sandbox(start.environment, run_id=job.run_id, limits=limits),
            test_command=job.settings.test,
            servers=lambda sandbox: open_servers(asked, sandbox, attempt=number, report=job.log.append),
            then=partial(_warm, job, start),
        ) as toolbox:
            if asked:
                await toolbox.there()  # only then it is known which tools they have
            if any(isinstance(event, events.UserSaid) for event in job.log.of(number)):
                await _restore(job, toolbox, number, tests)
            else:
                await self._tell(toolbox, tests)
            return await attempt.Attempt(
                number,
                self.model,
                toolbox,
                job.log,
                start.base,
                self.system,
                job.settings.turns,
                self.deadline,
                thrifty_info(self.spec),
                toolbox.read,
                None if self.model.repeats_itself else partial(_keep, job, number),
                lost,
            ).work()

    async def _tell(self, toolbox: Opening, tests: Mapping[str, str]) -> None:
        """Begin the conversation."""
        job, start = self.job, self.start
        suspects = await _suspects(job, start, tests) if self.rejections else ""
        laid, faults = await lay(toolbox, tests)
        for fault in faults:
            job.note(fault, "warning")
        dossier = Dossier(self.rejections, ledger(job.log.events), laid, suspects)
        repository_map = "" if self.whole else await start.orientation.map(self.spec, _red(job, start))
        told = brief(
            job.task,
            job.settings.test,
            start.baseline.outcomes,
            dossier,
            number=self.number,
            attempts=self.attempts,
            is_product=start.base.is_product,
            repository_map=repository_map,
        )
        job.log.append(events.UserSaid(self.number, told))


async def _keep(job: Job, number: int, turn: int, results: int, patch: bytes) -> None:
    """Keep what the workspace changed, should this process or the sandbox end."""
    digest = hashlib.sha256(patch).hexdigest()
    last = _last_kept(job.log.of(number))
    if last is None or last.sha256 != digest:
        await anyio.to_thread.run_sync(write_atomically, _kept_path(job.folder, number, digest), patch)
    job.log.append(events.WorkspaceKept(number, turn, results, digest))
    # Only now: until it was logged, the one before it was the one that counts.
    if last is not None and last.sha256 != digest:
        _kept_path(job.folder, number, last.sha256).unlink(missing_ok=True)


def _last_kept(log: Sequence[Event]) -> events.WorkspaceKept | None:
    return next((event for event in reversed(log) if isinstance(event, events.WorkspaceKept)), None)


def _kept_path(folder: Path, number: int, digest: str) -> Path:
    return folder / "workspace" / f"{number}-{digest[:16]}.diff"


async def _restore(job: Job, toolbox: Opening, number: int, tests: Mapping[str, str]) -> None:
    """Make the workspace of a new sandbox what the attempt's log tells of the last one.

    Calls that may have changed files after these were kept last are made again; what they answer was answered before.
    Raises EnvironmentFault when the files are lost.
    """
    from agent.git import PatchError
    from agent.laying import lay_tree

    log = job.log.of(number)
    # Changes are measured against what is there now.
    await toolbox.call(ToolCall("restore", "diff", {}), timeout=300)
    kept = _last_kept(log)
    if kept is None:
        await lay(toolbox, tests)
    else:
        path = _kept_path(job.folder, number, kept.sha256)
        try:
            patch = path.read_bytes()
            if hashlib.sha256(patch).hexdigest() != kept.sha256:
                raise EnvironmentFault(f"{path}: not the change that the run's log tells of")
            repository = job.repository
            tree = repository.apply(repository.tree_of(job.task.base), patch) if patch else ""
        except (OSError, PatchError) as error:
            raise EnvironmentFault(f"attempt {number} can't be gone on with: {error}") from error
        if tree:
            await lay_tree(await toolbox.sandbox(), job.repository, tree)
    for call in since(log, kept.results if kept else 0):
        await toolbox.call(call, timeout=job.settings.test_timeout)


def since(log: Sequence[Event], results: int) -> Iterator[ToolCall]:
    """The calls of our tools after the first `results` that may have changed files, as they were run."""
    by_name = {spec.name: spec for spec in tool_specs() if not spec.read_only and spec.name not in SAME}
    calls: list[ToolCall] = []
    for event in log:
        if isinstance(event, events.ModelReplied):
            calls = list(event.tool_calls)
        elif isinstance(event, events.ToolReturned) and calls:
            results, call = results - 1, calls.pop(0)
            if results < 0 and not event.refused and call.name in by_name:
                yield mended(call, by_name[call.name])


async def _warm(job: Job, start: Start) -> None:
    """Have the sandboxes that judge first started while the model thinks: once it has stated a root cause, since what
    comes before no patch can. To start one takes half a second of a CPU."""
    await start.stated.wait()
    await start.gate.count_lanes()
    limits = sandbox_limits(job.settings, job.settings.test_timeout)
    lanes = int(start.gate.lanes.total_tokens)
    start.spares.keep(start.environment, run_id=job.run_id, limits=limits, number=lanes)


def _red(job: Job, start: Start) -> dict[str, TestOutcome]:
    """The outcomes of the tests that the user named, as far as the base has them."""
    from agent.gate.compare import matching

    if job.task.test_patch is not None:
        return {}
    seen = start.baseline.run.outcomes
    found = {test for name in job.task.fail_to_pass for test in matching(name, seen)}
    return {test: seen[test] for test in sorted(found) if seen[test].outcome in ("failed", "error")}


async def _suspects(job: Job, start: Start, tests: Mapping[str, str]) -> str:
    """Which lines of the base only failing tests run, as text; empty where nothing can be told of that."""
    failing = tuple(job.task.fail_to_pass) if job.task.test_patch is None else ()
    key = (*failing, *sorted(tests.items()))
    if key not in start.suspects:
        told, reason = await suspects_of(start.gate, job.task, failing, tests)
        if reason:
            job.note(f"no lines that only failing tests run: {reason}")
        start.suspects[key] = told
    return start.suspects[key]
