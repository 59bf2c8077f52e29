"""The MCP client of the tool server that runs inside a sandbox."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from agent.types import ToolCall, ToolResult, ToolSpec
from sandboxes.errors import SandboxDied

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus
    from mcp import Client

    from sandboxes.commands import Stream
    from sandboxes.driver import Sandbox

MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes of one line from the server. Its tools bound their output far below; only a forged server sends more."""

MAX_TEXT = 100_000
"""Characters of a result that reach a model, whatever the server sends."""

SERVER = (
    "import sys; sys.path.insert(0, '/opt/toolbox/lib/agent-tools'); from tools.server import main; main()"
)
MAX_RESTARTS = 3
"""Of the server in one attempt: a model that kills it again and again gets nowhere."""

PROTOCOL = "2026-07-28"
"""Pinned: the server is ours, so no round trip is spent on asking what it speaks."""


class Toolbox:
    """The tools of one sandbox: what they are, and calls to them."""

    def __init__(self, tasks: TaskGroup, connect: Callable[[], AbstractAsyncContextManager[Client]]) -> None:
        """`connect` opens a session with a new server, and is used again when that has ended."""
        self.specs: list[ToolSpec] = []
        self._tasks = tasks
        self._connect = connect
        self._client: Client | None = None
        self._end = anyio.Event()
        self._restarts = 0

    async def call(self, call: ToolCall, *, timeout: float) -> ToolResult:
        """Run one tool call; `timeout` in seconds bounds it, and the server then kills what it runs.

        What the model can mend comes back as an error result. A server that ended is started again; the call is then
        repeated if its tool only reads. Raises SandboxDied when the server can't be had again.
        """
        try:
            json.dumps([call.name, call.arguments], ensure_ascii=False).encode()
        except (UnicodeEncodeError, TypeError, ValueError):
            return ToolResult(
                call.id, call.name, "the call holds a lone surrogate, no valid text", is_error=True
            )
        try:
            return await self._call(call, timeout)
        except _ServerEnded as ended:
            await self._restart(ended)
        if any(spec.read_only for spec in self.specs if spec.name == call.name):
            try:
                return await self._call(call, timeout)
            except _ServerEnded as ended:
                await self._restart(ended)
        text = (
            f"the tool server ended during {call.name} and was started again. The files are as they were left, and "
            "the call may have taken effect in part: look before you repeat it. The shell is a new one, in /workspace."
        )
        return ToolResult(call.id, call.name, text, is_error=True)

    async def _call(self, call: ToolCall, timeout: float) -> ToolResult:
        from mcp import MCPError

        assert self._client is not None
        try:
            result = await self._client.call_tool(
                call.name, dict(call.arguments), read_timeout_seconds=max(timeout, 1.0)
            )
        except MCPError as error:
            if error.error.code == -32001:
                text = f"{call.name} was stopped after {timeout:.0f} s, the time that was left"
                return ToolResult(call.id, call.name, text, is_error=True)
            if error.error.code == -32000:
                raise _ServerEnded(error.error.message) from error
            return ToolResult(call.id, call.name, error.error.message[:MAX_TEXT], is_error=True)
        except RuntimeError as error:
            # The client validates what comes back; a server that was tampered with may answer nonsense.
            return ToolResult(call.id, call.name, f"unusable answer: {error}"[:MAX_TEXT], is_error=True)
        text = "\n".join(block.text for block in result.content if block.type == "text")
        left_out = sum(block.type != "text" for block in result.content)
        if left_out:
            text += f"\n[{left_out} parts that are no text were left out]"
        if len(text) > MAX_TEXT:
            text = text[:MAX_TEXT] + f"\n[{len(text) - MAX_TEXT} characters cut]"
        data = result.structured_content
        return ToolResult(
            call.id, call.name, text, bool(result.is_error), data if isinstance(data, dict) else None
        )

    async def start(self) -> None:
        """Start the server and list its tools. Raises SandboxDied when it does not come up."""
        await self._tasks.start(self._serve)

    async def _restart(self, ended: _ServerEnded) -> None:
        """A new server. The workspace's base outlives the old one. Raises SandboxDied."""
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise SandboxDied(f"the tool server in the sandbox ended {self._restarts} times: {ended}")
        self._end.set()
        self._end = anyio.Event()
        await self.start()

    def stop(self) -> None:
        self._end.set()

    async def _serve(self, *, task_status: TaskStatus[None]) -> None:
        """One life of the server, in a task of its own: a client must be closed by the task that opened it."""
        end, started = self._end, False
        try:
            async with self._connect() as client:
                with anyio.fail_after(120):
                    listed = await client.list_tools()
                self.specs = [
                    ToolSpec(
                        t.name,
                        t.description or "",
                        t.input_schema,
                        bool(t.annotations and t.annotations.read_only_hint),
                    )
                    for t in listed.tools
                ]
                self._client = client
                started = True
                task_status.started()
                await end.wait()
        except Exception:
            # Once it served, the calls under way were told: what a dead server's client says at its end is no news.
            if not started:
                raise


class _ServerEnded(Exception):
    """The connection to the server broke while a call was under way."""


@asynccontextmanager
async def open_toolbox(sandbox: Sandbox, *, test_command: str) -> AsyncIterator[Toolbox]:
    """Start the tool server in `sandbox` over one stream that stays open, and list its tools.

    Raises SandboxDied when the server does not come up.
    """
    config = {"workspace": "/workspace", "test_command": test_command, "scratch": "/tmp"}  # noqa: S108 (its own /tmp)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        from mcp import Client, MCPError

        argv = ["/opt/toolbox/bin/python3", "-I", "-c", SERVER]
        async with sandbox.stream(argv, {"AGENT_TOOLS": json.dumps(config)}) as stream:
            try:
                async with Client(_transport(stream), mode=PROTOCOL) as client:
                    yield client
            except Exception as error:
                cause = _single(error)
                if isinstance(cause, MCPError | TimeoutError):
                    tail = stream.stderr_tail.decode("utf-8", "replace").strip()[-2000:]
                    raise SandboxDied(
                        f"the tool server failed: {cause}{': ' + tail if tail else ''}"
                    ) from error
                raise cause from cause.__cause__

    try:
        async with anyio.create_task_group() as tasks:
            toolbox = Toolbox(tasks, connect)
            await toolbox.start()
            try:
                yield toolbox
            finally:
                toolbox.stop()
    except Exception as error:
        cause = _single(error)
        raise cause from cause.__cause__


def _single(error: Exception) -> Exception:
    """The one exception in nested groups: task groups wrap whatever leaves their block."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def _transport(stream: Stream) -> AsyncIterator[tuple[Any, Any]]:
    """JSON-RPC messages, one a line, over a byte stream, in the form that the MCP client takes."""
    import mcp_types
    from mcp.shared.message import SessionMessage

    to_client, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage](0)

    async def receive() -> None:
        async with to_client:
            buffer = bytearray()
            while chunk := await stream.receive():
                buffer += chunk
                if b"\n" not in chunk:
                    if len(buffer) > MAX_MESSAGE:
                        return
                    continue
                *lines, rest = bytes(buffer).split(b"\n")
                buffer = bytearray(rest)
                for line in lines:
                    if not line.strip():
                        continue
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
                        return

    async def send() -> None:
        async with from_client:
            async for message in from_client:
                data = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                try:
                    await stream.send(data.encode() + b"\n")
                except OSError:
                    return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        tasks.start_soon(send)
        try:
            yield from_server, to_server
        finally:
            to_server.close()
            from_server.close()
            tasks.cancel_scope.cancel()
