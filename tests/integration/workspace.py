"""What an attempt knows of its base commit, where a test lays the files out itself."""

from __future__ import annotations

from collections.abc import Mapping

from agent.gate.paths import Paths
from agent.hypotheses import Base


def base_of(files: Mapping[str, str]) -> Base:
    paths = Paths(files)
    return Base(
        frozenset(files),
        lambda path: len(files[path].splitlines()),
        lambda path: paths.kind(path) == "product",
    )
