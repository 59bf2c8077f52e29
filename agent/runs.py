"""The runs kept on this machine: found, told in a row, held while they go on, and pruned."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.types import issue_title

MAX_LINE = 4 * 1024 * 1024
"""Bytes of a log's first line that are read for a row."""
GOING = ".pruned-"
"""What a folder's name begins with while it is removed."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run's folder as the one process that works on it; the kernel lets go when the process dies.

    Raises UsageError when another process holds it. A file system that knows no locks holds nothing.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _locked(file):
            raise UsageError(f"{folder.name}: another process works on this run")
        yield
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
    return True


def is_running(folder: Path) -> bool:
    """Whether a process works on a run."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return not _locked(file)
    finally:
        os.close(file)


def folders(root: Path) -> list[Path]:
    """The folders of the runs in `root`, the oldest first."""
    if not root.is_dir():
        return []
    return sorted(
        Path(entry.path)
        for entry in os.scandir(root)
        if not entry.name.startswith(".")
        and entry.is_dir(follow_symlinks=False)
        and (Path(entry.path) / "events.jsonl").is_file()
    )


def find(root: Path, name: str) -> Path:
    """The folder of a run by its id, or an unambiguous part of it. Raises UsageError."""
    found = [folder for folder in folders(root) if name in folder.name]
    exact = [folder for folder in found if folder.name == name]
    if len(exact or found) != 1:
        what = "no run has" if not found else f"{len(found)} runs have"
        raise UsageError(f"{what} {name!r} in its id; `agent runs` lists them")
    return (exact or found)[0]


@dataclass(frozen=True, slots=True)
class Row:
    """One run in a list."""

    run_id: str
    status: str
    """As in result.json; `running`, `unfinished` (no process works on it), or `unreadable`."""
    attempts: int
    cost_usd: float | None
    repo: str
    title: str
    changed: float
    """When its log was last written, in seconds since 1970."""


def row(folder: Path) -> Row:
    """What is to be told of a run, from its result and the first line of its log. Whatever is wrong with them, no error
    comes of it but OSError: one broken run must not hide the others."""
    changed = (folder / "events.jsonl").stat().st_mtime
    try:
        start = _start(folder)
        title, repo = issue_title(_text(start["issue"])), _text(start["repo"])
        result = _result(folder)
        if result is None:
            status = "running" if is_running(folder) else "unfinished"
            attempts, cost = _attempts(folder), None
        else:
            status, attempts, cost = _text(result["status"]), len(result["attempts"]), result["cost_usd"]
            if cost is not None:
                cost = float(cost)
    except (ValueError, KeyError, TypeError, RecursionError, UsageError):
        return Row(folder.name, "unreadable", 0, None, "", "", changed)
    return Row(folder.name, status, attempts, cost, repo, title, changed)


def _start(folder: Path) -> Mapping[str, Any]:
    with (folder / "events.jsonl").open("rb") as log:
        data = json.loads(log.readline(MAX_LINE))
    if data["type"] != "run_started":
        raise ValueError("the log does not begin with a run's start")
    found: Mapping[str, Any] = data
    return found


def _result(folder: Path) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = json.loads((folder / "result.json").read_bytes())
    except FileNotFoundError:
        return None
    return found


def _attempts(folder: Path) -> int:
    """Of a run without a result; only then is its whole log read."""
    with (folder / "events.jsonl").open("rb") as log:
        return sum(b'"type":"attempt_started"' in line[:200] for line in log)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs of a list are meant; None is any."""

    statuses: Sequence[str] = ()
    repo: str | None = None
    """A path, or a part of one."""
    since: float | None = None
    """Changed at that time or later, in seconds since 1970; and `before`: earlier than that."""
    before: float | None = None
    limit: int | None = None
    """The newest so many."""


def rows(root: Path, wanted: Wanted) -> list[tuple[Path, Row]]:
    """The runs that are meant, with their folders, the oldest first."""
    here = str(Path(wanted.repo).resolve()) if wanted.repo else ""
    found: list[tuple[Path, Row]] = []
    for folder in reversed(folders(root)):
        if wanted.limit is not None and len(found) >= wanted.limit:
            break
        with suppress(OSError):  # pruned by another process since it was listed
            one = row(folder)
            if (
                (not wanted.statuses or one.status in wanted.statuses)
                and (not wanted.repo or one.repo == here or wanted.repo in one.repo)
                and (wanted.since is None or one.changed >= wanted.since)
                and (wanted.before is None or one.changed < wanted.before)
            ):
                found.append((folder, one))
    return found[::-1]


def size(folder: Path) -> int:
    """Bytes that a run takes on disk."""
    return sum(
        state.st_blocks * 512
        for path in [folder, *folder.rglob("*")]
        if not stat.S_ISLNK((state := path.lstat()).st_mode)
    )


def remove(folder: Path) -> bool:
    """Remove a run; False when a process works on it. A removal that is cut short is ended by the next one."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _locked(file):
            return False
        going = folder.with_name(GOING + folder.name)
        folder.rename(going)
        shutil.rmtree(going)
        return True
    finally:
        os.close(file)


def remove_leftovers(root: Path) -> None:
    """End removals that were cut short."""
    for folder in root.glob(f"{GOING}*"):
        shutil.rmtree(folder, ignore_errors=True)
