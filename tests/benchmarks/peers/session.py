"""One session of a tool, measured from outside: by the model server's log, the kernel's account, the engine's events.

The tool is a process like any other here, and says nothing about itself. CPU is what the kernel charges the process and
all of its children that it waited for. Memory is sampled ten times a second over its processes on the host (those in
containers are the engine's), as proportional set size: what several processes share counts once.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.batch.local import descendants

Attributes = Mapping[str, str]
LEFT_SECONDS = 15.0
"""For what a tool leaves behind to go by itself; then it is removed."""


@dataclass(frozen=True)
class Script:
    """What the model calls: `turns` times a command, then the end."""

    tool: str
    argument: str
    end: str
    end_arguments: Mapping[str, Any]
    more: Mapping[str, Any] = field(default_factory=dict)

    def told(self, turns: int) -> str:
        end = {"name": self.end, "arguments": self.end_arguments}
        return json.dumps(
            {"tool": self.tool, "argument": self.argument, "more": self.more, "turns": turns, "end": end}
        )


@dataclass(frozen=True)
class Peer:
    """A tool that runs the session."""

    name: str
    command: Callable[[str, int], Sequence[str]]
    """Of the model server's URL and the number of turns."""
    script: Script
    variables: Mapping[str, str] = field(default_factory=dict)
    owns: Callable[[Attributes, int], bool] = lambda attributes, pid: False
    """Whether a container, by its attributes in the engine's events, is this process's."""
    host: str = "127.0.0.1"
    """Where the model server listens."""
    help: Sequence[str] = ()
    """The command that prints its help."""


@dataclass(frozen=True)
class Seen:
    """What a session came to, in seconds, MB and bytes."""

    first: float
    """From the start of the process to its first request."""
    second: float
    """To the second: by then a command has run in the sandbox."""
    turns: Sequence[float]
    """Of each turn the time from the end of an answer to the next request: the command, and all else that is done."""
    cpu: float
    machine_cpu: float
    """Of all that ran on the machine meanwhile, the engine and the model server with it."""
    process_mb: float
    tree_mb: float
    sent: Sequence[int]
    """Bytes of each request's body."""
    sandbox: float
    """The longest that the engine took from a container's creation to its start, before the second request."""
    over: float
    """From the end of the last answer to the end of the process."""
    gone: float
    """From there to the end of the last container of it."""
    left: int
    """Containers that were there when it had ended."""


class Failed(Exception):
    """A session that did not go as scripted; the text is the tool's own."""


def run(peer: Peer, turns: int, folder: Path) -> Seen:
    """One session, in a folder of its own. Raises Failed."""
    folder.mkdir(parents=True)
    with served(peer, turns, folder / "requests.jsonl") as url, _events(folder / "events.jsonl"):
        machine = _machine_cpu()
        began = time.monotonic()
        with (folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(
                [*peer.command(url, turns)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(peer.variables),
                cwd=folder,
                start_new_session=True,
            )
        with _sampled(process.pid) as memory:
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        ended, machine = time.monotonic(), _machine_cpu() - machine
        wall = time.time() - ended

        def containers() -> dict[str, dict[str, float]]:
            return _containers(folder / "events.jsonl", peer, process.pid, wall)

        time.sleep(0.3)  # the events that are on their way
        left = [one for one in containers().values() if one.get("destroy", ended + 1) > ended]
        while not all("destroy" in one for one in containers().values()):
            if time.monotonic() > ended + LEFT_SECONDS:
                for name in (name for name, one in containers().items() if "destroy" not in one):
                    subprocess.run(["docker", "rm", "-f", name], capture_output=True)
                break
            time.sleep(0.3)
    asked = [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]
    if len(asked) < turns + 1:
        tail = (folder / "output.txt").read_text("utf-8", "replace")[-3000:]
        raise Failed(f"{peer.name}: {len(asked)} requests, exit code {process.returncode}\n{tail}")
    last = asked[turns]
    there = containers().values()
    starts = [
        one["start"] - one["create"]
        for one in there
        if "start" in one and "create" in one and one["start"] < asked[1]["arrived"]
    ]
    gone = max((one.get("destroy", ended + LEFT_SECONDS) for one in there), default=ended)
    return Seen(
        first=asked[0]["arrived"] - began,
        second=asked[1]["arrived"] - began,
        turns=[after["arrived"] - before["answered"] for before, after in pairwise(asked[: turns + 1])],
        cpu=usage.ru_utime + usage.ru_stime,
        machine_cpu=machine,
        process_mb=memory.process,
        tree_mb=memory.tree,
        sent=[one["bytes"] for one in asked[: turns + 1]],
        sandbox=max(starts, default=0.0),
        over=ended - last["answered"],
        gone=max(0.0, gone - ended),
        left=len(left),
    )


@contextmanager
def locked(lock: Path | None, *, alone: bool) -> Iterator[None]:
    """Hold a lock's file, alone to measure, for machines whose users share it while they do anything."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@contextmanager
def served(peer: Peer, turns: int, log: Path) -> Iterator[str]:
    """The model server; its URL."""
    command = [sys.executable, "-m", "tests.benchmarks.peers.server", str(log), peer.host]
    with subprocess.Popen([*command, peer.script.told(turns)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://{peer.host}:{int(server.stdout.readline())}"
        finally:
            server.kill()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "DOCKER_HOST", "TMPDIR", "SSL_CERT_FILE")
    proxies = {"NO_PROXY": "*", "no_proxy": "*"}
    return {name: os.environ[name] for name in kept if name in os.environ} | proxies | dict(more)


@contextmanager
def _events(path: Path) -> Iterator[None]:
    """The engine's events of containers, as they come."""
    command = ["docker", "events", "--filter", "type=container", "--format", "{{json .}}"]
    with path.open("wb") as file, subprocess.Popen(command, stdout=file) as process:
        time.sleep(0.3)  # until it listens
        try:
            yield
        finally:
            process.terminate()


def _containers(path: Path, peer: Peer, pid: int, wall: float) -> dict[str, dict[str, float]]:
    """The peer's containers: when they were created, started and destroyed, on the monotonic clock."""
    found: dict[str, dict[str, float]] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        event = json.loads(line)
        if event["Action"] in ("create", "start", "destroy") and peer.owns(event["Actor"]["Attributes"], pid):
            found.setdefault(event["Actor"]["ID"], {})[event["Action"]] = event["timeNano"] / 1e9 - wall
    return found


@dataclass
class _Memory:
    process: float = 0.0
    tree: float = 0.0


@contextmanager
def _sampled(pid: int) -> Iterator[_Memory]:
    """The most that the process, and it with all of its descendants, took at a time."""
    most, over = _Memory(), threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            own, others = _pss(pid), [_pss(child) for child in descendants(pid)]
            most.process = max(most.process, own)
            most.tree = max(most.tree, own + sum(others))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _pss(pid: int) -> float:
    with suppress(OSError, ValueError, IndexError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return 0.0


def _machine_cpu() -> float:
    """Seconds that all CPUs have worked."""
    fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
