"""Kill every process whose environment holds the marker: python3 -I -c SOURCE MARKER

A process group would miss children that made their own session; the environment is inherited by them too.
"""

import os
import signal
import sys
import time
from pathlib import Path


def marked(marker: bytes) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if marker in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
            except OSError:
                continue  # gone already, or not ours
    return found


def main() -> int:
    marker = os.fsencode(sys.argv[1])
    for _ in range(100):
        pids = marked(marker)
        if not pids:
            return 0
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)
    return 1


if __name__ == "__main__":
    sys.exit(main())
