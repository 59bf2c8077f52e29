"""A control group for one bubblewrap sandbox, where this process may make one. Standard library only: the supervisor
imports it, at each start, so without dataclasses, pathlib and re, which take as long as all the rest of it.

Version 2 needs a group above this process's own that hands memory and process limits on and that this user may write
to: as root, or below a systemd user session. Version 1 needs root.
"""

# ruff: noqa: PTH102, PTH106, PTH110, PTH112, PTH120, PTH123, PTH208

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "assay-sandbox-"
ROOT = "/sys/fs/cgroup"
PERIOD = 100_000  # microseconds


class Group:
    """The directories of one group: one for version 2, one for each controller of version 1."""

    def __init__(self, version: int, controllers: Mapping[str, str]) -> None:
        self.version = version
        self.controllers = controllers

    @property
    def folders(self) -> list[str]:
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
                if "sw" not in file or os.path.exists(f"{folder}/{file}"):
                    with open(f"{folder}/{file}", "w") as open_file:
                        open_file.write(str(value))

    def doors(self) -> list[int]:
        """Files that put whoever writes 0 to them into the group, open. Raises OSError where that is not allowed."""
        return [os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for folder in self.folders]

    def remove(self) -> None:
        """Remove it once its processes are gone, or leave it to `agent doctor` after ten seconds."""
        for _ in range(500):
            for folder in self.folders:
                try:
                    os.rmdir(folder)
                except OSError:
                    continue
            if not any(os.path.exists(folder) for folder in self.folders):
                return
            time.sleep(0.02)


def possible() -> bool:
    """Whether a group can be made and joined here: to see takes longer than to make one."""
    group = make(f"{os.getpid()}-first")
    if group is None:
        return False
    joined = _can_be_joined(group)
    group.remove()
    return joined


def make(name: str) -> Group | None:
    """A new group named after `name`, which only limits what limits were set for; None where there can be none."""
    for version, parents in ((2, _parents_v2()), (1, _parents_v1())):
        if not parents:
            continue
        group = Group(version, {key: f"{parent}/{PREFIX}{name}" for key, parent in parents.items()})
        try:
            for folder in group.folders:
                os.mkdir(folder)
        except OSError:
            group.remove()
            continue
        return group
    return None


def _can_be_joined(group: Group) -> bool:
    """Whether a process of ours may go into it: for that it takes more than to write to it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for door in group.doors():
                os.write(door, b"0")
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def leftovers() -> list[str]:
    """Groups whose supervisor was killed. Their name begins with its process id."""
    found = []
    for parent in {*_parents_v2().values(), *_parents_v1().values()}:
        for name in os.listdir(parent):
            pid = name.removeprefix(PREFIX).partition("-")[0]
            if name.startswith(PREFIX) and not os.path.exists(f"/proc/{pid}"):
                found.append(f"{parent}/{name}")
    # a supervisor that ended in between has removed its own
    return sorted(folder for folder in found if os.path.exists(folder))


def _own() -> dict[str, str]:
    """Controller -> path of this process's group; version 2 under the empty name."""
    found = {}
    for line in _lines("/proc/self/cgroup"):
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            found[name] = path
    return found


def _mounts() -> dict[str, str]:
    """Controller -> where its hierarchy is mounted; version 2 under the empty name."""
    found = {}
    for line in _lines("/proc/self/mountinfo"):
        fields, _, kind = line.partition(" - ")
        kind, _, options = kind.split(" ", 2)
        where = fields.split(" ")[4].encode().decode("unicode_escape")  # a space stands there as \\040
        if kind == "cgroup2":
            found[""] = where
        elif kind == "cgroup":
            found.update(dict.fromkeys(options.split(" ")[-1].split(","), where))
    return found


def _parents_v2() -> dict[str, str]:
    """The nearest group above our own that hands on memory and process limits, for each controller it hands on."""
    own, mount = _own().get(""), _mounts().get("")
    if own is None or mount is None:
        return {}
    folder = _below(mount, own)
    while folder == mount or folder.startswith(f"{mount}/"):
        try:
            handed = " ".join(_lines(f"{folder}/cgroup.subtree_control")).split()
        except OSError:
            handed = []
        if {"memory", "pids"} <= {*handed} and os.access(folder, os.W_OK):
            return dict.fromkeys((name for name in ("memory", "pids", "cpu") if name in handed), folder)
        folder = os.path.dirname(folder)
    return {}


def _parents_v1() -> dict[str, str]:
    own, mounts = _own(), _mounts()
    found: dict[str, str] = {}
    for name in ("memory", "pids", "cpu", "cpuacct"):
        if name in own and name in mounts:
            folder = _below(mounts[name], own[name])
            # in a container the path may be the host's, and the mount the container's own group
            found[name] = folder if os.path.isdir(folder) else mounts[name]
    usable = {"memory", "pids"} <= found.keys() and all(
        os.access(folder, os.W_OK) for folder in found.values()
    )
    return found if usable else {}


def _below(mount: str, path: str) -> str:
    return f"{mount}/{path.strip('/')}".rstrip("/")


def _lines(path: str) -> list[str]:
    with open(path) as file:
        return file.read().splitlines()
