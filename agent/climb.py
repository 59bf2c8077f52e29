"""Up the ladder: attempts one after the other, or several side by side, until the gate accepts one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from structlog.contextvars import bind_contextvars

from agent import events
from agent.attempt import Ending
from agent.errors import AgentError, ModelError
from agent.event_log import EventLog
from agent.ladder import Asked, Rung, is_free, rungs_ahead
from agent.lanes import side_by_side
from agent.result import RunEnding
from agent.root_cause import Rejection
from agent.types import Verdict
from sandboxes.errors import SandboxError

FAULTS = ("model_error", "refused")
"""Endings that say nothing of the task: the model can't be asked, or won't answer."""
LIMITS = frozenset({"turns", "minutes", "context", "budget"})
"""Endings by a limit. One of the budget is the whole run's."""
FREE_SHARE = 0.5
"""Of the time that is left, what a free model may take where others stand behind it."""


class Work(Protocol):
    def __call__(
        self, spec: str, number: int, rejections: Sequence[Rejection], deadline: float, *, attempts: int
    ) -> Awaitable[Ending]:
        """The model's part of attempt `number`, one of `attempts`."""
        ...


class Judge(Protocol):
    def __call__(self, number: int, patch: bytes) -> Awaitable[Verdict]: ...


class Publish(Protocol):
    def __call__(self, patch: bytes, verdict: Verdict) -> Awaitable[RunEnding]: ...


@dataclass(frozen=True, slots=True)
class _Ended:
    number: int
    ending: Ending
    verdict: Verdict | None


