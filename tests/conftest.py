"""What holds for all tests."""

from __future__ import annotations

import signal

# A runner in the background, or under nohup, hands ignored signals on to all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
