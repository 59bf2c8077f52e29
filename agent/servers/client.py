"""The sessions with the user's own MCP servers in one attempt.

A server that does not start, ends, hangs or floods is reported and left out: its tools stay listed, since a changed
list would drop the provider's cache, and say so when called. No fault of a server ends a run.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from agent.events import Event, ServerLeftOut, ServerStarted
from agent.servers.config import Server
from agent.servers.connect import CLOSED, CLOSING, MAX_TAIL, first_of, in_sandbox, on_host
from agent.servers.tools import MAX_LISTED, MAX_TOOLS, Listed, Offered, offered, size_of, within_bounds
from agent.text import printable
from agent.types import ToolCall, ToolResult, ToolSpec
from agent.wire import answer, bounded, failed

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from mcp import Client

    from sandboxes.driver import Sandbox

STARTUP = 30.0
"""Seconds for a server to start and to list its tools; Codex gives 10, but a sandbox's two CPUs may be shared."""
CALL = 120.0
"""Seconds for one call; Codex and the SDK for TypeScript give 60."""
MAX_REASON = 2_000
"""Characters of why a server is left out."""
MAX_PAGES = 50
MAX_LISTING = 20_000
"""Tools that a server may list."""

# The SDK logs what servers send, with traces; what is worth telling of it is an event.
logging.getLogger("mcp").propagate = False
logging.getLogger("mcp").addHandler(logging.NullHandler())


@dataclass
class Session:
    """One server in one attempt. It is used by one task, and served by another."""

    server: Server
    report: Callable[[Event], None]
    attempt: int
    connect: Callable[[Session], AbstractAsyncContextManager[Client]]
    startup: float
    longest: float
    """Seconds for one call."""
    tools: list[Offered] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    left_out: str = ""
    """Why it is no longer used."""
    fault: str = ""
    """What the transport saw go wrong."""
    seconds: float = 0.0
    """From its start to its list of tools."""
    ready: anyio.Event = field(default_factory=anyio.Event)
    """It started, or will not."""
    ended: anyio.Event = field(default_factory=anyio.Event)
    """Nothing more comes from it, or it is no longer wanted."""
    gone: anyio.Event = field(default_factory=anyio.Event)
    _client: Client | None = None
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _stopped: bool = False

    async def serve(self) -> None:
        """Start the server, list its tools, and hold the session until it ends or `stop`. Raises nothing but
        cancellation."""
        began, reason = time.monotonic(), "it ended"
        self._scope.deadline = anyio.current_time() + self.startup
        try:
            with self._scope:
                async with self.connect(self) as client:
                    listed = await _listed(client)
                    self._scope.deadline = float("inf")
                    self.tools, self.skipped = offered(self.server.name, self.server.tools, listed)
                    if not self.tools:
                        raise _Useless("; ".join(["it offers no tool that may be used", *self.skipped]))
                    self._client, self.seconds = client, time.monotonic() - began
                    self.ready.set()
                    await self.ended.wait()
            if self._scope.cancelled_caught and not self.ready.is_set():
                reason = f"it did not start and list its tools within {self.startup:.0f} s{self._where()}"
        except Exception as error:
            reason = _told(error)
        self.leave(f"{self.fault}{self._where()}" if self.fault else reason)
        self.ready.set()
        self.gone.set()

    def _where(self) -> str:
        """What a user may not think of when a server does not start."""
        inside = self._client is None and self.server.kind == "sandbox"
        return " (it runs in the sandbox, which has no network)" if inside else ""

    def leave(self, reason: str) -> None:
        """Use the server no longer, and say why."""
        if self.left_out or self._stopped:
            return
        self.left_out = printable(" ".join(reason[:MAX_REASON].split()))
        self.report(ServerLeftOut(self.attempt, self.server.name, self.server.kind, self.left_out))
        self.ended.set()

    def stop(self) -> None:
        """End the session; it is well."""
        self._stopped = True
        self._scope.deadline = anyio.current_time() + CLOSING
        self.ended.set()

    async def call(self, call: ToolCall, tool: str, timeout: float) -> ToolResult:
        """Run one call, never twice: what a server says of its tools, such as that they only read, is not known."""
        from mcp import MCPError
        from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult

        if self.left_out:
            return self._refused(call)
        assert self._client is not None
        wait = max(min(self.longest, timeout), 1.0)
        params = CallToolRequestParams(name=tool, arguments=dict(call.arguments))
        text, result, self.fault = "", None, ""
        with anyio.move_on_after(wait) as limit:
            try:
                # Not `call_tool`: on the host that would try answers against patterns of the server's own.
                result = await self._client.session.send_request(
                    CallToolRequest(params=params), CallToolResult
                )
            except MCPError as error:
                text = error.error.message
                if error.error.code == CLOSED:  # its connection broke; or so the server says
                    with anyio.move_on_after(1):
                        await self.ended.wait()
                    if self.ended.is_set():
                        await self.gone.wait()
            except Exception as error:
                text = f"unusable answer: {_told(error)}"
        if limit.cancelled_caught:
            self.leave(f"it did not answer {tool} within {wait:.0f} s")
            self._scope.cancel()
        if result is None and self.fault.startswith(
            ("HTTP 401", "HTTP 404")
        ):  # as every later call would meet it
            self.leave(self.fault)
        if self.left_out:
            return self._refused(call)
        if result is None:
            more = f" ({self.fault})" if self.fault else ""
            return failed(call, f"{call.name}: {printable(text)}{more}")
        answered = answer(call, result)
        text = answered.text
        if not text.strip() and answered.data:
            text = bounded(json.dumps(answered.data, ensure_ascii=False))
        return ToolResult(call.id, call.name, text, answered.is_error)

    def _refused(self, call: ToolCall) -> ToolResult:
        text = (
            f"the MCP server {self.server.name} is left out for the rest of this attempt: {self.left_out}. What was "
            "asked of it last may have been done. Go on without its tools."
        )
        return failed(call, text)


