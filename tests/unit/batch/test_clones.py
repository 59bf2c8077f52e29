"""Repositories by URL: fetched once, by commit also where no branch has it, and nothing of theirs runs."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from agent.batch.clones import cloned
from agent.errors import EnvironmentFault, UsageError
from agent.git import Repository
from tests.docker.project import git, make_project


@pytest.fixture
def served(tmp_path: Path) -> tuple[Path, str]:
    repo = make_project(tmp_path)
    return repo, f"file://{repo}"


def commit(repo: Path, text: str) -> str:
    (repo / "calc.py").write_text(text)
    git(repo, "commit", "-qam", text)
    return git(repo, "rev-parse", "HEAD").strip()


def test_it_is_fetched_once_and_again_when_it_is_old(served, tmp_path):
    repo, url = served
    cache, first = tmp_path / "cache", git(repo, "rev-parse", "HEAD").strip()
    folder = cloned(url, "HEAD", cache)
    with Repository(folder) as clone:
        assert clone.resolve("HEAD") == clone.resolve("main") == first
    second = commit(repo, "x = 1\n")
    assert cloned(url, "HEAD", cache, since=0) == folder
    with Repository(folder) as clone:
        assert clone.resolve("HEAD") == first
    cloned(url, "HEAD", cache, since=time.time() + 1)
    with Repository(folder) as clone:
        assert clone.resolve("HEAD") == second
    git(repo, "checkout", "-qb", "other")
    git(repo, "branch", "-qD", "main")
    cloned(url, "HEAD", cache, since=time.time() + 1)
    with Repository(folder) as clone:
        assert clone.resolve("HEAD") == second  # by the branch that HEAD names now


def test_a_commit_that_is_there_needs_no_server(served, tmp_path):
    repo, url = served
    first = git(repo, "rev-parse", "HEAD").strip()
    cloned(url, first, tmp_path / "cache")
    repo.rename(tmp_path / "moved")
    folder = cloned(url, first, tmp_path / "cache", since=time.time() + 1)
    with Repository(folder) as clone:
        assert clone.resolve(first) == first
    with pytest.raises(EnvironmentFault, match="git fetch failed"):
        cloned(url, "HEAD", tmp_path / "cache", since=time.time() + 1)


def test_a_commit_of_no_branch_is_fetched_by_its_id(served, tmp_path):
    repo, url = served
    git(repo, "config", "uploadpack.allowAnySHA1InWant", "true")
    lost = commit(repo, "x = 2\n")
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    with Repository(cloned(url, lost, tmp_path / "cache")) as clone:
        assert clone.resolve(lost) == lost


def test_nothing_that_a_repository_brings_is_run(served, tmp_path, monkeypatch):
    repo, url = served
    trap, sprung = tmp_path / "templates" / "hooks", tmp_path / "sprung"
    trap.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-merge", "fsmonitor-watchman"):
        (trap / name).write_text(f"#!/bin/sh\ntouch {sprung}\n")
        (trap / name).chmod(0o755)
    configuration = tmp_path / "gitconfig"
    configuration.write_text(f"[init]\n\ttemplateDir = {trap.parent}\n[core]\n\thooksPath = {trap}\n")
    (repo / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch sprung"\n')
    (repo / ".gitattributes").write_text("*.py filter=evil\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "hostile")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    folder = cloned(url, "HEAD", tmp_path / "cache")
    assert not sprung.exists()
    assert not (folder / "hooks").exists()
    assert subprocess.run(["git", "-C", str(folder), "fsck"], capture_output=True).returncode == 0


@pytest.mark.parametrize("url", ["ext://x", "https://a:b@h/x", "-upload://x", "fd://3"])
def test_what_git_may_not_be_given_is_refused(tmp_path, url):
    with pytest.raises(UsageError):
        cloned(url, "HEAD", tmp_path)
