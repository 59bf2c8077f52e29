"""What a case sees: the sandbox, its tools, and the host outside of it."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.toolbox import Toolbox, open_toolbox
from agent.types import ToolCall, ToolResult
from sandboxes.types import Limits
from tests.escapes.corpus import Case
from tests.unit.git.tools import git

LIMITS = Limits(memory_mb=512, cpus=1, pids=64, workspace_mb=32, tmp_mb=16, lifetime_seconds=7200)
WRITABLE = {"/workspace": 32, "/tmp": 16, "/home/agent": 256, "/run": 16, "/dev/shm": 64}
"""The places that may be written, and the MB that fit in them at most."""
BASE_TEXT, FUTURE_TEXT = "text-of-the-base-commit-8c1f", "text-of-a-later-commit-d07e"
SECRET = "sk-escape-canary-5f8e2b"


@dataclass(frozen=True)
class Seen:
    """How the program ended, as the tool told it."""

    text: str
    exit_code: int | None
    timed_out: bool
    is_error: bool

    @classmethod
    def of(cls, result: ToolResult) -> Seen:
        data = result.data or {}
        return cls(result.text, data.get("exit_code"), bool(data.get("timed_out")), result.is_error)


@dataclass(frozen=True)
class Outside:
    """The host: what it listens on, what it holds, what of it must not change."""

    folder: Path
    repository: Path
    """Its HEAD is a commit later than `base`, and it has what a repository has of history."""
    base: str
    port: int
    """A service of the host's, on all of its addresses."""
    abstract: str
    """Name of an abstract socket of the host's."""
    connected: list[str]
    """Who reached one of the two."""

    def addresses(self) -> list[str]:
        """All addresses of the host's, beside its loopback."""
        found = {"127.0.0.1"}
        with suppress(OSError):
            found |= {
                str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
            }
        for line in Path("/proc/net/fib_trie").read_text().splitlines():
            if line.strip().startswith("|--"):
                found.add(line.split()[-1])
        return sorted(found)


@dataclass
class Cell:
    """One sandbox with its opened toolbox."""

    sandbox: Any
    toolbox: Toolbox
    outside: Outside
    driver: Driver

    async def tool(self, name: str, within: float = 60, /, **arguments: Any) -> ToolResult:
        return await self.toolbox.call(ToolCall(name, name, arguments), timeout=within)

    async def shell(self, command: str, timeout: float = 20) -> Seen:
        return Seen.of(await self.tool("shell", timeout + 60, command=command, timeout=timeout))

    async def patch(self) -> bytes:
        """What the host would take as the attempt's patch."""
        from agent.attempt import _patch

        patch, fault = await _patch(self.toolbox)
        assert not fault, fault
        return patch

    async def usable(self) -> None:
        """The tools still answer, within the limits that hold for every call."""
        seen = await self.shell("echo still-$((40 + 2)); test -w /workspace && echo writable")
        assert "still-42" in seen.text, f"the tools no longer work: {seen.text[-500:]}"


@dataclass(frozen=True)
class Driver:
    """One way to have sandboxes."""

    name: str
    sandbox: Callable[[Limits, str], AbstractAsyncContextManager[Any]]
    """A fresh sandbox with these limits for a run of this id, with the base commit's tree in its workspace."""
    left: Callable[[str], Awaitable[list[str]]]
    """What is left outside of the sandboxes of a run: containers, processes, mounts."""

    @asynccontextmanager
    async def cell(
        self, outside: Outside, *, limits: Limits = LIMITS, run_id: str = "escapes"
    ) -> AsyncIterator[Cell]:
        """A sandbox as an attempt gets it, with the tree of the base commit, and the tools."""
        async with (
            self.sandbox(limits, run_id) as sandbox,
            open_toolbox(sandbox, test_command="true") as toolbox,
        ):
            yield Cell(sandbox, toolbox, outside, self)


async def attempted(case: Case, cell: Cell) -> None:
    """Run one case. Raises AssertionError when its wall did not hold."""
    before = _host(cell.outside)
    seen = await cell.shell(case.program, case.timeout) if case.program else Seen("", None, False, False)
    await case.held(cell, seen)
    after = _host(cell.outside)
    assert before == after, f"the host changed: {before} -> {after}"
    assert cell.outside.connected == [], f"the host was reached: {cell.outside.connected}"


def _host(outside: Outside) -> dict[str, str]:
    """What of the host no sandbox may change."""
    files = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/sysrq")
    state = {name: Path(name).read_text() for name in files if Path(name).exists()}
    # of ten seconds, so that a clock that is being set right does not count
    state["clock"] = str(round((time.time() - time.monotonic() - _CLOCK) / 10))
    state["canary"] = (outside.folder / "canary").read_text()
    return state


_CLOCK = time.time() - time.monotonic()


@contextmanager
def host(folder: Path) -> Iterator[Outside]:
    """A host worth attacking: a repository with a future, services, a secret in the environment."""
    repository, base = _repository(folder)
    (folder / "canary").write_text("untouched")
    connected: list[str] = []
    abstract = f"\0escape-canary-{secrets.token_hex(4)}"
    tcp = socket.create_server(("0.0.0.0", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", tcp.getsockname()[1]))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(abstract)
    unix.listen()
    for server in (tcp, unix):
        threading.Thread(target=_accept, args=(server, connected), daemon=True).start()
    threading.Thread(target=_receive, args=(udp, connected), daemon=True).start()
    os.environ["ESCAPE_API_KEY"] = SECRET
    try:
        outside = Outside(folder, repository, base, tcp.getsockname()[1], abstract[1:], connected)
        with socket.create_connection(("127.0.0.1", outside.port)):
            pass  # it can be reached from here, so not reaching it means something
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", outside.port))
        while len(connected) < 2:
            time.sleep(0.01)
        connected.clear()
        yield outside
    finally:
        os.environ.pop("ESCAPE_API_KEY", None)  # two hosts may be up at once
        tcp.close()
        udp.close()
        unix.close()


def _accept(server: socket.socket, connected: list[str]) -> None:
    with suppress(OSError):
        while True:
            connection, peer = server.accept()
            connected.append(str(peer or "abstract socket"))
            connection.close()


def _receive(server: socket.socket, connected: list[str]) -> None:
    with suppress(OSError):
        while True:
            connected.append(f"a datagram of {server.recvfrom(100)[1]}")


def _repository(folder: Path) -> tuple[Path, str]:
    """A repository whose base commit lies behind a fix, with a branch, a tag, a stash, a remote and packs of it."""
    repo = folder / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    (repo / "app.py").write_text(f"# {BASE_TEXT}\n\n\ndef answer():\n    return 41\n")
    (repo / "notes.txt").write_text("notes\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "base")
    base = git(repo, "rev-parse", "HEAD").strip()
    (repo / "app.py").write_text(f"# {FUTURE_TEXT}\n\n\ndef answer():\n    return 42\n")
    git(repo, "commit", "-q", "-am", f"the fix {FUTURE_TEXT}")
    git(repo, "tag", "-a", "v2", "-m", FUTURE_TEXT)
    git(repo, "branch", "fix/later")
    git(repo, "remote", "add", "origin", f"https://user:{SECRET}@example.com/repo.git")
    (repo / "notes.txt").write_text(f"{FUTURE_TEXT}\n")
    git(repo, "stash")
    git(repo, "gc", "-q")
    return repo, base
