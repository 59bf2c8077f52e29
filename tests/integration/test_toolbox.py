"""The client of the tool server, with the real server as a process that may die."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from agent.servers.client import open_servers
from agent.toolbox import MAX_RESTARTS, Toolbox, opening
from agent.types import ToolCall, ToolResult, ToolSpec
from sandboxes.driver import Sandbox
from sandboxes.errors import SandboxDied, SandboxError
from tests.integration.workspace import tool_server

SUICIDE = "kill -9 $PPID; sleep 5"


def with_tools(tmp_path: Path, use: Callable[[Toolbox], Awaitable[None]]) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "a.txt").write_text("one\n")
    config = {"workspace": str(root), "scratch": str(tmp_path / "s"), "test_command": "python -m pytest"}

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            toolbox = Toolbox(tasks, lambda: tool_server(config))
            await toolbox.start()
            try:
                await use(toolbox)
            finally:
                toolbox.stop()

    anyio.run(run)


async def call(toolbox: Toolbox, name: str, **arguments: object) -> ToolResult:
    return await toolbox.call(ToolCall("c1", name, arguments), timeout=60)


def test_a_server_that_was_killed_is_started_again(tmp_path: Path) -> None:
    async def use(toolbox: Toolbox) -> None:
        written = await call(toolbox, "write_file", path="b.txt", content="two\n")
        assert not written.is_error, written.text
        killed = await call(toolbox, "shell", command=SUICIDE)
        assert killed.is_error and "look before you repeat it" in killed.text
        shown = await call(toolbox, "read_file", path="b.txt")
        assert not shown.is_error and "two" in shown.text
        # The base that changes are measured against is that of the first server.
        change = await call(toolbox, "diff")
        assert "b.txt" in change.text and "a.txt" not in change.text

    with_tools(tmp_path, use)


def test_a_call_that_only_reads_is_repeated_unseen(tmp_path: Path) -> None:
    async def use(toolbox: Toolbox) -> None:
        pid = (await call(toolbox, "shell", command="echo $PPID")).text.split()[0]
        os.kill(int(pid), 9)
        shown = await call(toolbox, "read_file", path="a.txt")
        assert not shown.is_error and "one" in shown.text

    with_tools(tmp_path, use)


def test_a_server_that_dies_again_and_again_ends_the_attempt(tmp_path: Path) -> None:
    async def use(toolbox: Toolbox) -> None:
        for _ in range(MAX_RESTARTS):
            assert (await call(toolbox, "shell", command=SUICIDE)).is_error
        try:
            await call(toolbox, "shell", command=SUICIDE)
        except SandboxDied as died:
            assert f"ended {MAX_RESTARTS + 1} times" in str(died)
        else:
            raise AssertionError("it went on for ever")

    with_tools(tmp_path, use)


def test_what_the_host_knows_of_the_tools_is_what_the_server_has(tmp_path: Path) -> None:
    async def use(toolbox: Toolbox) -> None:
        assert toolbox._session is not None
        listed = (await toolbox._session.request("tools/list", {}, 60))["tools"]
        told = [
            ToolSpec(t["name"], t["description"], t["inputSchema"], t["annotations"]["readOnlyHint"])
            for t in listed
        ]
        assert told == toolbox.specs

    with_tools(tmp_path, use)


def test_tools_are_told_before_their_sandbox_is_there_and_a_fault_of_it_at_the_first_call() -> None:
    begun = anyio.Event()

    @asynccontextmanager
    async def no_sandbox() -> AsyncIterator[Sandbox]:
        await begun.wait()
        raise SandboxError("the engine refused a container")
        yield

    async def then() -> None:
        raise AssertionError("it is not there")

    async def run() -> None:
        opened = opening(
            no_sandbox(),
            test_command="true",
            servers=lambda _: open_servers((), _, attempt=1, report=print),
            then=then,
        )
        async with opened as toolbox:
            assert "edit_file" in [spec.name for spec in toolbox.specs]
            begun.set()
            for ask in (
                partial(toolbox.call, ToolCall("c1", "diff", {}), timeout=60),
                partial(toolbox.read, "/a", 9),
            ):
                with pytest.raises(SandboxError, match="the engine refused a container"):
                    await ask()

    anyio.run(run)
