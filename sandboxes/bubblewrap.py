"""Bubblewrap sandboxes, for machines where no engine can run: user namespaces, no network, read-only system.

Programs, libraries and Python are the machine's own; nothing else of it is to be seen. A supervisor on the host
starts each command in the sandbox's namespaces (see sandboxes.supervisor). On the host, commands are the agent's own
user, or a number without a name when that is root; inside they are the user 1000.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from sandboxes import seccomp
from sandboxes.commands import TOOLBOX, TOOLS, Commands
from sandboxes.errors import EngineUnavailable, SandboxDied, SandboxError
from sandboxes.machine import HOME_MB, Bind, Machine
from sandboxes.pipes import Pipes
from sandboxes.types import Environment, Limits, inodes

START_SECONDS = 60.0
ENV = "/opt/env"
TREE = "/opt/tree"
"""Where a sandbox finds the tree that it begins with."""
BOOT = "import sys; sys.path.insert(0, {package!r}); from sandboxes.supervisor import main; main({fd})"
PACKAGE = str(Path(__file__).resolve().parent.parent)


class Bubblewrap:
    """What makes sandboxes by bubblewrap."""

    def __init__(self, machine: Machine, cache: Path) -> None:
        self.machine = machine
        self._supervisors = Supervisors()
        self.cache = cache
        self._trees: dict[str, str] = {}
        """Folder -> id of the tree in it."""
        self.limited = ""
        """What limits of sandboxes are kept by, one line; known once one has started."""

    @classmethod
    async def connect(cls, cache: Path) -> Bubblewrap:
        """Look at the machine, and start one sandbox to see that it can. `cache` is where environments are kept.

        Raises EngineUnavailable, whose text says what is missing and how to get it.
        """
        driver = cls(await anyio.to_thread.run_sync(Machine.look), cache)
        try:
            async with driver.bare(Limits(lifetime_seconds=60), binds=[Bind(Path("/usr"), ENV)]) as sandbox:
                done = await sandbox.run(["/usr/bin/id", "-u"], timeout=20, cwd="/")
        except SandboxError as error:
            raise EngineUnavailable(driver.machine.why_not(str(error))) from error
        if done.output.strip() != b"1000":
            raise EngineUnavailable(f"a bubblewrap sandbox answers {done.output[-200:]!r}")
        return driver

    async def environment(
        self,
        tree_tar: Path,
        *,
        image: str | None = None,
        dockerfile: str | None = None,
        setup: Sequence[str] | None = None,
        tools_dir: Path,
        log: Callable[[str], None],
    ) -> Environment:
        """See Driver.environment. There are no images: /opt/env is made with the machine's own Python."""
        from sandboxes.machine_environment import prepare

        if image or dockerfile:
            raise SandboxError(
                f"bubblewrap has no images, so {image or dockerfile} cannot be used; leave it out or use Docker"
            )
        log(self.limited)
        return await prepare(self, tree_tar, setup=setup, tools_dir=tools_dir, log=log)

    async def there(self, environment: Environment, tools_dir: Path) -> bool:
        """See Driver.there: what the machine has may be other than it was, so it is looked at each time."""
        return False

    @asynccontextmanager
    async def workspace(
        self,
        environment: Environment,
        tree: str,
        write_tar: Callable[[Path], None],
        *,
        log: Callable[[str], None],
    ) -> AsyncIterator[Environment]:
        """See Driver.workspace. Each sandbox copies the tree into its memory."""
        from sandboxes.machine_environment import tree_folder

        async with tree_folder(self, environment, write_tar) as folder:
            self._trees[str(folder)] = tree
            try:
                yield replace(environment, workspace=str(folder))
            finally:
                del self._trees[str(folder)]

    def binds(self, environment: Environment) -> list[Bind]:
        """The folders of an environment."""
        return [
            Bind(self.cache / environment.toolbox, TOOLBOX),
            Bind(self.cache / environment.tools, TOOLS),
            Bind(self.cache / environment.image / "env", ENV),
        ]

    @asynccontextmanager
    async def sandbox(
        self, environment: Environment, *, run_id: str, limits: Limits | None = None
    ) -> AsyncIterator[Sandbox]:
        """See Driver.sandbox."""
        limits = limits or Limits()
        binds = self.binds(environment)
        tree = self._trees.get(environment.workspace, "")
        if tree:
            binds.append(Bind(Path(environment.workspace), TREE))
        variables = {"PATH": environment.path, **environment.variables}
        async with self.bare(limits, binds=binds, variables=variables) as sandbox:
            if tree:
                done = await sandbox.run(["cp", "-a", f"{TREE}/.", "/workspace"], timeout=600, cwd="/")
                if done.exit_code != 0:
                    reason = done.output.decode("utf-8", "replace").strip().partition("\n")[0]
                    raise SandboxError(f"could not copy the repository into the sandbox: {reason}")
                sandbox.tree = tree
            yield sandbox

    @asynccontextmanager
    async def bare(
        self,
        limits: Limits,
        *,
        binds: Sequence[Bind] = (),
        variables: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
        network: bool = False,
    ) -> AsyncIterator[Sandbox]:
        """A sandbox with these folders bound; with `network`, that of the host, and `files` for its /etc."""
        bound = {bind.target for bind in binds}
        boot = {
            "bwrap": self.machine.bwrap,
            "arguments": self.machine.arguments(limits, binds=binds, network=network, files=files or {}),
            "seccomp": seccomp.program().hex(),
            "places": {
                place: inodes(size)
                for place, size in self.machine.sizes(limits).items()
                if place not in bound
            },
            "shares_network": network,
            "limits": {
                "memory_mb": limits.memory_mb,
                "pids": limits.pids,
                "cpus": await self.cpus(limits),
                "affinity": _affinity(limits),
                # above what fits in any writable place, so that a program sees a full disk rather than SIGXFSZ
                "file_mb": 2 * max(limits.workspace_mb, limits.tmp_mb, HOME_MB),
            },
        }
        base = {"PATH": self.machine.path, "HOME": "/home/agent", "LANG": "C.UTF-8", **(variables or {})}
        sandbox = Sandbox(self._supervisors.new(), self.machine.shell, base)
        try:
            sandbox.tell(boot)
            self.limited = await sandbox.wait_ready()
            yield sandbox
        finally:
            with anyio.CancelScope(shield=True):
                await sandbox.end()

    async def cpus(self, limits: Limits) -> float:
        """See Driver.cpus."""
        return min(limits.cpus, len(os.sched_getaffinity(0)))


