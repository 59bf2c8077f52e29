"""The ways to have sandboxes that the attempts are run against."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio.to_thread

from agent.git import Repository
from agent.laying import lay_tree
from agent.run import TOOLS
from sandboxes.types import Limits
from tests.docker.sandbox_tools import tar_of
from tests.escapes.cell import Driver, Outside


@asynccontextmanager
async def docker(outside: Outside) -> AsyncIterator[Driver]:
    """Sandboxes of the user's Docker engine, in the base image, that begin with the repository as attempts' do."""
    from sandboxes.docker import Docker

    engine = await Docker.connect()
    made = await engine.environment(
        tar_of(outside.folder / "empty.tar", {}), tools_dir=TOOLS, log=lambda text: None
    )

    def containers(run_id: str) -> list[str]:
        command = ["docker", "ps", "-aq", "--filter", f"label=assay.run={run_id}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    async def left(run_id: str) -> list[str]:
        return await anyio.to_thread.run_sync(containers, run_id)

    with Repository(outside.repository) as repository:
        tree = repository.tree_of(outside.base)
        write = partial(repository.write_tar, tree)
        async with engine.workspace(made, tree, write, log=print) as environment:

            @asynccontextmanager
            async def sandbox(limits: Limits, run_id: str) -> AsyncIterator[Any]:
                async with engine.sandbox(environment, run_id=run_id, limits=limits) as one:
                    await lay_tree(one, repository, tree)
                    yield one

            yield Driver("docker", sandbox, left)


DRIVERS = {"docker": docker}
