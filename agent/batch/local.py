"""The engine of this machine: each task is a process of its own, forked from one that has all imports behind it.

Measured (2 cores, Python 3.11): a new interpreter that has imported what a run needs takes 1.0 s of CPU and 56 MB of
its own; a fork of a warm one 0.02 s and 4 MB.

A task's process hears of the end of its driver, however that ends, by the end of a pipe: it then ends in good order, as
by SIGTERM. What its death leaves, containers and temporary folders, is removed by another process, so that a hanging
engine holds up nobody but that.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Self

from agent.batch.engine import Ended, Happened, Shared, Told
from agent.batch.tasks import TaskLine
from agent.scratch import scratch

Work = Callable[[TaskLine, Shared, Path, Connection], None]
"""A task in its process: it writes its ending, JSON, to the path, and sends news as JSON. A module's function."""

WARM = "agent.batch.warm"
TIDY_SECONDS = 60.0


@dataclass
class _Task:
    process: ForkServerProcess
    news: Connection
    ending: Path


class Local:
    """A context manager: at its end, all tasks are killed that still run."""

    def __init__(self, work: Work, shared: Shared, *, tidy_first: bool = False) -> None:
        """`tidy_first`: a driver before this one may have been killed, and tasks with it."""
        self._work, self._shared = work, shared
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([WARM])
        self._temporary = scratch()
        self._tasks: dict[str, _Task] = {}
        self._number = 0
        self._tidying: ForkServerProcess | None = None
        self._untidy = tidy_first

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for task in list(self._tasks):
            self.kill(task)
        until = time.monotonic() + TIDY_SECONDS
        while self._tasks and time.monotonic() < until:
            self.wait(1.0)
        while (self._untidy or self._tidying is not None) and time.monotonic() < until:
            self._tidy()
            if self._tidying is not None:
                self._tidying.join(0.2)
        if self._tidying is not None:
            self._tidying.kill()
        self._temporary.cleanup()

    def start(self, line: TaskLine) -> None:
        self._number += 1
        ending = Path(self._temporary.name) / f"{self._number}.json"
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_begin, args=(self._work, line, self._shared, ending, theirs), daemon=True
        )
        self._launch(process)
        theirs.close()
        self._tasks[line.id] = _Task(process, ours, ending)

    def wait(self, seconds: float) -> Sequence[Happened]:
        self._tidy()
        by_pipe: dict[Any, str] = {}
        for name, task in self._tasks.items():
            by_pipe[task.process.sentinel] = name
            if not task.news.closed:
                by_pipe[task.news] = name
        if not by_pipe:
            time.sleep(seconds)
        happened: list[Happened] = []
        ready = wait(list(by_pipe), seconds) if by_pipe else []
        for pipe in ready:
            if isinstance(pipe, Connection):
                happened += self._heard(by_pipe[pipe])
        for name in [by_pipe[pipe] for pipe in ready if isinstance(pipe, int)]:
            happened += self._heard(name)
            happened.append(self._ended(name))
        return happened

    def stop(self, task: str) -> None:
        self._signal(task, signal.SIGTERM)

    def kill(self, task: str) -> None:
        pid = self._tasks[task].process.pid
        assert pid is not None
        for one in [*descendants(pid), pid]:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(one, signal.SIGKILL)

    def _signal(self, task: str, number: int) -> None:
        process = self._tasks[task].process
        if process.exitcode is None and process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _heard(self, name: str) -> Iterator[Told]:
        """All that a task has said by now."""
        news = self._tasks[name].news
        while not news.closed:
            try:
                if not news.poll():
                    return
                yield Told(name, json.loads(news.recv_bytes()))
            except (EOFError, OSError, ValueError):
                news.close()

    def _ended(self, name: str) -> Ended:
        task = self._tasks[name]
        code = task.process.exitcode
        if code == _LOST:
            self.kill(name)
        del self._tasks[name]
        task.news.close()
        task.process.close()
        try:
            ending: Mapping[str, Any] | None = json.loads(task.ending.read_bytes())
            task.ending.unlink()
        except (OSError, ValueError):
            ending = None
        if ending is None:
            self._untidy = True
        return Ended(name, ending, "" if ending else _how(code))

    def _tidy(self) -> None:
        """Have what dead tasks left removed, beside all else; what later ones leave waits for the next time."""
        if self._tidying is not None:
            if self._tidying.exitcode is None:
                return
            self._tidying.close()
            self._tidying = None
        if self._untidy:
            self._untidy = False
            self._tidying = self._context.Process(target=_tidy, daemon=True)
            self._launch(self._tidying)

    def _launch(self, process: ForkServerProcess) -> None:
        _own_sockets()
        with _safe_path(), _no_main():
            process.start()


_LOST = 255
"""What multiprocessing says where the process that others are forked from died: nobody knows what became of them."""


def _how(code: int | None) -> str:
    """How a process ended, in words."""
    if code == _LOST:
        return "its process is lost"
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code} and no result"


def _begin(work: Work, line: TaskLine, shared: Shared, ending: Path, news: Connection) -> None:
    """In the task's process."""
    from agent.batch.watch import end_with

    os.setsid()  # Ctrl-C on a terminal is for the driver
    end_with(news)
    work(line, shared, ending, news)


def _tidy() -> None:
    from agent.batch.tidy import tidy

    os.setsid()
    tidy()


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that these started, by /proc; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(pid, ()))
    for one in found:  # grows while it is walked
        found += children.get(one, ())
    return found


@contextmanager
def _safe_path() -> Iterator[None]:
    """The forked-from process starts as `python -c`, to which a folder `multiprocessing` where the user stands (it may
    be anybody's repository) must mean nothing."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


@cache
def _own_sockets() -> TemporaryDirectory[str]:
    """Have multiprocessing keep its sockets, as long as this process lives, in a folder that `agent doctor` knows."""
    folder = scratch(short=True)
    vars(multiprocessing.current_process())["_config"]["tempdir"] = folder.name
    return folder


@contextmanager
def _no_main() -> Iterator[None]:
    """Else each child imports again what the driver was started as, such as Ray's worker."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
