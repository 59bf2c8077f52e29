"""Conversations as the Responses API gets them, and answers that a server seldom gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agent.models.catalogue import ModelInfo
from agent.models.faults import Fault
from agent.models.provider import MAX_OUTPUT, Answer, Try
from agent.models.responses_wire import Reader, build_request
from agent.types import Message, ToolCall, ToolResult, ToolSpec, Usage
from tests.loopback.responses_rules import faults

GPT = ModelInfo("openai", "gpt-x", "responses", thinking={"high": "high"})
ASK = Message("user", "Mend it.")
TOOLS = [ToolSpec("shell", "Run.", {"type": "object", "properties": {"command": {"type": "string"}}})]


def request(messages: Sequence[Message], info: ModelInfo = GPT, **more: Any) -> dict[str, Any]:
    made = build_request(info, more.pop("thinking", None), more.pop("system", ""), messages, TOOLS, **more)
    assert faults({**made, "stream": True}) == []
    return made


def called(*ids: str) -> Message:
    return Message(
        "assistant", tool_calls=tuple(ToolCall(one, "shell", {"n": n}) for n, one in enumerate(ids))
    )


def results(*ids: str, text: str = "") -> Message:
    return Message("user", text, tool_results=tuple(ToolResult(one, "shell", f"of {one}") for one in ids))


@pytest.mark.parametrize(
    "messages",
    [
        [ASK, called("a", "b")],
        [ASK, called("a", "b"), results("a")],
        [results("z")],
        [],
        [ASK, Message("assistant")],
    ],
    ids=["at the end", "one of two", "without a call", "nothing", "the assistant last"],
)
def test_a_conversation_that_no_api_takes_is_an_internal_error(messages: list[Message]) -> None:
    with pytest.raises(AssertionError):
        build_request(GPT, None, "", messages, [])


def test_blank_texts_are_left_out_and_errors_are_marked() -> None:
    failed = ToolResult("a", "shell", "no such file", is_error=True)
    said = Message("user", "Now?", tool_results=(failed, ToolResult("b", "shell", "\n")))
    made = request([ASK, Message("assistant", " "), Message("user", " "), called("a", "b"), said], system=" ")
    assert "instructions" not in made
    outputs = [item["output"] for item in made["input"] if item["type"] == "function_call_output"]
    assert outputs == ["Error: no such file", "(no output)"]
    assert [item["type"] for item in made["input"]] == [
        *(
            "message",
            "function_call",
            "function_call",
            "function_call_output",
            "function_call_output",
            "message",
        )
    ]


def test_foreign_call_ids_fit_and_stay_apart_and_lead_to_their_own_results() -> None:
    ids = ["toolu|1.a", "toolu_1_a", "x" * 80, "x" * 90, ""]
    twice = [ASK, called(*ids), results(*ids), called(*ids), results(*ids)]
    items = request(twice)["input"]
    calls = [item["call_id"] for item in items if item["type"] == "function_call"]
    assert len(set(calls)) == 10
    outputs = {item["call_id"]: item["output"] for item in items if item["type"] == "function_call_output"}
    assert [outputs[one] for one in calls] == [f"of {one}" for one in [*ids, *ids]]
    # What was sent before stays as it was: the provider's cache knows it by its text.
    assert request(twice[:3])["input"] == items[:11]


def test_own_items_go_back_in_order_and_anothers_are_rebuilt() -> None:
    own = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"},
        {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "shell", "arguments": "{ }"},
    ]
    said = Message(
        "assistant",
        tool_calls=(ToolCall("a", "shell", {}),),
        provider_data={"responses": {"model": "gpt-x", "content": own}},
    )
    conversation = [ASK, said, results("a")]
    assert build_request(GPT, None, "", conversation, [])["input"][1:3] == own
    other = ModelInfo("openai", "gpt-y", "responses")
    assert request(conversation, other)["input"][1] == {
        "type": "function_call",
        "call_id": "a",
        "name": "shell",
        "arguments": "{}",
    }


def test_a_text_that_no_request_could_hold_is_mended() -> None:
    tool = ToolSpec("shell", "Run \ud800.", {"type": "object"})
    made = build_request(GPT, None, "Mend \ud800.", [Message("user", "This \ud800.")], [tool])
    json.dumps(made, ensure_ascii=False).encode()


def test_the_cache_key_is_that_of_model_system_and_tools() -> None:
    key = request([ASK], system="Mend.")["prompt_cache_key"]
    assert request([ASK, Message("assistant", "So."), ASK], system="Mend.")["prompt_cache_key"] == key
    assert request([ASK], system="Break.")["prompt_cache_key"] != key
    assert (
        request([ASK], ModelInfo("openai", "gpt-y", "responses"), system="Mend.")["prompt_cache_key"] != key
    )
    assert build_request(GPT, None, "Mend.", [ASK], [])["prompt_cache_key"] != key


def test_effort_and_limit_go_only_where_they_are_known() -> None:
    assert request([ASK], thinking="high")["reasoning"] == {"effort": "high"}
    assert not {"reasoning", "max_output_tokens"} & request([ASK]).keys()
    assert request([ASK])["include"] == ["reasoning.encrypted_content"]
    small = ModelInfo("openai", "gpt-z", "responses", max_output=9_000)
    assert request([ASK], small)["max_output_tokens"] == 9_000
    assert "include" not in request([ASK], small)  # it can't think, and would refuse
    assert (
        request([ASK], ModelInfo("openai", "g", "responses", max_output=99_000))["max_output_tokens"]
        == MAX_OUTPUT
    )


STRICT = {
    "type": "object",
    "properties": {
        "where": {"type": ["string", "null"]},
        "why": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["why", "where"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("change", "strict"),
    [
        ({}, True),
        ({"required": ["why"]}, False),
        ({"additionalProperties": True}, False),
        ({"allOf": []}, False),
        ({"properties": {"why": {}, "where": {"type": "string"}}}, False),
        ({"properties": {"why": {"type": "object"}, "where": {"type": "string"}}}, False),
        (
            {
                "properties": {
                    "why": {"anyOf": [{"type": "string", "minLength": 1}]},
                    "where": {"type": "string"},
                }
            },
            False,
        ),
    ],
)
def test_a_schema_is_strict_only_where_strict_mode_takes_it(change: Mapping[str, Any], strict: bool) -> None:
    form = request([ASK], schema={**STRICT, **change})["text"]["format"]
    assert (form["strict"], form["schema"]) == (strict, {**STRICT, **change})


def test_a_schema_that_the_api_has_no_form_for_is_left_out() -> None:
    assert "text" not in request([ASK], schema={"type": "array"})
    quirky = ModelInfo("openai", "gpt-x", "responses", quirks=frozenset({"no-schema"}))
    assert "text" not in request([ASK], quirky, schema=STRICT)


# --- answers


MESSAGE = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "So \ud83d"}]}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e", "status": None}
CUT_CALL = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "shell", "arguments": '{"com'}


def read(*events: Mapping[str, Any], seen: Try | None = None) -> Answer:
    reader = Reader(seen or Try())
    for event in events:
        reader.add(event)
    return reader.finish()


def ended(kind: str = "completed", **response: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "response": response}


def test_an_item_that_was_cut_is_taken_from_the_end() -> None:
    cut = {"reason": "max_output_tokens"}
    answer = read(ended("incomplete", incomplete_details=cut, output=[THOUGHT, CUT_CALL]))
    assert answer.stop == "length"
    assert answer.tool_calls[0].arguments == {"__invalid_json__": '{"com'}
    assert [item["id"] for item in answer.kept] == ["rs_1", "fc_1"]
    begun = read(ended("incomplete", incomplete_details=cut, output=[{**CUT_CALL, "arguments": ""}]))
    assert begun.tool_calls[0].arguments == {"__invalid_json__": ""}


def test_what_may_not_come_back_is_not_kept() -> None:
    empty = {**MESSAGE, "content": []}
    assert read(ended(output=[THOUGHT, empty])).kept == []
    kept = read(ended(output=[THOUGHT, MESSAGE])).kept
    assert "status" not in kept[0]  # it was null
    json.dumps(kept, ensure_ascii=False).encode()


def test_a_done_item_counts_for_more_than_its_announcement() -> None:
    added = {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {**THOUGHT, "encrypted_content": "?"},
    }
    done = {"type": "response.output_item.done", "output_index": 0, "item": THOUGHT}
    assert read(added, done, ended(output=[added["item"], MESSAGE])).kept[0]["encrypted_content"] == "e"


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"input_tokens": 9, "output_tokens": 2}, Usage(1, 9, 2)),
        (
            {
                "input_tokens": 100,
                "output_tokens": 20,
                "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "output_tokens_details": {"reasoning_tokens": 15},
            },
            Usage(1, 10, 20, 60, 30),
        ),
        ({"input_tokens": 5, "input_tokens_details": {"cached_tokens": 9}}, Usage(1, 0, 0, 9)),
        (None, Usage(1)),
    ],
)
def test_each_token_is_counted_once(usage: Any, counted: Usage) -> None:
    seen = Try()
    read(ended(output=[MESSAGE], usage=usage), seen=seen)
    assert seen.usage == counted


def test_a_failed_response_was_billed_all_the_same() -> None:
    seen = Try()
    with pytest.raises(Fault, match="server_error in mid-answer: Sorry"):
        read(
            ended(
                "failed",
                usage={"input_tokens": 7, "output_tokens": 1},
                error={"code": "server_error", "message": "Sorry"},
            ),
            seen=seen,
        )
    assert seen.usage.input == 7


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("rate_limit_exceeded", "rate_limit"),
        ("server_error", "server"),
        ("context_length_exceeded", "overflow"),
        ("insufficient_quota", "quota"),
        ("invalid_prompt", "filtered"),
        ("bio_policy", "filtered"),
        ("something_new", "server"),
        (None, "server"),
        (503, "overloaded"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_an_error_in_mid_answer_means_what_its_code_says(code: str, kind: str, nested: bool) -> None:
    error = {"code": code, "message": "Sorry\n."}
    event = {"type": "error", "error": error} if nested else {"type": "error", **error}
    with pytest.raises(Fault) as caught:
        read(event)
    assert caught.value.kind == kind and str(caught.value).isprintable()


def test_without_its_end_an_answer_is_broken() -> None:
    with pytest.raises(Fault, match="broke off"):
        read({"type": "response.output_item.done", "output_index": 0, "item": MESSAGE})
