"""How a repository is to be set up, read from its manifests; nothing of the repository is run.

`tree` reads the tree once; a module for each language says what is to be done; `plan` puts them together.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandboxes.detect.go import go_part
from sandboxes.detect.java import java_part
from sandboxes.detect.node import node_part
from sandboxes.detect.python import PythonPlan, python_plan
from sandboxes.detect.rust import rust_part
from sandboxes.detect.steps import Part, Step
from sandboxes.detect.tree import Repository, scan

__all__ = ["Part", "Plan", "PythonPlan", "Repository", "Step", "plan", "scan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a repository needs; at least one language."""

    python: PythonPlan | None
    parts: tuple[Part, ...]

    @property
    def toolchains(self) -> tuple[str, ...]:
        """What the image must bring besides Python."""
        return tuple(sorted({name for part in self.parts for name in part.toolchains}))

    @property
    def builds(self) -> bool:
        """Whether the set-up may make files of any source of the repository."""
        return any(part.builds for part in self.parts)

    @property
    def variables(self) -> dict[str, str]:
        """What each sandbox gets besides the usual."""
        return {name: value for part in self.parts for name, value in part.variables.items()}


def plan(repository: Repository) -> Plan | None:
    """What is to be set up, or None where no language is found that has a set-up."""
    found = (find(repository) for find in (node_part, go_part, rust_part, java_part))
    parts = tuple(part for part in found if part is not None)
    python = python_plan(repository, alone=not parts)
    return Plan(python, parts) if python or parts else None
