"""A workspace on the host: what an attempt knows of its base commit, and the tool server as a process here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process

from agent.gate.paths import Paths
from agent.hypotheses import Base
from agent.session import Session, session
from agent.wire import Bounds

START = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); from tools.server import main; main()"


def base_of(files: Mapping[str, str]) -> Base:
    paths = Paths(files)
    return Base(
        frozenset(files),
        lambda path: len(files[path].splitlines()),
        lambda path: paths.kind(path) == "product",
    )


@dataclass
class Pipes:
    """The standard streams of a process, as a sandbox's stream gives them."""

    process: Process

    async def receive(self) -> bytes:
        assert self.process.stdout is not None
        try:
            return await self.process.stdout.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return b""

    async def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise ConnectionError(str(error)) from error


@asynccontextmanager
async def tool_server(config: Mapping[str, str]) -> AsyncIterator[Session]:
    """A session with a new tool server, which ends with the block."""
    env = {"AGENT_TOOLS": json.dumps(config), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-I", "-c", START]
    process = await anyio.open_process(command, env=env, stderr=subprocess.DEVNULL)
    try:
        async with session(Pipes(process), Bounds()) as made:
            yield made
    finally:
        with anyio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            with anyio.move_on_after(5):
                await process.wait()
            await process.aclose()
