"""The Messages API on loopback: direct, and as Vertex AI and Bedrock wrap it."""

from __future__ import annotations

import base64
import binascii
import json
import struct
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.loopback.anthropic_rules import cached_usage, faults
from tests.loopback.server import KEY, Answer, Fault, Server, pieces, sse

__all__ = ["KEY", "Answer", "AnthropicDialect", "AnthropicServer", "Fault"]

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
}


class AnthropicDialect:
    def environ(self, base_url: str) -> dict[str, str]:
        return {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": KEY}

    def refused(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        if path != "/v1/messages":
            return Fault(404, message=f"Not found: {path}")
        if KEY not in (headers["x-api-key"], (headers["authorization"] or "")[len("Bearer ") :]):
            return Fault(401, message="invalid x-api-key")
        if not headers["anthropic-version"]:
            return Fault(400, message="anthropic-version: header is required")
        return None

    def body(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return body

    def faults(self, body: Mapping[str, Any], issued: Sequence[Any]) -> list[str]:
        return faults(body, issued)

    def content(self, answer: Answer, number: int) -> list[dict[str, Any]]:
        return _content(answer, number)

    def frames(self, answer: Answer, content: Any, body: Mapping[str, Any], cache: set[str]) -> list[bytes]:
        return [self.frame(event) for event in _events(answer, content, body, cache)]

    def frame(self, event: Mapping[str, Any]) -> bytes:
        return sse(event["type"], json.dumps(event, ensure_ascii=False))

    def carried(self, body: Mapping[str, Any]) -> bool:
        return '"signature"' in json.dumps(body["messages"])

    def content_type(self) -> str:
        return "text/event-stream; charset=utf-8"

    def error(self, fault: Fault) -> bytes:
        error = {"type": fault.kind or _KINDS.get(fault.status, "overloaded_error"), "message": fault.message}
        return json.dumps({"type": "error", "error": error, "request_id": "req_loopback"}).encode()

    def broken(self, fault: Fault) -> bytes:
        error = {"type": fault.kind or "overloaded_error", "message": fault.message}
        return self.frame({"type": "error", "error": error})

    def garbage(self) -> bytes:
        return sse("content_block_delta", '{"type": "content_block_delta", <')

    def ping(self) -> bytes:
        return self.frame({"type": "ping"})


class VertexDialect(AnthropicDialect):
    """`:streamRawPredict` of Vertex AI; the token is what the loopback token server gave."""

    def environ(self, base_url: str) -> dict[str, str]:
        return {
            "ANTHROPIC_VERTEX_BASE_URL": f"{base_url}/v1",
            "ANTHROPIC_VERTEX_PROJECT_ID": "a-project",
            "CLOUD_ML_REGION": "europe-west1",
        }

    def refused(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        model = path.rpartition("/")[2].partition(":")[0]
        wanted = f"/v1/projects/a-project/locations/europe-west1/publishers/anthropic/models/{model}"
        if path != f"{wanted}:streamRawPredict":
            return Fault(404, message=f"Not found: {path}")
        if headers["authorization"] != f"Bearer {KEY}":
            return Fault(401, message="invalid token")
        return None

    def body(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        model = urllib.parse.unquote(path.rpartition("/")[2].partition(":")[0])
        return {**body, "model": model}

    def faults(self, body: Mapping[str, Any], issued: Sequence[Any]) -> list[str]:
        rest = {key: value for key, value in body.items() if key != "anthropic_version"}
        if not body.get("anthropic_version"):
            return ["anthropic_version: Field required"]
        return faults(rest, issued)


class BedrockDialect(AnthropicDialect):
    """`invoke-with-response-stream` of Bedrock: events wrapped in AWS's binary event stream."""

    def environ(self, base_url: str) -> dict[str, str]:
        return {
            "ANTHROPIC_BEDROCK_BASE_URL": base_url,
            "AWS_BEARER_TOKEN_BEDROCK": KEY,
            "AWS_REGION": "eu-central-1",
        }

    def refused(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        if not (path.startswith("/model/") and path.endswith("/invoke-with-response-stream")):
            return Fault(404, message=f"Not found: {path}")
        return None if headers["authorization"] == f"Bearer {KEY}" else Fault(403, message="no token")

    def body(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "model": urllib.parse.unquote(path.split("/")[2]), "stream": True}

    def faults(self, body: Mapping[str, Any], issued: Sequence[Any]) -> list[str]:
        rest = {key: value for key, value in body.items() if key != "anthropic_version"}
        return faults(rest, issued)

    def content_type(self) -> str:
        return "application/vnd.amazon.eventstream"

    def frame(self, event: Mapping[str, Any]) -> bytes:
        inner = base64.b64encode(json.dumps(event).encode()).decode()
        return _aws_event("chunk", json.dumps({"bytes": inner}).encode())

    def broken(self, fault: Fault) -> bytes:
        return _aws_event(
            "internalServerException", json.dumps({"message": fault.message}).encode(), "exception"
        )

    def garbage(self) -> bytes:
        return b"\0\0\0\x20garbage that is no event of the stream"


def _aws_event(kind: str, payload: bytes, message_type: str = "event") -> bytes:
    """One message of AWS's event stream: lengths, checksums, string headers, payload."""
    name = b":event-type" if message_type == "event" else b":exception-type"
    pairs = [(name, kind.encode()), (b":message-type", message_type.encode())]
    pairs.append((b":content-type", b"application/json"))
    headers = b"".join(bytes([len(k)]) + k + b"\x07" + struct.pack(">H", len(v)) + v for k, v in pairs)
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", binascii.crc32(head))


class AnthropicServer(Server):
    def __init__(self, replies: Sequence[Answer | Fault]) -> None:
        super().__init__(AnthropicDialect(), replies)


def _content(answer: Answer, number: int) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if answer.thinking:
        signature = f"sig{number}/{len(answer.thinking)}=="
        content.append({"type": "thinking", "thinking": answer.thinking, "signature": signature})
    if answer.redacted:
        content.append({"type": "redacted_thinking", "data": answer.redacted})
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    for place, (name, arguments) in enumerate(answer.tool_calls, 1):
        content.append(
            {"type": "tool_use", "id": f"toolu_{number}_{place}", "name": name, "input": arguments}
        )
    return content


def _events(
    answer: Answer, content: Sequence[Mapping[str, Any]], body: Mapping[str, Any], cache: set[str]
) -> Iterator[dict[str, Any]]:
    usage = {**cached_usage(body, cache), **answer.usage}
    output = usage.pop("output_tokens", len(json.dumps(content)) // 4 + 1)
    message = {
        "id": "msg_loopback",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1, "service_tier": "standard"},
    }
    yield {"type": "message_start", "message": {**message, **answer.extra}}
    yield {"type": "ping"}
    for index, block in enumerate(content):
        start, deltas = _deltas(block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = answer.stop or ("tool_use" if answer.tool_calls else "end_turn")
    delta = {"stop_reason": stop, "stop_sequence": None}
    if stop == "refusal":
        delta["stop_details"] = {"type": "refusal", "category": None, "explanation": answer.explanation}
    # The totals come again with the last event, as the API sends them.
    yield {"type": "message_delta", "delta": delta, "usage": {**usage, "output_tokens": output}}
    yield {"type": "message_stop"}


def _deltas(block: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[dict[str, str]]]:
    match block["type"]:
        case "text":
            return {"type": "text", "text": ""}, [
                {"type": "text_delta", "text": piece} for piece in pieces(block["text"])
            ]
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}, [
                *({"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])),
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case "tool_use":
            given = block["input"]
            raw = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
            return {**block, "input": {}, "caller": {"type": "direct"}}, [
                {"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces(raw)]
            ]
    return block, []
