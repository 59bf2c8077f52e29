"""MCP's client side for the tool server, which is ours: a request is a line of JSON, and its answer another.

The revision that it speaks (2026-07-28) has no sessions: nothing is greeted and nothing agreed on, each request says
all. The SDK's client does the same, and more: it is what speaks to servers of the user's own, and what the server is
held to in tests. To import it takes 0.8 s of CPU and 60 MB, which here every run would pay.

What runs in the sandbox may have been tampered with, so nothing of an answer is taken on trust.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import anyio

from agent.types import ToolCall, ToolResult
from agent.wire import Bounds, shown

PROTOCOL = "2026-07-28"
META: Mapping[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL,
    "io.modelcontextprotocol/clientInfo": {"name": "assay", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Wire(Protocol):
    """Two byte streams, as `sandboxes.commands.Stream`."""

    async def receive(self) -> bytes:
        """The next bytes; b"" at the end."""

    async def send(self, data: bytes) -> None:
        """Raises OSError when nobody reads them."""


class Ended(Exception):
    """The connection broke, or did before: there are no more answers."""


class TimedOut(Exception):
    """No answer came in time, and the server was told that none is wanted any more."""


class Refused(Exception):
    """The answer is an error; the text is the server's."""


class Session:
    """Requests to one server; several may be under way."""

    def __init__(self, wire: Wire, bounds: Bounds) -> None:
        self._wire = wire
        self._bounds = bounds
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._sending = anyio.Lock()
        self._ended = ""

    async def request(self, method: str, params: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        """The result of one request. Raises Ended, TimedOut after `timeout` seconds, Refused, and ValueError for an
        answer that is none."""
        number, waiting = next(self._numbers), _Waiting()
        self._waiting[number] = waiting
        asked = {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, "_meta": META}}
        answered = False
        try:
            with anyio.move_on_after(timeout):
                await self._send(asked)
                await waiting.there.wait()
                answered = True
        finally:
            del self._waiting[number]
            if not answered and not self._ended:  # also when the caller was cancelled
                with anyio.move_on_after(1, shield=True):
                    told = {"requestId": number, "_meta": META}
                    await self._send(
                        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": told}, quiet=True
                    )
        if not answered:
            raise TimedOut(f"no answer to {method} in {timeout:.0f} s")
        if waiting.answer is None:
            raise Ended(self._ended)
        return _result(waiting.answer)

    async def call(self, call: ToolCall, timeout: float) -> ToolResult:
        """Run one tool call. Raises as `request` does."""
        params = {"name": call.name, "arguments": dict(call.arguments)}
        return _tool_result(call, await self.request("tools/call", params, timeout))

    async def listen(self) -> None:
        """Take answers until nothing more comes."""
        fault = "the connection broke"
        try:
            fault = await self._listened()
        finally:
            self._ended = fault
            for waiting in self._waiting.values():
                waiting.there.set()

    async def _listened(self) -> str:
        buffer = bytearray()
        while chunk := await self._wire.receive():
            buffer += chunk
            if b"\n" not in chunk:
                if len(buffer) > self._bounds.line:
                    return f"it sent a message of more than {self._bounds.line:,} bytes"
                continue
            *lines, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            for line in lines:
                self._take(line)
        return "it ended"

    def _take(self, line: bytes) -> None:
        """Hand an answer to who waits for it; what nobody waits for is passed over."""
        try:
            answer = json.loads(line, parse_constant=_none)
        except (ValueError, RecursionError):
            return
        number = answer.get("id") if isinstance(answer, dict) else None
        if isinstance(number, int) and "method" not in answer and (waiting := self._waiting.get(number)):
            waiting.answer = answer
            waiting.there.set()

    async def _send(self, message: Mapping[str, Any], *, quiet: bool = False) -> None:
        data = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if self._ended:
            raise Ended(self._ended)
        try:
            async with self._sending:
                await self._wire.send(data)
        except OSError as error:
            if not quiet:
                raise Ended("nothing reads from it any more") from error


class _Waiting:
    def __init__(self) -> None:
        self.there = anyio.Event()
        self.answer: dict[str, Any] | None = None


@asynccontextmanager
async def session(wire: Wire, bounds: Bounds) -> AsyncIterator[Session]:
    """A session over a byte stream, until the block ends."""
    made = Session(wire, bounds)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.listen)
        try:
            yield made
        finally:
            tasks.cancel_scope.cancel()


def _none(_: str) -> None:
    """NaN and infinities are no JSON, and nothing that is written down may hold them."""


def _result(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    error = answer.get("error")
    if isinstance(error, dict):
        raise Refused(str(error.get("message") or error.get("code")))
    result = answer.get("result")
    if not isinstance(result, dict):
        raise ValueError("neither a result nor an error")
    return result


def _tool_result(call: ToolCall, result: Mapping[str, Any]) -> ToolResult:
    content = result.get("content")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise ValueError("a tool's result without content")
    texts = [block.get("text") for block in content if block.get("type") == "text"]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text that is none")
    data = result.get("structuredContent")
    text = shown(map(str, texts), len(content) - len(texts))
    return ToolResult(
        call.id, call.name, text, bool(result.get("isError")), data if isinstance(data, dict) else None
    )
