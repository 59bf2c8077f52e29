"""Sandboxes that begin with a repository's tree: a layer of their own over one copy of it."""

import json
import subprocess
from dataclasses import replace
from functools import partial

import anyio
import pytest

from agent.git import Repository
from agent.laying import lay_tree
from sandboxes import layers
from sandboxes.containers import anonymous_volume
from sandboxes.docker import Docker
from sandboxes.errors import SandboxError
from tests.docker.project import git
from tests.docker.sandbox_tools import RUN, SMALL, containers, environment_of

pytestmark = pytest.mark.docker

LISTING = """
import hashlib, json, os
found = {}
for folder, folders, files in os.walk('/workspace'):
    for name in files + folders:
        path = os.path.join(folder, name)
        state = os.lstat(path)
        if os.path.islink(path):
            what = 'link to ' + os.readlink(path)
        elif os.path.isdir(path):
            what = 'folder'
        else:
            what = hashlib.sha256(open(path, 'rb').read()).hexdigest()
        found[path] = (what, oct(state.st_mode), state.st_uid)
print(json.dumps(found, sort_keys=True))
"""


def commit(repo, changes):
    for name, text in changes.items():
        path = repo / name
        if text is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, tuple):
            path.symlink_to(text[0])
        else:
            path.write_text(text)
            path.chmod(0o755 if name.endswith(".sh") else 0o644)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--allow-empty", "-m", "x")
    git(repo, "clean", "-fdq")
    return git(repo, "rev-parse", "HEAD^{tree}").strip()


@pytest.fixture
def repo(tmp_path):
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    return repo


def with_workspace(tmp_path, repo, tree, test, **options):
    """`test(docker, environment, repository)`; what was logged is returned."""
    said = []

    async def main():
        docker = await Docker.connect()
        environment = await environment_of(docker, tmp_path, {"file": b""}, **options)
        with Repository(repo) as repository:
            write = partial(repository.write_tar, tree)
            async with docker.workspace(environment, tree, write, log=said.append) as begun:
                await test(docker, begun, repository)

    anyio.run(main)
    return said


async def listing(sandbox):
    done = await sandbox.run(["/opt/toolbox/bin/python3", "-I", "-c", LISTING], timeout=60)
    return json.loads(done.output)


BASE = {
    "src/a.py": "a = 1\n",
    "src/deep/er/only.py": "x\n",
    "run.sh": "#!/bin/sh\n",
    "plain": "1\n",
    "folder/file": "2\n",
    "odd ñame\n\t'": "3\n",
    "link": ("src/a.py",),
}
CHANGED = {
    "src/a.py": "a = 2\n",
    "src/deep/er/only.py": None,
    "plain": None,
    "new/b.py": "b\n",
    "odd ñame\n\t'": "4\n",
    "link": None,
}


def test_each_sandbox_begins_with_the_tree_and_changes_only_its_own(tmp_path, repo):
    tree = commit(repo, BASE)

    async def test(docker, environment, repository):
        async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as one:
            before = await listing(one)
            done = await one.run(
                "rm -r src && mv folder moved && echo 9 > plain && cat moved/file", timeout=20
            )
            assert (done.exit_code, done.output) == (0, b"2\n")
            async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as other:
                assert await listing(other) == before
            assert "/workspace/src" not in await listing(one)
        async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as later:
            assert await listing(later) == before
        assert {path for path, (_, _, owner) in before.items() if owner != 1000} == set()
        assert before["/workspace/run.sh"][1] == "0o100755"

    with_workspace(tmp_path, repo, tree, test)


def test_another_tree_is_laid_exactly_as_if_it_were_put_whole(tmp_path, repo):
    base = commit(repo, BASE)
    commit(repo, CHANGED)
    changed = commit(repo, {"plain/now/a/folder": "5\n", "folder/file": None, "link": ("nowhere",)})
    last = commit(repo, {"folder": "a file\n"})

    async def test(docker, environment, repository):
        for tree in (base, changed, last):
            async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
                await lay_tree(sandbox, repository, tree)
                laid = await listing(sandbox)
            async with docker.sandbox(
                replace(environment, workspace=""), run_id=RUN, limits=SMALL
            ) as sandbox:
                assert sandbox.tree == ""
                await lay_tree(sandbox, repository, tree)
                assert await listing(sandbox) == laid

    with_workspace(tmp_path, repo, base, test)


