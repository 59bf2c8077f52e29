"""The append-only log of a run: one JSON object a line, one writer, flushed per line, versioned.

Everything else (the conversation, cost, `agent show`, the report) is read from these events.
A line is `{"v": 1, "n": <sequence>, "at": <UTC, ISO 8601>, "t": <seconds, by a clock that nobody sets>,
"type": <event name>, …the event's fields}`.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from agent.errors import UsageError
from agent.events import (
    VERSION,
    AttemptEnded,
    AttemptStarted,
    Event,
    ModelRetried,
    RunEnded,
    RunResumed,
    VerdictReached,
    check,
    decode,
    encode,
)
from agent.redaction import redact


@dataclass
class EventLog:
    """The one writer of a run's events. `listeners` get each event's JSON data after it is on disk."""

    path: Path
    secrets: Sequence[str] = ()
    listeners: list[Callable[[Mapping[str, Any]], None]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    _size: int = 0
    _count: int = 0
    _opened: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._count = self._count or len(self.events)

    @classmethod
    def reopened(cls, path: Path, secrets: Sequence[str] = ()) -> Self:
        """A log to go on with; a torn last line is cut off. Its `events` are those that still count (see `current`).

        Raises UsageError for what is no log, or one of a newer version.
        """
        read = list(read_events(path))
        whole = path.read_bytes().rfind(b"\n") + 1
        os.truncate(path, whole)
        events = [event for _, event in current(read)]
        return cls(path, secrets, events=events, _size=whole, _count=len(read))

    def of(self, attempt: int) -> list[Event]:
        """The events of one attempt."""
        return [event for event in self.events if getattr(event, "attempt", None) == attempt]

    def forget(self, attempt: int) -> None:
        """What was logged of an attempt that is begun again no longer counts, but for what it cost."""
        self.events[:] = [
            event
            for event in self.events
            if getattr(event, "attempt", None) != attempt or isinstance(event, ModelRetried)
        ]

    def append(self, event: Event) -> None:
        """Write one line. What a secret is stays out of the file and away from listeners. Raises OSError, with the file
        as it was before, where there is no room for it."""
        data = {
            "v": VERSION,
            "n": self._count,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "t": round(time.monotonic() - self._opened, 3),
            **redact(encode(event), self.secrets),
        }
        # Appending in one write keeps every earlier line whole when the process is killed in mid-line.
        line = (json.dumps(data, ensure_ascii=True, separators=(",", ":")) + "\n").encode()
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(fd, line) != len(line):  # the disk is full; later events must not join a torn line
                os.ftruncate(fd, self._size)
                raise OSError(errno.ENOSPC, "no space left for the event log", str(self.path))
            self._size += len(line)
        finally:
            os.close(fd)
        self._count += 1
        # What is kept in memory is what a reader of the file would get: the conversation is made of it.
        self.events.append(decode(data))
        for listener in self.listeners:
            listener(data)


Logged = Sequence[tuple[Mapping[str, Any], Event]]
"""Events with their JSON data, as `read_events` gives them."""


def current(log: Logged) -> Logged:
    """The events that still count, of a run that was gone on with: an attempt that was begun again is what it is since
    its last start, and what ended before it went on has not ended there."""
    kept: list[tuple[Mapping[str, Any], Event]] = []
    begun: set[int] = set()
    going: set[int] = set()
    resumed = False
    for one in reversed(log):
        event, number = one[1], getattr(one[1], "attempt", None)
        if isinstance(event, ModelRetried) or (
            number not in begun and not _superseded(event, going, resumed)
        ):
            kept.append(one)
        if isinstance(event, AttemptStarted):
            begun.add(event.attempt)
        elif number is not None and not isinstance(event, VerdictReached | ModelRetried):
            going.add(number)
        resumed = resumed or isinstance(event, RunResumed | RunEnded)
    return kept[::-1]


def _superseded(event: Event, going: set[int], resumed: bool) -> bool:
    return (isinstance(event, AttemptEnded | VerdictReached) and event.attempt in going) or (
        isinstance(event, RunEnded) and resumed
    )


def read_events(path: Path) -> Iterator[tuple[Mapping[str, Any], Event]]:
    """The events of a log with their JSON data. A torn last line, left by a kill, is passed over. Raises UsageError."""
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if number == len(lines) or not line:
            continue  # what no line break ends was not written whole
        try:
            data = json.loads(line)
            if not isinstance(data, dict):
                raise ValueError("no JSON object")
            event = decode(data)
            check(event)
            float(data.get("t", 0.0))
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            raise UsageError(f"{path}, line {number}: not an event of this agent: {error}") from error
        yield data, event
