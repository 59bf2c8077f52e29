"""An environment that a tree was given is found again without reading the tree, and only while it is what it was."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from agent.config import Settings, home
from agent.environment import connect_driver, environment_of
from agent.git import Repository
from sandboxes.types import Environment
from tests.docker.project import git, make_project

pytestmark = pytest.mark.docker


def test_a_known_tree_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_HOME", str(tmp_path / "home"))
    repo = make_project(tmp_path)
    settings = Settings(setup=(f"echo {tmp_path}",))
    read: list[str] = []
    write_tar = Repository.write_tar
    monkeypatch.setattr(Repository, "write_tar", lambda *given: read.append(given[1]) or write_tar(*given))

    def found(settings: Settings) -> tuple[Environment, int]:
        """The environment, and how often the tree was read for it."""

        async def find() -> Environment:
            driver = await connect_driver(settings, print)
            with Repository(repo) as repository:
                tree = repository.tree_of(repository.resolve("HEAD"))
                async with environment_of(tree, driver, settings, repository, print) as environment:
                    return replace(environment, workspace="")

        read.clear()
        made = anyio.run(find)
        return made, len(read)

    first, times = found(settings)
    assert times == 2  # for the environment, and for its volume
    assert found(settings) == (first, 1)  # as there was something to say of it, it is looked at once more
    assert found(settings) == (first, 0)
    assert found(replace(settings, setup=("true",)))[0].digest != first.digest
    # Another tree, though it is like the first in all that a set-up looks at.
    (repo / "calc.py").write_text("")
    git(repo, "commit", "-q", "-a", "-m", "more")
    assert found(settings) == (first, 2)
    assert found(settings) == (first, 0)
    # A note that is damaged is none, and what was removed is made anew.
    for note in (home() / "environments").iterdir():
        note.write_text("{}")
    assert found(settings) == (first, 1)
    subprocess.run(["docker", "rmi", "-f", first.image], check=True, capture_output=True)
    anew, times = found(settings)
    assert times >= 1 and anew.digest == first.digest and anew.image != first.image
