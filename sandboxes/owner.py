"""Who a container belongs to: labels that name the owning process beyond doubt, and whether it still lives."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Literal

RUN, PID, BOOT, CACHE = "assay.run", "assay.pid", "assay.boot", "assay.cache"


def labels(run_id: str) -> dict[str, str]:
    """The labels of a container that belongs to this process."""
    return {RUN: run_id, PID: str(os.getpid()), BOOT: f"{_machine()}/{_start_time(os.getpid())}"}


def state(pid: str, boot: str) -> Literal["alive", "dead", "unknown"]:
    """Whether the process that the labels name lives.

    "unknown" when it was a process of another machine, another boot or another pid namespace: several
    hosts or containers may share one engine, and their processes cannot be seen from here.
    """
    machine, _, started = boot.rpartition("/")
    if not pid.isdigit() or not started:
        return "unknown"
    if machine != _machine():
        return "unknown"
    return "alive" if _start_time(int(pid)) == started else "dead"


def _machine() -> str:
    """This boot of this machine, and the namespace that process ids are counted in."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "-"
    return f"{boot}/{namespace}"


def _start_time(pid: int) -> str:
    """When the process started, in any form that is stable; "" when there is no such process."""
    if not Path("/proc/self/stat").exists():
        done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
        return done.stdout.strip()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    # the second field is the command in parentheses and may hold anything; a zombie is no owner
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
