"""The loopback Responses API must refuse what the real one refuses, or tests over it prove nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.loopback.responses_rules import ITEM_KEYS, TOOL_KEYS, TOP_KEYS, cached_tokens, faults

THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "enc1=="}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Yes.", "annotations": []}],
}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "shell", "arguments": "{}"}
STRICT = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
GOOD: dict[str, Any] = {
    "model": "gpt-x",
    "stream": True,
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "instructions": "Mend.",
    "tools": [{"type": "function", "name": "shell", "parameters": {"type": "object"}, "strict": False}],
    "text": {"format": {"type": "json_schema", "name": "answer", "schema": STRICT, "strict": True}},
    "input": [
        {"type": "message", "role": "user", "content": "Go."},
        THOUGHT,
        SAID,
        CALL,
        {"type": "function_call_output", "call_id": "c1", "output": "ok"},
        {"type": "message", "role": "user", "content": "And?"},
    ],
}
ISSUED = [[THOUGHT, SAID, CALL]]


def test_a_good_request_has_no_faults() -> None:
    assert faults(GOOD, ISSUED) == []


def schema(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["text"]["format"]["schema"]
    return found


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown field": (lambda b: b.update(max_tokens=1), "Unknown parameter: 'max_tokens'"),
    "unknown field of an item": (
        lambda b: b["input"][3].update(index=0),
        "Unknown parameter: 'input[3].index'",
    ),
    "null in an item": (lambda b: b["input"][1].update(status=None), "got null"),
    "not streamed": (lambda b: b.pop("stream"), "streams"),
    "stored": (lambda b: b.pop("store"), "keeps nothing"),
    "nothing at all": (lambda b: b["input"].clear(), "not empty"),
    "blank message": (lambda b: b["input"][0].update(content=" \n"), "blank message"),
    "unknown effort": (lambda b: b.update(reasoning={"effort": "huge"}), "Unsupported value"),
    "output without call": (lambda b: b["input"].pop(3), "No tool call found"),
    "call without output": (lambda b: b["input"].pop(4), "No tool output found"),
    "output before its call": (lambda b: b["input"].insert(0, b["input"].pop(4)), "No tool call found"),
    "empty output": (lambda b: b["input"][4].update(output=""), "without text"),
    "arguments that are no text": (lambda b: b["input"][3].update(arguments={}), "expected a string"),
    "same call twice": (lambda b: b["input"].extend([b["input"][3], b["input"][4]]), "Duplicate call_id"),
    "same id twice": (lambda b: b["input"].append({**SAID}), "Duplicate item"),
    "long call id": (
        lambda b: [item.update(call_id="c" * 65) for item in b["input"][3:5]],
        "maximum length of 64",
    ),
    "foreign id": (lambda b: b["input"][3].update(id="toolu_1"), "begins with 'fc'"),
    "reasoning changed": (lambda b: b["input"][1].update(encrypted_content="x"), "could not be verified"),
    "reasoning left out": (lambda b: b["input"].pop(1), "without its required 'reasoning' item"),
    "reasoning misplaced": (lambda b: b["input"].insert(2, b["input"].pop(1)), "required following item"),
    "reasoning at the end": (lambda b: b["input"].append(b["input"].pop(1)), "required following item"),
    "tool twice": (lambda b: b["tools"].append(b["tools"][0]), "unique"),
    "strict by default": (lambda b: b["tools"][0].pop("strict"), "additionalProperties"),
    "no schema": (lambda b: b["tools"][0].pop("parameters"), "must be object"),
    "strict with an optional property": (lambda b: schema(b).update(required=[]), "'required'"),
    "strict and open": (lambda b: schema(b).pop("additionalProperties"), "'additionalProperties'"),
    "strict with a word that it lacks": (lambda b: schema(b).update(allOf=[]), "not permitted"),
    "schema of a list": (lambda b: schema(b).update(type="array"), "of type object"),
    "too long": (lambda b: b.update(instructions="x" * 10_485_761), "too long"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused(name: str) -> None:
    change, says = BAD[name]
    body = copy.deepcopy(GOOD)
    change(body)
    assert any(says in fault for fault in faults(body, ISSUED)), faults(body, ISSUED)


def test_the_known_fields_are_those_of_the_sdk() -> None:
    from openai.types import responses
    from openai.types.responses import response_input_item_param as items
    from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

    assert ResponseCreateParamsStreaming.__annotations__.keys() == TOP_KEYS
    assert responses.FunctionToolParam.__annotations__.keys() == TOOL_KEYS
    assert responses.ResponseOutputMessageParam.__annotations__.keys() == ITEM_KEYS["message"]
    assert responses.ResponseReasoningItemParam.__annotations__.keys() == ITEM_KEYS["reasoning"]
    assert responses.ResponseFunctionToolCallParam.__annotations__.keys() == ITEM_KEYS["function_call"]
    assert items.FunctionCallOutput.__annotations__.keys() == ITEM_KEYS["function_call_output"]


def test_the_cache_reads_whole_steps_of_a_prefix_of_the_same_key() -> None:
    cache: set[str] = set()
    turns = ["x" * 8000]
    body = {**GOOD, "prompt_cache_key": "k1"}
    assert cached_tokens(body, ["short"], cache)[1] == 0
    tokens, read = cached_tokens(body, turns, cache)
    assert tokens > 2000 and read == 0
    again, read = cached_tokens(body, [*turns, "y" * 400], cache)
    assert again > tokens and read >= 1024 and read % 128 == 0 and tokens - read < 128
    assert cached_tokens({**body, "prompt_cache_key": "k2"}, turns, cache)[1] == 0
    assert cached_tokens({**body, "instructions": "Break."}, turns, cache)[1] == 0
