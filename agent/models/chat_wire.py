"""The Chat Completions format, as OpenAI and the servers that imitate it speak it. No I/O here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from agent.models.catalogue import ModelInfo
from agent.models.faults import Fault
from agent.models.provider import INVALID_JSON, MAX_OUTPUT, Answer, Try, arguments, own_content, utf8
from agent.models.responses_wire import (
    CallIds,
    check_ends,
    counted,
    function,
    json_schema,
    mid_answer,
    raw,
    result_text,
)
from agent.types import Message, Stop, ToolCall, ToolSpec

STOPS: Mapping[str, Stop] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "filtered",
    "refusal": "refusal",
}
"""Finish reasons as Reply.stop; any other is "end", or "tool_use" where tools are called."""

_FAILED = ("error", "abort", "insufficient_system_resource")
"""Finish reasons of an answer that the server gave up."""

_REASONING = ("reasoning_content", "reasoning", "reasoning_details")


class Reader:
    """What one streamed answer adds up to. `add` takes the chunks as the wire has them."""

    def __init__(self, seen: Try) -> None:
        self._seen = seen
        self._finish = ""
        self._fields: dict[str, Any] = {}
        self._calls: list[_Call] = []

    def add(self, chunk: Mapping[str, Any]) -> None:
        self._count(chunk.get("usage") or {})
        for choice in (chunk.get("choices") or [])[:1]:
            if choice.get("error"):
                raise mid_answer(choice["error"])
            delta = choice.get("delta") or choice.get("message") or {}
            for key, value in delta.items():
                if value is None or value == "" or key == "role":
                    continue
                self._seen.token()
                if key == "tool_calls":
                    for piece in value:
                        self._call(piece).add(piece)
                else:
                    self._fields[key] = _joined(
                        self._fields.get(key), _plain(value) if key == "content" else value
                    )
            self._finish = choice.get("finish_reason") or self._finish

    def finish(self) -> Answer:
        """Put the pieces together. Raises Fault when the answer broke off."""
        if not self._finish or self._finish in _FAILED:
            raise Fault("broken", f"the answer broke off{f': {self._finish}' if self._finish else ''}")
        stop = STOPS.get(self._finish, "end")
        kept = _whole(self._fields)
        text, refusal = kept.get("content", ""), kept.pop("refusal", "")
        calls: list[ToolCall] = []
        wire: list[dict[str, Any]] = []
        for call in self._calls:
            cut = stop == "length" and call is self._calls[-1]
            given = {INVALID_JSON: ""} if cut and not call.arguments else arguments(call.arguments)
            free = call.id and call.id not in (one.id for one in calls)
            made = ToolCall(call.id if free else f"call_{uuid.uuid4().hex[:16]}", call.name, given)
            calls.append(made)
            wire.append({"id": made.id, **_whole(call.others)})
        if wire:
            kept["tool_calls"] = wire
        if refusal:
            stop = "refusal"
        return Answer(text, tuple(calls), stop, kept, refusal)

    def _call(self, piece: Mapping[str, Any]) -> _Call:
        """The call that a piece belongs to. Not every server numbers its calls, or names each once."""
        index, given, named = piece.get("index"), piece.get("id"), piece.get("function") or {}
        same = [one for one in self._calls if one.index == index or index is None]
        if given and index is None:
            same = [one for one in self._calls if one.id == given] or same
        last = same[-1] if same else None
        more = named.get("arguments")
        begins = bool(named.get("name")) and bool(more.strip() if isinstance(more, str) else more)
        if (
            last is None
            or (given and last.id and given != last.id and named.get("name"))
            or (begins and not (given and given == last.id) and last.complete())
        ):
            last = _Call(index)
            self._calls.append(last)
        return last

    def _count(self, usage: Mapping[str, Any]) -> None:
        if usage:
            details = usage.get("prompt_tokens_details") or {}
            # The others are DeepSeek's and Moonshot's.
            read = (
                details.get("cached_tokens")
                or usage.get("prompt_cache_hit_tokens")
                or usage.get("cached_tokens")
                or 0
            )
            written = details.get("cache_write_tokens") or 0
            self._seen.usage = counted(
                usage.get("prompt_tokens"), usage.get("completion_tokens"), read, written
            )


class _Call:
    """One tool call that is coming in."""

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments = ""
        self.others: dict[str, Any] = {}
        """What only the server knows and may want back, such as a signature of its thoughts."""

    def add(self, piece: Mapping[str, Any]) -> None:
        named = piece.get("function") or {}
        self.id = self.id or str(piece.get("id") or "")
        self.name = self.name or named.get("name") or ""
        more = named.get("arguments")
        if more is not None:
            self.arguments += more if isinstance(more, str) else json.dumps(more)
        for key, value in piece.items():
            if key not in ("index", "id", "type", "function") and value is not None:
                self.others[key] = value

    def complete(self) -> bool:
        return bool(self.arguments) and INVALID_JSON not in arguments(self.arguments)


def _joined(before: Any, more: Any) -> Any:
    """Pieces of one field: texts and lists grow, anything else is the last that came."""
    if isinstance(before, str) and isinstance(more, str):
        return before + more
    return [*before, *more] if isinstance(before, list) and isinstance(more, list) else more


def _plain(content: Any) -> str:
    """A delta's text; some servers send parts of several kinds."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content if part.get("type") == "text")


