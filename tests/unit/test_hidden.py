"""What is kept from the run of an evaluation's case: hidden tests, and the names of tests in their files."""

import pytest

from agent.cli.hidden import withheld
from agent.git import Repository
from agent.types import Task
from tests.docker.project import git


@pytest.fixture
def repository(tmp_path):
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "base")
    with Repository(tmp_path) as found:
        yield found


def task(repository, *named, hidden=True):
    """With hidden tests that change test_a.py and bring a file whose name git quotes."""
    patch = None
    if hidden:
        folder = repository.path
        (folder / "test_a.py").write_text("x = 2\n")
        (folder / "test_ä.py").write_text("x = 1\n")
        git(folder, "add", "-A")
        patch = git(folder, "diff", "--cached").encode()
        git(folder, "reset", "-q", "--hard")
    return Task("issue", "x", str(repository.path), repository.resolve("HEAD"), named, patch)


def test_hidden_tests_and_their_names_are_kept_from_the_run(repository):
    named = ("test_a.py::test_x", "test_b.py::test_x", "test_ä.py::test_x", "TestOfSomePackage")
    told = withheld(task(repository, *named), repository)
    assert told.test_patch is None
    assert told.fail_to_pass == ("test_b.py::test_x",)


def test_a_case_without_hidden_tests_is_told_whole(repository):
    whole = task(repository, "test_a.py::test_x", "TestOfSomePackage", hidden=False)
    assert withheld(whole, repository) == whole
