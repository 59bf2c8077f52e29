"""A run as plain data: what the page and `agent show` tell of it, read from its event log.

Nothing here is escaped: whoever prints it makes it safe for where it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent import result
from agent.event_log import Logged, current, read_events
from agent.events import (
    AttemptEnded,
    AttemptStarted,
    BaselineTaken,
    ContextMasked,
    EnvironmentReady,
    Event,
    ModelReplied,
    PhaseStarted,
    RunEnded,
    RunStarted,
    ToolReturned,
    VerdictReached,
    decode,
)
from agent.redaction import without_shapes
from agent.types import issue_title

MAX_ROWS = 200
"""Tests of a verdict that are listed."""


def read(folder: Path) -> Logged:
    """The events of a run, without what has the shape of a key: for all that leaves the run's folder. It is cut here,
    since half a key, where a text is shortened, has no shape. Raises UsageError, OSError."""
    return cleaned(read_events(folder / "events.jsonl"))


def cleaned(log: Iterable[tuple[Mapping[str, Any], Event]]) -> Logged:
    return current([(data, decode(data)) for data in map(without_shapes, (data for data, _ in log))])


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the run's time, in seconds from its first event. `kind`: setup, baseline, model, tool, gate."""

    kind: str
    start: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Compared:
    name: str
    before: str
    after: str
    proof: bool
    """Whether it is one of those that show the fix."""


@dataclass(frozen=True, slots=True)
class AttemptTold:
    number: int
    told: Mapping[str, Any]
    """As result.json has it."""
    changed: Sequence[str]
    segments: Sequence[Segment]
    masked_after: Sequence[int]
    """Turns after which old output was taken out of the conversation."""

    @property
    def word(self) -> str:
        """What became of it: the verdict, or how it ended without one."""
        verdict = self.told["verdict"]
        return str(self.told["ended"]) if verdict is None else verdict_word(verdict)


@dataclass(frozen=True, slots=True)
class Story:
    run_id: str
    status: str
    error: str
    title: str
    start: RunStarted
    started_at: datetime
    seconds: float
    attempts: Sequence[AttemptTold]
    segments: Sequence[Segment]
    """Of the run outside its attempts."""
    cost_usd: float | None
    result: Mapping[str, Any] | None
    """What result.json holds; None for a run that has not ended."""

    @property
    def decided(self) -> AttemptTold | None:
        """The attempt whose verdict is the run's: the accepted one, else the one for a person, else the last judged."""
        judged = [attempt for attempt in self.attempts if attempt.told["verdict"]]
        for word in ("accepted", "needs_review"):
            if found := [attempt for attempt in judged if attempt.word == word]:
                return found[-1]
        return judged[-1] if judged else None

    @property
    def cause(self) -> AttemptTold | None:
        """The attempt whose stated root cause is the run's."""
        stated = [attempt for attempt in self.attempts if attempt.told["hypothesis"]]
        decided = self.decided
        return decided if decided in stated else stated[-1] if stated else None


def tell(log: Logged) -> Story:
    """The story of a run. Raises ValueError for a log that does not begin with the run's start."""
    if not log or not isinstance(log[0][1], RunStarted):
        raise ValueError("the log does not begin with a run's start")
    start, events = log[0][1], [event for _, event in log]
    began = _at(log[0][0])
    told = next((event.result for event in events if isinstance(event, RunEnded)), None)
    ends = {event.attempt: event for event in events if isinstance(event, AttemptEnded)}
    segments = _segments(log, began)
    numbers = [event.attempt for event in events if isinstance(event, AttemptStarted)]
    attempts = [
        AttemptTold(
            number,
            data,
            ends[number].changed if number in ends else (),
            segments.get(number, ()),
            [e.turn for e in events if isinstance(e, ContextMasked) and e.attempt == number],
        )
        for number, data in zip(numbers, result.attempts(events), strict=True)
    ]
    return Story(
        start.run_id,
        str(told["status"]) if told else "unfinished",
        str(told["error"] or "") if told else "",
        issue_title(start.issue),
        start,
        began,
        max(0.0, (_at(log[-1][0]) - began).total_seconds()),
        attempts,
        segments.get(0, ()),
        result.cost(events),
        told,
    )


def _at(data: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(data["at"])


def _segments(log: Logged, began: datetime) -> dict[int, list[Segment]]:
    """What took time, by attempt; 0 is the run itself. Most events tell at their end how long they took."""
    found: dict[int, list[Segment]] = {}
    judging = 0.0

    def add(attempt: int, kind: str, end: float, seconds: float, label: str) -> None:
        # A clock that was set back in between must not give a stretch before the start, or of less than nothing.
        start = max(0.0, end - max(0.0, seconds))
        found.setdefault(attempt, []).append(Segment(kind, start, max(start, end), label))

    for data, event in log:
        now = (_at(data) - began).total_seconds()
        match event:
            case EnvironmentReady():
                add(0, "setup", now, event.seconds, "environment")
            case BaselineTaken():
                add(0, "baseline", now, event.seconds, "the suite on the base commit")
            case ModelReplied():
                add(event.attempt, "model", now, event.seconds, f"turn {event.turn}: model")
            case ToolReturned():
                add(event.attempt, "tool", now, event.seconds, f"turn {event.turn}: {event.name}")
            case PhaseStarted(phase="gate"):
                judging = now
            case VerdictReached():
                add(event.attempt, "gate", now, now - judging, f"gate: {verdict_word(event.verdict)}")
            case _:
                pass
    return found


def verdict_word(verdict: Mapping[str, Any]) -> str:
    if verdict["accepted"]:
        return "accepted"
    return "needs_review" if verdict.get("needs_review") else "rejected"


def compared(verdict: Mapping[str, Any]) -> tuple[list[Compared], int]:
    """The tests that show the fix, then all whose outcome the patch changes; and how many more there are."""
    before, after = verdict.get("before") or {}, verdict.get("after") or {}
    proof = list(verdict.get("fail_to_pass") or ())
    changed = sorted(test for test in before.keys() | after.keys() if before.get(test) != after.get(test))
    names = list(dict.fromkeys([*proof, *changed]))
    rows = [Compared(name, before.get(name, ""), after.get(name, ""), name in proof) for name in names]
    return rows[:MAX_ROWS], len(rows[MAX_ROWS:])


def unchanged(verdict: Mapping[str, Any]) -> dict[str, int]:
    """How many tests have the same outcome with and without the fix, by outcome."""
    before, after = verdict.get("before") or {}, verdict.get("after") or {}
    same = sorted(outcome for test, outcome in after.items() if before.get(test) == outcome)
    return {outcome: same.count(outcome) for outcome in dict.fromkeys(same)}


def worked(attempts: Sequence[AttemptTold], kind: str) -> float:
    """Seconds that all attempts together spent with a kind of work."""
    return sum(one.end - one.start for attempt in attempts for one in attempt.segments if one.kind == kind)
