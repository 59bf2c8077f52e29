"""Running async work so that Ctrl-C, SIGTERM and SIGHUP end it in good order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_async(function: Callable[..., Awaitable[T]], *args: object) -> T:
    """`function(*args)` to its end. The first of SIGNALS cancels it, so that sandboxes are removed; SIGHUP does
    not where it is ignored, as by nohup.

    Raises KeyboardInterrupt after such a cancellation. A second signal is obeyed at once: clean-up that hangs
    must not hold the user, and `agent doctor` finds what it left.
    """

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        obeyed = [number for number in SIGNALS if not (ignored and number == signal.SIGHUP)]

        def cancel() -> None:
            task.cancel()
            for again in obeyed:
                loop.add_signal_handler(again, os._exit, 130)

        for number in obeyed:
            loop.add_signal_handler(number, cancel)
        try:
            return await function(*args)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    return anyio.run(main)
