"""OpenAI on loopback: the Responses API, and Chat Completions as OpenAI and other servers speak it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.loopback import chat_rules, responses_rules
from tests.loopback.chat_rules import Flavour
from tests.loopback.server import KEY, Answer, Fault, pieces, sse

__all__ = ["KEY", "Answer", "ChatDialect", "Fault", "ResponsesDialect"]

_TYPES = {
    400: "invalid_request_error",
    401: "invalid_api_key",
    403: "permission_error",
    404: "model_not_found",
    429: "rate_limit_exceeded",
    500: "server_error",
    503: "server_error",
}


class _Dialect:
    """What both APIs share. `key` is what the server demands; a local one may demand none."""

    path = ""

    def __init__(self, key: str = KEY) -> None:
        self._key = key

    def environ(self, base_url: str) -> dict[str, str]:
        return {"OPENAI_BASE_URL": f"{base_url}/v1", "OPENAI_API_KEY": self._key}

    def refused(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        if path != self.path:
            return Fault(404, message=f"Invalid URL (POST {path})")
        if self._key and headers["authorization"] != f"Bearer {self._key}":
            return Fault(401, message="Incorrect API key provided")
        return None

    def body(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return body

    def content_type(self) -> str:
        return "text/event-stream; charset=utf-8"

    def error(self, fault: Fault) -> bytes:
        code = fault.kind or _TYPES.get(fault.status)
        error = {"message": fault.message, "type": "invalid_request_error", "param": None, "code": code}
        return json.dumps({"error": error}).encode()


class ResponsesDialect(_Dialect):
    path = "/v1/responses"

    def faults(self, body: Mapping[str, Any], issued: Sequence[Any]) -> list[str]:
        return responses_rules.faults(body, issued)

    def content(self, answer: Answer, number: int) -> list[dict[str, Any]]:
        return _items(answer, number)

    def frames(self, answer: Answer, content: Any, body: Mapping[str, Any], cache: set[str]) -> list[bytes]:
        events = _events(answer, content, body, cache)
        return [
            sse(event["type"], json.dumps({**event, "sequence_number": number}, ensure_ascii=False))
            for number, event in enumerate(events)
        ]

    def carried(self, body: Mapping[str, Any]) -> bool:
        return any(item.get("encrypted_content") for item in body["input"])

    def broken(self, fault: Fault) -> bytes:
        error = {"type": "error", "code": fault.kind or "server_error", "message": fault.message}
        return sse("error", json.dumps({**error, "param": None, "sequence_number": 9}))

    def garbage(self) -> bytes:
        return sse("response.output_text.delta", '{"type": "response.output_text.delta", <')

    def ping(self) -> bytes:
        return sse("keepalive", '{"type": "keepalive", "sequence_number": 9}')


def _items(answer: Answer, number: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    status = "incomplete" if answer.stop in ("max_output_tokens", "content_filter") else "completed"
    for place, thought in enumerate(filter(None, (answer.thinking, answer.redacted)), 1):
        secret = f"enc{number}/{place}/{len(thought)}=="
        items.append(
            {"id": f"rs_{number}_{place}", "type": "reasoning", "summary": [], "encrypted_content": secret}
        )
    parts: list[dict[str, Any]] = []
    if answer.text:
        parts.append({"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []})
    if answer.stop == "refusal":
        parts.append({"type": "refusal", "refusal": answer.explanation})
    if parts:
        message = {"id": f"msg_{number}", "type": "message", "status": status, "role": "assistant"}
        phase = "commentary" if answer.tool_calls else "final_answer"
        items.append({**message, "phase": phase, "content": parts})
    for place, (name, given) in enumerate(answer.tool_calls, 1):
        raw = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        ids = {"id": f"fc_{number}_{place}", "type": "function_call", "call_id": f"call_{number}_{place}"}
        items.append({**ids, "status": status, "name": name, "arguments": raw, "namespace": None})
    return items


def _events(
    answer: Answer, items: Sequence[Mapping[str, Any]], body: Mapping[str, Any], cache: set[str]
) -> Iterator[dict[str, Any]]:
    response = {"id": "resp_loopback", "object": "response", "created_at": 1.5, "model": body["model"]}
    response |= {
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    response |= answer.extra
    yield {"type": "response.created", "response": response}
    yield {"type": "response.in_progress", "response": response}
    for index, item in enumerate(items):
        where = {"output_index": index, "item_id": item["id"]}
        yield {"type": "response.output_item.added", "output_index": index, "item": _begun(item)}
        for place, part in enumerate(item.get("content", [])):
            at = {**where, "content_index": place}
            kind = "output_text" if part["type"] == "output_text" else "refusal"
            text = part["text"] if kind == "output_text" else part["refusal"]
            begun = {**part, "text" if kind == "output_text" else "refusal": ""}
            yield {"type": "response.content_part.added", **at, "part": begun}
            for piece in pieces(text):
                yield {"type": f"response.{kind}.delta", **at, "delta": piece}
            yield {"type": f"response.{kind}.done", **at, "text" if kind == "output_text" else kind: text}
            yield {"type": "response.content_part.done", **at, "part": part}
        if item["type"] == "function_call":
            for piece in pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **where, "delta": piece}
            yield {"type": "response.function_call_arguments.done", **where, "arguments": item["arguments"]}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    tokens, read = responses_rules.cached_tokens(body, body["input"], cache)
    counts = {"input_tokens": tokens, "cached_tokens": read, "cache_write_tokens": 0, "reasoning_tokens": 0}
    counts |= {"output_tokens": len(json.dumps(items)) // 4 + 1, **answer.usage}
    usage = {
        "input_tokens": counts["input_tokens"],
        "input_tokens_details": {key: counts[key] for key in ("cached_tokens", "cache_write_tokens")},
        "output_tokens": counts["output_tokens"],
        "output_tokens_details": {"reasoning_tokens": counts["reasoning_tokens"]},
        "total_tokens": counts["input_tokens"] + counts["output_tokens"],
    }
    ended = {**response, "status": "completed", "output": list(items), "usage": usage}
    if answer.stop in ("max_output_tokens", "content_filter"):
        ended |= {"status": "incomplete", "incomplete_details": {"reason": answer.stop}}
    elif answer.stop.startswith("failed:"):
        failed = {"code": answer.stop.partition(":")[2], "message": answer.explanation}
        ended |= {"status": "failed", "error": failed}
    yield {"type": f"response.{ended['status']}", "response": ended}


def _begun(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as it is announced: nothing in it yet, its encrypted content not whole."""
    begun = {**item, "status": "in_progress"}
    match item["type"]:
        case "message":
            return {**begun, "content": []}
        case "function_call":
            return {**begun, "arguments": ""}
    return {**begun, "encrypted_content": item["encrypted_content"][:4]}


