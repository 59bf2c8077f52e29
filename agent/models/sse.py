"""A JSON request whose answer comes as server-sent events, over httpx2 alone.

It is what the providers' SDKs do with a request, and what is used of them here. To import Anthropic's takes 1.4 s of
CPU and 60 MB, most of it for types of answers that the readers of the wire APIs don't look at.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2

from agent.models.encoding import Encoder
from agent.models.faults import ErrorAnswer

KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5), ("TCP_KEEPIDLE", 60))
    if hasattr(socket, name)
]
"""A model may think for minutes in the midst of an answer, and something on the way would forget the connection."""


class Client:
    """Connections to one API, which stay open between requests. Raises httpx2.InvalidURL."""

    def __init__(self, base_url: str, headers: Mapping[str, str], timeout: httpx2.Timeout) -> None:
        self._encoder = Encoder()
        self.url = httpx2.URL(base_url.rstrip("/") + "/")
        self._http = httpx2.AsyncClient(
            headers={"accept": "text/event-stream", "content-type": "application/json", **headers},
            timeout=timeout,
            follow_redirects=True,
        )

    @asynccontextmanager
    async def events(
        self, path: str, body: Mapping[str, Any]
    ) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
        """Send a request; the name and the data of each event of its answer. Raises ErrorAnswer, httpx2.RequestError,
        and ValueError for what can't be read."""
        data = self._encoder.encode(body)
        async with self._http.stream("POST", self.url.join(path), content=data) as response:
            if response.status_code != 200:
                await response.aread()
                raise ErrorAnswer(response.status_code, response.headers, response.text)
            _keep_alive(response)
            yield _events(response)

    async def close(self) -> None:
        await self._http.aclose()


async def _events(response: httpx2.Response) -> AsyncIterator[tuple[str, str]]:
    """By the rules of the HTML standard: lines end by CR, LF or both, and an event by an empty one."""
    name, rest = "", b""
    data: list[str] = []
    async for chunk in response.aiter_bytes():
        # A CR at the end may be the first half of a line's end.
        whole = rest + chunk
        held = whole[-1:] if whole.endswith(b"\r") else b""
        lines = whole[: len(whole) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest = lines.pop() + held
        for line in lines:
            if not line:
                if data:
                    text = "\n".join(data)
                    if name == "error":
                        raise ErrorAnswer(200, response.headers, text)
                    yield name, text
                name, data = "", []
                continue
            field, _, value = line.decode().partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)


def _keep_alive(response: httpx2.Response) -> None:
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if connection is not None:
        with suppress(OSError):
            for option in KEEPALIVE:
                connection.setsockopt(*option)
