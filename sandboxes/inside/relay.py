"""Carry the connections that are made to 127.0.0.1:PORT out by stdout, what comes back in by stdin:
python3 -I -c SOURCE PORT

Where the frames end, outside the sandbox, is decided what may be reached. A frame is its kind (1 byte), the number of
its connection (4), the length of its data (4), and the data. Neither side sends more than WINDOW bytes ahead of what
the other has passed on, so that one stalled connection holds up no other and fills no memory.
"""

import asyncio
import struct
import sys
from collections.abc import Awaitable, Callable

HEAD = struct.Struct(">BII")
READY, OPEN, DATA, END, RESET, CREDIT = range(6)
WINDOW = 1 << 18
PART = 1 << 15


class Garbled(Exception):
    """The other side does not keep to the frames."""


class End:
    """One connection: what may still be sent, and what came and is not passed on yet."""

    def __init__(self) -> None:
        self.credit = WINDOW
        self.more = asyncio.Event()
        self.came: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.held = 0


class Mux:
    """Many connections over one pair of byte streams."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """`send` is given whole frames, and waits while the other side reads none."""
        self._send = send
        self._ends: dict[int, End] = {}
        self._sending = asyncio.Lock()

    async def send(self, kind: int, number: int = 0, data: bytes = b"") -> None:
        async with self._sending:
            await self._send(HEAD.pack(kind, number, len(data)) + data)

    def open(self, number: int) -> None:
        if number in self._ends:
            raise Garbled("a connection was opened twice")
        self._ends[number] = End()

    def __len__(self) -> int:
        return len(self._ends)

    def take(self, kind: int, number: int, data: bytes) -> None:
        """A frame of a connection that came. Raises Garbled."""
        end = self._ends.get(number)
        if end is None:
            return  # of a connection that has just been closed here
        if kind == DATA:
            end.held += len(data)
            if end.held > WINDOW:
                raise Garbled("more was sent than may be under way")
            end.came.put_nowait(data)
        elif kind in (END, RESET):
            end.came.put_nowait(b"" if kind == END else None)
        elif kind == CREDIT and len(data) == 4:
            end.credit = min(WINDOW, end.credit + int.from_bytes(data, "big"))
            end.more.set()
        else:
            raise Garbled("no frame of a relay")

    async def carry(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass an opened connection's bytes on, both ways, until both have ended or one breaks."""
        end = self._ends[number]
        ways = [
            asyncio.ensure_future(self._out(number, end, reader)),
            asyncio.ensure_future(self._in(number, end, writer)),
        ]
        try:
            await asyncio.gather(*ways)
        except (OSError, EOFError):
            await self.send(RESET, number)
        finally:
            for way in ways:
                way.cancel()
            del self._ends[number]
            writer.close()

    async def _out(self, number: int, end: End, reader: asyncio.StreamReader) -> None:
        while True:
            while end.credit == 0:
                end.more.clear()
                await end.more.wait()
            data = await reader.read(min(PART, end.credit))
            if not data:
                await self.send(END, number)
                return
            end.credit -= len(data)
            await self.send(DATA, number, data)

    async def _in(self, number: int, end: End, writer: asyncio.StreamWriter) -> None:
        while True:
            data = await end.came.get()
            if data is None:
                raise EOFError("reset")
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
            end.held -= len(data)
            await self.send(CREDIT, number, len(data).to_bytes(4, "big"))


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    source = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(source), sys.stdin.buffer)
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, sys.stdout.buffer)
    out = asyncio.StreamWriter(transport, protocol, None, loop)

    async def send(frame: bytes) -> None:
        out.write(frame)
        await out.drain()

    mux = Mux(send)
    numbers = iter(range(1, 1 << 32))

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(numbers)
        mux.open(number)
        await mux.send(OPEN, number)
        await mux.carry(number, reader, writer)

    async with await asyncio.start_server(accepted, "127.0.0.1", port):
        await mux.send(READY)
        try:
            while True:
                kind, number, length = HEAD.unpack(await source.readexactly(HEAD.size))
                mux.take(kind, number, await source.readexactly(length))
        except (asyncio.IncompleteReadError, Garbled):
            return


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
