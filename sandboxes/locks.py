"""Locks between the processes of one user on one host; the kernel frees them when a process dies."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

import anyio


@asynccontextmanager
async def exclusively(name: str, log: Callable[[str], None]) -> AsyncIterator[None]:
    """Hold the lock of this name. It only saves double work: what it guards must bear two hosts at once.

    So where the lock's folder is not this user's to use, it goes on without one, and says so.
    """
    file = -1
    try:
        file = _open(f"{name}.lock")
    except OSError as error:
        log(
            f"warning: {_folder()} cannot hold a lock ({error.strerror}), so work may be done twice; remove it"
        )
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


class Kept:
    """The images that a process uses, by name: they are not pruned as long as this object lives."""

    def __init__(self) -> None:
        self._files: dict[str, IO[bytes]] = {}

    def keep(self, name: str) -> None:
        """Nothing is done where the locks' folder is not this user's; `exclusively` tells of that."""
        if name not in self._files:
            with suppress(OSError):
                file = self._files[name] = _kept_file(name)
                fcntl.flock(file, fcntl.LOCK_SH)  # whoever has it alone has it for the time of one removal

    def let_go(self) -> None:
        """Keep nothing any longer."""
        for file in self._files.values():
            file.close()
        self._files.clear()


@contextmanager
def unless_kept(name: str) -> Iterator[bool]:
    """Whether no process keeps the image of this name; none begins to before the block ends."""
    try:
        file = _kept_file(name)
    except OSError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _kept_file(name: str) -> IO[bytes]:
    return os.fdopen(_open(f"{name.replace(':', '-')}.kept"), "rb")


def _folder() -> Path:
    return Path(tempfile.gettempdir()) / f"assay-{os.getuid()}"


def _open(name: str) -> int:
    """A file of the locks' folder. Raises OSError where that is not this user's."""
    folder = _folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "it belongs to another user, or is no folder")
    return os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
