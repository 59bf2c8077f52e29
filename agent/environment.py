"""Where a repository's code runs: the driver that the settings name, and the environment of one tree."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from agent.config import Settings, home
from agent.scratch import scratch
from sandboxes.memo import Memo
from sandboxes.types import Limits

if TYPE_CHECKING:
    from agent.git import Repository
    from sandboxes.driver import Driver
    from sandboxes.types import Environment

TOOLS = Path(__file__).parent.parent / "tools"


async def connect_driver(settings: Settings, log: Callable[[str], None]) -> Driver:
    """What makes the sandboxes, as the settings say. Raises EngineUnavailable."""
    from sandboxes.driver import connect
    from sandboxes.egress import Allowing

    # an image, or a runtime, is nothing that bubblewrap could do instead
    name = "docker" if settings.image or settings.runtime else settings.driver
    driver = await connect(name, cache=home() / "bubblewrap", runtime=settings.runtime, log=log)
    return Allowing(driver, settings.hosts, log) if settings.hosts else driver


@asynccontextmanager
async def environment_of(
    tree: str,
    driver: Driver,
    settings: Settings,
    repository: Repository,
    log: Callable[[str], None],
    *,
    setup: Sequence[str] | None = None,
    ready: Callable[[Environment, float], None] = lambda environment, seconds: None,
) -> AsyncIterator[Environment]:
    """The environment of a tree, whose sandboxes begin with it. `setup` are commands in place of the settings' own;
    `ready` is told the environment and the seconds that it took. Raises ImageUnavailable, SetupFailed, SandboxError."""
    started = time.monotonic()
    setup = settings.setup if setup is None else setup
    memo = Memo(home() / "environments", tree, settings.dockerfile, setup)
    environment = None if settings.image else await anyio.to_thread.run_sync(memo.get)
    if environment is None or not await driver.there(environment, TOOLS):
        environment = await _made(tree, driver, settings, repository, log, setup, memo)
    ready(environment, time.monotonic() - started)
    async with driver.workspace(environment, tree, partial(repository.write_tar, tree), log=log) as begun:
        yield begun


async def _made(
    tree: str,
    driver: Driver,
    settings: Settings,
    repository: Repository,
    log: Callable[[str], None],
    setup: Sequence[str] | None,
    memo: Memo,
) -> Environment:
    """The environment by all files of the tree; noted once there is nothing to say of it, since a note says nothing."""
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        log(text)

    with scratch() as folder:
        tar = Path(folder) / "base.tar"
        await anyio.to_thread.run_sync(repository.write_tar, tree, tar)
        made = await driver.environment(
            tar, image=settings.image, dockerfile=settings.dockerfile, setup=setup, tools_dir=TOOLS, log=tell
        )
    if not (said or settings.image or settings.dockerfile or settings.hosts or made.unasked):
        await anyio.to_thread.run_sync(memo.put, made)
    return made


def sandbox_limits(settings: Settings, seconds: float) -> Limits:
    """The user's limits for a sandbox; it outlives its `seconds` of work a little, should its owner be slow."""
    memory, usual = settings.memory_mb, Limits()
    return Limits(
        memory_mb=memory,
        cpus=settings.cpus,
        # Files count as memory: with little of it, a full disk must be told as such, not end in a kill.
        workspace_mb=min(usual.workspace_mb, memory // 2),
        tmp_mb=min(usual.tmp_mb, memory // 4),
        lifetime_seconds=int(seconds) + 600,
    )