def _whole(value: Any) -> Any:
    """The same JSON value without lone surrogates."""
    return json.loads(utf8(json.dumps(value, ensure_ascii=False)))


def build_request(
    info: ModelInfo,
    thinking: str | int | None,
    system: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    schema: Mapping[str, Any] | None = None,
    *,
    official: bool = False,
) -> dict[str, Any]:
    """The request's body; `official` for OpenAI's own servers. Raises AssertionError for a conversation that an API
    would refuse."""
    request: dict[str, Any] = {
        "model": info.name,
        "messages": _messages(system, messages, info),
        "stream_options": {"include_usage": True},
    }
    if info.max_output:
        # The old name is the one that every imitation knows, and the one that OpenAI's reasoning models refuse. With
        # neither, a server gives what its window has left; a guess beyond that would be refused.
        name = "max_completion_tokens" if official else "max_tokens"
        request[name] = min(MAX_OUTPUT, info.max_output)
    if tools:
        request["tools"] = [{"type": "function", "function": function(tool)} for tool in tools]
    if thinking is not None:
        request["reasoning_effort"] = thinking
    if (form := json_schema(schema, info)) is not None:
        request["response_format"] = {"type": "json_schema", "json_schema": form}
    return request


def _messages(system: str, messages: Sequence[Message], info: ModelInfo) -> list[dict[str, Any]]:
    """Messages as the strictest server wants them: none blank, user and assistant in turn, each call answered."""
    check_ends(messages)
    wire: list[dict[str, Any]] = []
    if system.strip():
        wire.append({"role": "system", "content": utf8(system)})
    ids = CallIds(40)
    for message in messages:
        if message.role == "assistant":
            said = _assistant(message, ids, info)
            if said is not None and "tool_calls" not in said and wire[-1]["role"] == "assistant":
                wire[-1]["content"] = _lines(wire[-1]["content"], said["content"])
            elif said is not None:
                wire.append(said)
            continue
        for one in message.tool_results:
            wire.append(
                {"role": "tool", "tool_call_id": ids.answered(one.call_id), "content": result_text(one)}
            )
        if message.text.strip():
            if wire and wire[-1]["role"] == "user":
                wire[-1]["content"] = _lines(wire[-1]["content"], utf8(message.text))
            else:
                wire.append({"role": "user", "content": utf8(message.text)})
    return wire


def _lines(one: str | None, other: str) -> str:
    return f"{one}\n\n{other}" if one else other


def _assistant(message: Message, ids: CallIds, info: ModelInfo) -> dict[str, Any] | None:
    """An assistant's message, or None for one that says nothing and calls nothing."""
    own = own_content(message, info) or {}
    said: dict[str, Any] = {
        "role": "assistant",
        "content": utf8(message.text) if message.text.strip() else None,
    }
    if "reasoning-content" in info.quirks:
        said.update({key: own[key] for key in _REASONING if key in own})
    if message.tool_calls:
        others = {one["id"]: one for one in own.get("tool_calls", [])}
        said["tool_calls"] = [
            {
                **others.get(call.id, {}),
                "id": wire_id,
                "type": "function",
                "function": {"name": call.name, "arguments": raw(call)},
            }
            for wire_id, call in zip(ids.asked(message, fixed=bool(own)), message.tool_calls, strict=True)
        ]
    return said if message.tool_calls or said["content"] else None
