"""Conversations are projections of the log that every provider takes."""

from agent.conversation import messages
from agent.events import ModelReplied, Note, ToolReturned, UserSaid
from agent.types import ToolCall, ToolResult, Usage


def reply(attempt, text, *calls):
    return ModelReplied(attempt, 1, text, calls, Usage(1), 0.0, "tool_use", 0.1, {"p": [text]})


def test_roles_alternate_and_every_call_is_answered_in_the_next_message():
    calls = ToolCall("a", "shell", {}), ToolCall("b", "diff", {})
    log = [
        UserSaid(1, "brief"),
        reply(1, "first", *calls),
        ToolReturned(1, 1, "a", "shell", "out", False, 0.1),
        Note("for people only"),
        ToolReturned(1, 1, "b", "diff", "none", True, 0.1, {"patch": ""}),
        UserSaid(1, "cut"),
        reply(1, "second"),
        UserSaid(1, "nudge"),
    ]
    conversation = messages(log, 1)
    assert [m.role for m in conversation] == ["user", "assistant", "user", "assistant", "user"]
    assert conversation[1].tool_calls == calls
    assert conversation[1].provider_data == {"p": ["first"]}
    assert conversation[2].tool_results == (
        ToolResult("a", "shell", "out", False, None),
        ToolResult("b", "diff", "none", True, {"patch": ""}),
    )
    assert conversation[2].text == "cut"


def test_an_attempt_sees_nothing_of_another():
    log = [UserSaid(1, "one"), reply(1, "bad idea"), UserSaid(2, "two")]
    assert [m.text for m in messages(log, 2)] == ["two"]
