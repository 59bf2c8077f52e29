"""Docker sandboxes: a hardened container, files in and out of it, commands and byte streams.

Every command runs as uid 1000 without capabilities or network, on a read-only root; what is writable lives in
memory and is bounded. Nothing of the host is mounted but the read-only toolbox.
"""

from __future__ import annotations

import io
import secrets
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread

from sandboxes import inside
from sandboxes.containers import (
    AGENT,
    KEEPER,
    TOOLBOX,
    TOOLS,
    affordable_cpus,
    agent_tmpfs,
    container,
    new_name,
)
from sandboxes.engine import Engine, ExecStream
from sandboxes.errors import SandboxDied, SandboxError
from sandboxes.types import Completed, Environment, Limits

PYTHON = (f"{TOOLBOX}/bin/python3", "-I", "-c")
BUSYBOX = f"{TOOLBOX}/bin/busybox"
GENERATED = "/opt/env/.generated.tar"
# the image's own bash, else its sh, else the toolbox's
SHELL = f"""for shell in /bin/bash /usr/bin/bash /usr/local/bin/bash /bin/sh; do
[ -x $shell ] && exec $shell "$@"
done
exec {BUSYBOX} sh "$@\""""
KILLED = 128 + 9
LONGEST_ARGUMENT = 100_000  # Linux takes 131,071 bytes


class Docker:
    """A Docker engine that gives sandboxes."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._log: Callable[[str], None] | None = None

    @classmethod
    async def connect(cls) -> Docker:
        """Connect to the user's engine. Raises EngineUnavailable, whose text says how to get one."""
        return cls(await Engine.connect())

    async def environment(
        self,
        tree_tar: Path,
        *,
        image: str | None = None,
        setup: Sequence[str] | None = None,
        tools_dir: Path,
        log: Callable[[str], None],
    ) -> Environment:
        """An image in which the repository's tests run, made once and cached by content.

        `tree_tar` is a tar of the repository at the base commit; `image` and `setup` are the user's own image
        and set-up commands; `tools_dir` holds the sources of the tools. Only this step uses the network.
        Raises ImageUnavailable, SetupFailed, SandboxError.
        """
        from docker.errors import APIError

        from sandboxes.environment import prepare

        self._log = log
        try:
            return await prepare(
                self.engine, tree_tar, image=image, setup=setup, tools_dir=tools_dir, log=log
            )
        except APIError as error:
            raise SandboxError(f"the Docker engine failed: {error.explanation or error}") from error

    @asynccontextmanager
    async def sandbox(
        self, environment: Environment, *, run_id: str, limits: Limits | None = None
    ) -> AsyncIterator[Sandbox]:
        """A fresh sandbox, removed when the block ends, also by an error or a cancellation."""
        limits = limits or Limits()
        cpus = await affordable_cpus(self.engine, limits)
        if cpus < limits.cpus and self._log is not None:
            self._log(
                f"the Docker engine has {cpus:g} CPUs, so sandboxes get these instead of {limits.cpus:g}"
            )
            self._log = None  # once
        variables = {
            "PATH": environment.path,
            "HOME": "/home/agent",
            "LANG": "C.UTF-8",
            **environment.variables,
        }
        async with container(
            self.engine,
            environment.image,
            name=new_name(),
            run_id=run_id,
            command=[BUSYBOX, "sleep", str(limits.lifetime_seconds)],
            limits=limits,
            environment=variables,
            tmpfs=agent_tmpfs(limits),
            volumes={environment.toolbox: (TOOLBOX, "ro"), environment.tools: (TOOLS, "ro")},
        ) as container_id:
            yield Sandbox(self.engine, container_id)

    async def cpus(self, limits: Limits) -> float:
        """How many CPUs a sandbox with these limits gets."""
        return await affordable_cpus(self.engine, limits)


