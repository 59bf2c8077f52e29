"""In a task's process: the end of its driver is its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing.connection import Connection

ALONE_SECONDS = 60.0
"""For what a task without a driver has to clean up."""


def end_with(driver: Connection) -> None:
    """End this process in good order when the other end of the pipe closes, and by force if that takes too long."""

    def watch() -> None:
        try:
            driver.poll(None)
        except OSError:
            return  # closed on this side: the task is at its end
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ALONE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
