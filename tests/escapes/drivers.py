"""The ways to have sandboxes that the attempts are run against."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread

from agent.run import TOOLS
from sandboxes.types import Limits
from tests.docker.sandbox_tools import tar_of
from tests.escapes.cell import Driver


async def docker(folder: Path) -> Driver:
    """Sandboxes of the user's Docker engine, in the base image."""
    from sandboxes.docker import Docker

    engine = await Docker.connect()
    environment = await engine.environment(
        tar_of(folder / "empty.tar", {}), tools_dir=TOOLS, log=lambda text: None
    )

    @asynccontextmanager
    async def sandbox(limits: Limits, run_id: str) -> AsyncIterator[Any]:
        async with engine.sandbox(environment, run_id=run_id, limits=limits) as made:
            yield made

    def containers(run_id: str) -> list[str]:
        command = ["docker", "ps", "-aq", "--filter", f"label=assay.run={run_id}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    async def left(run_id: str) -> list[str]:
        return await anyio.to_thread.run_sync(containers, run_id)

    return Driver("docker", sandbox, left)


DRIVERS = {"docker": docker}
