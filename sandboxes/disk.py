"""What a set-up takes of a disk, looked at while it runs: engines bound a container's own layer on few file systems.

It is measured from outside, so what runs in there has no say in it.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from sandboxes.engine import Engine
from sandboxes.errors import SetupFailed

MOST_MB = 20_000
LEAST_FREE_MB = 2_000
"""What stays free for everybody else."""
LOOK_SECONDS = 1.0
MEND = "let it install less (`setup` under [sandbox] of agent.toml names its commands)"


class Disk:
    """The disk that a folder is on; without a folder, one of another machine, of which nothing is known."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @classmethod
    async def of_engine(cls, engine: Engine) -> Disk:
        """Where an engine keeps images and containers."""
        root = (await engine.call(engine.api.info)).get("DockerRootDir")
        return cls(Path(root) if root and engine.address.startswith("unix://") else None)

    def free_mb(self) -> int | None:
        """What is free; None where nothing is known."""
        try:
            return shutil.disk_usage(self._folder).free >> 20 if self._folder else None
        except OSError:
            return None


@asynccontextmanager
async def bounded(
    taken: Callable[[], Awaitable[int]], disk: Disk, *, copied: bool = False
) -> AsyncIterator[None]:
    """End the block when what it writes, which `taken` tells in bytes, passes the limit, or leaves too little free.

    `copied` tells that there must be room for it twice, to keep it. Raises SetupFailed.
    """
    fault = ""

    async def look() -> None:
        nonlocal fault
        fault = fault or _why_full(await taken() >> 20, disk.free_mb(), copied=copied)

    async def watch(work: anyio.CancelScope) -> None:
        while not fault:
            began = time.monotonic()
            await look()
            # of many files the look itself takes a while
            await anyio.sleep(max(LOOK_SECONDS, 5 * (time.monotonic() - began)))
        work.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, tasks.cancel_scope)
            yield
            await look()
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if not fault:
            raise _first(group) from None
    if fault:
        raise SetupFailed(fault)


def _why_full(taken: int, free: int | None, *, copied: bool) -> str:
    if taken > MOST_MB:
        return f"the set-up was ended: it wrote more than {MOST_MB / 1000:g} GB to the disk; {MEND}"
    if taken and free is not None and free < LEAST_FREE_MB + (taken if copied else 0):
        return (
            f"the set-up was ended: it wrote {taken / 1000:.1f} GB, and {free / 1000:.1f} GB are left on the disk, of "
            f"which {LEAST_FREE_MB / 1000:g} GB stay free; make room (`agent doctor` tells what is kept), or {MEND}"
        )
    return ""


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def size_of(folder: Path) -> int:
    """Bytes on disk of all files below a folder; what vanishes meanwhile, or can't be looked into, does not count."""
    seen: dict[tuple[int, int], int] = {}
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                state = (Path(here) / name).lstat()
            except OSError:
                continue
            if stat.S_ISREG(state.st_mode):
                seen[state.st_dev, state.st_ino] = state.st_blocks * 512
    return sum(seen.values())
