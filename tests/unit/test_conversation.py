"""Conversations are projections of the log that every provider takes."""

from pathlib import Path

import pytest

from agent.conversation import Conversation, messages, parts
from agent.event_log import read_events
from agent.events import ContextMasked, ContextRenewed, ModelReplied, Note, ToolReturned, UserSaid
from agent.types import ToolCall, ToolResult, Usage

SESSIONS = Path(__file__).parent / "sessions"


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


@pytest.mark.parametrize("path", sorted(SESSIONS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_conversation_that_grows_is_at_each_event_what_the_log_so_far_gives(path):
    log = [event for _, event in read_events(path)]
    # With what recorded sessions are too short for: output that is masked, twice in a row, and a renewed context.
    middle = len(log) // 2
    log[middle:middle] = [
        ContextMasked(1, 2, [1, 2], 9, 9, 9, "cost"),
        ContextMasked(1, 2, [3], 9, 9, 9, "cost"),
    ]
    log[-3:-3] = [ContextRenewed(1, 3), UserSaid(1, "anew")]
    for attempt in (1, 2):
        grown = Conversation(attempt)
        for count in range(len(log) + 1):
            grown.follow(log[:count])
            assert grown.messages() == messages(log[:count], attempt)
            assert grown.parts == parts(log[:count], attempt)