class _Useless(Exception):
    """A server whose tools can't be used."""


class Servers:
    """The servers of one attempt, in the order in which they were asked for."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.specs: list[ToolSpec] = []
        """What a model is told of their tools; it does not change once they have started."""
        self._sessions = sessions
        self._calls: dict[str, tuple[Session, str]] = {}

    async def started(self) -> None:
        """Wait until each server has started, or is left out."""
        count, size = MAX_TOOLS, MAX_LISTED
        for session in self._sessions:
            await session.ready.wait()
            if session.left_out:
                continue
            tools, more = within_bounds(session.tools, count, size)
            self.specs += [tool.spec for tool in tools]
            self._calls |= {tool.spec.name: (session, tool.name) for tool in tools}
            count -= len(tools)
            size -= sum(size_of(tool.spec) for tool in tools)
            server, names = session.server, [tool.spec.name for tool in tools]
            skipped = [*session.skipped, *more]
            session.report(
                ServerStarted(session.attempt, server.name, server.kind, names, skipped, session.seconds)
            )

    def has(self, name: str) -> bool:
        return name in self._calls

    async def call(self, call: ToolCall, *, timeout: float) -> ToolResult:
        """Run a call of a tool that is here; `timeout` in seconds is what is left for it. Faults are error results."""
        session, tool = self._calls[call.name]
        return await session.call(call, tool, timeout)


@asynccontextmanager
async def open_servers(
    servers: Sequence[Server],
    sandbox: Sandbox,
    *,
    attempt: int,
    report: Callable[[Event], None],
    startup: float = STARTUP,
    longest: float = CALL,
) -> AsyncIterator[Servers]:
    """Start all servers at once; `Servers.started` then waits for them. What becomes of them goes to `report`.

    `startup` and `longest` bound a start and a call, in seconds.
    """
    if not servers:
        yield Servers([])
        return

    def connect(session: Session) -> AbstractAsyncContextManager[Client]:
        if session.server.kind == "http":
            return on_host(session)
        return in_sandbox(session, sandbox)

    sessions = [Session(one, report, attempt, connect, startup, longest) for one in servers]
    async with anyio.create_task_group() as tasks:
        _start(tasks, sessions)
        try:
            yield Servers(sessions)
        finally:
            for session in sessions:
                session.stop()


def _start(tasks: TaskGroup, sessions: Sequence[Session]) -> None:
    for session in sessions:
        if session.server.refused:
            session.leave(session.server.refused)
            session.ready.set()
        else:
            tasks.start_soon(session.serve, name=f"MCP server {session.server.name}")


async def _listed(client: Client) -> list[Listed]:
    """All tools of a server, page by page. Raises MCPError, ValueError or _Useless."""
    tools: list[Listed] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += [Listed(tool.name, tool.description or "", tool.input_schema) for tool in page.tools]
        if len(tools) > MAX_LISTING:
            raise _Useless(f"it lists more than {MAX_LISTING:,} tools")
        cursor = page.next_cursor
        if not cursor:
            return tools
    raise _Useless(f"its list of tools has more than {MAX_PAGES} pages")


def _told(error: Exception) -> str:
    """A fault in one line, without what libraries add to it."""
    from pydantic import ValidationError

    error = first_of(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"not valid MCP: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    text = str(error) if str(error).strip() else type(error).__name__
    return text if len(text) <= MAX_TAIL else text[: MAX_TAIL - 1] + "…"
