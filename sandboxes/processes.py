"""What the supervisor of a bubblewrap sandbox reads of processes. Standard library only; see sandboxes.supervisor."""
# ruff: noqa: PTH123

from __future__ import annotations

import os
import signal

PAGE = os.sysconf("SC_PAGE_SIZE")
FLAGS, STARTED = 6, 19
"""Fields of /proc/PID/stat, counted from the state."""
EXITING = 0x4
"""A flag of a process that is ending."""


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def variables_of(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def started(pid: int) -> int:
    """When it was started, in ticks since the machine was; 0 when it is gone."""
    try:
        return int(stat(pid)[STARTED])
    except OSError:
        return 0


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on."""
    with open(f"/proc/{pid}/stat", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def resident(path: str, folder: int | None) -> int:
    """Bytes of a process that are no file's, by its statm."""
    words = _read(path, folder).split()
    return (int(words[1]) - int(words[2])) * PAGE if len(words) > 2 else 0


def shared_once(path: str, folder: int) -> int | None:
    for line in _read(path, folder).splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) << 10
    return None


def _read(path: str, folder: int | None) -> str:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY, dir_fd=folder)) as file:
            return file.read()
    except OSError:
        return ""
