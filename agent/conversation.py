"""Events to messages: the conversation of an attempt is a pure projection of the log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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


def parts(events: Iterable[Event], attempt: int) -> list[Part]:
    """What an attempt's conversation consists of, in order; what was before a renewed context is left out."""
    mine = [event for event in events if getattr(event, "attempt", None) == attempt]
    masked = {place for event in mine if isinstance(event, ContextMasked) for place in event.results}
    kept: list[Part] = []
    calls: list[ToolCall] = []
    place = 0
    for event in mine:
        match event:
            case ContextRenewed():
                kept.clear()
            case UserSaid():
                kept.append(Part(event))
            case ModelReplied(stop="overflow"):
                pass  # nothing was said: the request did not fit
            case ModelReplied():
                calls = list(event.tool_calls)
                kept.append(Part(event))
            case ToolReturned():
                place += 1
                call = next((call for call in calls if call.id == event.call_id), None)
                if call is not None:
                    calls.remove(call)
                kept.append(Part(event, place, place in masked, call))
            case _:
                pass
    return kept


def messages(events: Iterable[Event], attempt: int) -> list[Message]:
    """The messages of one attempt, in order, roles alternating.

    Tool results, and what the runtime says after them, share one user message: providers demand that
    each call is answered in the very next message. Output that was masked is one line.
    """
    log = list(events)
    fresh = _just_masked(log, attempt)
    conversation: list[Message] = []
    settled = {False: 0, True: 0}  # by what was masked before the last request, and after it
    for part in parts(log, attempt):
        match part.event:
            case UserSaid():
                _extend_user(conversation, part.text, ())
            case ToolReturned() as event:
                result = ToolResult(event.call_id, event.name, part.text, event.is_error, event.data)
                _extend_user(conversation, "", (result,))
                if part.masked:
                    settled[part.place in fresh] = len(conversation) - 1
            case ModelReplied() as event:
                conversation.append(
                    Message(
                        "assistant",
                        event.text,
                        tool_calls=tuple(event.tool_calls),
                        provider_data=event.provider_data,
                    )
                )
    for place in set(settled.values()) if settled[True] else {settled[False]}:
        if conversation and conversation[place].role == "user":
            conversation[place] = replace(conversation[place], settled=True)
    return conversation


def _just_masked(log: Sequence[Event], attempt: int) -> set[int]:
    """Places of the results that were masked since the last reply."""
    fresh: set[int] = set()
    for event in log:
        if isinstance(event, ModelReplied) and event.attempt == attempt:
            fresh.clear()
        elif isinstance(event, ContextMasked) and event.attempt == attempt:
            fresh.update(event.results)
    return fresh


def _extend_user(conversation: list[Message], text: str, results: tuple[ToolResult, ...]) -> None:
    if conversation and conversation[-1].role == "user":
        last = conversation.pop()
        text = "\n\n".join(part for part in (last.text, text) if part)
        results = last.tool_results + results
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
