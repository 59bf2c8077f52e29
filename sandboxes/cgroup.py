"""A control group for one bubblewrap sandbox, where this process may make one. Standard library only: the supervisor
imports it.

Version 2 needs a group above this process's own that hands memory and process limits on and that this user may write
to: as root, or below a systemd user session. Version 1 needs root.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "assay-sandbox-"
ROOT = Path("/sys/fs/cgroup")
PERIOD = 100_000  # microseconds


@dataclass(frozen=True)
class Group:
    """The directories of one group: one for version 2, one for each controller of version 1."""

    version: int
    controllers: Mapping[str, Path]

    @property
    def folders(self) -> list[Path]:
        """Each directory once."""
        return list(dict.fromkeys(self.controllers.values()))

    @property
    def limits(self) -> str:
        """What it can limit."""
        names = {"memory": "memory", "pids": "processes", "cpu": "CPU"}
        return ", ".join(said for name, said in names.items() if name in self.controllers)

    def limit(self, *, memory_mb: int, pids: int, cpus: float) -> None:
        """Set the limits. Raises OSError."""
        size, share = memory_mb << 20, int(cpus * PERIOD)
        values: dict[str, dict[str, object]]
        if self.version == 1:
            values = {
                "memory": {"memory.limit_in_bytes": size, "memory.memsw.limit_in_bytes": size},
                "pids": {"pids.max": pids},
                "cpu": {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": share},
            }
        else:
            values = {
                "memory": {"memory.max": size, "memory.swap.max": 0},
                "pids": {"pids.max": pids},
                "cpu": {"cpu.max": f"{share} {PERIOD}"},
            }
        for name, folder in self.controllers.items():
            for file, value in values.get(name, {}).items():
                # a kernel without accounting of swap lacks its files
                if "sw" not in file or (folder / file).exists():
                    (folder / file).write_text(str(value))

    def doors(self) -> list[int]:
        """Files that put whoever writes 0 to them into the group, open. Raises OSError where that is not allowed."""
        return [os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for folder in self.folders]

    def remove(self) -> None:
        """Remove it once its processes are gone, or leave it to `agent doctor` after two seconds."""
        for _ in range(100):
            for folder in self.folders:
                try:
                    folder.rmdir()
                except OSError:
                    continue
            if not any(folder.exists() for folder in self.folders):
                return
            time.sleep(0.02)


def make(name: str) -> Group | None:
    """A new group named after `name`, which only limits what limits were set for; None where there can be none."""
    for version, parents in ((2, _parents_v2()), (1, _parents_v1())):
        if not parents:
            continue
        group = Group(version, {key: parent / (PREFIX + name) for key, parent in parents.items()})
        try:
            for folder in group.folders:
                folder.mkdir()
            for door in group.doors():
                os.close(door)
        except OSError:
            group.remove()
            continue
        return group
    return None


def leftovers() -> list[Path]:
    """Groups whose supervisor was killed. Their name begins with its process id."""
    found = []
    for parent in {*_parents_v2().values(), *_parents_v1().values()}:
        for folder in parent.glob(PREFIX + "*"):
            pid = folder.name.removeprefix(PREFIX).partition("-")[0]
            if not Path("/proc", pid).exists():
                found.append(folder)
    return sorted(found)


def _own() -> dict[str, str]:
    """Controller -> path of this process's group; version 2 under the empty name."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    found = {}
    for line in lines:
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            found[name] = path
    return found


def _mounts() -> dict[str, Path]:
    """Controller -> where its hierarchy is mounted; version 2 under the empty name."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        kind, _, options = kind.split(" ", 2)
        where = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields.split(" ")[4]))
        if kind == "cgroup2":
            found[""] = where
        elif kind == "cgroup":
            found.update(dict.fromkeys(options.split(" ")[-1].split(","), where))
    return found


def _parents_v2() -> dict[str, Path]:
    """The nearest group above our own that hands on memory and process limits, for each controller it hands on."""
    own, mount = _own().get(""), _mounts().get("")
    if own is None or mount is None:
        return {}
    folder = mount / own.lstrip("/")
    while folder == mount or mount in folder.parents:
        try:
            handed = (folder / "cgroup.subtree_control").read_text().split()
        except OSError:
            handed = []
        if {"memory", "pids"} <= {*handed} and os.access(folder, os.W_OK):
            return dict.fromkeys((name for name in ("memory", "pids", "cpu") if name in handed), folder)
        folder = folder.parent
    return {}


def _parents_v1() -> dict[str, Path]:
    own, mounts = _own(), _mounts()
    found: dict[str, Path] = {}
    for name in ("memory", "pids", "cpu", "cpuacct"):
        if name in own and name in mounts:
            folder = mounts[name] / own[name].lstrip("/")
            # in a container the path may be the host's, and the mount the container's own group
            found[name] = folder if folder.is_dir() else mounts[name]
    usable = {"memory", "pids"} <= found.keys() and all(
        os.access(folder, os.W_OK) for folder in found.values()
    )
    return found if usable else {}
