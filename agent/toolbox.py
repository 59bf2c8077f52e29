"""The tools of a sandbox: calls to the server that runs inside it, which is started again when it dies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio

from agent.servers.client import Servers
from agent.session import Ended, Refused, Session, TimedOut, session
from agent.types import ToolCall, ToolResult, ToolSpec
from agent.wire import Bounds, failed, single
from sandboxes.errors import SandboxDied

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

    from sandboxes.driver import Sandbox

SERVER = (
    "import sys; sys.path.insert(0, '/opt/toolbox/lib/agent-tools'); from tools.server import main; main()"
)
MAX_RESTARTS = 3
"""Of the server in one attempt: a model that kills it again and again gets nowhere."""


@cache
def tool_specs() -> tuple[ToolSpec, ...]:
    """The server's tools, known before it runs: it is ours, and one that was tampered with changes nothing of them."""
    from tools.server import TOOLS

    listed = [tool.listed() for tool in TOOLS.values()]
    return tuple(
        ToolSpec(
            told["name"], told["description"], told["inputSchema"], bool(told["annotations"]["readOnlyHint"])
        )
        for told in listed
    )


class Toolbox:
    """The tools of one sandbox: what they are, and calls to them."""

    def __init__(
        self,
        tasks: TaskGroup,
        connect: Callable[[], AbstractAsyncContextManager[Session]],
        servers: Servers | None = None,
    ) -> None:
        """`connect` opens a session with a new server, and is used again when that has ended. `servers` are the user's
        own, beside it."""
        self._servers = servers or Servers([])
        self._tasks = tasks
        self._connect = connect
        self._session: Session | None = None
        self._end = anyio.Event()
        self._restarts = 0

    @property
    def specs(self) -> list[ToolSpec]:
        """All tools, those of the user's own servers last."""
        return [*tool_specs(), *self._servers.specs]

    async def call(self, call: ToolCall, *, timeout: float) -> ToolResult:
        """Run one tool call; `timeout` in seconds bounds it, and the server then kills what it runs.

        What the model can mend comes back as an error result. A server that ended is started again; the call is then
        repeated if its tool only reads. Raises SandboxDied when the server can't be had again.
        """
        try:
            json.dumps([call.name, call.arguments], ensure_ascii=False).encode()
        except (UnicodeEncodeError, TypeError, ValueError):
            return failed(call, "the call holds a lone surrogate, no valid text")
        if self._servers.has(call.name):
            return await self._servers.call(call, timeout=timeout)
        try:
            return await self._call(call, timeout)
        except _ServerEnded as ended:
            await self._restart(ended)
        if any(spec.read_only for spec in tool_specs() if spec.name == call.name):
            try:
                return await self._call(call, timeout)
            except _ServerEnded as ended:
                await self._restart(ended)
        text = (
            f"the tool server ended during {call.name} and was started again. The files are as they were left, and "
            "the call may have taken effect in part: look before you repeat it. The shell is a new one, in /workspace."
        )
        return failed(call, text)

    async def _call(self, call: ToolCall, timeout: float) -> ToolResult:
        assert self._session is not None
        try:
            return await self._session.call(call, max(timeout, 1.0))
        except TimedOut:
            return failed(call, f"{call.name} was stopped after {timeout:.0f} s, the time that was left")
        except Ended as ended:
            raise _ServerEnded(str(ended)) from ended
        except Refused as refused:
            return failed(call, str(refused))
        except ValueError as error:  # of a server that was tampered with
            return failed(call, f"unusable answer: {error}")

    async def start(self) -> None:
        """Start the server. Raises SandboxDied when it does not come up."""
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
            async with self._connect() as session:
                await session.request(
                    "tools/list", {}, 120
                )  # it is up; what its tools are, it does not decide
                self._session = session
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
async def open_toolbox(
    sandbox: Sandbox,
    *,
    test_command: str,
    servers: AbstractAsyncContextManager[Servers] | None = None,
) -> AsyncIterator[Toolbox]:
    """Start the tool server in `sandbox` over one stream that stays open; beside it the user's own servers, as
    `open_servers` opens them.

    Raises SandboxDied when the server does not come up.
    """
    config = {"workspace": "/workspace", "test_command": test_command, "scratch": "/tmp"}  # noqa: S108 (its own /tmp)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Session]:
        argv = ["/opt/toolbox/bin/python3", "-I", "-c", SERVER]
        async with sandbox.stream(argv, {"AGENT_TOOLS": json.dumps(config)}) as stream:
            try:
                async with session(stream, Bounds()) as made:
                    yield made
            except Exception as error:
                cause = single(error)
                if isinstance(cause, Ended | TimedOut | Refused | ValueError):
                    tail = stream.stderr_tail.decode("utf-8", "replace").strip()[-2000:]
                    raise SandboxDied(
                        f"the tool server failed: {cause}{': ' + tail if tail else ''}"
                    ) from error
                raise cause from cause.__cause__

    try:
        async with servers or nullcontext(Servers([])) as others, anyio.create_task_group() as tasks:
            toolbox = Toolbox(tasks, connect, others)
            await toolbox.start()
            await others.started()
            try:
                yield toolbox
            finally:
                toolbox.stop()
    except Exception as error:
        cause = single(error)
        raise cause from cause.__cause__