@dataclass
class Climb:
    """The attempts of one run. `work`, `judge` and `publish` are the run's."""

    log: EventLog
    models: Sequence[str]
    start: int
    """The place in `models` where the ladder begins."""
    attempts: int
    best_of: int
    """Attempts side by side on each rung."""
    deadline: float
    """On anyio's clock."""
    work: Work
    judge: Judge
    publish: Publish
    past: Collection[int] = ()
    """Attempts that had ended when the run was gone on with; what was told of them is not told again."""
    _asked: list[Asked] = field(default_factory=list)
    _rejections: list[Rejection] = field(default_factory=list)
    _started: int = 0

    async def to_the_end(self) -> RunEnding:
        """Ask rung after rung. Raises ModelError when nobody is left who could be asked."""
        while rungs := self._ahead():
            if anyio.current_time() >= self.deadline:
                return RunEnding("limit", error="the run's time is spent")
            if (ending := await self._round(rungs)) is not None:
                return ending
            if any(rejection.how == "budget" for rejection in self._rejections):
                break
        return unsolved(self._rejections)

    def _ahead(self) -> list[Rung]:
        return rungs_ahead(self.models, self.attempts, self._asked, start=self.start)

    async def _round(self, rungs: Sequence[Rung]) -> RunEnding | None:
        """Attempts of the first rung, from the same facts. The first patch that the gate accepts ends the others."""
        rung, began = rungs[0], time.monotonic()
        numbers = range(self._started + 1, self._started + self._lanes(rung) + 1)
        of = self._started + sum(map(self._lanes, rungs))
        again = all(number in self.past for number in numbers)
        if not again:
            self._announce(rung, numbers, of)
        self._started += len(numbers)
        told, deadline = tuple(self._rejections), self._deadline(rungs)
        ended: list[_Ended] = []
        reached: list[RunEnding] = []
        lanes = {number: anyio.CancelScope() for number in numbers}
        faults: list[Exception] = []
        gate = anyio.Lock()  # two judgements at once would disturb each other's comparison of times

        async def lane(number: int) -> None:
            try:
                await attempted(number)
            except (SandboxError, AgentError) as error:
                # The engine may refuse one sandbox more: what the other lanes have is not lost by it.
                faults.append(error)

        async def attempted(number: int) -> None:
            bind_contextvars(attempt=number)  # for log lines: each attempt is a task of its own
            with lanes[number]:
                ending = await self.work(rung.spec, number, told, deadline, attempts=of)
                if ending.patch is None:
                    ended.append(_Ended(number, ending, None))
                    return
                async with gate:
                    verdict = await self.judge(number, ending.patch)
                    ended.append(_Ended(number, ending, verdict))
                    if verdict.accepted:
                        for other in set(lanes) - {number}:
                            lanes[other].cancel()
                    if verdict.accepted or (verdict.needs_review and not reached):
                        # At once: neither a fault nor an interruption takes it back.
                        reached.append(await self.publish(ending.patch, verdict))

        async with side_by_side() as tasks:
            for number in numbers:
                tasks.start_soon(lane, number)
        for one in ended:
            if one.verdict is not None and one.verdict.accepted:
                self._tell_outrun(one.number, numbers, ended, began)
        if faults and not ended:
            raise faults[0]
        for fault in faults:
            self.log.append(events.Note(f"an attempt side by side came to nothing: {fault}", "warning"))
        if reached:
            return reached[-1]
        self._enter(rung, ended, again)
        return None

    def _enter(self, rung: Rung, ended: Sequence[_Ended], again: bool) -> None:
        """Put into the record what a round without an accepted patch came to. Raises ModelError when its fault leaves
        nobody to ask."""
        real = [one for one in ended if one.ending.how not in FAULTS]
        self._rejections += [
            Rejection(one.number, one.ending.how, one.ending.detail, one.verdict, one.ending.patch)
            for one in real
        ]
        if real:
            self._asked.append(Asked(rung.spec, gave_up=all(one.ending.how == "gave_up" for one in real)))
            return
        fault = ended[-1].ending
        self._asked.append(Asked(rung.spec, out="provider" if fault.provider_down else "model"))
        if not self._ahead():
            raise ModelError(fault.detail)
        if again:
            return
        whom = "passed over, with its provider's other models" if fault.provider_down else "passed over"
        self.log.append(events.Note(f"{rung.spec} is {whom}: {fault.detail}", "warning"))

    def _lanes(self, rung: Rung) -> int:
        # The same search made twice finds the same.
        return 1 if is_free(rung.spec) else self.best_of

    def _deadline(self, rungs: Sequence[Rung]) -> float:
        if is_free(rungs[0].spec) and any(not is_free(rung.spec) for rung in rungs):
            now = anyio.current_time()
            return now + FREE_SHARE * (self.deadline - now)
        return self.deadline

    def _announce(self, rung: Rung, numbers: range, of: int) -> None:
        which = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
        beside = ", side by side" if len(numbers) > 1 else ""
        why = f" ({rung.why})" if rung.why else ""
        self.log.append(events.PhaseStarted("attempt", f"{which} of {of}{beside}: {rung.spec}{why}"))

    def _tell_outrun(self, winner: int, numbers: range, ended: Sequence[_Ended], began: float) -> None:
        """The end of those that were stopped, for who reads the log."""
        for number in sorted(set(numbers) - {one.number for one in ended}):
            mine = [e for e in self.log.events if getattr(e, "attempt", None) == number]
            detail = f"attempt {winner} was accepted first"
            if any(isinstance(e, events.AttemptEnded) for e in mine):
                self.log.append(events.Note(f"attempt {number} was not judged: {detail}"))
                continue
            turns = sum(isinstance(e, events.ModelReplied) for e in mine)
            seconds = time.monotonic() - began
            self.log.append(events.AttemptEnded(number, "outrun", detail, "", None, turns, seconds))


def unsolved(rejections: Sequence[Rejection]) -> RunEnding:
    """The status of a run whose attempts are spent, by what happened in all of them."""
    how = {rejection.how for rejection in rejections if rejection.verdict is None}
    if len(how) == 1 and all(rejection.verdict is None for rejection in rejections):
        last = rejections[-1]
        if how == {"sandbox_died"}:
            return RunEnding("environment", error=f"the sandbox died in every attempt: {last.detail}")
        if how <= LIMITS:
            return RunEnding("limit", error=last.detail)
    # Attempts side by side end in any order; once the money is spent, nothing comes after them.
    last = next((one for one in reversed(rejections) if one.how == "budget"), rejections[-1])
    if last.how in ("minutes", "budget"):
        return RunEnding("limit", error=last.detail)
    return RunEnding("rejected", error=rejections[-1].detail if rejections[-1].verdict is None else None)
