"""OpenAI's Responses format: conversations to requests, streamed events to answers. No I/O here.

What Chat Completions shares with it is here too: the words for errors, ids of calls, strict schemas.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.models.catalogue import ModelInfo
from agent.models.faults import Fault, Kind, kind_of, one_line
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

_KINDS: Mapping[str, Kind] = {
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "rate_limit_exceeded": "rate_limit",
    "context_length_exceeded": "overflow",
    "exceed_context_size_error": "overflow",
    "invalid_prompt": "filtered",
    "content_filter": "filtered",
    "moderation_blocked": "filtered",
    "overloaded": "overloaded",
    "overloaded_error": "overloaded",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
    "invalid_api_key": "authentication",
    "model_not_found": "not_found",
}
"""The codes and types of errors that say more than a status (llama.cpp calls a bad request a server_error, too).
Every other one of a policy is a filter's."""

_OVERFLOW = re.compile(
    "maximum context length|context length (is|of only)|available context size|input length exceeds"
    "|exceed.{0,20} context (length|window|size)|(prompt|input) is too long|(model's|the) context window",
    re.IGNORECASE,
)
"""How OpenAI, vLLM, llama.cpp, Ollama, LM Studio and OpenRouter's providers say it."""

_STRICT_KEYS = {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"),
    *("$ref", "$defs", "definitions", "title", "description", "pattern", "format", "multipleOf"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"),
}


def error_kind(words: Sequence[str], said: str) -> Kind | None:
    """What an error's code, type and text mean; None when they say nothing of their own."""
    if "Request too large" in said:
        return "too_large"  # for the account's tokens per minute: no wait would help
    for word in words:
        if word in _KINDS:
            return _KINDS[word]
        if re.search("policy|content_filter", word):
            return "filtered"
    return "overflow" if _OVERFLOW.search(said) else None


def mid_answer(error: Mapping[str, Any], secrets: Sequence[str | None] = ()) -> Fault:
    """The fault of an answer that the server itself broke off."""
    words = [str(error[key]) for key in ("code", "type") if error.get(key) not in (None, "error")]
    said = one_line(error.get("message") or "no reason given", secrets)
    kind = error_kind(words, said)
    if kind is None:  # OpenRouter and others: the status that would have been
        code = next((int(word) for word in words if re.fullmatch("[45][0-9][0-9]", word)), 500)
        kind = kind_of(code)
    word = one_line(words[0], secrets) if words else "error"
    return Fault(kind, f"{word} in mid-answer: {said}")


class Reader:
    """What one streamed answer adds up to. `add` takes the events as the wire has them."""

    def __init__(self, seen: Try) -> None:
        self._seen = seen
        self._last: Mapping[str, Any] = {}
        self._ended = ""
        self._items: dict[int, dict[str, Any]] = {}

    def add(self, event: Mapping[str, Any]) -> None:
        kind = event["type"]
        if kind == "error":
            raise mid_answer(event.get("error") or event)
        if kind.startswith("response.output_item"):
            self._seen.token()
            if kind == "response.output_item.done":
                # Only now is a reasoning item's encrypted content whole.
                self._items[event["output_index"]] = dict(event["item"])
        elif kind.endswith(".delta"):
            self._seen.token()
        elif isinstance(response := event.get("response"), Mapping):
            self._count(response.get("usage") or {})
            if kind == "response.failed":
                raise mid_answer(response.get("error") or {})
            if kind in ("response.completed", "response.incomplete"):
                self._ended, self._last = kind, response

    def finish(self) -> Answer:
        """Put the items together. Raises Fault when the answer broke off."""
        if not self._ended:
            raise Fault("broken", "the answer broke off")
        for index, item in enumerate(self._last.get("output") or []):
            self._items.setdefault(index, dict(item))  # an item that was cut may never be done
        stop = self._stop()
        kept: list[dict[str, Any]] = []
        texts: list[str] = []
        refusals: list[str] = []
        calls: list[ToolCall] = []
        for index, item in sorted(self._items.items()):
            # Null stands for a field that is absent, and is refused when it comes back.
            item = {key: _whole(value) for key, value in item.items() if value is not None}
            if item["type"] == "message":
                texts += [part["text"] for part in item["content"] if part["type"] == "output_text"]
                refusals += [part["refusal"] for part in item["content"] if part["type"] == "refusal"]
                if not any(part.get("text") or part.get("refusal") for part in item["content"]):
                    continue
            elif item["type"] == "function_call":
                raw = item.get("arguments", "")
                cut = stop == "length" and index == max(self._items)
                given = {INVALID_JSON: ""} if cut and not raw else arguments(raw)
                calls.append(ToolCall(item["call_id"], item["name"], given))
            kept.append(item)
        while kept and kept[-1]["type"] == "reasoning":
            kept.pop()  # refused without the item that it led to
        if refusals:
            stop = "refusal"
        text = "\n".join(text for text in texts if text)
        return Answer(text, tuple(calls), stop, kept, "\n".join(refusals))

    def _stop(self) -> Stop:
        if self._ended == "response.completed":
            return "end"
        reason = (self._last.get("incomplete_details") or {}).get("reason")
        return "filtered" if reason == "content_filter" else "length"

    def _count(self, usage: Mapping[str, Any]) -> None:
        if usage:
            details = usage.get("input_tokens_details") or {}
            read, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
            self._seen.usage = counted(usage.get("input_tokens"), usage.get("output_tokens"), read, written)


def counted(every_input: Any, output: Any, read: int, written: int) -> Usage:
    """Usage of one request whose input counts what was read from and written to a cache too."""
    return Usage(1, max(0, (every_input or 0) - read - written), output or 0, read, written)


def _whole(value: Any) -> Any:
    """The same JSON value without lone surrogates, which no request could hold."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, Mapping):
        return {key: _whole(one) for key, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list) else value


def build_request(
    info: ModelInfo,
    thinking: str | int | None,
    system: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    schema: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The request's body. Raises AssertionError for a conversation that the API would refuse."""
    request: dict[str, Any] = {
        "model": info.name,
        "input": _input(messages, info),
        "store": False,
    }
    if info.thinking:  # a model that can't think refuses it
        request["include"] = ["reasoning.encrypted_content"]
    if info.max_output:  # where it is unknown, the model's own limit holds
        request["max_output_tokens"] = min(MAX_OUTPUT, info.max_output)
    if system.strip():
        request["instructions"] = utf8(system)
    if tools:
        # Left out, `strict` would be true, and rewrite each schema.
        request["tools"] = [{"type": "function", **function(tool), "strict": False} for tool in tools]
        request["parallel_tool_calls"] = True
    if thinking is not None:
        request["reasoning"] = {"effort": thinking}
    if (form := json_schema(schema, info)) is not None:
        request["text"] = {"format": {"type": "json_schema", **form}}
    prefix = json.dumps([info.name, request.get("instructions"), request.get("tools")])
    request["prompt_cache_key"] = hashlib.sha256(prefix.encode()).hexdigest()[:32]
    return request


def _input(messages: Sequence[Message], info: ModelInfo) -> list[dict[str, Any]]:
    check_ends(messages)
    items: list[dict[str, Any]] = []
    ids = CallIds(64)
    for message in messages:
        own = own_content(message, info)
        wire = ids.asked(message, fixed=own is not None)
        if own is not None:
            items += [dict(item) for item in own]
            continue
        items += [
            {"type": "function_call_output", "call_id": ids.answered(one.call_id), "output": result_text(one)}
            for one in message.tool_results
        ]
        if message.text.strip():
            items.append({"type": "message", "role": message.role, "content": utf8(message.text)})
        items += [
            {"type": "function_call", "call_id": wire_id, "name": call.name, "arguments": raw(call)}
            for wire_id, call in zip(wire, message.tool_calls, strict=True)
        ]
    return items


class CallIds:
    """Ids of tool calls as a request has them: each in the letters and length that the API takes, and once only."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._used: set[str] = set()
        self._open: dict[str, list[str]] = {}

    def asked(self, message: Message, *, fixed: bool) -> list[str]:
        """The ids of a message's calls. `fixed` ones are the API's own and stay."""
        wire: list[str] = []
        for call in message.tool_calls:
            one = call.id if fixed else self._new(re.sub(r"[^a-zA-Z0-9_-]", "_", call.id) or "call")
            self._used.add(one)
            self._open.setdefault(call.id, []).append(one)
            wire.append(one)
        return wire

    def answered(self, given: str) -> str:
        """The id of the call that a result with this id answers."""
        return self._open[given].pop(0)

    def _new(self, clean: str) -> str:
        one, number = clean[: self._longest], 2
        while one in self._used:
            end = f"_{number}"
            one, number = clean[: self._longest - len(end)] + end, number + 1
        return one


def check_ends(messages: Sequence[Message]) -> None:
    """Raises AssertionError for a conversation without its results, or one that does not begin and end with a user."""
    check_pairs(messages)
    if not messages or messages[0].role != "user" or messages[-1].role != "user":
        raise AssertionError("a conversation begins and ends with a user message")


def raw(call: ToolCall) -> str:
    """A call's arguments as JSON text."""
    return utf8(json.dumps(dict(call.arguments), ensure_ascii=False))


def result_text(result: ToolResult) -> str:
    """A tool's output; these APIs have no field that marks an error."""
    text = utf8(result.text) if result.text.strip() else "(no output)"
    return f"Error: {text}" if result.is_error else text


def function(tool: ToolSpec) -> dict[str, Any]:
    return {"name": tool.name, "description": utf8(tool.description), "parameters": dict(tool.input_schema)}


def json_schema(schema: Mapping[str, Any] | None, info: ModelInfo) -> dict[str, Any] | None:
    """The form that an answer must have, or None where none was asked for or the API takes none: its schemas are
    those of objects."""
    if schema is None or "no-schema" in info.quirks or schema.get("type") != "object":
        return None
    return {"name": "answer", "schema": dict(schema), "strict": not any(_lax(schema))}


def _lax(schema: Any) -> Iterator[str]:
    """What strict mode would refuse in a schema."""
    if not isinstance(schema, Mapping):
        yield "not a schema"
        return
    yield from schema.keys() - _STRICT_KEYS
    if not schema.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
        yield "no type"
    if "object" in (schema.get("type"), *(schema["type"] if isinstance(schema.get("type"), list) else ())):
        if schema.get("additionalProperties") is not False:
            yield "additionalProperties"
        if set(schema.get("required", ())) != set(schema.get("properties", {})):
            yield "required"
    for key in ("properties", "$defs", "definitions"):
        for one in schema.get(key, {}).values():
            yield from _lax(one)
    for one in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from _lax(one)
