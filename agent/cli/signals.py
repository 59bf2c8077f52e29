"""Running async work so that Ctrl-C and SIGTERM end it in good order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_async(function: Callable[..., Awaitable[T]], *args: object) -> T:
    """`function(*args)` to its end. The first SIGINT or SIGTERM cancels it, so that sandboxes are removed.

    Raises KeyboardInterrupt after such a cancellation. A second signal is obeyed at once: clean-up that hangs
    must not hold the user, and `agent doctor` finds what it left.
    """

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            task.cancel()
            for again in SIGNALS:
                loop.add_signal_handler(again, os._exit, 130)

        for number in SIGNALS:
            loop.add_signal_handler(number, cancel)
        try:
            return await function(*args)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    return anyio.run(main)
