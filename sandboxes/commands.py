"""Commands in a sandbox: what both drivers make of a started program and its two byte streams."""

from __future__ import annotations

import io
import secrets
import tarfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import anyio
import anyio.to_thread

from sandboxes import inside
from sandboxes.errors import SandboxDied, SandboxError
from sandboxes.types import Completed

TOOLBOX = "/opt/toolbox"
TOOLS = "/opt/toolbox/lib/agent-tools"
PYTHON = (f"{TOOLBOX}/bin/python3", "-I", "-c")
GENERATED = "/opt/env/.generated.tar"
KILLED = 128 + 9
LONGEST_ARGUMENT = 100_000  # Linux takes 131,071 bytes
MAX_STDERR = 64 * 1024 * 1024
"""Bytes of a stream's stderr after which its program is not listened to: it would keep the host busy for ever."""


class Execution(Protocol):
    """A program that was started in a sandbox."""

    async def receive(self) -> tuple[int, bytes]:
        """The next bytes of stdout (1) or stderr (2); `(0, b"")` at the end. Cancelling it loses nothing."""

    async def send(self, data: bytes) -> None:
        """Write to its stdin. Raises ConnectionError once nothing reads it."""

    def send_eof(self) -> None:
        """Close its stdin."""

    async def running(self) -> bool: ...

    async def exit_code(self) -> int:
        """Wait for its end; 128 and the signal's number when it was killed. Raises SandboxDied if the sandbox ended
        with it."""

    async def kill(self, *, whole_sandbox: bool = True) -> None:
        """Kill it and its descendants; where that fails, the `whole_sandbox`."""


class Commands(ABC):
    """What a sandbox can do, given that programs can be started in it. See sandboxes.driver.Sandbox."""

    def __init__(self, id: str, shell: Sequence[str], tree: str = "") -> None:
        """`shell` takes a script's path, or -c and a script; /workspace begins with `tree`."""
        self.id = id
        self.tree = tree
        self._shell = shell

    @abstractmethod
    def start(
        self,
        argv: Sequence[str],
        *,
        marker: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bool = False,
        keeper: bool = False,
    ) -> AbstractAsyncContextManager[Execution]:
        """Start a program, and be connected to it until the block ends. `marker` is a variable that tells its
        descendants; without `stdin`, that is /dev/null, and stdout and stderr may come as one. Raises SandboxDied."""

    @abstractmethod
    async def ended(self) -> bool:
        """Whether the sandbox is gone, or goes within a second."""

    async def put_tree(self, tree_tar: Path, into: str = "/workspace") -> int:
        """See Sandbox.put_tree."""
        generated = (GENERATED,) if into == "/workspace" and not self.tree else ()
        file = await anyio.to_thread.run_sync(tree_tar.open, "rb")
        with file:
            return await self._unpack(file, into, *generated)

    async def change_tree(self, tree_tar: Path, gone: Sequence[str]) -> int:
        """See Sandbox.change_tree."""
        if gone:
            names = "\0".join(gone).encode("utf-8", "surrogateescape")
            program = inside.source("take_away")
            _, code, error = await self.program(program, ["/workspace"], io.BytesIO(names), 0)
            if code != 0:
                reason = error or f"exit code {code}"
                raise SandboxError(f"could not take files away in the sandbox: {reason}")
        file = await anyio.to_thread.run_sync(tree_tar.open, "rb")
        with file:
            # where a file of the tree is gone, one that the set-up generated may come to light
            return await self._unpack(file, "/workspace", *((GENERATED,) if gone else ()))

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
        """See Sandbox.run."""
        marker = f"ASSAY_EXEC={secrets.token_hex(8)}"
        if isinstance(command, str):
            if len(command.encode("utf-8", "surrogateescape")) > LONGEST_ARGUMENT:
                script = f"/tmp/.command-{marker[-16:]}"  # noqa: S108
                await self.put_file(script, command.encode("utf-8", "surrogateescape"))
                command = [*self._shell, script]
            else:
                command = [*self._shell, "-c", command]
        began = time.monotonic()
        output = _Clipped(output_limit)
        async with self.start(command, marker=marker, env=env, cwd=cwd) as started:
            with anyio.move_on_after(timeout) as limit:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_stop_waiting, started, tasks.cancel_scope)
                    while (part := await started.receive())[1]:
                        output.add(part[1])
                        if progress is not None:
                            progress(part[1])
                    tasks.cancel_scope.cancel()
                code: int | None = await started.exit_code()
            if limit.cancelled_caught:
                drained = anyio.Event()
                async with anyio.create_task_group() as tasks:
                    # read on meanwhile: what floods its output has not ended before that is out
                    tasks.start_soon(_drain, started, output, drained)
                    await started.kill()
                    with anyio.move_on_after(1):
                        await drained.wait()
                    tasks.cancel_scope.cancel()
                code = None
        return Completed(code, output.value(), output.cut, limit.cancelled_caught, time.monotonic() - began)

    async def read(self, path: str, limit: int, *, keeper: bool = False) -> bytes:
        """See Sandbox.read."""
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
            if await self.ended():
                raise SandboxDied(f"the sandbox ended while {path} was read")
            raise SandboxError(f"could not read {path} in the sandbox: {error or f'exit code {code}'}")
        return data

    @asynccontextmanager
    async def stream(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, *, keeper: bool = False
    ) -> AsyncIterator[Stream]:
        """See Sandbox.stream."""
        marker = f"ASSAY_EXEC={secrets.token_hex(8)}"
        started_as = self.start(argv, marker=marker, env=env, cwd="/workspace", stdin=True, keeper=keeper)
        async with started_as as started:
            stream = Stream(started)
            try:
                yield stream
            finally:
                with anyio.CancelScope(shield=True):
                    started.send_eof()
                    try:
                        with anyio.move_on_after(2):
                            while await stream.receive():
                                pass
                            stream.exit_code = await started.exit_code()
                        if stream.exit_code is None:
                            await started.kill(whole_sandbox=False)
                    except SandboxDied:
                        pass  # nothing is left to end

    async def program(
        self, text: str, arguments: Sequence[str], source: BinaryIO, limit: int, *, keeper: bool = False
    ) -> tuple[bytes, int, str]:
        """See Sandbox.program."""
        out, error = bytearray(), bytearray()
        async with (
            self.start([*PYTHON, text, *arguments], stdin=True, keeper=keeper) as started,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_feed, source, started)
            while True:
                kind, data = await started.receive()
                if not data:
                    break
                kept = out if kind == 1 else error
                kept += data[: max(0, (limit if kind == 1 else 4096) - len(kept))]
            tasks.cancel_scope.cancel()  # it may have ended without reading all
        code = await started.exit_code()
        if code == KILLED and await self.ended():
            raise SandboxDied("the sandbox ended while files were moved into it or out of it")
        return bytes(out), code, error.decode("utf-8", "replace").partition("\n")[0]

    async def _unpack(self, tar: BinaryIO, into: str, *generated: str) -> int:
        clock, code, error = await self.program(inside.source("put_tree"), [into, *generated], tar, 32)
        if code != 0:
            raise SandboxError(f"could not unpack into {into} in the sandbox: {error or f'exit code {code}'}")
        return int(clock)


