"""Conversations as Chat Completions servers get them, and the many ways in which they stream an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from agent.models.catalogue import ModelInfo
from agent.models.chat_wire import Reader, build_request
from agent.models.faults import Fault
from agent.models.provider import Answer, Try
from agent.types import Message, ToolCall, ToolResult, ToolSpec, Usage
from tests.loopback.chat_rules import Flavour, faults

QWEN = ModelInfo("openai", "qwen", "chat")
DEEP = ModelInfo("openai", "deep", "chat", quirks=frozenset({"reasoning-content"}))
ASK = Message("user", "Mend it.")
TOOLS = [ToolSpec("shell", "Run.", {"type": "object", "properties": {}})]


def request(
    messages: Sequence[Message], info: ModelInfo = QWEN, flavour: Flavour = "vllm", **more: Any
) -> Any:
    made = build_request(info, more.pop("thinking", None), more.pop("system", ""), messages, TOOLS, **more)
    assert faults({**made, "stream": True}, [], flavour) == []
    return made


def called(*ids: str, text: str = "", kept: Any = None) -> Message:
    data = None if kept is None else {"chat": {"model": "deep", "content": kept}}
    return Message("assistant", text, tuple(ToolCall(one, "shell", {}) for one in ids), provider_data=data)


def results(*ids: str, text: str = "") -> Message:
    return Message("user", text, tool_results=tuple(ToolResult(one, "shell", f"of {one}") for one in ids))


def test_users_and_assistants_alternate_and_nothing_is_blank() -> None:
    said = [
        ASK,
        Message("assistant", " "),
        Message("user", "Go on."),
        Message("user", ""),
        Message("user", "Please."),
    ]
    wire = request(
        [*said, Message("assistant", "So."), Message("assistant", "Done."), ASK], system="You mend."
    )
    assert [(m["role"], m["content"]) for m in wire["messages"]] == [
        ("system", "You mend."),
        ("user", "Mend it.\n\nGo on.\n\nPlease."),
        ("assistant", "So.\n\nDone."),
        ("user", "Mend it."),
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [ASK, called("a")],
        [ASK, called("a", "b"), results("a")],
        [results("z")],
        [],
        [ASK, Message("assistant", "x")],
    ],
    ids=["at the end", "one of two", "without a call", "nothing", "the assistant last"],
)
def test_a_conversation_that_no_api_takes_is_an_internal_error(messages: list[Message]) -> None:
    with pytest.raises(AssertionError):
        build_request(QWEN, None, "", messages, [])


def test_outputs_follow_their_calls_and_errors_are_marked() -> None:
    failed = ToolResult("b", "shell", "no such file", is_error=True)
    said = Message("user", "Now?", tool_results=(ToolResult("a", "shell", " "), failed))
    wire = request([ASK, called("a", "b"), said])["messages"]
    assert [m["role"] for m in wire] == ["user", "assistant", "tool", "tool", "user"]
    assert [m["content"] for m in wire[1:]] == [None, "(no output)", "Error: no such file", "Now?"]


def test_foreign_call_ids_fit_and_stay_apart() -> None:
    ids = ["toolu|1.a", "toolu_1_a", "x" * 80, "x" * 90]
    wire = request([ASK, called(*ids), results(*ids), called(*ids), results(*ids)], flavour="openai")[
        "messages"
    ]
    sent = [call["id"] for m in wire for call in m.get("tool_calls", [])]
    assert len(set(sent)) == 8 and max(map(len, sent)) == 40
    answers = {m["tool_call_id"]: m["content"] for m in wire if m["role"] == "tool"}
    assert [answers[one] for one in sent] == [f"of {one}" for one in [*ids, *ids]]


def test_arguments_that_were_no_json_go_back_as_json() -> None:
    bad = Message("assistant", tool_calls=(ToolCall("a", "shell", {"__invalid_json__": "rm \ud800"}),))
    [call] = request([ASK, bad, results("a")])["messages"][1]["tool_calls"]
    assert "rm" in json.loads(call["function"]["arguments"])["__invalid_json__"]


def test_reasoning_goes_back_only_to_a_server_that_demands_it() -> None:
    kept = {"reasoning_content": "Hm.", "tool_calls": [{"id": "a", "extra_content": {"signature": "s"}}]}
    conversation = [ASK, called("a", kept=kept), results("a")]
    back = build_request(DEEP, None, "", conversation, TOOLS)["messages"][1]
    assert back["reasoning_content"] == "Hm."
    plain = ModelInfo("openai", "deep", "chat")
    back = build_request(plain, None, "", conversation, TOOLS)["messages"][1]
    assert "reasoning_content" not in back
    assert back["tool_calls"][0]["extra_content"] == {"signature": "s"}  # its own, and it may want it back
    other = request(conversation, ModelInfo("openai", "other", "chat", quirks=DEEP.quirks))["messages"][1]
    assert other.keys() == {"role", "content", "tool_calls"}


def test_effort_limit_and_form_go_only_where_they_are_known() -> None:
    assert (
        not {"reasoning_effort", "max_tokens", "max_completion_tokens", "response_format"}
        & request([ASK]).keys()
    )
    known = ModelInfo("openai", "qwen", "chat", max_output=9_000)
    assert request([ASK], known, thinking="low")["reasoning_effort"] == "low"
    assert request([ASK], known, "ollama")["max_tokens"] == 9_000
    assert request([ASK], known, "openai", official=True)["max_completion_tokens"] == 9_000
    form = request([ASK], schema={"type": "object", "properties": {}, "additionalProperties": False})
    assert form["response_format"]["json_schema"]["strict"] is True
    assert "tools" not in build_request(QWEN, None, "", [ASK], [])


# --- answers


def read(*deltas: dict[str, Any], finish: str | None = "stop", seen: Try | None = None) -> Answer:
    reader = Reader(seen or Try())
    for delta in deltas:
        reader.add({"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None})
    if finish:
        reader.add({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    reader.add({"choices": []})
    return reader.finish()


def piece(arguments: Any = None, **more: Any) -> dict[str, Any]:
    function = {"name": more.pop("name", None), "arguments": arguments}
    return {"tool_calls": [{**more, "function": {k: v for k, v in function.items() if v is not None}}]}


LS, PWD = '{"command": "ls"}', '{"command": "pwd"}'
TWO = [("shell", {"command": "ls"}), ("shell", {"command": "pwd"})]
STREAMS: dict[str, list[dict[str, Any]]] = {
    "as OpenAI does": [
        piece("", index=0, id="a", name="shell"),
        piece(LS[:5], index=0),
        piece(LS[5:], index=0),
        piece("", index=1, id="b", name="shell"),
        piece(PWD, index=1),
    ],
    "interleaved": [
        piece(LS[:5], index=0, id="a", name="shell"),
        piece(PWD[:5], index=1, id="b", name="shell"),
        piece(LS[5:], index=0),
        piece(PWD[5:], index=1),
    ],
    "whole, in one delta": [
        {
            "tool_calls": [
                *piece(LS, id="a", name="shell")["tool_calls"],
                *piece(PWD, id="b", name="shell")["tool_calls"],
            ]
        }
    ],
    "whole, all with the number 0": [
        piece(LS, index=0, id="a", name="shell"),
        piece(PWD, index=0, id="b", name="shell"),
    ],
    "whole, without ids": [piece(LS, index=0, name="shell"), piece(PWD, index=1, name="shell")],
    "whole, without ids or numbers": [piece(LS, name="shell"), piece(PWD, name="shell")],
    "whole, the number 0 and no ids": [piece(LS, index=0, name="shell"), piece(PWD, index=0, name="shell")],
    "one id for all": [piece(LS, index=0, id="x", name="shell"), piece(PWD, index=1, id="x", name="shell")],
    "empty ids": [piece(LS, index=0, id="", name="shell"), piece(PWD, index=1, id="", name="shell")],
    "names and ids repeated": [
        piece(LS[:5], index=0, id="a", name="shell"),
        piece(LS[5:], index=0, id="a", name="shell"),
        piece(PWD[:5], index=1, id="b", name="shell"),
        piece(PWD[5:], index=1, id="b", name="shell"),
    ],
    "names repeated, without ids": [
        piece(LS[:5], index=0, name="shell"),
        piece(LS[5:], index=0, name="shell"),
        piece("", index=0, name="shell"),
        piece(PWD[:5], index=1, name="shell"),
        piece(PWD[5:], index=1, name="shell"),
    ],
    "ids repeated, without numbers": [
        piece(LS[:5], id="a", name="shell"),
        piece(PWD[:5], id="b", name="shell"),
        piece(LS[5:], id="a"),
        piece(PWD[5:], id="b"),
    ],
    "pieces without numbers": [
        piece("", id="a", name="shell"),
        piece(LS),
        piece("", id="b", name="shell"),
        piece(PWD),
    ],
    "arguments that are an object": [
        piece({"command": "ls"}, index=0, id="a", name="shell"),
        piece({"command": "pwd"}, index=1, id="b", name="shell"),
    ],
}


@pytest.mark.parametrize("name", STREAMS)
def test_two_calls_stay_two_calls_however_they_come(name: str) -> None:
    answer = read({"role": "assistant", "content": None}, *STREAMS[name], finish="tool_calls")
    assert [(call.name, call.arguments) for call in answer.tool_calls] == TWO
    ids = [call.id for call in answer.tool_calls]
    assert len(set(ids)) == 2 and all(ids)
    assert answer.text == ""


def test_calls_without_arguments_are_calls() -> None:
    answer = read(piece("", index=0, id="a", name="diff"), piece(None, index=1, id="b", name="diff"))
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("diff", {}), ("diff", {})]


def test_a_call_that_was_cut_is_not_run() -> None:
    cut = read(
        piece("{}", index=0, id="a", name="diff"),
        piece('{"c', index=1, id="b", name="shell"),
        finish="length",
    )
    assert (cut.stop, cut.tool_calls[1].arguments) == ("length", {"__invalid_json__": '{"c'})
    begun = read(piece("", index=0, id="a", name="shell"), finish="length")
    assert begun.tool_calls[0].arguments == {"__invalid_json__": ""}


def test_reasoning_is_kept_and_not_shown_and_the_unknown_survives() -> None:
    details = [{"type": "reasoning.text", "text": "H"}], [{"type": "reasoning.text", "text": "m"}]
    answer = read(
        {"reasoning_content": "H", "reasoning_details": details[0]},
        {"reasoning_content": "m", "reasoning_details": details[1], "content": ""},
        {"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Do"}]},
        {"content": "ne.", "of_tomorrow": {"a": 1}},
    )
    assert answer.text == "Done."
    assert answer.kept == {
        "reasoning_content": "Hm",
        "reasoning_details": [*details[0], *details[1]],
        "content": "Done.",
        "of_tomorrow": {"a": 1},
    }


def test_pairs_cut_between_two_pieces_become_whole() -> None:
    assert read({"content": "a \ud83d"}, {"content": "\ude00"}).text == "a 😀"


@pytest.mark.parametrize(
    ("finish", "stop"),
    [("stop", "end"), ("length", "length"), ("content_filter", "filtered"), ("eos", "end")],
)
def test_finish_reasons(finish: str, stop: str) -> None:
    assert read({"content": "So."}, finish=finish).stop == stop


def test_a_refusal_says_why() -> None:
    answer = read({"refusal": "I "}, {"refusal": "won't."})
    assert (answer.stop, answer.explanation, answer.text) == ("refusal", "I won't.", "")


@pytest.mark.parametrize("finish", [None, "", "error", "abort"])
def test_without_its_end_an_answer_is_broken(finish: str | None) -> None:
    with pytest.raises(Fault) as caught:
        read({"content": "So."}, finish=finish)
    assert caught.value.kind == "broken"


def test_an_error_of_a_choice_is_a_fault() -> None:
    with pytest.raises(Fault) as caught:
        Reader(Try()).add({"choices": [{"delta": {}, "error": {"code": 429, "message": "Slow"}}]})
    assert caught.value.kind == "rate_limit"


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2}, Usage(1, 9, 2)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
            },
            Usage(1, 10, 5, 60, 30),
        ),
        (
            {"prompt_tokens": 9, "prompt_cache_hit_tokens": 4, "prompt_tokens_details": None},
            Usage(1, 5, 0, 4),
        ),
        ({"prompt_tokens": 9, "cached_tokens": 4}, Usage(1, 5, 0, 4)),
    ],
)
def test_each_token_is_counted_once(usage: dict[str, Any], counted: Usage) -> None:
    seen = Try()
    reader = Reader(seen)
    reader.add({"choices": [], "usage": {**usage, "completion_tokens": 0}})  # some count as they go
    reader.add({"choices": [], "usage": usage})
    assert seen.usage == counted
