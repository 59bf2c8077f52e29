"""Signs that an attempt drifts, read from its events alone: the log tells what the runtime saw.

A false alarm costs more than a late one, since an attempt is ended on them. So each sign asks for evidence that honest
work does not leave: a second look, a revert, a red run after an edit, or a fix taken out to see its test fail say
nothing. What was told is not told again: each further sign takes new evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from agent.drift.detectors import MoreFailures, RepeatedCalls, SameLines, UndoneEdits
from agent.drift.facts import Edit, edit_of, may_have_tried, quoted, run_of
from agent.events import (
    BaselineTaken,
    ContextRenewed,
    Event,
    ModelReplied,
    RunStarted,
    ToolReturned,
    ToolStarted,
)
from agent.types import APART, ToolCall

Kind = Literal["repeated_calls", "undone_edits", "more_failures", "same_lines", "untested_claim"]


@dataclass(frozen=True, slots=True)
class Sign:
    """`untested_claim` is no reason to end an attempt: it says what to answer to a submission, or to a last word."""

    kind: Kind
    text: str
    """What was seen, in plain sentences: which call, which lines, which turns."""


class Drift:
    """Takes the events of a run in order, and tells the signs that it sees in one attempt.

    `untested_claim` comes with the ToolStarted of `submit`, so before that is run, or with a reply that calls no tool.
    """

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt
        self._test_command = ""
        self._wanted: tuple[str, ...] = ()
        self._excused: frozenset[str] = frozenset()
        self._calls: list[ToolCall] = []
        self._changes = 0
        self._untried: Edit | None = None
        """The last edit of code, while nothing that was run since may have tried it."""
        self._repeated = RepeatedCalls()
        self._undone = UndoneEdits()
        self._growth = MoreFailures()
        self._same_lines = SameLines()

    def noticed(self, event: Event) -> list[Sign]:
        """The signs that this event brings."""
        match event:
            case RunStarted():
                self._test_command, self._wanted = event.test_command.strip(), tuple(event.fail_to_pass)
            case BaselineTaken():
                self._excused = frozenset(test for test in event.failing if not self._is_wanted(test))
            case ModelReplied(attempt=self._attempt):
                self._calls = list(event.tool_calls)
                if not self._calls and event.stop == "end":
                    return self._claimed(f"Turn {event.turn} calls no tool")
            case ToolStarted(attempt=self._attempt, name="submit"):
                call = next((call for call in self._calls if call.id == event.call_id), None)
                if call is not None and not call.arguments.get("give_up"):
                    return self._claimed(f"Turn {event.turn} submits")
            case ToolReturned(attempt=self._attempt):
                call = next((call for call in self._calls if call.id == event.call_id), None)
                if call is not None:
                    self._calls.remove(call)
                    return self._returned(call, event)
            case ContextRenewed(attempt=self._attempt):
                self._repeated.changed()  # what was seen before is forgotten, and may be looked at again
            case _:
                pass
        return []

    def _is_wanted(self, test: str) -> bool:
        return any(test == wanted or test.startswith(f"{wanted}[") for wanted in self._wanted)

    def _claimed(self, what: str) -> list[Sign]:
        edit, self._untried = self._untried, None
        if edit is None:
            return []
        text = f"{what}, but nothing was run since {quoted(edit.path)} was edited in turn {edit.turn}."
        return [Sign("untested_claim", text)]

    def _returned(self, call: ToolCall, event: ToolReturned) -> list[Sign]:
        found: list[tuple[Kind, str | None]] = []
        edit = edit_of(event, call)
        undone = event.name == "undo" and not event.is_error
        if edit is not None or undone:
            self._repeated.changed()
        run = run_of(event, call, self._test_command, self._excused)
        if edit is not None:
            back = self._undone.edited(edit)
            found.append(("same_lines", self._same_lines.edited(edit, back)))
        found.append(("repeated_calls", self._repeated.returned(call, event)))
        if run is not None:
            found.append(("undone_edits", self._undone.ran(run)))
            found.append(("more_failures", self._growth.ran(run, self._changes)))
            self._same_lines.ran(run)
        elif edit is not None or undone or event.name == "shell" or APART in event.name:
            self._changes += 1  # a command, or a tool of the user's own servers, may have changed files
        if may_have_tried(event, call) or undone:  # what it goes back to was tried
            self._untried = None
        elif edit is not None and not edit.is_prose:
            self._untried = edit
        return [Sign(kind, text) for kind, text in found if text]


def signs(events: Iterable[Event], attempt: int) -> list[Sign]:
    """The signs of one attempt in a run's log, in the order in which they came."""
    drift = Drift(attempt)
    return [sign for event in events for sign in drift.noticed(event)]