class Opening:
    """A sandbox and its toolbox on their way. The tools are known at once; what needs them waits until they are there,
    and raises what they failed with."""

    def __init__(self) -> None:
        self._there = anyio.Event()
        self._end = anyio.Event()
        self._sandbox: Sandbox | None = None
        self._toolbox: Toolbox | None = None
        self._fault: Exception | None = None

    @property
    def specs(self) -> list[ToolSpec]:
        """All tools; those of the user's own servers once these are there."""
        return self._toolbox.specs if self._toolbox else [*tool_specs()]

    async def there(self) -> Toolbox:
        """Wait for the toolbox. Raises SandboxError."""
        await self._there.wait()
        if self._toolbox is None:
            assert self._fault is not None
            raise self._fault
        return self._toolbox

    async def call(self, call: ToolCall, *, timeout: float) -> ToolResult:
        """See Toolbox.call."""
        return await (await self.there()).call(call, timeout=timeout)

    async def sandbox(self) -> Sandbox:
        """Wait for the sandbox and its toolbox. Raises SandboxError."""
        await self.there()
        assert self._sandbox is not None
        return self._sandbox

    async def read(self, path: str, limit: int) -> bytes:
        """See Sandbox.read."""
        return await (await self.sandbox()).read(path, limit)

    async def run(
        self,
        sandbox: AbstractAsyncContextManager[Sandbox],
        test_command: str,
        servers: Callable[[Sandbox], AbstractAsyncContextManager[Servers]],
        then: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        try:
            async with sandbox as inside:
                opened = open_toolbox(inside, test_command=test_command, servers=servers(inside))
                async with opened as toolbox, anyio.create_task_group() as beside:
                    self._sandbox, self._toolbox = inside, toolbox
                    self._there.set()
                    beside.start_soon(then)
                    await self._end.wait()
                    beside.cancel_scope.cancel()
        except Exception as error:
            if self._toolbox is not None:
                raise
            self._fault = error
        finally:
            self._there.set()

    def end(self) -> None:
        self._end.set()


@asynccontextmanager
async def opening(
    sandbox: AbstractAsyncContextManager[Sandbox],
    *,
    test_command: str,
    servers: Callable[[Sandbox], AbstractAsyncContextManager[Servers]],
    then: Callable[[], Coroutine[Any, Any, None]],
) -> AsyncIterator[Opening]:
    """Open a toolbox in a new sandbox beside what the block does, which may be a model's first request; `then` is done
    beside it once it is there, and cancelled at the end."""
    late = Opening()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(late.run, sandbox, test_command, servers, then)
            try:
                yield late
            finally:
                late.end()
    except Exception as error:
        cause = single(error)
        raise cause from cause.__cause__
