"""Whom sandboxes may reach: hosts that the user allows, and the HTTP proxy that connects to no other."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

SECONDS = 30.0
"""For a request's head, and for a connection to be made."""
PORTS = (80, 443)
PART = 1 << 16
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*{_LABEL}")
_DROPPED = ("connection", "proxy-connection", "proxy-authorization", "keep-alive", "host")
"""Header fields that are not passed on."""


@dataclass(frozen=True, slots=True)
class Host:
    """Who may be reached: a name, `*.` and a name for all below it, or an address; at some ports."""

    name: str
    ports: tuple[int, ...] = PORTS

    @classmethod
    def parse(cls, text: str) -> Host:
        """Of `HOST` or `HOST:PORT`, an IPv6 address in brackets. Raises ValueError, whose text says what is wrong."""
        name, port = _split(text.strip().lower())
        is_name = _NAME.fullmatch(name) and not re.fullmatch(r"[\d.]+", name)
        if not (_is_address(name) or is_name) or not 0 < (443 if port is None else port) < 65536:
            raise ValueError(
                f"{text!r} is no host: give a name, *.NAME or an address, and :PORT if it is not 80 or 443"
            )
        return cls(name, PORTS if port is None else (port,))

    def holds(self, name: str, port: int) -> bool:
        if port not in self.ports:
            return False
        return name.endswith(self.name[1:]) if self.name.startswith("*.") else name == self.name

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.ports == PORTS else f"{name}:{self.ports[0]}"


def _split(text: str) -> tuple[str, int | None]:
    """Host and port, if there is one (-1 for what is no number)."""
    found = re.fullmatch(r"\[([^\]]*)\](?::(.*))?|([^:]*)(?::(.*))?", text)
    if found is None:
        return (text, None) if _is_address(text) else ("", None)
    port = found[2] if found[1] is not None else found[4]
    number = None if port is None else int(port) if re.fullmatch(r"[0-9]{1,5}", port) else -1
    return (found[1] if found[1] is not None else found[3]).rstrip("."), number


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class Refused(Exception):
    """What the proxy does not do; its text is the answer."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


class Proxy:
    """An HTTP proxy (CONNECT, and http:// in absolute form) that knows whom it may connect to."""

    def __init__(self, hosts: Sequence[Host], log: Callable[[str], None]) -> None:
        self._hosts = hosts
        self._log = log
        self._told: set[str] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            try:
                async with asyncio.timeout(SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    name, port, onward = _request(head)
                    self._check(name, port)
                    upstream, to = await _connect(self._hosts, name, port)
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
                raise Refused("504 Gateway Timeout", "no whole request, or no answer, in time") from None
            except OSError as error:
                raise Refused("502 Bad Gateway", f"no connection: {error.strerror or error}") from None
            try:
                if onward:
                    to.write(onward)
                else:
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(_pass(reader, to), _pass(upstream, writer))
            finally:
                to.close()
        except Refused as refused:
            text = f"{refused}\n".encode()
            writer.write(f"HTTP/1.1 {refused.status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
            with suppress(OSError):
                await writer.drain()
        except OSError:
            return  # one of the two is gone
        finally:
            writer.close()

    def _check(self, name: str, port: int) -> None:
        if any(host.holds(name, port) for host in self._hosts):
            return
        wanted = str(Host(name, PORTS if port in PORTS else (port,)))
        if wanted not in self._told and len(self._told) < 20:
            self._told.add(wanted)
            self._log(f"a sandbox asked for {wanted}, which is not allowed; --allow-host {wanted} would")
        raise Refused("403 Forbidden", f"{wanted} is not allowed here")


def _request(head: bytes) -> tuple[str, int, bytes]:
    """Host, port, and what is to be sent on: nothing for CONNECT. Raises Refused."""
    wrong = Refused("400 Bad Request", "this is a proxy: CONNECT HOST:PORT, or http:// in absolute form")
    line, _, rest = head.decode("latin-1").partition("\r\n")
    method, _, target = line.rpartition(" ")[0].partition(" ")
    if method == "CONNECT":
        name, port = _split(target.lower())
        if port is None or port < 1:
            raise wrong
        return _valid(name, wrong), port, b""
    try:
        url = urlsplit(target)
        name, port = _valid(url.hostname or "", wrong), url.port or 80
    except ValueError:
        raise wrong from None
    if url.scheme != "http":
        raise wrong
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    # one request a connection: another one might be for another host
    kept = [f for f in rest.split("\r\n") if f and f.partition(":")[0].strip().lower() not in _DROPPED]
    host = url.netloc.rpartition("@")[2]
    fields = [f"{method} {path} HTTP/1.1", f"Host: {host}", *kept, "Connection: close", "", ""]
    return name, port, "\r\n".join(fields).encode("latin-1")


def _valid(name: str, wrong: Refused) -> str:
    name = name.rstrip(".")
    if name.startswith("*") or not (_is_address(name) or _NAME.fullmatch(name)):
        raise wrong
    return name


async def _connect(
    hosts: Sequence[Host], name: str, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to an allowed host, by the machine's own proxy where it has one. Raises OSError, Refused."""
    import urllib.request  # here, since all commands import this module for Host

    scheme = "http" if port == 80 else "https"
    if (own := urllib.request.getproxies().get(scheme)) and not urllib.request.proxy_bypass(f"{name}:{port}"):
        return await _by_proxy(own, name, port)
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    # a name must not lead to what only this machine can reach; who wants that writes its address
    given = any(host.name == name and (_is_address(name) or name == "localhost") for host in hosts)
    reachable = [address for address in addresses if given or not _local(address)]
    if not reachable:
        raise Refused(
            "403 Forbidden", f"{name} stands for an address of this machine: allow that by its number"
        )
    for address in reachable[:-1]:
        with suppress(OSError):
            return await asyncio.open_connection(address, port)
    return await asyncio.open_connection(reachable[-1], port)


def _local(address: str) -> bool:
    """Loopback, or link-local, where clouds have their metadata."""
    number = ipaddress.ip_address(address.partition("%")[0])
    number = getattr(number, "ipv4_mapped", None) or number
    return number.is_loopback or number.is_link_local or number.is_unspecified or number.is_multicast


async def _by_proxy(own: str, name: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(own if "://" in own else f"http://{own}")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Refused("502 Bad Gateway", "the machine's own proxy is not an HTTP one")
    tls = url.scheme == "https"
    reader, writer = await asyncio.open_connection(
        url.hostname, url.port or (443 if tls else 80), ssl=tls or None
    )
    place = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    login = ""
    if url.username:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        login = f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
    writer.write(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{login}\r\n".encode())
    answer = (await reader.readuntil(b"\r\n\r\n")).split(None, 2)
    if len(answer) < 2 or answer[1] != b"200":
        writer.close()
        raise Refused("502 Bad Gateway", "the machine's own proxy refused the connection")
    return reader, writer


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PART):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
