"""A repository of everything, and Assay's view of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.git import Repository
from tests.unit.git.tools import make_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


@pytest.fixture
def repository(project: Path) -> Iterator[Repository]:
    with Repository(project) as repository:
        yield repository
