"""Tasks of a batch that need no model and no sandbox: what a real process does is said by the issue's text."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from agent.batch.engine import Shared
from agent.batch.tasks import TaskLine


def work(line: TaskLine, shared: Shared, ending: Path, news: Connection) -> None:
    """`WORD [SECONDS]`; "waits" is for a file `go`. The folder is `line.repo`, in which each start leaves a line in a
    file of the task's name."""
    word, _, seconds = (line.issue or "").partition(" ")
    folder = Path(line.repo)
    with (folder / line.id).open("a") as file:
        file.write(f"{os.getpid()} {time.monotonic()}\n")
    starts = len((folder / line.id).read_text().splitlines())
    if word == "warm":  # nothing of what a run needs is left to be imported
        assert {"agent.run", "agent.gate.judge", "agent.models.sse", "docker"} <= set(sys.modules), (
            "imported anew by each task"
        )
    with suppress(OSError):
        news.send_bytes(json.dumps({"type": "phase_started", "phase": "setup", "detail": ""}).encode())
    if word == "dies" or (word == "dies-once" and starts == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "hangs":  # deaf to SIGTERM, and so is what it started in a session of its own
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        (folder / "child").write_text(str(child.pid))
        time.sleep(1000)
    while word == "waits" and not (folder / "go").exists():
        time.sleep(0.05)
    if word == "leaves":
        os._exit(7)
    time.sleep(float(seconds or 0))
    run = {"run_id": line.id, "cost_usd": 0.25, "patch": None, "attempts": [{"model": "local/repair"}]}
    told = {"status": "accepted", "error": None, "model_patch": f"patch of {line.id}\n", "run": run}
    if word == "rejected":
        told |= {"status": "rejected", "model_patch": None}
    if word == "spends":
        told |= {"status": "limit", "model_patch": None, "batch_spent": True}
    ending.write_text(json.dumps(told))
