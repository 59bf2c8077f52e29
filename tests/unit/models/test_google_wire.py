"""Gemini's conversations that must never reach the API, and chunks as no test server cuts them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.models.catalogue import ModelInfo
from agent.models.faults import Fault
from agent.models.google_wire import SKIP_SIGNATURE, Reader, build_request
from agent.models.provider import INVALID_JSON, Answer, Try
from agent.types import Message, ToolCall, ToolResult, ToolSpec, Usage

GEMINI = ModelInfo("google", "gemini-x", "google")
ASK = Message("user", "Mend it.")
CALLED = Message("assistant", tool_calls=(ToolCall("t1", "shell", {}), ToolCall("t2", "diff", {})))


def result(call_id: str) -> ToolResult:
    return ToolResult(call_id, "shell", "ok")


def read(*chunks: dict[str, Any], seen: Try | None = None) -> Answer:
    from google.genai.types import GenerateContentResponse

    reader = Reader(seen or Try())
    for chunk in chunks:
        reader.add(GenerateContentResponse.model_validate_json(json.dumps(chunk)))
    return reader.finish()


def says(*parts: dict[str, Any], finish: str = "") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    return {"candidates": [{**candidate, "finishReason": finish} if finish else candidate]}


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
        build_request(GEMINI, None, "", messages, [])


@pytest.mark.parametrize(
    "messages",
    [[], [Message("user", " ")], [Message("assistant", "Hi.")], [ASK, Message("assistant", "Hi.")]],
)
def test_a_conversation_begins_and_ends_with_the_user(messages: list[Message]) -> None:
    with pytest.raises(AssertionError, match="begins and ends"):
        build_request(GEMINI, None, "", messages, [])


def test_roles_alternate_and_empty_turns_vanish() -> None:
    messages = [ASK, Message("assistant", " \n"), Message("user", "Go on."), Message("user", "Please.")]
    contents = build_request(GEMINI, None, " ", messages, [])["contents"]
    assert contents == [
        {"role": "user", "parts": [{"text": "Mend it."}, {"text": "Go on."}, {"text": "Please."}]}
    ]


def test_only_the_first_call_of_a_foreign_step_gets_the_documented_signature() -> None:
    results = Message("user", tool_results=(result("t2"), result("t1")))
    contents = build_request(GEMINI, None, "", [ASK, CALLED, results, CALLED, results], [])["contents"]
    for turn in (contents[1], contents[3]):
        assert [part.get("thought_signature") for part in turn["parts"]] == [SKIP_SIGNATURE, None]
    assert [part["function_response"]["id"] for part in contents[2]["parts"]] == ["t1", "t2"]


def test_the_sdk_sends_nothing_on_its_own() -> None:
    tools = [ToolSpec("diff", "Show.", {"type": "object"})]
    config = build_request(GEMINI, None, "", [ASK], tools)["config"]
    assert config["automatic_function_calling"] == {"disable": True}
    assert config["automatic_continuation"] is False


def test_pieces_of_text_are_one_but_for_a_signature_between_them() -> None:
    answer = read(
        says({"text": "A", "thought": True}),
        says({"text": "B", "thought": True}),
        says({"text": "o"}),
        says({"text": "n"}, {"text": "e", "thoughtSignature": "++//"}),
        says({"text": " two"}),
        says({"functionCall": {"name": "f"}}),
        says({"text": "three"}, {"text": ""}, finish="STOP"),
    )
    assert answer.text == "one two\nthree"
    assert answer.kept["parts"] == [
        {"text": "AB", "thought": True},
        {"text": "on"},
        {"text": "e", "thought_signature": "++//"},
        {"text": " two"},
        {"function_call": {"name": "f", "args": {}}},
        {"text": "three"},
    ]


def test_empty_text_is_not_kept_but_for_its_signature() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    answer = read(
        says({"text": ""}, call, {"text": " "}, {"text": "", "thoughtSignature": "++//"}, finish="STOP")
    )
    assert answer.kept["parts"][1:] == [{"text": "", "thought_signature": "++//"}]
    assert read(says({"text": ""}, finish="STOP")).kept is None


def test_calls_without_ids_get_some_of_their_own() -> None:
    call = {"functionCall": {"name": "f", "args": {"x": None}}}
    answer = read(says(call, call, finish="STOP"), {"usageMetadata": {}})
    ids = {one.id for one in (*answer.tool_calls, *read(says(call, finish="STOP")).tool_calls)}
    assert len(ids) == 3
    assert answer.tool_calls[0].arguments == {"x": None}
    assert "id" not in json.dumps(answer.kept)


def test_arguments_that_no_request_can_hold_can_be_answered() -> None:
    answer = read(says({"functionCall": {"name": "f", "args": {"n": float("nan")}}}, finish="STOP"))
    assert answer.tool_calls[0].arguments == {INVALID_JSON: '{"n": NaN}'}
    json.dumps(answer.kept, allow_nan=False)


def test_counts_are_totals_that_come_bit_by_bit() -> None:
    seen = Try()
    seen.usage += Usage(input=5000)  # a cache was made before
    first = {"promptTokenCount": 100, "cachedContentTokenCount": 60}
    chunks = [
        {**says({"text": "A"}), "usageMetadata": first},
        {**says(), "usageMetadata": {"candidatesTokenCount": 3}},
    ]
    with pytest.raises(Fault, match="broke off"):
        read(*chunks, seen=seen)
    assert seen.usage == Usage(requests=1, input=5040, output=3, cache_read=60)
    assert seen.first_token_seconds is not None


def test_the_first_token_is_a_piece_of_the_answer() -> None:
    seen = Try()
    with pytest.raises(Fault, match="broke off"):
        read({"usageMetadata": {"promptTokenCount": 1}}, seen=seen)
    assert seen.first_token_seconds is None


def test_a_filter_names_what_it_saw() -> None:
    candidate = {
        "finishReason": "SAFETY",
        "safetyRatings": [
            {"category": "HARM_CATEGORY_HARASSMENT"},
            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "blocked": True},
        ],
    }
    answer = read(says({"text": "I"}), {"candidates": [candidate]})
    assert answer.explanation == "SAFETY HARM_CATEGORY_DANGEROUS_CONTENT"
