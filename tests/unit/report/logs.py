"""Event logs for the tests of what is told of a run: of every kind of event, with any text, of any length."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from agent import events
from agent.event_log import read_events
from agent.events import Event, encode
from agent.report.story import Logged
from agent.types import ToolCall, Usage

SESSIONS = Path(__file__).parent.parent / "sessions"
BEGAN = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)
PATCH = """\
diff --git a/calc.py b/calc.py
index 1111111..2222222 100644
--- a/calc.py
+++ b/calc.py
@@ -1,3 +1,3 @@
 def clamp(value, low, high):
-    return low
+    return high
"""


def verdict(text: str = "as it should be", *, accepted: bool = True) -> dict[str, Any]:
    return {
        "accepted": accepted,
        "needs_review": False,
        "checks": [
            {"name": "applies", "passed": True, "evidence": text},
            {"name": "green", "passed": accepted, "evidence": f"with the fix:\n{text}"},
        ],
        "fail_to_pass": [f"tests/test_calc.py::test_above {text}"],
        "before": {f"tests/test_calc.py::test_above {text}": "failed", "t.py::same": "passed"},
        "after": {f"tests/test_calc.py::test_above {text}": "passed", "t.py::same": "passed"},
        "seconds": 7.0,
    }


def result(status: str, text: str) -> dict[str, Any]:
    told = {"tried": [text], "ruled_out": [text], "best": None, "look_next": text}
    return {
        "status": status, "error": text, "explanation": told, "cost_usd": 0.5, "context_growth": 0.6,
        "attempts": [], "budget": None,
    }  # fmt: skip


def every_kind(text: str) -> list[Event]:
    """One event of each kind, whose texts are all `text`, in an order that a run could have."""
    return [_one(kind, text) for kind in typing.get_args(Event)]


def _one(kind: type[Any], text: str) -> Event:
    hints = typing.get_type_hints(kind)
    values = {field.name: _value(field.name, hints[field.name], text) for field in dataclasses.fields(kind)}
    event: Event = kind(**values)
    return event


def _value(name: str, hint: Any, text: str) -> Any:
    special = {
        "verdict": verdict(text, accepted=False),
        "result": result("rejected", text),
        "base": "0" * 40,
        "counts": {text: 3},
        "tool_calls": (ToolCall("c1", "shell", {"command": text, text: text, "old": text, "new": text}),),
        "call_id": "c1",
        "provider_data": None,
        "limits": {},
        "accounts": {"run": dict.fromkeys(("usd_limit", "tokens_limit"), None)
                     | dict.fromkeys(("usd_spent", "usd_reserved", "tokens_spent", "tokens_reserved", "unpriced"), 0)},
    }  # fmt: skip
    if name in special:
        return special[name]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = typing.get_args(hint)[0]
    origin = typing.get_origin(hint) or hint
    if origin is typing.Literal:
        return typing.get_args(hint)[-1]
    if origin is Sequence:
        return [1] if int in typing.get_args(hint) else [text]
    made = {
        str: text,
        int: 1,
        float: 1.5,
        bool: True,
        Decimal: Decimal("0.25"),
        Usage: Usage(1, 900, 80, 300, 20),
    }
    return {text: text} if origin is Mapping else made[origin]


def logged(some: Sequence[Event], *, seconds: float = 2.0) -> Logged:
    """Events as they are read from a log in which each took so long."""
    return [
        ({"v": 1, "n": n, "at": (BEGAN + timedelta(seconds=seconds * n)).isoformat(), **encode(event)}, event)
        for n, event in enumerate(some)
    ]


def session(name: str) -> Logged:
    """A recorded session, dated by what its events say of their time, since the recordings have one date for all."""
    at, told = BEGAN, []
    for data, event in read_events(SESSIONS / f"{name}.jsonl"):
        at += timedelta(seconds=getattr(event, "seconds", 0.1))
        if isinstance(event, events.VerdictReached):
            at += timedelta(seconds=event.verdict["seconds"])
        told.append(({**data, "at": at.isoformat()}, event))
    return told


def long(turns: int, text: str = "line of output\n" * 60) -> Logged:
    """A run of one attempt with so many turns, each with a tool call: twice as many steps, and some more."""
    some: list[Event] = [
        events.RunStarted(
            "20261130-080000-long", "-", "# It is slow", "/src/repo", "0" * 40, ["a/b"], "pytest", [], {}
        ),
        events.AttemptStarted(1, "anthropic/claude-sonnet-5", None, "You mend bugs."),
        events.UserSaid(1, "Repair this issue."),
    ]
    for turn in range(1, turns + 1):
        call = ToolCall(f"c{turn}", "shell", {"command": f"echo {turn}"})
        usage = Usage(1, 200 + turn, 90, 1000 * turn, 300)
        some.append(
            events.ModelReplied(1, turn, f"Step {turn}.", (call,), usage, Decimal("0.0123"), "tool_use", 1.5)
        )
        some.append(events.ToolStarted(1, turn, call.id, call.name, "echo"))
        some.append(events.ToolReturned(1, turn, call.id, call.name, f"{turn}\n{text}", turn % 50 == 0, 0.4))
    some.append(events.AttemptEnded(1, "turns", "out of turns", "", None, turns, 2.0 * turns))
    return logged(some)
