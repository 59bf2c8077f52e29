"""The stream of a program in a sandbox, over an exec's raw stream."""

from __future__ import annotations

import anyio

from sandboxes.commands import MAX_STDERR, Stream


class Shouting:
    """A program that writes to stderr without end."""

    async def receive(self) -> tuple[int, bytes]:
        return 2, b"y\n" * (1 << 17)


def test_a_program_that_floods_stderr_is_not_listened_to_for_ever() -> None:
    async def run() -> None:
        stream = Stream(Shouting())  # type: ignore[arg-type]
        assert await stream.receive() == b""
        assert len(stream.stderr_tail) == 1 << 16
        assert await stream.receive() == b""

    assert MAX_STDERR < 1 << 30
    anyio.run(run)
