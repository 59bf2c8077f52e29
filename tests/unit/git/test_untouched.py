"""Nothing of a repository acts or changes while `agent.git` reads it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agent.errors import EnvironmentFault, UsageError
from agent.git import PatchError, Repository
from tests.unit.git.tools import (
    commit,
    contents,
    dirty,
    fingerprint,
    git,
    head,
)

# ---- nothing acts, nothing changes


@pytest.fixture
def hostile(project: Path, tmp_path: Path) -> Path:
    """A repository in which everything that git can be made to run would touch `canary`."""
    canary = tmp_path / "canary"
    script = f"#!/bin/sh\ntouch {canary}\ncat\n"
    for hook in (
        "post-checkout",
        "post-index-change",
        "reference-transaction",
        "pre-commit",
        "fsmonitor-watchman",
    ):
        path = project / ".git/hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    evil = tmp_path / "evil"
    evil.write_text(script)
    evil.chmod(0o755)
    commit(project, {".gitattributes": b"* filter=evil diff=evil merge=evil\n", "-rf": b"x\n"})
    inner = tmp_path / "inner"
    git(tmp_path, "clone", "-q", str(project), str(inner))
    git(project, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "inner")
    (project / "leaving").symlink_to("/etc/passwd")
    git(project, "add", "-A")
    git(project, "commit", "-q", "--no-verify", "-m", "more")
    for where in (project, project / "inner"):
        for key in (
            "filter.evil.clean",
            "filter.evil.smudge",
            "filter.evil.process",
            "diff.evil.command",
            "diff.evil.textconv",
            "merge.evil.driver",
            "diff.external",
            "core.fsmonitor",
            "core.pager",
            "core.editor",
            "core.sshCommand",
            "core.askPass",
            "core.gitProxy",
            "gpg.program",
            "alias.rev-parse",
            "alias.status",
        ):
            git(where, "config", key, str(evil))
        git(where, "config", "core.autocrlf", "true")
        git(where, "config", "commit.gpgsign", "true")
        git(where, "config", "core.hooksPath", str(project / ".git/hooks"))
    with (project / ".git/info/attributes").open("w") as file:
        file.write("* filter=evil\n")
    canary.unlink(missing_ok=True)
    return project


def test_a_hostile_repository_runs_nothing_and_stays_as_it_is(hostile: Path, tmp_path: Path) -> None:
    git_index = hostile / ".git/index"
    os.utime(git_index, (1, 1))  # every file looks changed since, so that git wants to read it again
    before = fingerprint(hostile)
    with Repository(hostile) as repository:
        scratch = Path(repository._temporary.name)
        tree = head(repository)
        assert repository.files(tree)["inner"][0] == "160000"
        repository.write_tar(tree, tmp_path / "t.tar")
        changed = repository.with_files(tree, {"new": ("100644", repository.add_blob(b"x\r\n"))})
        assert repository.apply(tree, repository.diff(tree, changed)) == changed
        repository.dirty()
    assert fingerprint(hostile) == before
    assert not (tmp_path / "canary").exists()
    assert not scratch.exists()
    git(hostile, "status")
    assert (tmp_path / "canary").exists(), "the trap works"


def test_objects_missing_from_a_partial_clone_are_not_fetched(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(project), "origin.git")
    git(tmp_path / "origin.git", "config", "uploadpack.allowFilter", "true")
    git(
        tmp_path,
        "clone",
        "-q",
        "--no-checkout",
        "--filter=blob:none",
        f"file://{tmp_path}/origin.git",
        "partial",
    )
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/canary\n")
    evil.chmod(0o755)
    git(tmp_path / "partial", "config", "remote.origin.uploadpack", str(evil))
    git(tmp_path / "partial", "config", "protocol.file.allow", "always")
    with Repository(tmp_path / "partial") as repository:
        tree = head(repository)
        with pytest.raises(EnvironmentFault, match="git fetch --refetch"):
            repository.blob(repository.files(tree)["a.py"][1])
    assert not (tmp_path / "canary").exists()
    with pytest.raises(subprocess.CalledProcessError):
        git(tmp_path / "partial", "cat-file", "blob", "HEAD:a.py")
    assert (tmp_path / "canary").exists(), "the trap works"


def test_a_branch_is_made_with_exactly_its_objects_and_no_hook(hostile: Path, tmp_path: Path) -> None:
    before = fingerprint(hostile)
    with Repository(hostile) as repository:
        parent = repository.resolve("HEAD")
        tree = repository.tree_of(parent)
        hidden = repository.add_blob(b"hidden tests\n")
        changed = repository.with_files(tree, {"new": ("100644", repository.add_blob(b"x\r\n"))})
        made = repository.create_branch("fix/it", changed, parent, "Subject\n\nbody \u00fc\n")
        assert (
            repository.create_branch("fix/it", changed, parent, "Subject\n\nbody \u00fc\n") == made
        )  # by whoever was killed
        with pytest.raises(UsageError, match="exists already"):
            repository.create_branch("fix/it", tree, parent, "again")
    assert git(hostile, "rev-parse", "fix/it", "fix/it^", "fix/it^{tree}").split() == [made, parent, changed]
    assert git(hostile, "cat-file", "blob", "fix/it:new") == "x"
    assert git(hostile, "log", "-1", "--format=%B", "fix/it") == "Subject\n\nbody \u00fc"
    assert not (tmp_path / "canary").exists()
    with pytest.raises(subprocess.CalledProcessError):
        git(hostile, "cat-file", "-e", hidden)
    after = fingerprint(hostile)
    grown = {path for path in after if path not in before}
    assert all(
        path.startswith((".git/objects", ".git/refs/heads/fix", ".git/logs/refs/heads/fix")) for path in grown
    )
    files_before = {path: state for path, state in before.items() if not (hostile / path).is_dir()}
    assert {path: after[path] for path in files_before} == files_before


@pytest.mark.parametrize("name", ["-D", "HEAD", "a..b", "@{-1}", "a b", "x.lock", "", "refs/../x"])
def test_what_is_no_branch_name_is_refused(project: Path, repository: Repository, name: str) -> None:
    before = fingerprint(project)
    with pytest.raises(UsageError, match="is not a branch name"):
        repository.create_branch(name, head(repository), repository.resolve("HEAD"), "m")
    assert fingerprint(project) == before


# ---- dirty


def test_dirty_sees_changed_staged_and_new_files_but_not_ignored_ones(project: Path) -> None:
    commit(project, {".gitignore": b"*.log\n"})
    assert not dirty(project)
    (project / "x.log").write_text("ignored")
    (project / ".git/info/exclude").write_text("mine\n")
    (project / "mine").write_text("ignored too")
    assert not dirty(project)
    (project / "new.py").write_text("")
    assert dirty(project)
    git(project, "add", "new.py")
    assert dirty(project)
    commit(project, {})
    assert not dirty(project / "sub")
    (project / "a.py").write_text("changed")
    assert dirty(project)


def test_a_bare_repository_is_never_dirty(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(project), "bare.git")
    assert not dirty(tmp_path / "bare.git")


def test_the_files_and_lines_of_a_patch_are_told_and_renames_are_refused(
    project: Path, repository: Repository
) -> None:
    base = commit(project, {"a.txt": b"1\n2\n3\n", "b.bin": b"\0\1", "sp ace.txt": b"x\n"})
    tree = repository.tree_of(base)
    changed = {
        "a.txt": ("100644", repository.add_blob(b"1\n3\n4\n5\n")),
        "b.bin": ("100644", repository.add_blob(b"\0\2")),
        "sp ace.txt": None,
        "new/é.txt": ("100755", repository.add_blob(b"y\n")),
    }
    patch = repository.diff(tree, repository.with_files(tree, changed))
    told = {"a.txt": (2, 1), "b.bin": (0, 0), "new/é.txt": (1, 0), "sp ace.txt": (0, 1)}
    assert repository.patch_lines(patch) == told
    renamed = b"diff --git a/a.txt b/c.txt\nsimilarity index 100%\nrename from a.txt\nrename to c.txt\n"
    for bad in (b"", b"no patch", renamed):
        with pytest.raises(PatchError):
            repository.patch_lines(bad)
    with pytest.raises((PatchError, EnvironmentFault)):
        repository.patch_lines(patch.replace(b"a/a.txt", b"a/../x").replace(b"b/a.txt", b"b/../x"))


def test_a_remote_is_told_as_it_is_configured(project: Path, repository: Repository) -> None:
    assert repository.remote_url("origin") is None
    git(project, "remote", "add", "origin", "git@github.com:octo/calc.git")
    assert repository.remote_url("origin") == "git@github.com:octo/calc.git"


def test_a_tree_is_begun_from_nothing(repository: Repository) -> None:
    empty = repository.empty_tree()
    assert repository.files(empty) == {}
    assert contents(
        repository, repository.with_files(empty, {"a": ("100644", repository.add_blob(b"1"))})
    ) == {"a": b"1"}
