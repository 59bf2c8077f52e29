"""A Messages API on loopback: streams as the API does, refuses what it refuses, fails when told to.

    with AnthropicServer([Answer(tool_calls=[("shell", {"command": "ls"})]), Fault(529), Answer("Done.")]) as server:
        …                       # server.environ holds the variables for a client
    server.requests             # the bodies that came in

One item answers one request. A request that breaks a rule of the API gets its 400, and leaving the block raises
AssertionError with everything that was wrong.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

from tests.loopback.anthropic_rules import cached_usage, faults

KEY = "loopback-key-0123456789"


@dataclass(frozen=True)
class Answer:
    text: str = ""
    tool_calls: Sequence[tuple[str, Mapping[str, Any] | str]] = ()
    """Name and arguments; arguments as a text go over the wire as they are."""
    thinking: str = ""
    redacted: str = ""
    stop: str = ""
    """Default: tool_use when there are calls, else end_turn."""
    usage: Mapping[str, int] = field(default_factory=dict)
    """In place of what the simulated cache counts."""
    explanation: str = ""


@dataclass(frozen=True)
class Fault:
    """A status other than 200 refuses the request; with 200 the `answer` breaks off `after` some of its events."""

    status: int = 200
    kind: str = "overloaded_error"
    message: str = "Overloaded"
    headers: Mapping[str, str] = field(default_factory=dict)
    page: str = ""
    """A body that is no JSON, as a proxy in between would send."""
    answer: Answer = Answer("This answer does not come to its end.")
    after: int = 4
    then: Literal["error", "end", "reset", "garbage", "hang", "drip"] = "error"
    """Error event · clean end · connection reset · an unreadable event · silence · pings without end."""


class AnthropicServer:
    def __init__(self, replies: Sequence[Answer | Fault]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.violations: list[str] = []
        self.hung_up = threading.Event()
        """Set when a client closed its connection during a `hang` or `drip`."""
        self.closing = threading.Event()
        self._replies = iter(replies)
        self._issued: list[list[dict[str, Any]]] = []
        self._cache: set[str] = set()
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.api = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def environ(self) -> dict[str, str]:
        """Variables that lead a client here, past any proxy."""
        return {"ANTHROPIC_BASE_URL": self.base_url, "ANTHROPIC_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        if self.violations:
            # Also when the block raised: the violation is then the likely cause.
            raise AssertionError("requests that the API refuses:\n" + "\n".join(self.violations)) from error

    def take(self, body: dict[str, Any]) -> tuple[Answer | Fault, list[dict[str, Any]]]:
        """The next item for a request and, for an answer, its events."""
        with self._lock:
            found = faults(body, self._issued)
            if not found:
                self.requests.append(body)
                item = next(self._replies, None)
                if item is not None:
                    content = _content(item, len(self.requests))
                    if isinstance(item, Answer):
                        self._issued.append(content)
                    return item, list(_events(item, content, body, self._cache))
                found = ["no answer is left for this request"]
            self.violations += [f"request {len(self.requests) + 1}: {one}" for one in found]
            return Fault(400, "invalid_request_error", "; ".join(found)), []


def _content(item: Answer | Fault, number: int) -> list[dict[str, Any]]:
    answer = item.answer if isinstance(item, Fault) else item
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
    item: Answer | Fault, content: Sequence[Mapping[str, Any]], body: Mapping[str, Any], cache: set[str]
) -> Iterator[dict[str, Any]]:
    answer = item.answer if isinstance(item, Fault) else item
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
    yield {"type": "message_start", "message": message}
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
                {"type": "text_delta", "text": piece} for piece in _pieces(block["text"])
            ]
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}, [
                *({"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])),
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case "tool_use":
            given = block["input"]
            raw = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
            return {**block, "input": {}, "caller": {"type": "direct"}}, [
                {"type": "input_json_delta", "partial_json": piece} for piece in ["", *_pieces(raw)]
            ]
    return block, []


def _pieces(text: str, size: int = 7) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


class _Server(ThreadingHTTPServer):
    api: AnthropicServer
    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without the orderly shutdown, which would turn a reset into an end


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/v1/messages":
            return self._refuse(Fault(404, "not_found_error", f"Not found: {self.path}"))
        if KEY not in (self.headers["x-api-key"], (self.headers["authorization"] or "")[len("Bearer ") :]):
            return self._refuse(Fault(401, "authentication_error", "invalid x-api-key"))
        if not self.headers["anthropic-version"]:
            return self._refuse(Fault(400, "invalid_request_error", "anthropic-version: header is required"))
        item, events = self.server.api.take(json.loads(raw))
        if isinstance(item, Answer):
            return self._stream(events)
        if item.status != 200:
            return self._refuse(item)
        return self._break(item, events)

    def _refuse(self, fault: Fault) -> None:
        error = {"type": fault.kind, "message": fault.message}
        body = {"type": "error", "error": error, "request_id": "req_loopback"}
        data = (fault.page or json.dumps(body)).encode()
        self.send_response(fault.status)
        self.send_header("content-type", "text/html" if fault.page else "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("request-id", "req_loopback")
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: Sequence[Mapping[str, Any]], *, end: bool = True) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("request-id", "req_loopback")
        self.end_headers()
        for event in events:
            self._send(event)
        if end:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, event: Mapping[str, Any], data: str = "") -> None:
        text = f"event: {event['type']}\ndata: {data or json.dumps(event, ensure_ascii=False)}\n\n".encode()
        self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")

    def _break(self, fault: Fault, events: Sequence[Mapping[str, Any]]) -> None:
        if fault.after or fault.then != "reset":
            self._stream(events[: fault.after], end=fault.then == "end")
        if fault.then == "error":
            self._send({"type": "error", "error": {"type": fault.kind, "message": fault.message}})
            self.wfile.write(b"0\r\n\r\n")
        elif fault.then == "garbage":
            self._send({"type": "content_block_delta"}, data='{"type": "content_block_delta", <')
            self.wfile.write(b"0\r\n\r\n")
        elif fault.then == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif fault.then in ("hang", "drip"):
            self._linger(pings=fault.then == "drip")

    def _linger(self, *, pings: bool) -> None:
        self.close_connection = True
        try:
            while not self.server.api.closing.is_set():
                if select.select([self.connection], [], [], 0.05)[0] and not self.connection.recv(1):
                    self.server.api.hung_up.set()
                    return
                if pings:
                    self._send({"type": "ping"})
        except ConnectionError:
            self.server.api.hung_up.set()
