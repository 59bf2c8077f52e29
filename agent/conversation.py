"""Events to messages: the conversation of an attempt is a pure projection of the log."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from agent.events import ContextMasked, ContextRenewed, Event, ModelReplied, ToolReturned, UserSaid
from agent.hypotheses import failures_of
from agent.types import Message, ToolCall, ToolResult

MAX_HEAD = 200
"""Characters that a left-out output's line says of what it was."""
MAX_NAMED = 3
"""Failing tests that such a line names."""

_SAVED = re.compile(r"\[all that the tests printed is in ([^\s\]]+)\]")


@dataclass(frozen=True, slots=True)
class Part:
    """One event of a conversation as it stands."""

    event: UserSaid | ModelReplied | ToolReturned
    place: int = 0
    """Of a ToolReturned: its number in the attempt, from 1."""
    masked: bool = False
    call: ToolCall | None = None
    """Of a ToolReturned: what it answers, as the model wrote it."""

    @property
    def text(self) -> str:
        """What the model is shown (of a reply, what it said besides calls)."""
        return (
            left_out(self.event) if self.masked and isinstance(self.event, ToolReturned) else self.event.text
        )


class Conversation:
    """The conversation of one attempt, kept as its log grows: what a turn costs must not grow with those before it."""

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt
        self._taken = 0
        self._parts: list[Part] = []
        self._messages: list[Message] = []
        self._stale = False
        """Whether `_messages` must be made anew: something in their midst has changed."""
        self._calls: list[ToolCall] = []
        self._place = 0
        self._fresh: set[int] = set()
        """Places of the results that were masked since the last reply."""

    def follow(self, log: Sequence[Event]) -> Conversation:
        """Take in what `log` has besides what it had the last time."""
        for event in log[self._taken :]:
            if getattr(event, "attempt", None) == self._attempt:
                self._take(event)
        self._taken = len(log)
        return self

    @property
    def parts(self) -> Sequence[Part]:
        """What it consists of, in order; what was before a renewed context is left out. To be read, not kept."""
        return self._parts

    def messages(self) -> list[Message]:
        """As `messages` makes them."""
        if self._stale:
            self._messages, self._stale = _messages(self._parts, self._fresh), False
        return list(self._messages)

    def _take(self, event: Event) -> None:
        match event:
            case ContextRenewed():
                self._parts.clear()
                self._messages.clear()
                self._stale = False
            case ContextMasked():
                masked = set(event.results)
                self._parts = [
                    replace(part, masked=True) if part.place in masked else part for part in self._parts
                ]
                self._fresh |= masked
                self._stale = True
            case UserSaid():
                self._add(Part(event))
            case ModelReplied():
                if self._fresh:
                    self._fresh.clear()
                    self._stale = True
                if event.stop != "overflow":  # then nothing was said: the request did not fit
                    self._calls = list(event.tool_calls)
                    self._add(Part(event))
            case ToolReturned():
                self._place += 1
                call = next((call for call in self._calls if call.id == event.call_id), None)
                if call is not None:
                    self._calls.remove(call)
                self._add(Part(event, self._place, False, call))
            case _:
                pass

    def _add(self, part: Part) -> None:
        self._parts.append(part)
        if self._stale:
            return
        _extend(self._messages, part)
        if len(self._messages) == 1:
            self._messages = _settled(self._messages, {0})


def parts(events: Iterable[Event], attempt: int) -> Sequence[Part]:
    """What an attempt's conversation consists of, in order; what was before a renewed context is left out."""
    return Conversation(attempt).follow(list(events)).parts


def messages(events: Iterable[Event], attempt: int) -> list[Message]:
    """The messages of one attempt, in order, roles alternating.

    Tool results, and what the runtime says after them, share one user message: providers demand that
    each call is answered in the very next message. Output that was masked is one line.
    """
    return Conversation(attempt).follow(list(events)).messages()


def _messages(parts: Iterable[Part], fresh: Collection[int]) -> list[Message]:
    conversation: list[Message] = []
    settled = {False: 0, True: 0}  # by what was masked before the last request, and after it
    for part in parts:
        _extend(conversation, part)
        if part.masked:
            settled[part.place in fresh] = len(conversation) - 1
    return _settled(conversation, set(settled.values()) if settled[True] else {settled[False]})


def _settled(conversation: list[Message], places: Collection[int]) -> list[Message]:
    for place in places:
        if conversation and conversation[place].role == "user":
            conversation[place] = replace(conversation[place], settled=True)
    return conversation


def _extend(conversation: list[Message], part: Part) -> None:
    match part.event:
        case UserSaid():
            _extend_user(conversation, part.text, ())
        case ToolReturned() as event:
            result = ToolResult(event.call_id, event.name, part.text, event.is_error, event.data)
            _extend_user(conversation, "", (result,))
        case ModelReplied() as event:
            said = Message(
                "assistant", event.text, tool_calls=tuple(event.tool_calls), provider_data=event.provider_data
            )
            conversation.append(said)


def _extend_user(conversation: list[Message], text: str, results: tuple[ToolResult, ...]) -> None:
    if conversation and conversation[-1].role == "user":
        last = conversation.pop()
        text = "\n\n".join(part for part in (last.text, text) if part)
        conversation.append(replace(last, text=text, tool_results=last.tool_results + results))
    else:
        conversation.append(Message("user", text, tool_results=results))


def left_out(event: ToolReturned) -> str:
    """The line that stands for a masked output: what it was, and how to get it back."""
    saved = (event.data or {}).get("output_file")
    if event.name == "run_tests" and (found := _SAVED.search(event.text)):
        saved = found[1]
    again = "run it again" if event.name in ("run_tests", "shell") else "make this call again"
    if isinstance(saved, str) and saved:
        again += f", or read {saved}"
    what = _was(event)[:MAX_HEAD]
    return f"[{what}{'; ' if what else ''}{len(event.text):,} characters left out, seen before; to see them, {again}]"


def _was(event: ToolReturned) -> str:
    """What an output was, in the tool's own words or by its data."""
    data = event.data or {}
    lines = event.text.strip().split("\n")
    match event.name:
        case "read_file" if "start" in data:
            return f"lines {data['start']}-{data.get('end')} of {data.get('lines')}"
        case "shell":
            return lines[-1].strip("[]") if lines[-1].startswith("[") else ""
        case "run_tests":
            failing = failures_of(event)
            more = f" and {len(failing) - MAX_NAMED} more" if len(failing) > MAX_NAMED else ""
            return lines[0] + (f"; failing: {', '.join(failing[:MAX_NAMED])}{more}" if failing else "")
        case "search" | "find_files":
            return lines[0]
        case _:
            return ""
