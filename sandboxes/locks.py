"""Locks between the processes of one user on one host; the kernel frees them when a process dies."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio


@asynccontextmanager
async def exclusively(name: str, log: Callable[[str], None]) -> AsyncIterator[None]:
    """Hold the lock of this name. It only saves double work: what it guards must bear two hosts at once."""
    folder = Path(tempfile.gettempdir()) / f"assay-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        waited = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    log("waiting for another run that prepares the same thing")
                waited = True
                await anyio.sleep(0.2)
        yield
    finally:
        os.close(file)
