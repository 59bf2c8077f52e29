"""The loopback API must refuse what the real one refuses, or tests over it prove nothing."""

from __future__ import annotations

import copy
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.loopback.anthropic_rules import TOP_KEYS, cached_usage, faults
from tests.loopback.anthropic_server import Answer, AnthropicServer

MARK = {"type": "ephemeral"}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s1"}
CALL = {"type": "tool_use", "id": "t1", "name": "shell", "input": {}}
GOOD: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 100,
    "stream": True,
    "system": [{"type": "text", "text": "Mend.", "cache_control": MARK}],
    "tools": [{"name": "shell", "description": "Run.", "input_schema": {"type": "object"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Go."}]},
        {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "Yes."}, CALL]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "ok"},
                {"type": "text", "text": "And?", "cache_control": MARK},
            ],
        },
    ],
}
ISSUED = [[THOUGHT, {"type": "text", "text": "Yes."}, CALL]]


def content(body: dict[str, Any], number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body["messages"][number]["content"]
    return found


def test_a_good_request_has_no_faults() -> None:
    assert faults(GOOD, ISSUED) == []


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown field": (lambda b: b.update(temperature=1), "Extra inputs"),
    "unknown field of a block": (lambda b: content(b, 0)[0].update(data=1), "Extra inputs"),
    "not streamed": (lambda b: b.pop("stream"), "stream"),
    "no user first": (lambda b: b["messages"].pop(0), "first message"),
    "two users": (lambda b: b["messages"].pop(1), "alternate"),
    "blank text": (lambda b: content(b, 0)[0].update(text=" \n"), "non-whitespace"),
    "empty content": (lambda b: content(b, 0).clear(), "not empty"),
    "call without result": (lambda b: content(b, 2).pop(0), "answered by"),
    "result without call": (lambda b: content(b, 1).pop(2), "answered by"),
    "call at the end": (lambda b: b["messages"].pop(2), "without tool_result"),
    "text before a result": (lambda b: content(b, 2).reverse(), "come first"),
    "result without content": (lambda b: content(b, 2)[0].update(content=""), "without content"),
    "input that is a text": (lambda b: content(b, 1)[2].update(input="{}"), "must be an object"),
    "thinking changed": (lambda b: content(b, 1)[0].update(thinking="Ha."), "cannot be modified"),
    "thinking left out": (lambda b: content(b, 1).pop(0), "cannot be modified"),
    "thinking at the end": (lambda b: content(b, 1).reverse(), "final block"),
    "five breakpoints": (
        lambda b: content(b, 0).extend(
            {"type": "text", "text": "x", "cache_control": MARK} for _ in range(3)
        ),
        "maximum of 4",
    ),
    "tool twice": (lambda b: b["tools"].append(b["tools"][0]), "unique"),
    "tool without a schema": (lambda b: b["tools"][0].pop("input_schema"), "input_schema"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused(name: str) -> None:
    change, says = BAD[name]
    body = copy.deepcopy(GOOD)
    change(body)
    assert any(says in fault for fault in faults(body, ISSUED)), faults(body, ISSUED)


def test_the_known_fields_are_those_of_the_sdk() -> None:
    from anthropic.types.message_create_params import MessageCreateParamsStreaming

    headers = {"user_profile_id", "workspace_id"}
    assert MessageCreateParamsStreaming.__annotations__.keys() - headers == TOP_KEYS


def test_a_violation_fails_the_test_that_caused_it() -> None:
    with pytest.raises(AssertionError, match="first message"), AnthropicServer([Answer("Hi.")]) as server:
        request = urllib.request.Request(server.base_url + "/v1/messages", b"{}", method="POST")
        request.add_header("x-api-key", server.environ["ANTHROPIC_API_KEY"])
        request.add_header("anthropic-version", "2023-06-01")
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)


def test_the_cache_reads_only_what_a_breakpoint_wrote() -> None:
    cache: set[str] = set()
    first = cached_usage(GOOD, cache)
    longer = copy.deepcopy(GOOD)
    longer["messages"] += [
        {"role": "assistant", "content": [{"type": "text", "text": "Done."}]},
        {"role": "user", "content": [{"type": "text", "text": "Thanks."}]},
    ]
    second = cached_usage(longer, cache)
    assert first["cache_read_input_tokens"] == 0
    assert second["cache_read_input_tokens"] == first["cache_creation_input_tokens"] > 0
    assert second["input_tokens"] > 0
    other = copy.deepcopy(GOOD)
    other["system"][0]["text"] = "Break."
    assert cached_usage(other, cache)["cache_read_input_tokens"] == 0
    assert cached_usage({**GOOD, "model": "claude-y"}, cache)["cache_read_input_tokens"] == 0
