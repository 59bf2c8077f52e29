"""Children of one warm process, each with a time limit and small resources.

Runs in the sandbox, on Python 3.8 and later.
"""
# ruff: noqa: PTH123

from __future__ import annotations

import base64
import contextlib
import faulthandler
import gc
import json
import os
import resource
import select
import signal
import time
import traceback
import warnings
import zlib
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

MEMORY = 2 << 30
"""Bytes that a child may take beside what the parent has."""
FILE_SIZE = 128 << 20

Say = Callable[[str], None]
Work = Callable[[Say], None]


class Child:
    """A running child: what it said so far, and when it is killed (on the monotonic clock)."""

    def __init__(self, key: int, work: Optional[Work], limit: float) -> None:
        self.key = key
        self.said: List[str] = []
        self.timed_out = False
        self._rest = b""
        self.deadline = time.monotonic() + limit
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of forks in a process with threads; such tests would fail anyway
            self.pid = os.fork()
        self.is_me = self.pid == 0
        if not self.is_me:
            os.close(write)
            self.fd = read
            return
        os.close(read)
        self.fd = write
        _confine()
        if work is None:  # the caller goes on as the child
            return
        try:
            work(self.say)
        except BaseException:
            with contextlib.suppress(BaseException):
                self.say("crash " + " ".join(traceback.format_exc().split())[-300:])
        os._exit(0)

    def say(self, line: str) -> None:
        """In the child: one line to the parent."""
        data = line.replace("\n", " ").encode("utf-8", "replace") + b"\n"
        while data:
            data = data[os.write(self.fd, data) :]

    def hear(self) -> bool:
        """In the parent: take what the child said; False when it has ended."""
        data = os.read(self.fd, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.said += [line.decode("utf-8", "replace") for line in lines]
        return bool(data)

    def end(self) -> None:
        """In the parent: kill the child's process group and take its exit."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def _confine() -> None:
    """Own process group, no terminal, bounded memory and file size: a broken candidate must not hurt its neighbours."""
    faulthandler.disable()  # the dumps of crashing candidates would fill the log
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for kind, most in (
        (resource.RLIMIT_AS, _virtual_size() + MEMORY),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))


def _virtual_size() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return MEMORY


def write_result(result: Dict[str, Any]) -> None:
    """Leave the job's result where the host reads it."""
    with open(os.environ["REPAIR_OUT"], "wb") as file:
        file.write(base64.b64encode(zlib.compress(json.dumps(result).encode("utf-8", "replace"))))


def workers() -> int:
    """As many children at once as there are processors for this process, within reason."""
    try:
        return max(1, min(4, len(os.sched_getaffinity(0))))
    except AttributeError:
        return 1


def run_all(
    jobs: Iterator[Optional[Tuple[int, Optional[Work], float]]],
    at_once: int,
    extend: Optional[Dict[str, float]] = None,
) -> Iterator[Child]:
    """Run `jobs` (key, work, seconds), and yield each child as it ends.

    A job of None says that the next one depends on those that run. A line that a child says and that is a key of
    `extend` gives it that many seconds from then on. Where the work is None, the child itself is yielded in the
    new process too, with `is_me` set, and is to go its own way.
    """
    gc.freeze()  # fewer pages are copied in the children
    running: Dict[int, Child] = {}
    more = True
    try:
        while more or running:
            while more and len(running) < at_once:
                try:
                    job = next(jobs)
                except StopIteration:
                    more = False
                    break
                if job is None:
                    break
                child = Child(*job)
                if child.is_me:
                    running.clear()
                    yield child
                    return
                running[child.fd] = child
            if not running:
                continue
            first = min(child.deadline for child in running.values())
            ready, _, _ = select.select(list(running), [], [], max(0.0, first - time.monotonic()))
            for fd in ready:
                child = running[fd]
                seen = len(child.said)
                if child.hear():
                    for line in child.said[seen:]:
                        if extend and line in extend:
                            child.deadline = time.monotonic() + extend[line]
                else:
                    del running[fd]
                    child.end()
                    yield child
            now = time.monotonic()
            for fd, child in list(running.items()):
                if child.deadline <= now:
                    del running[fd]
                    child.timed_out = True
                    child.end()
                    yield child
    finally:
        for child in running.values():
            child.end()
