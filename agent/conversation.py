"""Events to messages: the conversation of an attempt is a pure projection of the log."""

from __future__ import annotations

from collections.abc import Iterable

from agent.events import ContextRenewed, Event, ModelReplied, ToolReturned, UserSaid
from agent.types import Message, ToolResult


def messages(events: Iterable[Event], attempt: int) -> list[Message]:
    """The messages of one attempt, in order, roles alternating.

    Tool results, and what the runtime says after them, share one user message: providers demand that
    each call is answered in the very next message. What was before a renewed context is left out.
    """
    conversation: list[Message] = []
    for event in events:
        if getattr(event, "attempt", None) != attempt:
            continue
        match event:
            case ContextRenewed():
                conversation.clear()
            case UserSaid():
                _extend_user(conversation, event.text, ())
            case ToolReturned():
                result = ToolResult(event.call_id, event.name, event.text, event.is_error, event.data)
                _extend_user(conversation, "", (result,))
            case ModelReplied():
                conversation.append(
                    Message(
                        "assistant",
                        event.text,
                        tool_calls=tuple(event.tool_calls),
                        provider_data=event.provider_data,
                    )
                )
            case _:
                pass
    return conversation


def _extend_user(conversation: list[Message], text: str, results: tuple[ToolResult, ...]) -> None:
    if conversation and conversation[-1].role == "user":
        last = conversation.pop()
        text = "\n\n".join(part for part in (last.text, text) if part)
        results = last.tool_results + results
    conversation.append(Message("user", text, tool_results=results))
