"""Locks between runs: they save double work, and never stop a run."""

import os
import tempfile

import anyio
import pytest

from sandboxes.locks import exclusively


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / f"assay-{os.getuid()}"


def test_the_second_waits_for_the_first(folder):
    said, order = [], []

    async def hold(name, seconds):
        async with exclusively("x", said.append):
            order.append(f"{name} in")
            await anyio.sleep(seconds)
            order.append(f"{name} out")

    async def main():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, "a", 0.5)
            await anyio.sleep(0.1)
            tasks.start_soon(hold, "b", 0)

    anyio.run(main)
    assert order == ["a in", "a out", "b in", "b out"]
    assert said == ["waiting for another run that prepares the same thing"]


@pytest.mark.parametrize("what", ["a file", "a link", "another user's folder"])
def test_a_folder_that_is_not_the_user_s_is_not_used_and_told_of(folder, tmp_path, what):
    if what == "a file":
        folder.write_text("")
    elif what == "a link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to("elsewhere")
    else:
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder to another user")
        folder.mkdir()
        os.chown(folder, 12345, 12345)
    said = []

    async def main():
        async with exclusively("x", said.append):
            pass

    anyio.run(main)
    (line,) = said
    assert line.startswith(f"warning: {folder} cannot hold a lock")
    assert not list(tmp_path.rglob("*.lock"))
