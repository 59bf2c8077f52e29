"""Processes that the server starts: bounded output, and an end for them and all that they started."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tools.text import MAX_TEXT, counted, cut_middle, readable
from tools.tool import Call

MAX_SAVED = 20 * 1024 * 1024
"""Bytes of one output that are saved to its file."""
SAVED_FILES = 10
"""Files of long outputs that are kept; the scratch space is small and may be memory."""


@dataclass(frozen=True, slots=True)
class Finished:
    exit_code: int | None
    """None when it was killed."""
    timed_out: bool
    seconds: float


def _first_to_go(pid: int) -> None:
    """Have the kernel, out of memory, end this process before the server: what it makes the kernel hold (files, pipes)
    counts for no process. It is the most there is, since a sandbox may begin with more than nothing."""
    for _ in range(100):
        try:
            Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
            return
        except PermissionError:
            time.sleep(0.001)  # until it is its own program, it is hidden as the server is
        except OSError:
            return  # it has ended


class Processes:
    """Starts processes and finds all of their descendants, also those that left their group or lost their parent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, subprocess.Popen[bytes]] = {}
        self._adopts = False
        self._closed = False

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.STDOUT,
        pass_fds: Collection[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start `argv` in a session of its own. Raises OSError."""
        self.collect()
        with self._lock:
            if self._closed:
                raise OSError("the server is ending")
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=env,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                start_new_session=True,
            )
            self._known[process.pid] = process
        _first_to_go(process.pid)
        return process

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        timeout: float,
        call: Call,
        write: Callable[[bytes], object],
        write_error: Callable[[bytes], object] | None = None,
        stdin: IO[bytes] | None = None,
    ) -> Finished:
        """Run `argv` to its end and hand its output to `write`, its errors to `write_error` if given.

        What it leaves running is killed, also after `timeout` seconds or when the call is cancelled. Raises OSError.
        """
        began = time.monotonic()
        spared = self.orphans()
        process = self.start(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL if stdin is None else stdin.fileno(),
            stderr=subprocess.STDOUT if write_error is None else subprocess.PIPE,
        )
        sinks = {process.stdout.fileno(): write} if process.stdout else {}
        if process.stderr and write_error:
            sinks[process.stderr.fileno()] = write_error
        try:
            while not self._ended(process, sinks):
                if time.monotonic() - began > timeout or call.cancelled.is_set():
                    break
            killed = process.poll() is None
        finally:
            self.end(process, spared)
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        seconds = time.monotonic() - began
        return Finished(
            None if killed else process.returncode, killed and not call.cancelled.is_set(), seconds
        )

    def _ended(self, process: subprocess.Popen[bytes], sinks: dict[int, Callable[[bytes], object]]) -> bool:
        """Wait a moment, pass on what was written, and tell whether the process ended with nothing left to read."""
        if not sinks:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
            return process.poll() is not None
        ready = select.select(list(sinks), [], [], 0.05)[0]
        for fd in ready:
            data = os.read(fd, 1 << 16)
            if data:
                sinks[fd](data)
            else:
                del sinks[fd]
        # Something in the background may hold the pipe: the process's own end decides.
        return not ready and process.poll() is not None

    def adopt_orphans(self) -> None:
        """Become the parent of descendants that lose theirs, and close this process's files and memory to them.

        Both are Linux's own; where they can't be had, `end` finds less. All children of this process must be ours.
        """
        try:
            import ctypes

            prctl = ctypes.CDLL(None).prctl
            self._adopts = prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
            prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: else a child could write to our wire through /proc
        except (ImportError, OSError, AttributeError):
            pass

    def orphans(self) -> frozenset[int]:
        """Processes that lost their parent and were handed to this one."""
        if not self._adopts:
            return frozenset()
        me = os.getpid()
        with self._lock:
            return frozenset(
                p for p, (parent, _, _) in _table().items() if parent == me and p not in self._known
            )

    def end(self, process: subprocess.Popen[bytes], spared: Collection[int] = ()) -> None:
        """Kill `process` and everything it started; orphans in `spared` are older and not of its making."""
        for _ in range(20):  # what is killed may have forked meanwhile
            table = _table()
            orphans = self.orphans() - set(spared)
            roots = orphans | ({process.pid} if process.poll() is None else set())
            victims = {p for p, (_, session, _) in table.items() if session == process.pid or p in roots}
            victims |= _descendants(table, victims)
            living = [p for p in victims if p in table and table[p][2] not in "ZX"]
            for pid in sorted(living):  # parents first, or a shell would still tell of its children's end
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            self.collect()
            if not living:
                break
            time.sleep(0.002)
        process.wait()
        with self._lock:
            self._known.pop(process.pid, None)

    def end_all(self) -> None:
        """Kill everything that was started here, and start nothing more."""
        with self._lock:
            self._closed = True
            processes = list(self._known.values())
        for process in processes:
            self.end(process)

    def collect(self) -> None:
        """Let orphans that have ended go: until then each takes a place in the table of processes."""
        with self._lock, contextlib.suppress(ChildProcessError):
            while self._adopts:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None:
                    break
                known = self._known.get(ended.si_pid)
                if known is None:
                    os.waitpid(ended.si_pid, 0)
                elif known.poll() is None:
                    break  # another thread is about to collect it


def _table() -> dict[int, tuple[int, int, str]]:
    """Parent, session and state by process id."""
    table: dict[int, tuple[int, int, str]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                stat = (path / "stat").read_bytes()
            except OSError:
                continue  # it ended meanwhile
            # The name in parentheses is the process's own choice and may hold anything.
            state, parent, _, session, *_ = stat.rpartition(b")")[2].split()
            table[int(path.name)] = (int(parent), int(session), state.decode())
    return table


def _descendants(table: Mapping[int, tuple[int, int, str]], roots: Collection[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = list(roots)
    while todo:
        for pid in children.get(todo.pop(), ()):
            if pid not in found:
                found.add(pid)
                todo.append(pid)
    return found


class Output:
    """What a command writes: all of it while short, else start and end, and (up to a bound) a file of it."""

    _count = 0

    def __init__(self, directory: str) -> None:
        self.total = 0
        self.path: str | None = None
        self._directory = directory
        self._head = bytearray()
        self._tail = bytearray()
        self._file: IO[bytes] | None = None

    def write(self, data: bytes) -> None:
        saved = self.total
        self.total += len(data)
        if self.total <= MAX_TEXT:
            self._head += data
            return
        if self.path is None:
            self._open()
            # A long piece after a short one: the start is what came first, not what came in the first piece.
            self._head += data[: MAX_TEXT - len(self._head)]
        if self._file is not None and saved < MAX_SAVED:
            try:
                self._file.write(data[: MAX_SAVED - saved])
            except OSError:
                self._file = None  # the scratch space is full: what was saved stays
        self._tail += data
        del self._tail[: max(0, len(self._tail) - MAX_TEXT)]

    def _open(self) -> None:
        Output._count += 1
        self.path = f"{self._directory}/output-{Output._count}.txt"
        self._tail = self._head[:]
        old = Path(f"{self._directory}/output-{Output._count - SAVED_FILES}.txt")
        try:
            old.unlink(missing_ok=True)
            self._file = Path(self.path).open("wb")  # noqa: SIM115 (closed by `text`)
            self._file.write(self._head)
        except OSError:
            self._file = None

    def save(self) -> None:
        """Have it in a file, however short it is. Ends the writing."""
        if self.path is None:
            self._open()
        if self._file is not None:
            self._file.close()

    def text(self) -> str:
        """The output for a model. Ends the writing."""
        if self._file is not None:
            self._file.close()
        if self.total <= MAX_TEXT:
            return cut_middle(readable(bytes(self._head)), 2 * MAX_TEXT)
        head = bytes(self._head[: MAX_TEXT * 2 // 5])
        head = head[: head.rfind(b"\n") + 1] or head
        tail = bytes(self._tail[-(MAX_TEXT * 3 // 5) :])
        tail = tail[tail.find(b"\n", 0, len(tail) // 2) + 1 :]
        cut = self.total - len(head) - len(tail)
        where = (
            f"; {'all' if self.total <= MAX_SAVED else 'its first 20 MB'} in {self.path}"
            if self._file
            else ""
        )
        start, end = (cut_middle(readable(part).strip("\n"), MAX_TEXT) for part in (head, tail))
        return f"{start}\n[... {counted(cut, 'byte')} of {self.total} cut{where} ...]\n{end}"

    @property
    def saved(self) -> str | None:
        """The file that has (the start of) an output too long to show."""
        return self.path if self._file is not None else None