class ChatDialect(_Dialect):
    path = "/v1/chat/completions"

    def __init__(self, flavour: Flavour = "openai", key: str = KEY) -> None:
        super().__init__(key)
        self._flavour = flavour

    def faults(self, body: Mapping[str, Any], issued: Sequence[Any]) -> list[str]:
        return chat_rules.faults(body, issued, self._flavour)

    def content(self, answer: Answer, number: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        field = "reasoning" if self._flavour in ("ollama", "openrouter") else "reasoning_content"
        if answer.thinking:
            message[field] = answer.thinking
        if answer.stop == "refusal":
            message["refusal"] = answer.explanation
        calls = [
            {
                # vLLM's own ids are longer than those that OpenAI takes.
                "id": f"chatcmpl-tool-{number:016}{place:016}"
                if self._flavour == "vllm"
                else f"call_{number}_{place}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": given if isinstance(given, str) else json.dumps(given, ensure_ascii=False),
                },
            }
            for place, (name, given) in enumerate(answer.tool_calls, 1)
        ]
        return {**message, "tool_calls": calls} if calls else message

    def frames(self, answer: Answer, content: Any, body: Mapping[str, Any], cache: set[str]) -> list[bytes]:
        chunks = [self._chunk(body, choices) for choices in self._choices(answer, content)]
        tokens, read = responses_rules.cached_tokens(body, body["messages"], cache)
        counts = {"prompt_tokens": tokens, "cached_tokens": read, "cache_write_tokens": 0}
        counts |= {"completion_tokens": len(json.dumps(content)) // 4 + 1, **answer.usage}
        usage = self._usage(counts)
        if self._flavour in ("llama.cpp", "deepseek"):
            chunks[-1] |= usage  # with the last choice, not after it
        elif usage:
            chunks.append(self._chunk(body, []) | usage)
        frames = [sse("", json.dumps({**chunk, **answer.extra}, ensure_ascii=False)) for chunk in chunks]
        before = [b": OPENROUTER PROCESSING\n\n"] if self._flavour == "openrouter" else []
        return [*before, *frames, b"data: [DONE]\n\n"]

    def carried(self, body: Mapping[str, Any]) -> bool:
        return any(message.get("reasoning_content") for message in body["messages"])

    def error(self, fault: Fault) -> bytes:
        match self._flavour:
            case "vllm":
                error = {"object": "error", "message": fault.message, "type": fault.kind or "BadRequestError"}
                return json.dumps({**error, "param": None, "code": fault.status}).encode()
            case "llama.cpp":
                error = {"code": fault.status, "message": fault.message, "type": fault.kind or "server_error"}
                return json.dumps({"error": error}).encode()
            case "openrouter":
                behind = {"raw": fault.message, "provider_name": "Somebody"}
                error = {"code": fault.status, "message": "Provider returned error", "metadata": behind}
                return json.dumps({"error": error}).encode()
        return super().error(fault)

    def broken(self, fault: Fault) -> bytes:
        error: dict[str, Any] = {"message": fault.message, "code": fault.kind or 502}
        return sse(
            "", json.dumps({"error": error, "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]})
        )

    def garbage(self) -> bytes:
        return sse("", '{"choices": [<')

    def ping(self) -> bytes:
        return b": keep-alive\n\n"

    def _chunk(self, body: Mapping[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
        chunk = {
            "id": "chatcmpl-loopback",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": body["model"],
        }
        return {**chunk, "choices": choices, **({"usage": None} if self._flavour == "openai" else {})}

    def _usage(self, counts: dict[str, int]) -> dict[str, Any]:
        plain = {key: counts[key] for key in ("prompt_tokens", "completion_tokens")}
        plain["total_tokens"] = sum(plain.values())
        match self._flavour:
            case "ollama" | "vllm":
                return {"usage": plain}
            case "deepseek":
                return {"usage": {**plain, "prompt_cache_hit_tokens": counts["cached_tokens"]}}
        details = {key: counts[key] for key in ("cached_tokens", "cache_write_tokens")}
        return {"usage": {**plain, "prompt_tokens_details": details}}

    def _choices(self, answer: Answer, message: Mapping[str, Any]) -> Iterator[list[dict[str, Any]]]:
        always = {"role": "assistant", "content": ""} if self._flavour == "openrouter" else {}

        def choice(delta: Mapping[str, Any], finish: str | None = None) -> list[dict[str, Any]]:
            return [{"index": 0, "delta": {**always, **delta}, "finish_reason": finish, "logprobs": None}]

        yield choice({"role": "assistant", "content": "" if self._flavour == "openai" else None})
        for field in ("reasoning_content", "reasoning", "content", "refusal"):
            for piece in pieces(message.get(field) or ""):
                yield choice({field: piece})
        calls = message.get("tool_calls", [])
        for index, call in enumerate(calls):
            for piece in self._call(index, call):
                yield choice({"tool_calls": [piece]})
        stop = answer.stop or ("tool_calls" if calls and self._flavour != "ollama" else "stop")
        yield choice({}, "stop" if stop == "refusal" else stop)

    def _call(self, index: int, call: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        name, raw = call["function"]["name"], call["function"]["arguments"]
        match self._flavour:
            case "ollama":  # every call whole, and all with the same number
                yield {"index": 0, **call}
            case "llama.cpp":  # no ids
                yield {"index": index, "type": "function", "function": {"name": name, "arguments": ""}}
                for piece in pieces(raw):
                    yield {"index": index, "function": {"arguments": piece}}
            case "openrouter":  # id and name every time
                for piece in pieces(raw):
                    yield {**call, "index": index, "function": {"name": name, "arguments": piece}}
            case _:
                yield {**call, "index": index, "function": {"name": name, "arguments": ""}}
                for piece in pieces(raw):
                    yield {"index": index, "function": {"arguments": piece}}
