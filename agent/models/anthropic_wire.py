"""Anthropic's wire format: conversations to requests, streamed events to answers. No I/O here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent.types import Message, ToolResult, ToolSpec, Usage

STOPS = {
    "tool_use": "tool_use",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
"""The API's stop reasons as Reply.stop; any other is "end"."""

MAX_TOKENS = 32_000
"""Per answer, thinking included. Every current model allows it."""


class BrokenAnswer(Exception):
    """The stream ended before the answer did."""


class Answer:
    """What one streamed answer adds up to. `add` takes the events as the wire has them."""

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []
        self.stop_reason = ""
        self.explanation = ""
        self._complete = False
        self._counts: dict[str, int] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}

    @property
    def usage(self) -> Usage:
        count = self._counts.get
        return Usage(
            requests=1,
            input=count("input_tokens", 0),
            output=count("output_tokens", 0),
            cache_read=count("cache_read_input_tokens", 0),
            cache_write=count("cache_creation_input_tokens", 0),
        )

    def add(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "message_start":
                self._count(event["message"]["usage"])
            case "content_block_start":
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

    def finish(self) -> None:
        """Put the pieces together. Raises BrokenAnswer when the answer broke off."""
        if not self._complete or not self.stop_reason:
            raise BrokenAnswer("the answer broke off")
        for index, block in sorted(self._blocks.items()):
            for field in ("text", "thinking", "signature"):
                if pieces := self._pieces.get((index, field)):
                    block[field] = _utf8(block.get(field, "") + "".join(pieces))
            if block["type"] == "tool_use":
                raw = "".join(self._pieces.get((index, "partial_json"), []))
                cut = STOPS.get(self.stop_reason) == "length" and index == max(self._blocks)
                given = {"__invalid_json__": ""} if cut and not raw else _arguments(raw)
                block = {"type": "tool_use", "id": block["id"], "name": block["name"], "input": given}
            if block["type"] == "text" and not block["text"].strip():
                continue  # the API refuses to take an empty block back
            if block["type"] == "thinking" and not block.get("signature"):
                continue  # cut off before its signature, without which it is refused as well
            self.content.append(block)
        while self.content and self.content[-1]["type"] in ("thinking", "redacted_thinking"):
            self.content.pop()  # nor may an assistant message end with thinking

    def _count(self, usage: Mapping[str, Any]) -> None:
        # Counts are totals so far, and absent or null where nothing is new.
        self._counts.update({key: value for key, value in usage.items() if isinstance(value, int)})


def _arguments(raw: str) -> dict[str, Any]:
    """A tool call's arguments. What is no JSON object comes back under `__invalid_json__`, to be answered."""
    try:
        value = json.loads(raw or "{}")
        # NaN and lone surrogates can be read, but not sent back.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"__invalid_json__": _utf8(raw)}


def build_request(
    model: str, thinking: str | None, system: str, messages: Sequence[Message], tools: Sequence[ToolSpec]
) -> dict[str, Any]:
    """The request's body. Raises AssertionError for a conversation that the API would refuse."""
    request: dict[str, Any] = {
        "model": model,
        "max_tokens": MAX_TOKENS,
        "messages": _with_breakpoints(_conversation(messages, model)),
    }
    if tools:
        request["tools"] = [
            {"name": t.name, "description": _utf8(t.description), "input_schema": dict(t.input_schema)}
            for t in tools
        ]
    # Tools come before the system prompt in the cached prefix, so one breakpoint covers both.
    if system.strip():
        request["system"] = [_cached({"type": "text", "text": _utf8(system)})]
    elif tools:
        request["tools"][-1] = _cached(request["tools"][-1])
    if thinking == "off":
        request["thinking"] = {"type": "disabled"}
    elif thinking:
        request["thinking"] = {"type": "adaptive"}
        request["output_config"] = {"effort": thinking}
    return request


def _conversation(messages: Sequence[Message], model: str) -> list[dict[str, Any]]:
    """Messages as the API demands them: roles alternate, a user begins and ends, every call is answered."""
    wire: list[dict[str, Any]] = []
    asked: list[str] = []
    for message in messages:
        answered = [result.call_id for result in message.tool_results]
        if sorted(answered) != sorted(asked):
            raise AssertionError(f"tool calls {asked} are answered by results {answered}")
        asked = [call.id for call in message.tool_calls]
        if message.role == "user":
            content = [*map(_result, message.tool_results), *_text(message.text)]
        else:
            content = _assistant_content(message, model)
        wire.append({"role": message.role, "content": content})
    if asked:
        raise AssertionError(f"tool calls {asked} have no results")
    wire = merged(wire)
    if not wire or wire[0]["role"] != "user" or wire[-1]["role"] != "user":
        raise AssertionError("a conversation begins and ends with a user message")
    return wire


def _assistant_content(message: Message, model: str) -> list[dict[str, Any]]:
    kept = (message.provider_data or {}).get("anthropic", {})
    if kept.get("model") == model:
        return list(kept["content"])
    return _text(message.text) + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments)}
        for call in message.tool_calls
    ]


def _result(result: ToolResult) -> dict[str, Any]:
    text = _utf8(result.text) if result.text.strip() else "(no output)"
    block = {"type": "tool_result", "tool_use_id": result.call_id, "content": text}
    return {**block, "is_error": True} if result.is_error else block


def _text(text: str) -> list[dict[str, Any]]:
    """A text block, or nothing: the API refuses blank ones."""
    return [{"type": "text", "text": _utf8(text)}] if text.strip() else []


def merged(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without empty messages (an answer that was cut before its first word), and roles alternating again."""
    kept: list[dict[str, Any]] = []
    for message in messages:
        if kept and kept[-1]["role"] == message["role"]:
            kept[-1]["content"] = [*kept[-1]["content"], *message["content"]]
        elif message["content"]:
            kept.append(dict(message))
    return kept


def _with_breakpoints(wire: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cache up to the last user message; also mark the one before it, where the previous request wrote.

    A lookup goes back only 20 blocks by itself, fewer than one turn of parallel calls may add.
    """
    users = [message for message in wire if message["role"] == "user"]
    for message in users[-2:]:
        message["content"] = [*message["content"][:-1], _cached(message["content"][-1])]
    return wire


def _cached(block: Mapping[str, Any]) -> dict[str, Any]:
    return {**block, "cache_control": {"type": "ephemeral"}}


def _utf8(text: str) -> str:
    """Without lone surrogates, which no request can hold: undecodable bytes in tool output leave them.

    Pairs that were cut between two pieces of a stream become whole again.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
