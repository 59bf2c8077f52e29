"""Hostile issues, events, artifacts and pull requests for the Action, each with what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.world import World

Attempt = Callable[[World], None]


@dataclass(frozen=True)
class Case:
    """`expected` is what must become of the attempt, in a word or two; `attempt` asserts it."""

    kind: str
    name: str
    expected: str
    attempt: Attempt
    docker: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


class Cases(list[Case]):
    """The cases of one kind, gathered by a decorator."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def __call__(self, name: str, expected: str, *, docker: bool = False) -> Callable[[Attempt], Attempt]:
        def gathered(attempt: Attempt) -> Attempt:
            self.append(Case(self.kind, name, expected, attempt, docker))
            return attempt

        return gathered


def attempted(case: Case, folder: Path) -> None:
    """Make the attempt. Raises AssertionError when its outcome is another than the expected one."""
    with World(folder) as world:
        case.attempt(world)
        world.check()