def test_what_the_set_up_generated_lies_in_the_layer_and_comes_to_light_where_a_file_goes(tmp_path, repo):
    base = commit(repo, {"setup-made/kept.txt": "the tree's\n", "a": "a\n"})
    gone = commit(repo, {"setup-made/kept.txt": None})
    setup = [
        "mkdir -p setup-made && echo generated > setup-made/new.txt && echo generated > setup-made/kept.txt"
    ]

    async def test(docker, environment, repository):
        async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
            done = await sandbox.run("cat setup-made/new.txt setup-made/kept.txt", timeout=20)
            assert done.output == b"generated\nthe tree's\n"
        async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
            await lay_tree(sandbox, repository, gone)
            done = await sandbox.run("cat setup-made/new.txt setup-made/kept.txt", timeout=20)
            assert done.output == b"generated\ngenerated\n"

    with_workspace(tmp_path, repo, base, test, setup=setup)


def test_a_layer_is_bounded_and_gives_its_memory_back(tmp_path, repo):
    tree = commit(repo, {"a": "a\n"})

    async def test(docker, environment, repository):
        for _ in range(2):
            async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
                done = await sandbox.run("head -c 33M /dev/zero > full; mkdir -m 0 locked", timeout=60)
                assert b"No space left" in done.output
            holders = containers("layers")
            assert len(holders) == 1
            used = fullest(holders[0])
            assert used == "0"

    with_workspace(tmp_path, repo, tree, test)


def fullest(holder):
    """Megabytes in the fullest place in memory."""
    command = ["docker", "exec", holder, "sh", "-c", "du -sm /places/* | sort -n | tail -1"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


def volumes():
    done = subprocess.run(["docker", "volume", "ls", "-q"], capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split() if not name.startswith("assay-")}


def test_nothing_is_left_but_the_tree(tmp_path, repo):
    tree = commit(repo, {"a": "a\n"})
    before = volumes()

    async def test(docker, environment, repository):
        async with docker.sandbox(environment, run_id=RUN, limits=SMALL):
            assert volumes() > before

    with_workspace(tmp_path, repo, tree, test)
    assert volumes() == before
    assert containers("layers") == []


def refusing(target, kind, options):
    return anonymous_volume(target, "nosuchfs" if kind == "overlay" else kind, options)


def ignoring(target, kind, options):
    """As an engine that takes such volumes for plain ones."""
    mount = anonymous_volume(target, kind, options)
    if kind == "overlay":
        del mount["VolumeOptions"]["DriverConfig"]
    return mount


@pytest.mark.parametrize("engine", [refusing, ignoring])
def test_where_the_engine_mounts_no_overlay_the_tree_is_copied(tmp_path, repo, monkeypatch, engine):
    tree = commit(repo, BASE)
    monkeypatch.setattr(layers, "anonymous_volume", engine)

    async def test(docker, environment, repository):
        for _ in range(2):
            async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
                found = await listing(sandbox)
                assert found["/workspace/folder/file"][2] == 1000
                done = await sandbox.run("head -c 33M /dev/zero > full", timeout=60)
                assert b"No space left" in done.output
                assert (await sandbox.run("touch /opt/tree/x", timeout=20)).exit_code != 0

    said = with_workspace(tmp_path, repo, tree, test)
    assert [line for line in said if "mounts no overlays" in line] == said[-1:]


def test_other_failures_of_the_start_are_told_as_they_are(tmp_path, repo):
    tree = commit(repo, {"a": "a\n"})

    async def test(docker, environment, repository):
        gone = replace(environment, image="sha256:" + "0" * 64)
        with pytest.raises(SandboxError, match="refused a container"):
            async with docker.sandbox(gone, run_id=RUN, limits=SMALL):
                pass

    said = with_workspace(tmp_path, repo, tree, test)
    assert not any("overlays" in line for line in said)


def test_the_oldest_trees_are_removed(tmp_path, repo, monkeypatch):
    monkeypatch.setattr(layers, "KEPT", 1)

    def trees():
        command = ["docker", "volume", "ls", "-q", "--filter", "label=assay.cache=tree"]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())

    async def test(docker, environment, repository):
        pass

    old = trees()
    with_workspace(tmp_path, repo, commit(repo, {"a": "one\n"}), test)
    [one] = trees() - old
    with_workspace(tmp_path, repo, commit(repo, {"a": "another\n"}), test)
    assert one not in trees()


def test_a_tree_is_kept_as_long_as_a_run_may_use_it(tmp_path, repo, monkeypatch):
    """Also before its first sandbox, however many others are made meanwhile."""
    monkeypatch.setattr(layers, "KEPT", 0)
    tree = commit(repo, {"a.txt": "first\n"})
    other = commit(repo, {"a.txt": "other\n"})

    async def test(docker, environment, repository):
        bare = replace(environment, workspace="")
        async with docker.workspace(bare, other, partial(repository.write_tar, other), log=print):
            pass
        async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
            assert (await sandbox.run("cat a.txt", timeout=20)).output == b"first\n"

    with_workspace(tmp_path, repo, tree, test)
