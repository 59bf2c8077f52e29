"""The host's ends of a command's stdin, stdout and stderr, read and written from asyncio."""

from __future__ import annotations

import asyncio
import os
from collections import deque

CHUNK = 1 << 16
QUEUE = 32
"""Chunks that are read ahead of who receives them."""


class Pipes:
    """The three of one command; where there is no stdin, the other two are one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, two: bool) -> None:
        self._loop = loop
        self._parts: deque[tuple[int, bytes]] = deque()
        self._news = asyncio.Event()
        self._sources: dict[int, int] = {}
        """Descriptor -> 1 for stdout, 2 for stderr; those that have not ended."""
        self._paused: set[int] = set()
        self._in = -1
        reading, writing = os.pipe()
        self._sources[reading] = 1
        self.theirs = [writing, writing]
        if two:
            reading, writing = os.pipe()
            self._sources[reading] = 2
            stdin, self._in = os.pipe()
            os.set_blocking(self._in, False)
            self.theirs = [stdin, self.theirs[0], writing]
        for fd in self._sources:
            os.set_blocking(fd, False)

    def begin(self) -> None:
        """Once the command has its ends."""
        self._drop_theirs()
        for fd in self._sources:
            self._loop.add_reader(fd, self._read, fd)

    def _drop_theirs(self) -> None:
        for fd in {*self.theirs}:
            os.close(fd)
        self.theirs = []

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        if data:
            self._parts.append((self._sources[fd], data))
            if len(self._parts) >= QUEUE:
                self._loop.remove_reader(fd)
                self._paused.add(fd)
        else:
            self._end(fd)
        self._news.set()

    def _end(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._paused.discard(fd)
        del self._sources[fd]
        os.close(fd)

    async def receive(self) -> tuple[int, bytes]:
        """The next bytes and where they come from; `(0, b"")` at the end."""
        while not self._parts:
            if not self._sources:
                return 0, b""
            self._news.clear()
            await self._news.wait()
        part = self._parts.popleft()
        if self._paused and len(self._parts) < QUEUE // 2:
            for fd in self._paused:
                self._loop.add_reader(fd, self._read, fd)
            self._paused.clear()
        return part

    async def send(self, data: bytes) -> None:
        """Write to stdin. Raises ConnectionError once nothing reads it."""
        rest = memoryview(data)
        while rest:
            if self._in < 0:
                raise BrokenPipeError("stdin is closed")
            try:
                rest = rest[os.write(self._in, rest) :]
            except BlockingIOError:
                room = self._loop.create_future()
                self._loop.add_writer(self._in, _wake, room)
                try:
                    await room
                finally:
                    if self._in >= 0:
                        self._loop.remove_writer(self._in)

    def send_eof(self) -> None:
        """Close stdin."""
        if self._in >= 0:
            self._loop.remove_writer(self._in)
            os.close(self._in)
            self._in = -1

    def close(self) -> None:
        """Close all of our ends."""
        self._drop_theirs()
        self.send_eof()
        for fd in list(self._sources):
            self._end(fd)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