class Sandbox:
    """A running container. Its methods may be used at the same time by several tasks."""

    def __init__(self, engine: Engine, container_id: str, user: str = AGENT) -> None:
        self.id = container_id
        self._engine = engine
        self._user = user

    async def put_tree(self, tree_tar: Path, into: str = "/workspace") -> int:
        """Unpack a tar into a directory; into /workspace, what the set-up generated there is added.

        Returns the sandbox's clock at the end, in nanoseconds: what changes later has a later status change time.

        Symlinks are laid down as they are and never written through; files in the way are replaced. Raises
        SandboxError for a tar that leaves the directory, holds devices or hard links, or does not fit.
        """
        generated = (GENERATED,) if into == "/workspace" else ()
        file = await anyio.to_thread.run_sync(tree_tar.open, "rb")
        with file:
            return await self._unpack(file, into, *generated)

    async def put_file(self, path: str, data: bytes) -> None:
        """Write one file of the agent's."""
        folder, _, name = path.rpartition("/")
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        tar.seek(0)
        await self._unpack(tar, folder or "/")

    async def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        cwd: str = "/workspace",
        output_limit: int = 1 << 20,
        progress: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """Run a command to its end, a string by bash (sh where there is no bash). stdin is /dev/null.

        `timeout` is in seconds. A command that exceeds it is killed with all its descendants, whatever session
        they are in; if that fails (a command that wiped its own environment cannot be found), the whole
        container is killed, and later calls raise SandboxDied. Descendants left in the background by a command
        that ended in time live on, but their output is not waited for. Cancelling leaves the command running
        until the sandbox ends. `progress` is given the output as it comes.
        """
        marker = f"ASSAY_EXEC={secrets.token_hex(8)}"
        if isinstance(command, str):
            if len(command.encode("utf-8", "surrogateescape")) > LONGEST_ARGUMENT:
                script = f"/tmp/.command-{marker[-16:]}"  # noqa: S108
                await self.put_file(script, command.encode("utf-8", "surrogateescape"))
                command = [BUSYBOX, "sh", "-c", SHELL, "sh", script]
            else:
                command = [BUSYBOX, "sh", "-c", SHELL, "sh", "-c", command]
        began = time.monotonic()
        output = _Clipped(output_limit)
        async with self._exec(command, marker=marker, env=env, cwd=cwd) as (exec_id, stream):
            with anyio.move_on_after(timeout) as limit:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._stop_waiting, exec_id, tasks.cancel_scope)
                    while (part := await stream.receive())[1]:
                        output.add(part[1])
                        if progress is not None:
                            progress(part[1])
                    tasks.cancel_scope.cancel()
                code: int | None = await self._exit_code(exec_id)
            if limit.cancelled_caught:
                await self._kill(exec_id, marker)
                with anyio.move_on_after(1):
                    while (part := await stream.receive())[1]:
                        output.add(part[1])
                code = None
        return Completed(code, output.value(), output.cut, limit.cancelled_caught, time.monotonic() - began)

    async def read(self, path: str, limit: int, *, keeper: bool = False) -> bytes:
        """A regular file's content, read as the keeper if asked. Raises FileNotFoundError, or ValueError if it
        is larger than `limit` bytes or no regular file."""
        data, code, error = await self.program(
            inside.source("read_file"), [path, str(limit)], io.BytesIO(), limit, keeper=keeper
        )
        if code == 44:
            raise FileNotFoundError(path)
        if code == 45:
            raise ValueError(f"{path} is larger than {limit} bytes")
        if code == 46:
            raise ValueError(f"{path} is not a readable regular file")
        if code != 0:
            if await self._ended():
                raise SandboxDied(f"the sandbox ended while {path} was read")
            raise SandboxError(f"could not read {path} in the sandbox: {error or f'exit code {code}'}")
        return data

    @asynccontextmanager
    async def stream(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """Start a program and talk to it by its stdin and stdout. At the end of the block its stdin is closed;
        if it does not end within two seconds, it and its descendants are killed. When the container went with
        it, the block still ends quietly (what happened in it is not to be masked); the next call says so."""
        marker = f"ASSAY_EXEC={secrets.token_hex(8)}"
        async with self._exec(argv, marker=marker, env=env, cwd="/workspace", stdin=True) as (exec_id, raw):
            stream = Stream(raw)
            try:
                yield stream
            finally:
                with anyio.CancelScope(shield=True):
                    raw.send_eof()
                    try:
                        with anyio.move_on_after(2):
                            while await stream.receive():
                                pass
                            stream.exit_code = await self._exit_code(exec_id)
                        if stream.exit_code is None:
                            await self._kill(exec_id, marker, whole_container=False)
                    except SandboxDied:
                        pass  # nothing is left to end

    @asynccontextmanager
    async def _exec(
        self,
        argv: Sequence[str],
        *,
        marker: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bool = False,
        keeper: bool = False,
    ) -> AsyncIterator[tuple[str, ExecStream]]:
        variables = dict(env or {})
        if marker:
            name, _, value = marker.partition("=")
            variables[name] = value
        exec_id = await self._engine.exec_create(
            self.id, argv, user=KEEPER if keeper else self._user, env=variables, cwd=cwd, stdin=stdin
        )
        async with self._engine.exec_start(exec_id) as stream:
            yield exec_id, stream

    async def program(
        self, text: str, arguments: Sequence[str], source: BinaryIO, limit: int, *, keeper: bool = False
    ) -> tuple[bytes, int, str]:
        """Run a Python program of ours in the toolbox's Python, `source` being its stdin, as the keeper if asked.

        Returns (stdout up to `limit` bytes, exit code, first line of stderr). Raises SandboxDied.
        """
        out, error = bytearray(), bytearray()
        async with (
            self._exec([*PYTHON, text, *arguments], stdin=True, keeper=keeper) as (exec_id, stream),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_feed, source, stream)
            while True:
                kind, data = await stream.receive()
                if not data:
                    break
                kept = out if kind == 1 else error
                kept += data[: max(0, (limit if kind == 1 else 4096) - len(kept))]
            tasks.cancel_scope.cancel()  # it may have ended without reading all
        code = await self._exit_code(exec_id)
        if code == KILLED and await self._ended():
            raise SandboxDied("the sandbox ended while files were moved into it or out of it")
        return bytes(out), code, error.decode("utf-8", "replace").partition("\n")[0]

    async def _unpack(self, tar: BinaryIO, into: str, *generated: str) -> int:
        clock, code, error = await self.program(inside.source("put_tree"), [into, *generated], tar, 32)
        if code != 0:
            raise SandboxError(f"could not unpack into {into} in the sandbox: {error or f'exit code {code}'}")
        return int(clock)

    async def _ended(self) -> bool:
        """Whether the container is gone, or goes within a second: the engine tells of its processes first."""
        from docker.errors import NotFound

        for _ in range(20):
            try:
                state = (await self._engine.call(self._engine.api.inspect_container, self.id))["State"]
            except NotFound:
                return True
            if not state["Running"]:
                return True
            await anyio.sleep(0.05)
        return False

    async def _exit_code(self, exec_id: str) -> int:
        """Wait for the command's end. Raises SandboxDied if the container went with it."""
        pause = 0.005
        while True:
            running, code = await self._engine.exec_state(exec_id)
            if not running:
                if code is None:
                    raise SandboxDied("the sandbox ended while a command was running in it")
                return code
            await anyio.sleep(pause)
            pause = min(pause * 2, 0.5)

    async def _stop_waiting(self, exec_id: str, reading: anyio.CancelScope) -> None:
        """End the reading soon after the command's end, even if a descendant still holds the pipe."""
        running = True
        while running:
            await anyio.sleep(0.5)
            running, _ = await self._engine.exec_state(exec_id)
        await anyio.sleep(0.5)
        reading.cancel()

    async def _kill(self, exec_id: str, marker: str, *, whole_container: bool = True) -> None:
        """Kill a command and its descendants; failing that, the container."""
        from docker.errors import APIError

        with anyio.CancelScope(shield=True):
            try:
                with anyio.move_on_after(5):
                    async with self._exec([*PYTHON, inside.source("kill_marked"), marker]) as (
                        killer,
                        stream,
                    ):
                        while (await stream.receive())[1]:
                            pass
                        killed = await self._exit_code(killer) == 0
                    if killed and not (await self._engine.exec_state(exec_id))[0]:
                        return
            except SandboxDied:
                return
            except (APIError, SandboxError):
                pass  # no process left to kill with: the container goes
            if whole_container:
                await self._engine.call(_kill_container, self._engine, self.id)


class Stream:
    """The stdin and stdout of a running program. One task may receive while another sends."""

    def __init__(self, raw: ExecStream) -> None:
        self._raw = raw
        self.stderr_tail = b""
        """The last 64 KiB of what the program wrote to stderr so far."""
        self.exit_code: int | None = None
        """Known after the block, if the program ended by itself."""

    async def receive(self) -> bytes:
        """The next bytes of stdout; b"" at the end. Cancelling it loses nothing."""
        while True:
            kind, data = await self._raw.receive()
            if kind != 2:
                return data
            self.stderr_tail = (self.stderr_tail + data)[-(1 << 16) :]

    async def send(self, data: bytes) -> None:
        """Write to stdin. Raises ConnectionError when the program is gone."""
        await self._raw.send(data)


class _Clipped:
    """The first and the last half of a limit's worth of bytes."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.cut = 0

    def add(self, data: bytes) -> None:
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if (surplus := len(self._tail) - self._half) > 0:
            del self._tail[:surplus]
            self.cut += surplus

    def value(self) -> bytes:
        if self.cut:
            return bytes(self._head) + f"\n[... {self.cut} bytes cut ...]\n".encode() + bytes(self._tail)
        return bytes(self._head + self._tail)


async def _feed(source: BinaryIO, stream: ExecStream) -> None:
    """Send a file to a program's stdin."""
    try:
        while data := await anyio.to_thread.run_sync(source.read, 1 << 18):
            await stream.send(data)
    except ConnectionError:
        return  # it ended early; its exit code says why
    stream.send_eof()


def _kill_container(engine: Engine, container_id: str) -> None:
    from docker.errors import APIError

    try:
        engine.api.kill(container_id)
    except APIError as error:
        if error.status_code not in (404, 409):
            raise
