"""`kill -9` of the owner at any moment: what it left is found and removed, and what lives is left alone."""

import subprocess
import sys

import anyio
import pytest

from sandboxes.docker import Docker
from sandboxes.doctor import diagnose
from sandboxes.leftovers import leftovers, remove_leftovers
from tests.docker.sandbox_tools import a_sandbox, containers

pytestmark = pytest.mark.docker

OWNER = """
import sys, anyio
from pathlib import Path
from sandboxes import containers
from sandboxes.docker import Docker
from sandboxes.doctor import diagnose
from tests.docker.sandbox_tools import SMALL, a_sandbox, environment_of

moment, folder = sys.argv[1], Path(sys.argv[2])

async def hang(*args):
    print("ready", flush=True)
    await anyio.sleep(600)

async def main():
    if moment == "set-up":
        docker = await Docker.connect()
        await environment_of(docker, folder, {"a": moment.encode()}, setup=["sleep 600 # " + str(folder)],
                             log=lambda text: print("ready", flush=True) if text.startswith("making") else None)
    async with a_sandbox(folder):
        pass
    if moment == "created":
        containers._start = hang
    async with a_sandbox(folder, run_id="killed-" + moment) as sandbox:
        await sandbox.run("echo ready; sleep 600", timeout=600, progress=lambda data: print("ready", flush=True))

anyio.run(main)
"""


@pytest.mark.parametrize("moment", ["created", "running", "set-up"])
def test_what_a_killed_owner_left_is_removed(tmp_path, moment):
    run_id = "setup" if moment == "set-up" else f"killed-{moment}"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, moment, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    mine = set(containers(run_id))
    assert mine
    owner.kill()
    owner.wait()

    async def main():
        docker = await Docker.connect()
        found = {one.id[:12] for one in await leftovers(docker)}
        assert found & mine
        removed = {one.id[:12] for one in await remove_leftovers(docker)}
        assert removed & mine
        return found

    found = anyio.run(main)
    assert not found & set(containers(run_id))


def test_a_living_owners_sandbox_is_no_leftover(tmp_path):
    async def main():
        async with a_sandbox(tmp_path) as sandbox:
            docker = await Docker.connect()
            assert sandbox.id not in {one.id for one in await remove_leftovers(docker)}
            assert (await sandbox.run("echo alive", timeout=20)).output == b"alive\n"

    anyio.run(main)


def test_doctor_finds_all_in_order_and_removes_what_was_left(tmp_path):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, "running", str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    owner.kill()
    owner.wait()
    findings = {finding.name: finding for finding in anyio.run(diagnose, tmp_path)}
    assert set(findings) == {
        "engine",
        "limits",
        "disk",
        "cached images",
        "base image",
        "toolbox",
        "sandbox",
        "leftovers",
        "bubblewrap",
    }
    assert [name for name, finding in findings.items() if not finding.ok] == []
    assert "killed-running" in findings["leftovers"].detail
    assert containers("killed-running") == []
