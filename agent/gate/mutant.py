"""What a mutant is, in whatever language."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SOURCE = 300_000  # characters of a file that is mutated
UNDONE = 100  # the rank of taking one of several changes back


@dataclass(frozen=True)
class Mutant:
    """A file (its whole source) as a fix left it, but for one thing."""

    path: str
    line: int
    what: str
    source: str

    @property
    def undoes(self) -> bool:
        """Whether it takes one of several changes back."""
        return self.what.endswith("as before the fix")
