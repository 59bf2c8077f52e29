"""Locks between the processes of one user on one host; the kernel frees them when a process dies."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio


@asynccontextmanager
async def exclusively(name: str, log: Callable[[str], None]) -> AsyncIterator[None]:
    """Hold the lock of this name. It only saves double work: what it guards must bear two hosts at once.

    So where the lock's folder is not this user's to use, it goes on without one, and says so.
    """
    folder = Path(tempfile.gettempdir()) / f"assay-{os.getuid()}"
    file = -1
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "it belongs to another user, or is no folder")
        file = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        log(f"warning: {folder} cannot hold a lock ({error.strerror}), so work may be done twice; remove it")
    try:
        waited = False
        while file >= 0:
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
        if file >= 0:
            os.close(file)
