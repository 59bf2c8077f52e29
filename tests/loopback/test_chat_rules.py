"""The loopback Chat Completions servers must refuse what real ones refuse, or tests over them prove nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.loopback.chat_rules import MESSAGE_KEYS, TOP_KEYS, Flavour, faults

CALL = {"id": "c1", "type": "function", "function": {"name": "shell", "arguments": "{}"}}
GOOD: dict[str, Any] = {
    "model": "qwen",
    "stream": True,
    "stream_options": {"include_usage": True},
    "tools": [{"type": "function", "function": {"name": "shell", "parameters": {"type": "object"}}}],
    "messages": [
        {"role": "system", "content": "Mend."},
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "And?"},
    ],
}
FLAVOURS: tuple[Flavour, ...] = ("openai", "ollama", "vllm", "llama.cpp", "openrouter", "deepseek")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_good_request_has_no_faults(flavour: Flavour) -> None:
    assert faults(GOOD, [], flavour) == []


def call(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["messages"][2]["tool_calls"][0]
    return found


def said(body: dict[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = body["messages"][number]
    return found


BAD: dict[str, tuple[Flavour, Callable[[dict[str, Any]], object], str]] = {
    "unknown field": ("openai", lambda b: b.update(input=[]), "Unrecognized"),
    "unknown field of a message": (
        "openai",
        lambda b: said(b, 3).update(is_error=True),
        "Additional properties",
    ),
    "reasoning sent to others": (
        "vllm",
        lambda b: said(b, 2).update(reasoning_content="Hm."),
        "Additional prop",
    ),
    "not streamed": ("openai", lambda b: b.pop("stream"), "streams"),
    "without usage": ("openai", lambda b: b.pop("stream_options"), "usage"),
    "old word for the limit": ("openai", lambda b: b.update(max_tokens=9), "'max_completion_tokens' instead"),
    "new word for the limit": ("ollama", lambda b: b.update(max_completion_tokens=9), "does not know it"),
    "no messages": ("openai", lambda b: b["messages"].clear(), "not empty"),
    "no tools": ("openai", lambda b: b.update(tools=[]), "too short"),
    "blank content": ("openai", lambda b: said(b, 4).update(content=""), "blank"),
    "nothing said": ("openai", lambda b: said(b, 4).update(content=None), "content is required"),
    "no calls": ("openai", lambda b: said(b, 4).update(tool_calls=[]), "too short"),
    "tool without its call": ("openai", lambda b: b["messages"].pop(2), "must follow"),
    "tool too late": ("openai", lambda b: b["messages"].append(b["messages"].pop(3)), "must follow"),
    "call without an answer": ("openai", lambda b: b["messages"].pop(3), "did not have response"),
    "same id twice": ("openai", lambda b: b["messages"].extend(b["messages"][2:4]), "Duplicate"),
    "long id": (
        "openai",
        lambda b: (call(b).update(id="c" * 41), said(b, 3).update(tool_call_id="c" * 41)),
        "maximum length 40",
    ),
    "arguments that are an object": (
        "openai",
        lambda b: call(b)["function"].update(arguments={}),
        "JSON object",
    ),
    "arguments that are no JSON": (
        "vllm",
        lambda b: call(b)["function"].update(arguments="rm"),
        "JSON object",
    ),
    "system in between": (
        "vllm",
        lambda b: b["messages"].insert(3, b["messages"].pop(0)),
        "at the beginning",
    ),
    "two users": ("llama.cpp", lambda b: b["messages"].append(said(b, 5)), "alternate"),
    "user before a tool's output": (
        "vllm",
        lambda b: b["messages"].insert(3, said(b, 1)),
        "did not have response",
    ),
    "two assistants": ("vllm", lambda b: b["messages"].insert(4, said(b, 4)), "alternate"),
    "tool without a schema": (
        "openai",
        lambda b: b["tools"][0]["function"].pop("parameters"),
        "must be object",
    ),
    "strict tool": (
        "openai",
        lambda b: b["tools"][0]["function"].update(strict=True),
        "additionalProperties",
    ),
    "strict form": (
        "openai",
        lambda b: b.update(
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True},
            }
        ),
        "additionalProperties",
    ),
    "reasoning kept from DeepSeek": ("deepseek", lambda b: None, "Missing `reasoning_content`"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused(name: str) -> None:
    flavour, change, says = BAD[name]
    body = copy.deepcopy(GOOD)
    change(body)
    issued = [{"role": "assistant", "tool_calls": [CALL], "reasoning_content": "Hm."}]
    assert any(says in fault for fault in faults(body, issued, flavour)), faults(body, issued, flavour)


def test_the_known_fields_are_those_of_the_sdk() -> None:
    from openai.types import chat
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

    assert CompletionCreateParamsStreaming.__annotations__.keys() == TOP_KEYS
    assert chat.ChatCompletionSystemMessageParam.__annotations__.keys() == MESSAGE_KEYS["system"]
    assert chat.ChatCompletionUserMessageParam.__annotations__.keys() == MESSAGE_KEYS["user"]
    assert chat.ChatCompletionAssistantMessageParam.__annotations__.keys() == MESSAGE_KEYS["assistant"]
    assert chat.ChatCompletionToolMessageParam.__annotations__.keys() == MESSAGE_KEYS["tool"]
