"""MCP on the host's side: the transport over a sandbox's stream, and results as a model may see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from agent.types import ToolCall, ToolResult

if TYPE_CHECKING:
    from mcp_types import CallToolResult

    from sandboxes.commands import Stream

MAX_TEXT = 100_000
"""Characters of a result that reach a model, whatever the server sends."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a server may send."""

    line: int = 64 * 1024 * 1024
    """Bytes of one message. The tools of ours bound their output far below; only a forged server sends more."""
    messages: int | None = None
    """Messages from one request of ours to the next; None is any number."""


def answer(call: ToolCall, result: CallToolResult) -> ToolResult:
    """A tool's result with the text that a model is shown, bounded, and its structured content."""
    texts = [block.text for block in result.content if block.type == "text"]
    data = result.structured_content
    kept = data if isinstance(data, dict) else None
    text = shown(texts, len(result.content) - len(texts))
    return ToolResult(call.id, call.name, text, bool(result.is_error), kept)


def shown(texts: Iterable[str], left_out: int) -> str:
    """The text of a result, bounded, which had `left_out` parts of other kinds."""
    text = "\n".join(texts)
    return bounded(f"{text}\n[{left_out} parts that are no text were left out]" if left_out else text)


def bounded(text: str) -> str:
    """`text` cut to what may reach a model."""
    left = len(text) - MAX_TEXT
    return text if left <= 0 else f"{text[:MAX_TEXT]}\n[{left} characters cut]"


def failed(call: ToolCall, text: str) -> ToolResult:
    """An error that the model is told in place of a result."""
    return ToolResult(call.id, call.name, text[:MAX_TEXT], is_error=True)


def single(error: Exception) -> Exception:
    """The first exception in nested groups: task groups wrap whatever leaves their block. What else is in them came of
    the same fault: when a sandbox goes, the call under way says so, and then the server's end."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def over_stream(
    stream: Stream, bounds: Bounds, on_end: Callable[[str], None] = lambda fault: None
) -> AsyncIterator[tuple[Any, Any]]:
    """JSON-RPC messages, one a line, over a byte stream, in the form that the MCP client takes.

    `on_end` is called when nothing more comes: with the bound that the server broke, or "" when it ended.
    """
    import mcp_types
    from mcp.shared.message import SessionMessage

    to_client, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage](0)
    unasked = 0

    async def receive() -> str:
        nonlocal unasked
        buffer = bytearray()
        while chunk := await stream.receive():
            buffer += chunk
            if b"\n" not in chunk:
                if len(buffer) > bounds.line:
                    return f"it sent a message of more than {bounds.line:,} bytes"
                continue
            *lines, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            for line in lines:
                if not line.strip():
                    continue
                unasked += 1
                if bounds.messages is not None and unasked > bounds.messages:
                    return f"it sent more than {bounds.messages:,} messages that nobody asked for"
                message: SessionMessage | Exception
                try:
                    message = SessionMessage(
                        mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                    )
                except ValueError as error:
                    message = error
                try:
                    await to_client.send(message)
                except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                    return ""
        return ""

    async def received() -> None:
        async with to_client:
            on_end(await receive())

    async def send() -> None:
        nonlocal unasked
        async with from_client:
            async for message in from_client:
                if isinstance(message.message, mcp_types.JSONRPCRequest):
                    unasked = 0
                data = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                try:
                    await stream.send(data.encode() + b"\n")
                except OSError:
                    return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(received)
        tasks.start_soon(send)
        try:
            yield from_server, to_server
        finally:
            to_server.close()
            from_server.close()
            tasks.cancel_scope.cancel()
