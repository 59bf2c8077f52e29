"""The client of the tool server, with the real server as a process that may die."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters

from agent.toolbox import MAX_RESTARTS, PROTOCOL, Toolbox
from agent.types import ToolCall, ToolResult
from sandboxes.errors import SandboxDied

START = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); from tools.server import main; main()"
SUICIDE = "kill -9 $PPID; sleep 5"


def with_tools(tmp_path: Path, use: Callable[[Toolbox], Awaitable[None]]) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "a.txt").write_text("one\n")
    config = {"workspace": str(root), "scratch": str(tmp_path / "s"), "test_command": "python -m pytest"}
    env = {"AGENT_TOOLS": json.dumps(config), "PATH": os.environ["PATH"]}
    server = StdioServerParameters(command=sys.executable, args=["-I", "-c", START], env=env)

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            toolbox = Toolbox(tasks, lambda: Client(server, mode=PROTOCOL))
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
