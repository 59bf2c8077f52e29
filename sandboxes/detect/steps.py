"""What a set-up is to do, as data: commands for the languages whose own package manager does the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, and what else to try where that fails."""

    what: str
    """Told before it runs."""
    tries: tuple[str, ...]
    """Commands for bash; the first one that succeeds ends the step."""
    lost: tuple[str, ...] = ()
    """For each try after the first: what is lost when that is the one that succeeds."""
    needed: bool = True
    """Whether the tests can't run without it."""
    seconds: float = 1200.0


@dataclass(frozen=True, slots=True)
class Part:
    """The set-up of one language."""

    language: str
    folder: str
    """Where its steps run, seen from the repository's root."""
    toolchains: tuple[str, ...]
    """What the image must bring: names of sandboxes.toolchains."""
    steps: tuple[Step, ...]
    summary: str
    """What was set up, once the steps are through."""
    mend: str
    """What a user can do where it fails."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """In each sandbox, and in the set-up."""
    while_set_up: Mapping[str, str] = field(default_factory=dict)
    """More variables, for the set-up alone; they win over the others."""
    builds: bool = False
    """Whether the set-up may make files of any source of the repository, so that another tree needs another one."""
    warnings: tuple[str, ...] = ()
