"""A recorded run made again without its models: their replies are the log's, tools and gate are real."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from agent.event_log import Logged
from agent.events import (
    AttemptEnded,
    BaselineTaken,
    DriftSeen,
    Event,
    HypothesisStated,
    ModelReplied,
    ToolReturned,
    VerdictReached,
)
from agent.gate.proof import verdict_from_json
from agent.models import Model
from agent.models.recorded import Recorded
from agent.models.registry import parse_spec
from agent.types import Reply

_VARIES = re.compile(
    r"\b\d+(?:\.\d+)?(?: ?(?:ms|µs|us|s|sec|seconds|min)\b)|0x[0-9a-fA-F]+|/tmp/\S+|\b\d\d:\d\d(?::\d\d)?(?:\.\d+)?\b"
)
"""Times, addresses and names of temporary files, which are others each time."""

OUTSIDE = ("budget", "minutes", "model_error", "sandbox_died", "outrun")
"""Ends of an attempt that are not of its own making."""
ENDS = ("baseline", "end", "verdict")


def opener(log: Logged) -> Callable[..., Model]:
    """In place of `registry.open_model`: the replies of a log, by attempt."""
    replies: dict[int, list[Reply]] = defaultdict(list)
    for _, event in log:
        if isinstance(event, ModelReplied):
            replies[event.attempt].append(event.reply())

    def open_model(spec: str, *, attempt: int = 1, **_: Any) -> Model:
        plan = parse_spec(spec).provider == "local"
        return Recorded(list(replies[attempt]), None, spec, repeats_itself=plan)

    return open_model


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that came out otherwise."""

    attempt: int
    """0 for the run itself."""
    where: str
    then: str
    now: str
    text_only: bool = False
    """A tool said something else, and did the same as far as can be told."""


@dataclass(frozen=True, slots=True)
class _Fact:
    where: str
    what: str
    text: str = ""


def differences(then: Logged, now: Logged) -> list[Difference]:
    """Where a replay differs from what was recorded, in order. Of an attempt, nothing is told after what it parts at:
    the model would have been told something else from there on. What was not recorded to its end is not missed, nor
    what another attempt, accepted before it, has now kept from its end."""
    found: list[Difference] = []
    before, after = _facts(then), _facts(now)
    won = {
        e.attempt for _, e in now if isinstance(e, VerdictReached) and verdict_from_json(e.verdict).accepted
    }
    for attempt, recorded in before.items():
        remade = after.get(attempt, [])
        outrun = bool(won - {attempt}) and not (remade and remade[-1].where in ENDS)
        whole = recorded[-1].where in ENDS
        for old, new in zip_longest(recorded, remade):
            if old is None or new is None:
                if whole and not (outrun and new is None):
                    was, now_is = (f"{one.where}: {one.what}" if one else "nothing" for one in (old, new))
                    found.append(Difference(attempt, (old or new).where, was, now_is))
                break
            if (old.where, old.what) != (new.where, new.what):
                found.append(Difference(attempt, old.where, old.what, f"{new.where}: {new.what}"))
                break
            if old.text != new.text:
                found.append(Difference(attempt, old.where, *_first(old.text, new.text), text_only=True))
    return found


def compared(log: Logged) -> Mapping[str, int]:
    """How much of a log a replay is held against."""
    return {
        "results": sum(isinstance(event, ToolReturned) for _, event in log),
        "verdicts": sum(isinstance(event, VerdictReached) for _, event in log),
    }


def _facts(log: Logged) -> dict[int, list[_Fact]]:
    found: dict[int, list[_Fact]] = defaultdict(list)
    for _, event in log:
        if isinstance(event, BaselineTaken):  # each process that went on with a run took it again
            found[0].clear()
        for fact in _fact(event):
            found[getattr(event, "attempt", 0)].append(fact)
    return found


def _fact(event: Event) -> Iterator[_Fact]:
    match event:
        case BaselineTaken():
            counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(event.counts.items()))
            yield _Fact("baseline", f"{counts}; failing: {', '.join(event.failing) or 'none'}")
        case ToolReturned():
            how = "refused" if event.refused else "error" if event.is_error else "ok"
            yield _Fact(f"turn {event.turn}, {event.name}", how, _VARIES.sub("…", event.text))
        case HypothesisStated():
            yield _Fact(f"turn {event.turn}, root cause", event.unchecked or "confirmed")
        case DriftSeen():
            yield _Fact(f"turn {event.turn}, drift", event.kind)
        case AttemptEnded() if event.how not in OUTSIDE:
            yield _Fact("end", f"{event.how}, patch {(event.patch_sha256 or 'none')[:16]}")
        case VerdictReached():
            verdict = event.verdict
            status = verdict_from_json(verdict).status
            failed = [check["name"] for check in verdict["checks"] if not check["passed"]]
            outcomes = [
                f"{test} {how}" for side in ("before", "after") for test, how in sorted(verdict[side].items())
            ]
            yield _Fact("verdict", f"{status}{': ' + ', '.join(failed) if failed else ''}")
            yield _Fact("verdict", "; ".join(outcomes))
        case _:
            pass


def _first(then: str, now: str) -> tuple[str, str]:
    """The first lines that differ."""
    for old, new in zip_longest(then.splitlines(), now.splitlines()):
        if old != new:
            return old if old is not None else "nothing", new if new is not None else "nothing"
    return then[-80:], now[-80:]
