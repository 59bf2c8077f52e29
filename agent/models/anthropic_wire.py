"""Anthropic's Messages format: conversations to requests, streamed events to answers. No I/O here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent.models.catalogue import ModelInfo
from agent.models.encoding import Kept
from agent.models.faults import Fault
from agent.models.provider import (
    INVALID_JSON,
    MAX_OUTPUT,
    Answer,
    Try,
    arguments,
    check_pairs,
    own_content,
    utf8,
)
from agent.types import Message, Stop, ToolCall, ToolResult, ToolSpec, Usage

STOPS: Mapping[str, Stop] = {
    "tool_use": "tool_use",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # the model wants to go on; only tools of the provider's own bring it about
    "refusal": "refusal",
}
"""The API's stop reasons as Reply.stop; any other is "end"."""


class Reader:
    """What one streamed answer adds up to. `add` takes the events as the wire has them."""

    def __init__(self, seen: Try) -> None:
        self._seen = seen
        self.stop_reason = ""
        self.explanation = ""
        self._complete = False
        self.hour_written = 0
        """Tokens of those written to the cache that are kept for an hour."""
        self._counts: dict[str, int] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}

    def add(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "message_start":
                self._count(event["message"]["usage"])
            case "content_block_start":
                self._seen.token()
                self._blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                delta = event["delta"]
                # Each kind of delta has its text in the field that it adds to (a tool's input: partial_json).
                for field in ("text", "thinking", "partial_json", "signature"):
                    if field in delta:
                        self._pieces.setdefault((event["index"], field), []).append(delta[field])
            case "message_delta":
                self.stop_reason = event["delta"].get("stop_reason") or self.stop_reason
                self.explanation = (event["delta"].get("stop_details") or {}).get("explanation") or ""
                self._count(event["usage"])
            case "message_stop":
                self._complete = True

    def finish(self) -> Answer:
        """Put the pieces together. Raises Fault when the answer broke off."""
        if not self._complete or not self.stop_reason:
            raise Fault("broken", "the answer broke off")
        content: list[dict[str, Any]] = []
        for index, block in sorted(self._blocks.items()):
            for field in ("text", "thinking", "signature"):
                if pieces := self._pieces.get((index, field)):
                    block[field] = utf8(block.get(field, "") + "".join(pieces))
            if block["type"] == "tool_use":
                raw = "".join(self._pieces.get((index, "partial_json"), []))
                cut = STOPS.get(self.stop_reason) == "length" and index == max(self._blocks)
                given = {INVALID_JSON: ""} if cut and not raw else arguments(raw)
                block = {"type": "tool_use", "id": block["id"], "name": block["name"], "input": given}
            if block["type"] == "text" and not block["text"].strip():
                continue  # the API refuses to take an empty block back
            if block["type"] == "thinking" and not block.get("signature"):
                continue  # cut off before its signature, without which it is refused as well
            content.append(block)
        while content and content[-1]["type"] in ("thinking", "redacted_thinking"):
            content.pop()  # nor may an assistant message end with thinking
        text = "\n".join(block["text"] for block in content if block["type"] == "text")
        calls = tuple(
            ToolCall(block["id"], block["name"], block["input"])
            for block in content
            if block["type"] == "tool_use"
        )
        # The whole content, not only the thinking: its order is part of what must come back unchanged.
        return Answer(text, calls, STOPS.get(self.stop_reason, "end"), content, self.explanation)

    def _count(self, usage: Mapping[str, Any]) -> None:
        # Counts are totals so far, and absent or null where nothing is new.
        self._counts.update({key: value for key, value in usage.items() if isinstance(value, int)})
        if isinstance(by_life := usage.get("cache_creation"), Mapping):
            self.hour_written = by_life.get("ephemeral_1h_input_tokens") or 0
        count = self._counts.get
        self._seen.usage = Usage(
            requests=1,
            input=count("input_tokens", 0),
            output=count("output_tokens", 0),
            cache_read=count("cache_read_input_tokens", 0),
            cache_write=count("cache_creation_input_tokens", 0),
        )


def build_request(
    info: ModelInfo,
    thinking: str | int | None,
    system: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    schema: Mapping[str, Any] | None = None,
    *,
    lasting: bool = False,
    known: Known | None = None,
) -> dict[str, Any]:
    """The request's body; `thinking` as ModelInfo.thinking has it, `lasting` for a prefix that is kept for an hour
    (longer lives must come before shorter ones, which they do); `known` are the messages of the last request of the
    same model. Raises AssertionError for a conversation that the API would refuse."""
    request: dict[str, Any] = {
        "model": info.name,
        "max_tokens": min(MAX_OUTPUT, info.max_output or MAX_OUTPUT),
        "messages": _with_breakpoints(_conversation(messages, known or on_the_wire(info))),
    }
    if tools:
        request["tools"] = [
            {"name": t.name, "description": utf8(t.description), "input_schema": dict(t.input_schema)}
            for t in tools
        ]
    # Tools come before the system prompt in the cached prefix, so one breakpoint covers both.
    if system.strip():
        request["system"] = [_cached({"type": "text", "text": utf8(system)}, lasting=lasting)]
    elif tools:
        request["tools"][-1] = _cached(request["tools"][-1], lasting=lasting)
    output: dict[str, Any] = {}
    if isinstance(thinking, int):
        request["thinking"] = {"type": "enabled", "budget_tokens": thinking}
        # The budget is part of the output; the answer itself needs room beside it.
        wanted = max(request["max_tokens"], thinking + 8192)
        request["max_tokens"] = min(wanted, info.max_output or wanted)
    elif thinking == "disabled":
        request["thinking"] = {"type": "disabled"}
    elif thinking:
        request["thinking"] = {"type": "adaptive"}
        output["effort"] = thinking
    if schema is not None and "no-schema" not in info.quirks:
        output["format"] = {"type": "json_schema", "schema": dict(schema)}
    if output:
        request["output_config"] = output
    return request


def limit_output(request: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """The request for a shorter answer. A budget for thinking must stay below the whole, and is at least 1,024."""
    shorter = {**request, "max_tokens": tokens}
    thinking = request.get("thinking", {})
    if "budget_tokens" in thinking:
        budget = max(1024, min(thinking["budget_tokens"], tokens // 2))
        shorter["thinking"] = {**thinking, "budget_tokens": budget}
    return shorter


Known = Kept[Message, Mapping[str, Any]]


def on_the_wire(info: ModelInfo) -> Known:
    """Messages as a request to this model has them."""

    def made(message: Message) -> Mapping[str, Any]:
        if message.role == "user":
            content = [*map(_result, message.tool_results), *_text(message.text)]
            if message.settled and content:
                content[-1] = _cached(content[-1])
        else:
            content = _assistant_content(message, info)
        return {"role": message.role, "content": content}

    return Kept(made)


def _conversation(messages: Sequence[Message], known: Known) -> list[Mapping[str, Any]]:
    """Messages as the API demands them: roles alternate, a user begins and ends, every call is answered."""
    check_pairs(messages)
    wire = merged(known.of(list(messages)))
    if not wire or wire[0]["role"] != "user" or wire[-1]["role"] != "user":
        raise AssertionError("a conversation begins and ends with a user message")
    return wire


def _assistant_content(message: Message, info: ModelInfo) -> list[dict[str, Any]]:
    own = own_content(message, info)
    if own is not None:
        return list(own)
    return _text(message.text) + [
        {"type": "tool_use", "id": _call_id(call.id), "name": call.name, "input": dict(call.arguments)}
        for call in message.tool_calls
    ]


def _call_id(given: str) -> str:
    """Another provider's id in the letters that this API takes."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", given) or "_"


def _result(result: ToolResult) -> dict[str, Any]:
    text = utf8(result.text) if result.text.strip() else "(no output)"
    block = {"type": "tool_result", "tool_use_id": _call_id(result.call_id), "content": text}
    return {**block, "is_error": True} if result.is_error else block


def _text(text: str) -> list[dict[str, Any]]:
    """A text block, or nothing: the API refuses blank ones."""
    return [{"type": "text", "text": utf8(text)}] if text.strip() else []


def merged(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without empty messages (an answer that was cut before its first word), and roles alternating again."""
    kept: list[Mapping[str, Any]] = []
    for message in messages:
        if kept and kept[-1]["role"] == message["role"]:
            kept[-1] = {**message, "content": [*kept[-1]["content"], *message["content"]]}
        elif message["content"]:
            kept.append(message)
    return kept


def _with_breakpoints(wire: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Cache up to the last user message; also mark the one before it, where the previous request wrote.

    A lookup goes back only 20 blocks by itself, fewer than one turn of parallel calls may add. With the system prompt's
    mark and that of the settled message these are the four that a request may have: the settled one is read with each
    request, so that it is still there when what follows it is masked. Where two are settled, output was masked just
    now: what the previous request wrote last is of no use then.
    """
    users = [place for place, message in enumerate(wire) if message["role"] == "user"]
    settled = sum("cache_control" in block for place in users for block in wire[place]["content"])
    for place in users[-1 if settled > 1 else -2 :]:
        content = wire[place]["content"]
        wire[place] = {**wire[place], "content": [*content[:-1], _cached(content[-1])]}
    return wire


def _cached(block: Mapping[str, Any], *, lasting: bool = False) -> dict[str, Any]:
    life = {"ttl": "1h"} if lasting else {}
    return {**block, "cache_control": {"type": "ephemeral", **life}}
