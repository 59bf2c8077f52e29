"""The Docker engine: finding it, calling it from asyncio, and the byte streams of its execs.

Plain calls go through docker-py in threads. The stream of an exec is opened here: docker-py reads the HTTP
headers through a buffer and hands out the socket beneath it, so output that came along with them is lost.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from sandboxes.errors import EngineUnavailable, SandboxDied, SandboxError

if TYPE_CHECKING:
    from docker import APIClient
    from docker.tls import TLSConfig

T = TypeVar("T")
CHUNK = 1 << 16


class Engine:
    """One engine. `api` is docker-py's low-level client; it blocks, so call it through `call`."""

    def __init__(self, api: APIClient, address: str, tls: ssl.SSLContext | None) -> None:
        self.api = api
        self.address = address
        self._tls = tls
        self.runtime: str | None = None
        """The OCI runtime of all containers; None for the engine's own choice."""
        self._cpus: int | None = None
        self._podman: bool | None = None

    @classmethod
    async def connect(cls) -> Engine:
        """Connect to the engine of DOCKER_HOST or of docker's current context. Raises EngineUnavailable."""
        return await anyio.to_thread.run_sync(_connect)

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a blocking function in a thread. Raises EngineUnavailable when the engine has gone, and
        docker.errors.APIError when it refuses."""
        import requests

        try:
            return await anyio.to_thread.run_sync(partial(function, *args, **kwargs))
        except (requests.ConnectionError, requests.Timeout) as error:
            raise EngineUnavailable(_why_unreachable(error)) from error

    async def cpus(self) -> int | None:
        """How many CPUs the engine has; None when it does not say."""
        from docker.errors import APIError

        if self._cpus is None:
            try:
                self._cpus = int((await self.call(self.api.info)).get("NCPU") or 0)
            except APIError:
                self._cpus = 0
        return self._cpus or None

    async def is_podman(self) -> bool:
        """Whether it is Podman that speaks Docker's API."""
        if self._podman is None:
            told = await self.call(self.api.version)
            self._podman = any("Podman" in str(part.get("Name")) for part in told.get("Components") or ())
        return self._podman

    async def use_runtime(self, runtime: str | None) -> None:
        """Run all containers by this OCI runtime. Raises EngineUnavailable when the engine says it has none such."""
        if runtime is not None:
            known = (await self.call(self.api.info)).get("Runtimes") or {}
            if known and runtime not in known:
                raise EngineUnavailable(
                    f"the engine has no runtime {runtime!r}, but {', '.join(sorted(known))}: add it to the engine's "
                    "configuration, or name another one with --runtime"
                )
        self.runtime = runtime

    async def exec_create(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str,
        env: Mapping[str, str],
        cwd: str | None,
        stdin: bool,
    ) -> str:
        """Prepare a command in a running container; returns the exec's id. Raises SandboxDied."""
        from docker.errors import APIError

        try:
            created = await self.call(
                self.api.exec_create,
                container,
                list(argv),
                user=user,
                environment=dict(env),
                workdir=cwd,
                stdin=stdin,
            )
        except APIError as error:
            if error.status_code in (404, 409):
                raise SandboxDied("the sandbox has ended: it was stopped, or its lifetime is over") from error
            raise SandboxError(
                f"the Docker engine refused a command: {error.explanation or error}"
            ) from error
        return str(created["Id"])

    async def exec_state(self, exec_id: str) -> tuple[bool, int | None]:
        """Whether the exec's command still runs, and its exit code if not."""
        from docker.errors import NotFound

        try:
            state = await self.call(self.api.exec_inspect, exec_id)
        except NotFound:
            return False, None
        return bool(state["Running"]), state["ExitCode"]

    @asynccontextmanager
    async def exec_start(self, exec_id: str) -> AsyncIterator[ExecStream]:
        """Start a prepared exec and be connected to it until the block ends."""
        reader, writer = await self._open()
        try:
            body = b'{"Detach": false, "Tty": false}'
            head = (
                f"POST /v{self.api.api_version}/exec/{exec_id}/start HTTP/1.1\r\nHost: docker\r\n"
                "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            try:
                answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status = int(answer.split(maxsplit=2)[1])
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise SandboxError("the Docker engine closed the connection") from error
            if status not in (101, 200):
                raise await _refusal(reader, status)
            yield ExecStream(reader, writer)
        finally:
            writer.close()

    @asynccontextmanager
    async def post(self, path: str, body: Path) -> AsyncIterator[asyncio.StreamReader]:
        """Send a tar, and read the answer as it comes. Leaving the block, also by a cancellation, closes the
        connection, and so ends what the engine does for it. Raises Refused, SandboxError when the engine breaks off."""
        size = (await anyio.to_thread.run_sync(body.stat)).st_size
        reader, writer = await self._open()
        try:
            # of version 1.0, so that the answer comes as it is, not in chunks
            head = (
                f"POST /v{self.api.api_version}{path} HTTP/1.0\r\nHost: docker\r\n"
                f"Content-Type: application/x-tar\r\nContent-Length: {size}\r\n\r\n"
            )
            writer.write(head.encode("ascii"))
            try:
                with await anyio.to_thread.run_sync(body.open, "rb") as file:
                    while data := await anyio.to_thread.run_sync(file.read, CHUNK):
                        writer.write(data)
                        await writer.drain()
            except ConnectionError:
                pass  # it answers before it has read all; the answer says why
            try:
                answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status = int(answer.split(maxsplit=2)[1])
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise SandboxError("the Docker engine closed the connection") from error
            if status != 200:
                text = await reader.read(CHUNK)
                raise Refused(_message(text) or f"HTTP status {status}")
            yield reader
        finally:
            writer.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target = urlsplit(self.address)
        try:
            if target.scheme == "unix":
                return await asyncio.open_unix_connection(target.path, limit=4 * CHUNK)
            return await asyncio.open_connection(target.hostname, target.port, ssl=self._tls, limit=4 * CHUNK)
        except OSError as error:
            raise EngineUnavailable(_why_unreachable(error)) from error


class Refused(SandboxError):
    """The engine's own words for why it does not do what it was asked for."""


class ExecStream:
    """The two-way stream of one exec, demultiplexed. Both directions may be used at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._kind = 1
        self._left = 0

    async def receive(self) -> tuple[int, bytes]:
        """The next bytes of stdout (1) or stderr (2); `(0, b"")` at the end. Cancelling it loses nothing."""
        try:
            while self._left == 0:
                self._kind, self._left = struct.unpack(">BxxxL", await self._reader.readexactly(8))
            data = await self._reader.read(min(self._left, CHUNK))
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, b""
        self._left -= len(data)
        return (self._kind, data) if data else (0, b"")

    async def send(self, data: bytes) -> None:
        """Write to the command's stdin. Raises ConnectionError once nothing reads it."""
        self._writer.write(data)
        await self._writer.drain()

    def send_eof(self) -> None:
        """Close the command's stdin (where the transport can; TLS cannot)."""
        if self._writer.can_write_eof():
            try:
                self._writer.write_eof()
            except OSError:
                return  # the other side was faster


async def _refusal(reader: asyncio.StreamReader, status: int) -> SandboxError:
    """The engine's own words for why it did not start an exec."""
    text = b""
    with anyio.move_on_after(1):
        text = await reader.read(CHUNK)
    message = _message(text) or f"HTTP status {status}"
    if status in (404, 409):
        return SandboxDied(f"the sandbox has ended: {message}")
    return SandboxError(f"the Docker engine did not start a command: {message}")


def _message(answer: bytes) -> str:
    """What an answer of the engine says of an error, in one line; "" when it says nothing."""
    try:
        said = json.loads(answer[answer.find(b"{") : answer.rfind(b"}") + 1])["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return " ".join(str(said).split())


def _connect() -> Engine:
    from docker import APIClient
    from docker.errors import DockerException, TLSParameterError
    from docker.utils import kwargs_from_env

    try:
        settings = kwargs_from_env()
        tls: TLSConfig | None = settings.get("tls")
        address = settings.get("base_url") or _context_address() or "unix:///var/run/docker.sock"
        if not _is_address(address):
            raise EngineUnavailable(
                f"{address} is no address of a Docker engine: set DOCKER_HOST to one such as "
                "unix:///var/run/docker.sock or tcp://127.0.0.1:2375"
            )
        if urlsplit(address).scheme not in ("unix", "tcp", "http", "https"):
            raise EngineUnavailable(
                f"cannot use the Docker engine at {address}: only unix:// and tcp:// addresses are supported; "
                "for ssh run `ssh -NL /tmp/docker.sock:/var/run/docker.sock HOST` "
                "and set DOCKER_HOST=unix:///tmp/docker.sock"
            )
        api = APIClient(base_url=address, version="auto", tls=tls or False, timeout=120, max_pool_size=40)
    except (DockerException, TLSParameterError, OSError, ValueError) as error:
        raise EngineUnavailable(_why_unreachable(error)) from error
    return Engine(api, address, _ssl_context(tls) if tls else None)


def _is_address(address: str) -> bool:
    """Whether an address can be read at all: with a port that is a number in range, and a host where one is due."""
    try:
        target = urlsplit(address)
        _ = target.port  # raises ValueError for what is no port
    except ValueError:
        return False
    return bool(target.hostname) or target.scheme not in ("tcp", "http", "https")


def _context_address() -> str | None:
    """The address of docker's current context: where rootless Docker, Docker Desktop or Colima listen."""
    from docker.context import ContextAPI

    try:
        context = ContextAPI.get_current_context()
    except Exception:  # docker-py raises a bare Exception for a broken context file
        return None
    host = context.Host if context else None
    return str(host).replace("http+unix://", "unix://") if host else None


def _ssl_context(tls: TLSConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_cert or None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(*tls.cert)
    return context


def _why_unreachable(error: Exception) -> str:
    text = str(error)
    if "Permission denied" in text or "PermissionError" in text:
        return (
            "no permission to use the Docker engine: add yourself to its group with "
            "`sudo usermod -aG docker $USER` and log in again, or use rootless Docker"
        )
    if not any(shutil.which(name) for name in ("dockerd", "docker", "podman")):
        return (
            "Docker is not installed: install it with `apt-get install docker.io` (Debian, Ubuntu) "
            "or see https://docs.docker.com/engine/install/"
        )
    if any(
        word in text for word in ("FileNotFoundError", "ConnectionRefusedError", "refused", "No such file")
    ):
        return (
            "Docker is installed, but its engine is not running: start it with "
            "`sudo systemctl start docker` (or `dockerd`, or Docker Desktop), or mend DOCKER_HOST"
        )
    return f"the Docker engine does not answer: {text.splitlines()[0] if text else type(error).__name__}"
