"""Which commits of a history may be a fix with its test."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cases.candidates import between, candidates, issue_of
from agent.git import Repository
from tests.docker.project import git, make_project

FILES = {
    "fix with test": {"calc.py": "a = 1\n", "tests/test_calc.py": "def test_a(): ...\n"},
    "fix with a new test file": {"calc.py": "a = 2\n", "tests/test_new.py": "def test_b(): ...\n"},
    "only the product": {"calc.py": "a = 3\n"},
    "only a test": {"tests/test_calc.py": "def test_c(): ...\n"},
    "documentation with test": {"README.md": "x\n", "tests/test_calc.py": "def test_d(): ...\n"},
    "CI with test": {".github/workflows/x.yml": "x\n", "tests/test_calc.py": "def test_e(): ...\n"},
    "data of tests with product": {"calc.py": "a = 4\n", "tests/data.txt": "x\n"},
    "v1.2": {"calc.py": "a = 5\n", "tests/test_calc.py": "def test_f(): ...\n"},
}


def test_product_and_tests_change_and_the_message_says_something(tmp_path: Path) -> None:
    repo = make_project(tmp_path)
    for message, files in FILES.items():
        for name, text in files.items():
            (repo / name).parent.mkdir(parents=True, exist_ok=True)
            (repo / name).write_text(text)
        git(repo, "add", "-A")
        git(repo, "commit", "-qm", message)
    git(repo, "checkout", "-qb", "side", "HEAD~3")
    (repo / "calc.py").write_text("a = 6\n")
    (repo / "tests/test_side.py").write_text("def test_g(): ...\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "fix on a branch")
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--no-edit", "-X", "ours", "side")
    with Repository(repo) as repository:
        found = list(candidates(repository, repository.history(repository.resolve("HEAD"))))
    told = {one.issue.splitlines()[0].lstrip("# "): one for one in found}
    assert set(told) == {"fix with test", "fix with a new test file", "fix on a branch"}
    one = told["fix with a new test file"]
    assert set(one.product) == {"calc.py"} and set(one.tests) == {"tests/test_new.py"}


def test_a_shallow_clone_ends_where_it_ends(tmp_path: Path) -> None:
    repo = make_project(tmp_path)
    for number in range(3):
        (repo / "calc.py").write_text(f"a = {number}\n")
        (repo / "tests/test_calc.py").write_text(f"def test_{number}(): ...\n")
        git(repo, "commit", "-qam", f"fix of number {number} again")
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{repo}", "shallow")
    with Repository(tmp_path / "shallow") as repository:
        history = list(repository.history(repository.resolve("HEAD")))
        assert [len(commit.parents) for commit in history] == [1, 0]
        assert len(list(candidates(repository, iter(history)))) == 1


@pytest.mark.parametrize(
    ("message", "issue"),
    [
        (
            "Mend the clamp\n\nIt was wrong.\n\nSigned-off-by: A\nCo-authored-by: B\n",
            "# Mend the clamp\n\nIt was wrong.\n",
        ),
        ("# Mend the clamp", "# Mend the clamp\n"),
        ("v1.2.3", ""),
        ("wip", ""),
        ("Signed-off-by: Somebody With Many Names <x@y.invalid>", ""),
        ("", ""),
    ],
)
def test_an_issue_is_the_message_without_its_trailers(message: str, issue: str) -> None:
    assert issue_of(message) == issue


def test_a_file_that_is_known_for_a_test_is_one_whatever_its_name(tmp_path: Path) -> None:
    repo = make_project(tmp_path)
    (repo / "calc.py").write_text("a = 1\n")
    (repo / "checks.py").write_text("def test_a(): ...\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "fix with a test of an odd name")
    with Repository(repo) as repository:
        before, after = (repository.resolve(rev) for rev in ("HEAD~", "HEAD"))
        assert between(repository, before, after, "x") is None
        found = between(repository, before, after, "x", ["checks.py", "tests/other.py"])
    assert found and list(found.tests) == ["checks.py"] and list(found.product) == ["calc.py"]
