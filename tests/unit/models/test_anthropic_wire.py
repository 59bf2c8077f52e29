"""Conversations that must never reach the API."""

from __future__ import annotations

import pytest

from agent.models.anthropic_wire import build_request
from agent.models.catalogue import ModelInfo
from agent.types import Message, ToolCall, ToolResult

CLAUDE = ModelInfo("anthropic", "claude-x", "anthropic")
ASK = Message("user", "Mend it.")
CALLED = Message("assistant", tool_calls=(ToolCall("t1", "shell", {}), ToolCall("t2", "diff", {})))


def result(call_id: str) -> ToolResult:
    return ToolResult(call_id, "shell", "ok")


@pytest.mark.parametrize(
    "messages",
    [
        [ASK, CALLED],
        [ASK, CALLED, Message("user", "Go on.")],
        [ASK, CALLED, Message("user", tool_results=(result("t1"),))],
        [ASK, CALLED, Message("user", tool_results=(result("t1"), result("t2"), result("t2")))],
        [
            ASK,
            CALLED,
            Message("assistant", "Well."),
            Message("user", tool_results=(result("t1"), result("t2"))),
        ],
        [Message("user", "Mend it.", tool_results=(result("t9"),))],
    ],
    ids=["at the end", "ignored", "one of two", "twice", "too late", "without a call"],
)
def test_a_call_without_its_one_result_is_an_internal_error(messages: list[Message]) -> None:
    with pytest.raises(AssertionError, match=r"t1|t9"):
        build_request(CLAUDE, None, "", messages, [])


@pytest.mark.parametrize("messages", [[], [Message("assistant", "Hi.")], [ASK, Message("assistant", "Hi.")]])
def test_a_conversation_begins_and_ends_with_a_user(messages: list[Message]) -> None:
    with pytest.raises(AssertionError, match="begins and ends"):
        build_request(CLAUDE, None, "", messages, [])


def test_blank_messages_are_left_out_and_roles_still_alternate() -> None:
    messages = [ASK, Message("assistant", " "), Message("user", "Go on."), Message("user", "Please.")]
    wire = build_request(CLAUDE, None, " ", messages, [])
    assert [m["role"] for m in wire["messages"]] == ["user"]
    assert [b["text"] for b in wire["messages"][0]["content"]] == ["Mend it.", "Go on.", "Please."]
    assert "system" not in wire


def test_results_come_before_text_and_errors_are_marked() -> None:
    said = Message("user", "Now?", tool_results=(result("t1"), ToolResult("t2", "diff", "no", is_error=True)))
    content = build_request(CLAUDE, None, "", [ASK, CALLED, said], [])["messages"][2]["content"]
    assert [block["type"] for block in content] == ["tool_result", "tool_result", "text"]
    assert [block.get("is_error", False) for block in content[:2]] == [False, True]


def test_a_call_of_another_provider_has_an_id_that_the_api_takes() -> None:
    called = Message("assistant", tool_calls=(ToolCall("call|1.a", "shell", {}),))
    wire = build_request(
        CLAUDE, None, "", [ASK, called, Message("user", tool_results=(result("call|1.a"),))], []
    )
    assert (
        wire["messages"][1]["content"][0]["id"]
        == wire["messages"][2]["content"][0]["tool_use_id"]
        == "call_1_a"
    )


def test_a_thinking_budget_leaves_room_for_the_answer() -> None:
    old = ModelInfo("anthropic", "claude-y", "anthropic", max_output=64_000)
    wire = build_request(old, 32_000, "", [ASK], [])
    assert wire["thinking"] == {"type": "enabled", "budget_tokens": 32_000}
    assert wire["max_tokens"] == 32_000 + 8192
