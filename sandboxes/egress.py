"""A way out of sandboxes to the hosts that the user allows, and to no other.

A sandbox keeps having no network. A relay in it takes connections to a proxy on its loopback and carries them out over
one stream of the driver's; here, on the host, the proxy decides and connects. It is the same for every driver and for
a remote engine, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from sandboxes import inside
from sandboxes.commands import PYTHON, Stream
from sandboxes.driver import Driver, Sandbox
from sandboxes.errors import SandboxError
from sandboxes.inside.relay import HEAD, OPEN, READY, RESET, WINDOW, Garbled, Mux
from sandboxes.proxy import SECONDS, Host, Proxy
from sandboxes.types import Environment, Limits

PORT = 3128
"""Of the proxy in the sandbox, the usual one of proxies."""
MOST = 64
"""Connections at once of one sandbox: with WINDOW each they hold at most 32 MiB here."""


class Allowing:
    """A driver whose sandboxes have this way out."""

    def __init__(self, driver: Driver, hosts: Sequence[Host], log: Callable[[str], None]) -> None:
        self._driver = driver
        self._proxy = Proxy(hosts, log)
        self._log = log
        self._hosts = " ".join(sorted(map(str, hosts)))

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
        """See Driver.environment. Its digest is another one, since tests may end otherwise with a way out."""
        made = await self._driver.environment(
            tree_tar, image=image, dockerfile=dockerfile, setup=setup, tools_dir=tools_dir, log=log
        )
        log(f"sandboxes may reach, by a proxy: {self._hosts}")
        digest = hashlib.sha256(f"{made.digest} {self._hosts}".encode()).hexdigest()
        return replace(made, variables={**made.variables, **VARIABLES}, digest=f"sha256:{digest}")

    async def there(self, environment: Environment, tools_dir: Path) -> bool:
        """See Driver.there: which hosts may be reached is told each time."""
        return False

    def workspace(
        self,
        environment: Environment,
        tree: str,
        write_tar: Callable[[Path], None],
        *,
        log: Callable[[str], None],
    ) -> AbstractAsyncContextManager[Environment]:
        """See Driver.workspace."""
        return self._driver.workspace(environment, tree, write_tar, log=log)

    @asynccontextmanager
    async def sandbox(
        self, environment: Environment, *, run_id: str, limits: Limits | None = None
    ) -> AsyncIterator[Sandbox]:
        """See Driver.sandbox."""
        argv = [*PYTHON, inside.source("relay"), str(PORT)]
        async with (
            self._driver.sandbox(environment, run_id=run_id, limits=limits) as sandbox,
            sandbox.stream(argv, keeper=True) as stream,
        ):
            ready = asyncio.get_running_loop().create_future()
            carrying = asyncio.ensure_future(carry(stream, self._proxy, ready))
            try:
                await asyncio.wait([ready, carrying], timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not ready.done():
                    said = stream.stderr_tail.decode("utf-8", "replace").strip()[-300:]
                    raise SandboxError(f"the way out of a sandbox did not start{': ' + said if said else ''}")
                yield sandbox
            finally:
                carrying.cancel()
                await asyncio.wait([carrying])

    async def cpus(self, limits: Limits) -> float:
        """See Driver.cpus."""
        return await self._driver.cpus(limits)


_ADDRESS = f"http://127.0.0.1:{PORT}"
_OUT = {"http_proxy": _ADDRESS, "https_proxy": _ADDRESS, "no_proxy": "localhost,127.0.0.1,::1"}
VARIABLES: Mapping[str, str] = {**_OUT, **{name.upper(): value for name, value in _OUT.items()}}
"""What programs in the sandbox find the proxy by, in both spellings that they look for."""


async def carry(stream: Stream, proxy: Proxy, ready: asyncio.Future[None]) -> None:
    """Be the other side of a relay until its stream ends, or it does not keep to the frames; then nothing gets out."""
    mux, tasks, buffer = Mux(stream.send), set[asyncio.Task[None]](), bytearray()
    try:
        while data := await stream.receive():
            buffer += data
            while len(buffer) >= HEAD.size:
                kind, number, length = HEAD.unpack_from(buffer)
                if length > WINDOW:
                    return
                if len(buffer) < HEAD.size + length:
                    break
                content = bytes(buffer[HEAD.size : HEAD.size + length])
                del buffer[: HEAD.size + length]
                if kind == READY and not ready.done():
                    ready.set_result(None)
                elif kind == OPEN and len(mux) >= MOST:
                    await mux.send(RESET, number)
                elif kind == OPEN:
                    mux.open(number)
                    task = asyncio.ensure_future(_connection(mux, number, proxy))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                else:
                    mux.take(kind, number, content)
    except (Garbled, ConnectionError):
        return
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _connection(mux: Mux, number: int, proxy: Proxy) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    proxied = asyncio.ensure_future(proxy.serve(*await asyncio.open_connection(sock=theirs, limit=1 << 16)))
    try:
        with suppress(ConnectionError):  # the stream has ended; the reader of frames says so
            await mux.carry(number, reader, writer)
    finally:
        proxied.cancel()
        await asyncio.wait([proxied])