def _affinity(limits: Limits) -> list[int]:
    """The CPUs of one sandbox; others go from elsewhere. Empty for all of them."""
    there = sorted(os.sched_getaffinity(0))
    wanted = max(1, -int(-limits.cpus // 1))
    if wanted >= len(there):
        return []
    first = int.from_bytes(os.urandom(2), "big") % len(there)
    return [there[(first + place) % len(there)] for place in range(wanted)]


class Supervisors:
    """The process that supervisors are forked from; it ends with this object, or with the agent."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = subprocess.DEVNULL
        with theirs:
            fd = theirs.fileno()
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", BOOT.format(package=PACKAGE, fd=fd)],
                stdin=null, stdout=null, stderr=null, env={}, cwd="/", pass_fds=[fd], start_new_session=True,
            )  # fmt: skip
        weakref.finalize(self, _end, self._control, process)

    def new(self) -> socket.socket:
        """A socket to a new supervisor. Raises SandboxError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                socket.send_fds(self._control, [b"n"], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise SandboxError(f"the process that starts sandboxes has ended: {error.strerror}") from error
        return ours


def _end(control: socket.socket, process: subprocess.Popen[bytes]) -> None:
    control.close()
    process.wait()


class Sandbox(Commands):
    """A running sandbox, as its supervisor's other end."""

    def __init__(self, control: socket.socket, shell: Sequence[str], variables: Mapping[str, str]) -> None:
        super().__init__("", shell)
        self._control = control
        self._variables = variables
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Mapping[str, Any]] = self._loop.create_future()
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._kills: dict[int, asyncio.Future[bool]] = {}
        self._dead = False
        self._gone = asyncio.Event()
        self._numbers = 0
        self._loop.add_reader(control.fileno(), self._hear)

    def tell(self, message: Mapping[str, Any], *fds: int) -> None:
        """Send a message to the supervisor, and descriptors. Raises SandboxDied."""
        content = os.memfd_create("assay")
        try:
            with os.fdopen(content, "wb", closefd=False) as file:
                file.write(json.dumps(message).encode())
            socket.send_fds(self._control, [b"m"], [content, *fds])
        except OSError as error:
            raise SandboxDied("the sandbox has ended: it was stopped, or its lifetime is over") from error
        finally:
            os.close(content)

    async def wait_ready(self) -> str:
        """What its limits are kept by, one line. Raises SandboxError when it could not be started."""
        with anyio.move_on_after(START_SECONDS) as limit:
            told = await self._ready
        if limit.cancelled_caught:
            raise SandboxError(f"bubblewrap did not start a sandbox within {START_SECONDS:.0f} s")
        if "failed" in told:
            raise SandboxError(f"bubblewrap could not start a sandbox: {told['failed']}")
        self.id = str(told["ready"])
        if by := told["limits"]:
            return f"sandboxes are limited by a control group ({by})"
        return (
            "no control group can be made here, so a sandbox's memory is watched, its processes are counted, and "
            "its CPUs are chosen"
        )

    async def end(self) -> None:
        """End the sandbox, and wait until nothing of it is left."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        with anyio.move_on_after(START_SECONDS):
            await self._gone.wait()
        if not self._gone.is_set():
            self._loop.remove_reader(self._control.fileno())
        self._control.close()

    def _hear(self) -> None:
        while True:
            try:
                data = self._control.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            message = json.loads(data) if data else {"died": True}
            if "ready" in message or "failed" in message:
                _set(self._ready, message)
            elif "ended" in message:
                _set(self._ends.pop(message["ended"], None), message["code"])
            elif "killed" in message:
                _set(self._kills.pop(message["killed"], None), message["all"])
            elif "refused" in message:
                failed = SandboxError(f"the sandbox did not start a command: {message['why']}")
                if (end := self._ends.pop(message["refused"], None)) and not end.done():
                    end.set_exception(failed)
            else:
                self._died()
                if not data:
                    self._loop.remove_reader(self._control.fileno())
                    self._gone.set()
                    return

    def _died(self) -> None:
        self._dead = True
        _set(self._ready, {"failed": "its supervisor ended"})
        waited: list[asyncio.Future[Any]] = [*self._ends.values(), *self._kills.values()]
        for end in waited:
            if not end.done():
                end.set_exception(SandboxDied("the sandbox ended while a command was running in it"))
                end.exception()  # whoever no longer waits is not to be told

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        marker: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bool = False,
        keeper: bool = False,
    ) -> AsyncIterator[_Started]:
        """See Commands.start."""
        if self._dead:
            raise SandboxDied("the sandbox has ended: it was stopped, or its lifetime is over")
        self._numbers += 1
        number = self._numbers
        variables = {**self._variables, **(env or {})}
        if marker:
            name, _, value = marker.partition("=")
            variables[name] = value
        job = {
            "start": number,
            "marker": marker,
            "argv": list(argv),
            "env": variables,
            "cwd": cwd or "/",
            "keeper": keeper,
        }
        pipes = Pipes(self._loop, two=stdin)
        end = self._ends[number] = self._loop.create_future()
        try:
            self.tell(job, *pipes.theirs)
            pipes.begin()
            yield _Started(self, number, marker, pipes, end)
        finally:
            pipes.close()

    async def ended(self) -> bool:
        """See Commands.ended."""
        for _ in range(20):
            if self._dead:
                return True
            await anyio.sleep(0.05)
        return False

    async def kill(self, number: int, marker: str) -> bool:
        """Kill a command and its descendants; whether that was all of them. Raises SandboxDied."""
        done: asyncio.Future[bool] = self._loop.create_future()
        self._kills[number] = done
        self.tell({"kill": number, "marker": marker})
        return await done


def _set(future: asyncio.Future[Any] | None, value: object) -> None:
    if future is not None and not future.done():
        future.set_result(value)


class _Started:
    """A command under way."""

    def __init__(
        self, sandbox: Sandbox, number: int, marker: str, pipes: Pipes, end: asyncio.Future[int]
    ) -> None:
        self._sandbox = sandbox
        self._number = number
        self._marker = marker
        self._end = end
        self.receive = pipes.receive
        self.send = pipes.send
        self.send_eof = pipes.send_eof

    async def running(self) -> bool:
        """Whether the command still runs."""
        return not self._end.done()

    async def exit_code(self) -> int:
        """Wait for the command's end. Raises SandboxDied if the sandbox went with it."""
        return await asyncio.shield(self._end)

    async def kill(self, *, whole_sandbox: bool = True) -> None:
        """Kill the command and its descendants; failing that, the sandbox."""
        with anyio.CancelScope(shield=True), suppress(SandboxDied):
            if not await self._sandbox.kill(self._number, self._marker) and whole_sandbox:
                self._sandbox.tell({"end": True})
