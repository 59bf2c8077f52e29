"""Frozen data that sandboxes hand out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DRIVERS = ("auto", "docker", "bubblewrap")
"""What can make sandboxes; auto is the first of the others that works."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use. Files in the sandbox live in memory, so they count to `memory_mb` too."""

    memory_mb: int = 4096
    cpus: float = 2.0
    pids: int = 512
    workspace_mb: int = 2048
    tmp_mb: int = 1024
    lifetime_seconds: int = 7200
    """The sandbox ends by itself after this time, whatever became of its owner."""


def inodes(size_mb: int) -> int:
    """How many files a place of this size may hold: one for each 4 KiB. Empty ones take memory too, the kernel's own,
    which not every engine counts."""
    return size_mb << 8


@dataclass(frozen=True, slots=True)
class Environment:
    """What a repository's tests can run in, and how to run in it."""

    image: str
    """Docker: the image's id, `sha256:…`. Bubblewrap: the folder in its cache that holds /opt/env."""
    toolbox: str
    """Name of the volume, or of the folder, for /opt/toolbox."""
    tools: str
    """Name of the volume, or of the folder, for /opt/toolbox/lib/agent-tools."""
    path: str
    """PATH in the sandbox."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """More environment variables, without secrets."""
    unasked: str = ""
    """The repository's file that the image was taken from without the user's having named it."""
    digest: str = ""
    """Hash of all that the environment was made from, `sha256:…`; equal inputs have equal digests."""
    summary: str = ""
    """One line: what was set up."""
    warnings: tuple[str, ...] = ()
    """What could not be set up, one line each."""
    workspace: str = ""
    """What the driver calls the tree that /workspace begins with; empty when it begins empty."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended or was ended."""

    exit_code: int | None
    """None when the command was stopped by the timeout."""
    output: bytes
    """stdout and stderr as they came; where more than the limit came, a marker line stands for the middle."""
    cut: int
    """Bytes left out of the middle."""
    timed_out: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `agent doctor`."""

    name: str
    ok: bool
    detail: str
    mend: str = ""
    """What to do, when not ok."""
