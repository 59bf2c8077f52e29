"""How a session with an MCP server is opened: over a program's stream in the sandbox, or by HTTP from the host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from agent.text import printable
from agent.wire import Bounds, over_stream

if TYPE_CHECKING:
    from mcp import Client

    from agent.servers.client import Session
    from sandboxes.commands import Stream
    from sandboxes.driver import Sandbox

BOUNDS = Bounds(line=8 * 1024 * 1024, messages=5_000)
CLOSED = -32000
"""The SDK's code for a connection that broke; a server may send it, too."""
CLOSING = 3.0
"""Seconds for a server on the host to be told goodbye."""
NOT_RUN = (126, 127)
"""Exit codes by which Docker and shells say that there was no program to run."""
MAX_TAIL = 500
"""Characters of what a server wrote to stderr that are told."""


@asynccontextmanager
async def in_sandbox(session: Session, sandbox: Sandbox) -> AsyncIterator[Client]:
    """A server as a program in the sandbox. It is greeted in the old way first: there are servers that end when a
    message comes before it, and those that know only the new way say so."""
    from mcp import MCPError

    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(_program(session, sandbox, "legacy"))
        except Exception as error:
            cause = first_of(error)
            if not isinstance(cause, MCPError) or cause.error.code == CLOSED:
                raise
            session.fault, session.ended = "", anyio.Event()
            client = await stack.enter_async_context(_program(session, sandbox, "auto"))
        yield client


@asynccontextmanager
async def _program(session: Session, sandbox: Sandbox, mode: str) -> AsyncIterator[Client]:
    """One life of it; its last words on stderr join what is told of its end."""
    from mcp import Client

    def ended(fault: str) -> None:
        session.fault = fault or "it ended"
        session.ended.set()

    stream: Stream | None = None
    try:
        async with (
            sandbox.stream(list(session.server.command), session.server.env) as stream,
            Client(over_stream(stream, BOUNDS, ended), mode=mode, cache=None) as client,
        ):
            yield client
    finally:
        if stream is not None and session.fault:
            if stream.exit_code is not None and session.fault == "it ended":
                session.fault += f" with exit code {stream.exit_code}"
                if stream.exit_code in NOT_RUN:
                    session.fault += f": {session.server.command[0]} is not there, or can't be run"
            if words := stream.stderr_tail.decode("utf-8", "replace").strip()[-MAX_TAIL:]:
                session.fault += f"; on stderr: {words}"


@asynccontextmanager
async def on_host(session: Session) -> AsyncIterator[Client]:
    """A server behind a URL, by streamable HTTP; redirects are followed within its origin alone."""
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async def seen(response: Any) -> None:
        if response.request.method == "POST":
            wrong = response.status_code >= 400
            said = f"HTTP {response.status_code} {printable(response.reason_phrase[:80])}"
            session.fault = said.rstrip() if wrong else ""
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.DecodingError(
                "the answer is packed, which was not asked for", request=response.request
            )
        response.stream = _Bounded(response.stream, response.request)

    class _Bounded(httpx2.AsyncByteStream):
        """A body that breaks off where it gets too long: the SDK reads it whole."""

        def __init__(self, stream: Any, request: Any) -> None:
            self._stream, self._request = stream, request

        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = BOUNDS.line
            async for chunk in self._stream:
                left -= len(chunk)
                if left < 0:
                    session.fault = f"it sent an answer of more than {BOUNDS.line:,} bytes"
                    raise httpx2.ReadError(session.fault, request=self._request)
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    client = httpx2.AsyncClient(
        headers={**session.server.headers, "accept-encoding": "identity"},
        timeout=httpx2.Timeout(session.startup, read=session.longest + CLOSING),
        event_hooks={"response": [seen]},
    )
    transport = streamable_http_client(session.server.url, http_client=client)
    async with client, Client(transport, cache=None) as session_client:
        yield session_client


def first_of(error: Exception) -> Exception:
    """The first fault in nested groups: task groups wrap whatever leaves their block."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