async def _drain(started: Execution, output: _Clipped, drained: anyio.Event) -> None:
    while (part := await started.receive())[1]:
        output.add(part[1])
    drained.set()


async def _stop_waiting(started: Execution, reading: anyio.CancelScope) -> None:
    """End the reading soon after the command's end, even if a descendant still holds the pipe."""
    running = True
    while running:
        await anyio.sleep(0.5)
        running = await started.running()
    await anyio.sleep(0.5)
    reading.cancel()


class Stream:
    """The stdin and stdout of a running program. One task may receive while another sends."""

    def __init__(self, program: Execution) -> None:
        self._program = program
        self.stderr_tail = b""
        """The last 64 KiB of what the program wrote to stderr so far."""
        self.exit_code: int | None = None
        """Known after the block, if the program ended by itself."""
        self._stderr = 0

    async def receive(self) -> bytes:
        """The next bytes of stdout; b"" at the end, or after MAX_STDERR of stderr. Cancelling it loses nothing."""
        while self._stderr <= MAX_STDERR:
            kind, data = await self._program.receive()
            if kind != 2:
                return data
            self._stderr += len(data)
            self.stderr_tail = (self.stderr_tail + data)[-(1 << 16) :]
        return b""

    async def send(self, data: bytes) -> None:
        """Write to stdin. Raises ConnectionError when the program is gone."""
        await self._program.send(data)


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


async def _feed(source: BinaryIO, started: Execution) -> None:
    """Send a file to a program's stdin."""
    try:
        while data := await anyio.to_thread.run_sync(source.read, 1 << 18):
            await started.send(data)
    except ConnectionError:
        return  # it ended early; its exit code says why
    started.send_eof()
