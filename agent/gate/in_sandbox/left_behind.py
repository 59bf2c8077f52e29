"""What a run left in its sandbox, as one JSON object on stdout: python3 -I -c SOURCE < job

The job: `since`, the sandbox's clock when the tree had been laid down; `root` and `files`, the tree; `places`, the
other folders that a run can write to. It runs as the sandbox's keeper, whom the tests' processes can neither trace
nor kill, with a Python that they cannot write to.
"""
# ruff: noqa: PTH112, PTH115, PTH123, PTH208

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import Sequence

PATIENCE = 1.0
"""Seconds for processes to end that are about to: helpers that notice their parent's end by a closed pipe."""
COMMANDS = 1000
"""The user that commands run as, and can't change."""
DEPTH = 3
MOST = 5000
"""Paths that are listed."""
LONGEST = 1 << 26
"""Bytes of a file that is read."""


def processes() -> dict[int, str]:
    """Process id -> command line, of all that commands have started: the sandbox's own are PID 1, or another user's."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == "1":
            continue
        try:
            # Not the owner of the folder: a process can make that root.
            with open(f"/proc/{name}/status", errors="replace") as file:
                status = dict(line.split(":\t", 1) for line in file.read().split("\n") if ":\t" in line)
            if status["State"][0] in "ZX" or int(status["Uid"].split()[0]) != COMMANDS:
                continue
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read(4096).rstrip(b"\0").replace(b"\0", b" ")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        found[int(name)] = words.decode("utf-8", "replace") or f"[{status['Name']}]"
    return found


def lasting() -> list[str]:
    """The processes that do not end by themselves within a moment."""
    end = time.monotonic() + PATIENCE
    first = processes()
    left = first
    while left and time.monotonic() < end:
        time.sleep(0.02)
        now = processes()
        left = {pid: words for pid, words in now.items() if pid in first}
        # One that hands on to a new process of its own is not ending.
        if now and not left:
            first = left = now
    return sorted(left.values())


def listed(folder: str, depth: int, found: list[str]) -> None:
    """Files, empty folders, and folders that are too deep or closed to us."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        found.append(folder)
        return
    for entry in entries:
        if len(found) >= MOST:
            return
        if depth > 1 and entry.is_dir(follow_symlinks=False):
            before = len(found)
            listed(entry.path, depth - 1, found)
            if len(found) == before:
                found.append(entry.path)
        else:
            found.append(entry.path)


def blob(path: str, status: os.stat_result, algorithm: str) -> str:
    """The id that git gives to a file's content; empty for what is no file or cannot be read."""
    try:
        if stat.S_ISLNK(status.st_mode):
            data = os.fsencode(os.readlink(path))
        elif stat.S_ISREG(status.st_mode) and status.st_size <= LONGEST:
            with open(path, "rb") as file:
                data = file.read()
        else:
            return ""
    except OSError:
        return ""
    return hashlib.new(algorithm, b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def touched(root: str, files: Sequence[str], since: int, algorithm: str) -> dict[str, str | None]:
    """File -> id of its content now, of the files whose status changed after `since`; None for one that is gone."""
    found: dict[str, str | None] = {}
    for file in files:
        path = f"{root}/{file}"
        try:
            status = os.lstat(path)
        except OSError:
            found[file] = None
            continue
        if status.st_ctime_ns > since:  # unlike the time of modification, no process can set it
            found[file] = blob(path, status, algorithm)
    return found


def first_number(*sources: tuple[str, str]) -> int | None:
    """From the first of (file, key) that is there; the key names a line, or is empty."""
    for path, key in sources:
        try:
            with open(path) as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[:-1] == ([key] if key else []) and words[-1].isdigit():
                return int(words[-1])
    return None


def main() -> None:
    job = json.load(sys.stdin)
    cgroup = "/sys/fs/cgroup"
    # Before the wait, and before our own reading adds to them.
    peak = first_number(
        (f"{cgroup}/memory.peak", ""),
        (f"{cgroup}/memory/memory.max_usage_in_bytes", ""),
    )
    cpu = first_number((f"{cgroup}/cpu.stat", "usage_usec"))
    if cpu is None:
        nanoseconds = first_number(
            (f"{cgroup}/cpuacct/cpuacct.usage", ""), (f"{cgroup}/cpu,cpuacct/cpuacct.usage", "")
        )
        cpu = None if nanoseconds is None else nanoseconds // 1000
    alive = lasting()
    written: list[str] = []
    for place in job["places"]:
        if os.path.isdir(place):
            listed(place, DEPTH, written)
    changed = touched(job["root"], job["files"], job["since"], job["algorithm"])
    json.dump(
        {"processes": alive, "written": written, "touched": changed, "peak": peak, "cpu": cpu}, sys.stdout
    )


if __name__ == "__main__":
    main()
