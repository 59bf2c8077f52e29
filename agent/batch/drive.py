"""The batch itself: tasks go to an engine as there is room, and each comes back as one result.

A task whose process died is run again, `MAX_TRIES` times in all, and is then a crash: never an empty patch. One that
exceeds its time is asked to end, then killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.batch.engine import Ended, Engine, Told
from agent.batch.queue import Limits, Queue
from agent.batch.tasks import TaskLine

SCHEMA = 1
MAX_TRIES = 3
GRACE_SECONDS = 60.0
"""For a task that was asked to end, before it is killed."""
TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Result:
    """What one task came to: a line of results.jsonl."""

    id: str
    repo: str
    status: str
    """As of a run, or `invalid` (it could not be begun as it was given), or `crash`."""
    error: str | None
    tries: int
    seconds: float
    """Wall time of the last try."""
    model_patch: str | None = None
    """The patch, if it was accepted or needs a review."""
    run: Mapping[str, Any] | None = None
    """The run's result.json, if it came that far."""
    case: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cost_usd(self) -> float | None:
        """Of all requests of the last try; None where that is not known: whoever was killed told nothing."""
        if self.run is None:
            return None if self.status in ("crash", "limit") else 0.0
        cost: float | None = self.run["cost_usd"]
        return cost


class Watcher(Protocol):
    """Who looks on, such as a table on a terminal."""

    def started(self, line: TaskLine) -> None: ...
    def told(self, line: TaskLine, news: Mapping[str, Any]) -> None: ...
    def ended(self, line: TaskLine, result: Result | None, why: str) -> None:
        """`result` is None where the task is to be run again, now or by --resume; `why` says so then."""
        ...

    def say(self, text: str) -> None: ...
    def tick(self, waiting: int) -> None:
        """Called about twice a second."""
        ...


@dataclass
class Brakes:
    """What stops a batch: set from a signal handler, or by who asks for results."""

    drain: bool = False
    """Start nothing more."""
    stop: bool = False
    """End what runs, too. Nothing of that is a result."""
    spent: bool = False
    """The budget of all tasks refused a request; set by the batch, with `drain`."""
    said: str = ""
    """What the watcher is to be told of it; a signal handler itself must not print."""


@dataclass
class _Running:
    line: TaskLine
    began: float
    preparing: bool = True
    asked_to_end: float | None = None
    """When."""
    heard: bool = False
    """Until then it may be waiting for a place on another machine."""
    late: bool = False


def run_batch(
    lines: Iterable[TaskLine],
    engine: Engine,
    limits: Limits,
    *,
    seconds: float,
    watcher: Watcher,
    brakes: Brakes | None = None,
    may_start: Callable[[], bool] = lambda: True,
) -> Iterator[Result]:
    """Run the tasks; yields each result as it comes. `seconds` is what one task may take, all in all.

    Ends when all tasks have a result, or when `brakes` are on and nothing runs any more. `may_start` is asked before
    each start: once it says no, nothing more is begun.
    """
    batch = _Batch(engine, limits, seconds, watcher, brakes or Brakes(), may_start)
    yield from batch.run(lines)


class _Batch:
    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        seconds: float,
        watcher: Watcher,
        brakes: Brakes,
        may_start: Callable[[], bool],
    ) -> None:
        self._engine, self._limits, self._seconds = engine, limits, seconds
        self._watcher, self._brakes, self._may_start = watcher, brakes, may_start
        self._running: dict[str, _Running] = {}
        self._tries: dict[str, int] = {}

    def run(self, lines: Iterable[TaskLine]) -> Iterator[Result]:
        fine = []
        for line in lines:
            if line.fault:
                yield self._told(
                    line, Result(line.id, line.repo, "invalid", line.fault, 0, 0.0, case=line.case)
                )
            else:
                fine.append(line)
        self._queue = Queue(fine, self._limits)
        while True:
            self._start()
            if not self._running:
                return
            for happened in self._engine.wait(TICK_SECONDS):
                if isinstance(happened, Told):
                    self._hear(happened)
                elif (result := self._end(happened)) is not None:
                    yield result
            self._hurry()
            if self._brakes.said:
                self._watcher.say(self._brakes.said)
                self._brakes.said = ""
            self._watcher.tick(len(self._queue))

    def _start(self) -> None:
        while not (self._brakes.drain or self._brakes.stop):
            running = [one.line for one in self._running.values()]
            preparing = {one.line.repo for one in self._running.values() if one.preparing}
            line = self._queue.next(running, preparing)
            if line is None:
                return
            if not self._may_start():
                self._queue.again(line)
                self._brakes.drain = True
                return
            self._tries[line.id] = self._tries.get(line.id, 0) + 1
            self._running[line.id] = _Running(line, time.monotonic())
            self._watcher.started(line)
            self._engine.start(line)

    def _hear(self, told: Told) -> None:
        one = self._running.get(told.id)
        if one is not None:
            if not one.heard:
                one.heard, one.began = True, time.monotonic()
            one.preparing = one.preparing and told.news.get("type") != "environment_ready"
            self._watcher.told(one.line, told.news)

    def _end(self, ended: Ended) -> Result | None:
        """The result of a task that ended; None when it has none yet."""
        one = self._running.pop(ended.id)
        line, tries, seconds = one.line, self._tries[ended.id], time.monotonic() - one.began
        ending = ended.ending
        if one.late and (ending is None or ending["status"] == "interrupted"):
            error = f"the task took longer than {self._seconds / 60:g} minutes (--time-limit) and was ended"
            late = {**(ending or {}), "status": "limit", "error": error}
            return self._told(line, _result(line, late, tries, seconds))
        if ending is not None and ending.get("batch_spent"):
            self._brakes.drain = self._brakes.spent = True
            self._watcher.ended(line, None, "the batch's budget is spent; --resume with a larger one runs it")
            return None
        if ending is not None and ending["status"] != "interrupted":
            return self._told(line, _result(line, ending, tries, seconds))
        if self._brakes.stop:
            self._watcher.ended(line, None, "stopped; --resume runs it")
            return None
        crash = ended.crash or "its process was told to end by somebody else"
        if tries >= MAX_TRIES:
            error = f"its process died {tries} times, at last: {crash}"
            return self._told(line, _result(line, {"status": "crash", "error": error}, tries, seconds))
        self._watcher.ended(line, None, f"{crash}; it is run again")
        self._queue.again(line)
        return None

    def _told(self, line: TaskLine, result: Result) -> Result:
        self._watcher.ended(line, result, "")
        return result

    def _hurry(self) -> None:
        """End what has run for too long, or shall not run any more."""
        now = time.monotonic()
        for task, one in self._running.items():
            if one.asked_to_end is not None:
                if now - one.asked_to_end > GRACE_SECONDS:
                    self._engine.kill(task)
            elif self._brakes.stop or now - one.began > self._seconds:
                one.late = not self._brakes.stop
                one.asked_to_end = now
                self._engine.stop(task)


def _result(line: TaskLine, ending: Mapping[str, Any], tries: int, seconds: float) -> Result:
    return Result(
        line.id,
        line.repo,
        ending["status"],
        ending["error"],
        tries,
        round(seconds, 3),
        ending.get("model_patch"),
        ending.get("run"),
        line.case,
    )
