"""The ways to have sandboxes that the attempts are run against."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread

from agent.environment import TOOLS
from agent.git import Repository
from agent.laying import lay_tree
from sandboxes.types import Limits
from tests.docker.sandbox_tools import tar_of
from tests.escapes.cell import Driver, Outside


@asynccontextmanager
async def docker(outside: Outside) -> AsyncIterator[Driver]:
    """Sandboxes of the user's Docker engine, in the base image, that begin with the repository as attempts' do."""
    from sandboxes.docker import Docker

    def containers(run_id: str, _: list[str]) -> list[str]:
        command = ["docker", "ps", "-aq", "--filter", f"label=assay.run={run_id}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    async with _driver("docker", await Docker.connect(), outside, containers) as driver:
        yield driver


@asynccontextmanager
async def bubblewrap(outside: Outside) -> AsyncIterator[Driver]:
    """Sandboxes by bubblewrap, of the machine's own system."""
    from sandboxes.bubblewrap import Bubblewrap

    def processes(_: str, ids: list[str]) -> list[str]:
        return [pid for pid in ids if Path("/proc", pid, "stat").exists()]

    connected = await Bubblewrap.connect(outside.folder / "cache")
    async with _driver("bubblewrap", connected, outside, processes) as driver:
        yield driver


@asynccontextmanager
async def _driver(
    name: str, connected: Any, outside: Outside, find: Callable[[str, list[str]], list[str]]
) -> AsyncIterator[Driver]:
    made = await connected.environment(
        tar_of(outside.folder / "empty.tar", {}), tools_dir=TOOLS, log=lambda text: None
    )
    started: dict[str, list[str]] = {}

    async def left(run_id: str) -> list[str]:
        return await anyio.to_thread.run_sync(find, run_id, started.get(run_id, []))

    with Repository(outside.repository) as repository:
        tree = repository.tree_of(outside.base)
        write = partial(repository.write_tar, tree)
        async with connected.workspace(made, tree, write, log=print) as environment:

            @asynccontextmanager
            async def sandbox(limits: Limits, run_id: str) -> AsyncIterator[Any]:
                async with connected.sandbox(environment, run_id=run_id, limits=limits) as one:
                    started.setdefault(run_id, []).append(one.id)
                    await lay_tree(one, repository, tree)
                    yield one

            yield Driver(name, sandbox, left)


DRIVERS = {"docker": docker, "bubblewrap": bubblewrap}
