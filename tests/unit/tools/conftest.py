from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.server import run_tool
from tools.tool import Call, Result
from tools.workspace import Workspace


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The workspace's directory. Fill it before the first use of a tool: then its base is recorded."""
    root = tmp_path / "workspace"
    root.mkdir()
    return root


@pytest.fixture
def workspace(root: Path, tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(str(root), str(tmp_path / "scratch"), f"{sys.executable} -m pytest")
    # What tests make must be outside a place that may be written; pytest's directories are under /tmp.
    workspace.writable = [str(root.resolve()), str((tmp_path / "scratch").resolve())]
    yield workspace
    workspace.processes.end_all()


Use = Callable[..., Result]


@pytest.fixture
def use(workspace: Workspace) -> Use:
    def use(tool: str, /, **arguments: object) -> Result:
        return run_tool(workspace, Call(), tool, arguments)

    return use


@pytest.fixture
def good(use: Use) -> Use:
    """As `use`, for calls that must succeed."""

    def good(tool: str, /, **arguments: object) -> Result:
        result = use(tool, **arguments)
        assert not result.is_error, result.text
        return result

    return good


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process runs; one that is dead and not yet collected by its parent does not."""

    def alive(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    return alive
