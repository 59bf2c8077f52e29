"""Providers on loopback: an HTTP server that streams as an API does, refuses what it refuses, fails when told to.

    with Server(AnthropicDialect(), [Answer("Look."), Fault(529), Answer("Done.")]) as server:
        …                       # server.environ holds the variables for a client
    server.requests             # the bodies that came in

One item answers one request. A request that breaks a rule of the API gets its 400, and leaving the block raises
AssertionError with everything that was wrong. What is particular to an API is its dialect.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Protocol, Self

KEY = "loopback-key-0123456789"
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """What a provider says, in no API's own words."""

    text: str = ""
    tool_calls: Sequence[tuple[str, Mapping[str, Any] | str]] = ()
    """Name and arguments; arguments as a text go over the wire as they are."""
    thinking: str = ""
    redacted: str = ""
    stop: str = ""
    """In the API's own words. Default: what the answer's shape says."""
    usage: Mapping[str, int] = field(default_factory=dict)
    """In the API's own words, in place of what the simulated cache counts."""
    explanation: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields that no client knows, put into the answer's events."""
    slow: float = 0.0
    """Seconds before the first byte."""


@dataclass(frozen=True)
class Fault:
    """A status other than 200 refuses the request; with 200 the `answer` breaks off `after` some of its events."""

    status: int = 200
    kind: str = ""
    """The API's own name for the error; its dialect has one for each status."""
    message: str = "Overloaded"
    headers: Mapping[str, str] = field(default_factory=dict)
    page: str = ""
    """A body that is no JSON, as a proxy in between would send."""
    answer: Answer = Answer("This answer does not come to its end.")
    after: int = 4
    then: Literal["error", "end", "reset", "garbage", "hang", "drip"] = "error"
    """Error event · clean end · connection reset · an unreadable event · silence · pings without end."""


class Dialect(Protocol):
    """One wire API, as its server sees it."""

    def environ(self, base_url: str) -> dict[str, str]:
        """Variables that lead a client to `base_url`, with its key."""
        ...

    def refused(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        """A fault for a wrong path, key or header."""
        ...

    def body(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A request's body with what its path says (the model's name)."""
        ...

    def faults(self, body: Mapping[str, Any], issued: Sequence[Any]) -> list[str]:
        """Everything in a request that the API would refuse; `issued` are the contents of earlier answers."""
        ...

    def content(self, answer: Answer, number: int) -> Any:
        """The answer as the API keeps it; `number` is unique among all answers, for ids."""
        ...

    def frames(self, answer: Answer, content: Any, body: Mapping[str, Any], cache: set[str]) -> list[bytes]:
        """The answer's events as they go over the wire."""
        ...

    def carried(self, body: Mapping[str, Any]) -> bool:
        """Whether a request brings thinking, or a signature of it, back."""
        ...

    def content_type(self) -> str: ...

    def error(self, fault: Fault) -> bytes:
        """The body of a refusal."""
        ...

    def broken(self, fault: Fault) -> bytes:
        """An error event in mid-answer."""
        ...

    def garbage(self) -> bytes:
        """An event that can't be read."""
        ...

    def ping(self) -> bytes:
        """What the API sends to keep a connection alive."""
        ...

    # A dialect may have `other(method, path, headers, body) -> tuple[int, bytes] | None`: the status and the body for
    # a request that takes no item.


class Server:
    def __init__(self, dialect: Dialect, replies: Sequence[Answer | Fault]) -> None:
        self.dialect = dialect
        self.requests: list[dict[str, Any]] = []
        self.violations: list[str] = []
        self.hung_up = threading.Event()
        """Set when a client closed its connection during a `hang` or `drip`."""
        self.closing = threading.Event()
        self._replies = iter(replies)
        self._issued: list[Any] = []
        self._cache: set[str] = set()
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.api = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def environ(self) -> dict[str, str]:
        """Variables that lead a client here, past any proxy."""
        return {**self.dialect.environ(self.base_url), "NO_PROXY": "127.0.0.1"}

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

    def thinking_came_back(self) -> bool:
        """Whether the last request holds what the API gave to be carried back (in its own place: see the rules)."""
        return self.dialect.carried(self.requests[-1])

    def take(self, body: dict[str, Any]) -> tuple[Answer | Fault, list[bytes]]:
        """The next item for a request and, for an answer, its events."""
        with self._lock:
            found = self.dialect.faults(body, self._issued)
            if not found:
                self.requests.append(body)
                item = next(self._replies, None)
                if item is not None:
                    answer = item.answer if isinstance(item, Fault) else item
                    content = self.dialect.content(answer, next(_NUMBERS))
                    if isinstance(item, Answer):
                        self._issued.append(content)
                    if isinstance(item, Fault) and item.status != 200:
                        return item, []
                    return item, self.dialect.frames(answer, content, body, self._cache)
                found = ["no answer is left for this request"]
            self.violations += [f"request {len(self.requests) + 1}: {one}" for one in found]
            return Fault(400, message="; ".join(found)), []


class _Http(ThreadingHTTPServer):
    api: Server
    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without the orderly shutdown, which would turn a reset into an end


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        api = self.server.api
        refused = api.dialect.refused("POST", self.path, self.headers)
        if refused is not None:
            return self._refuse(refused)
        if self._other("POST", raw):
            return None
        item, frames = api.take(api.dialect.body(self.path, json.loads(raw)))
        if isinstance(item, Answer):
            api.closing.wait(item.slow)
            return self._stream(frames)
        if item.status != 200:
            return self._refuse(item)
        return self._break(item, frames)

    def _without_item(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"] or 0))
        refused = self.server.api.dialect.refused(self.command, self.path, self.headers)
        if refused is not None or not self._other(self.command, raw):
            self._refuse(refused or Fault(404, message=f"Not found: {self.path}"))

    do_GET = do_PATCH = do_DELETE = _without_item

    def _other(self, method: str, raw: bytes) -> bool:
        """Answer a request that takes no item; False when it is none."""
        other = getattr(self.server.api.dialect, "other", None)
        answer = other(method, self.path, self.headers, json.loads(raw or b"{}")) if other else None
        if answer is None:
            return False
        status, data = answer
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return True

    def _refuse(self, fault: Fault) -> None:
        data = fault.page.encode() or self.server.api.dialect.error(fault)
        self.send_response(fault.status)
        self.send_header("content-type", "text/html" if fault.page else "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("request-id", "req_loopback")
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, frames: Sequence[bytes], *, end: bool = True) -> None:
        self.send_response(200)
        self.send_header("content-type", self.server.api.dialect.content_type())
        self.send_header("transfer-encoding", "chunked")
        self.send_header("request-id", "req_loopback")
        self.end_headers()
        for frame in frames:
            self._send(frame)
        if end:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, frame: bytes) -> None:
        if frame:
            self.wfile.write(f"{len(frame):x}\r\n".encode() + frame + b"\r\n")

    def _break(self, fault: Fault, frames: Sequence[bytes]) -> None:
        dialect = self.server.api.dialect
        if fault.after or fault.then != "reset":
            try:
                self._stream(frames[: fault.after], end=fault.then == "end")
            except ConnectionError:  # the client was faster
                self.server.api.hung_up.set()
                self.close_connection = True
                return
        if fault.then == "error":
            self._send(dialect.broken(fault))
            self.wfile.write(b"0\r\n\r\n")
        elif fault.then == "garbage":
            self._send(dialect.garbage())
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
                    self._send(self.server.api.dialect.ping())
        except ConnectionError:
            self.server.api.hung_up.set()


def sse(event: str, data: str) -> bytes:
    """One server-sent event; without a name when `event` is empty."""
    return (f"event: {event}\n" if event else "").encode() + f"data: {data}\n\n".encode()


def pieces(text: str, size: int = 7) -> list[str]:
    """A text as a stream cuts it: anywhere."""
    return [text[start : start + size] for start in range(0, len(text), size)]
