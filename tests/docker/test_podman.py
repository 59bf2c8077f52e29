"""Podman's service in place of a Docker engine, where Podman is installed."""

import os
import shutil
import subprocess
import time

import anyio
import pytest

from sandboxes.docker import Docker
from sandboxes.engine import Engine
from sandboxes.images import base_image_tag, ensure_base_image
from tests.docker.project import ABOVE, fix, make_project
from tests.docker.sandbox_tools import SMALL, environment_of

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed"),
]


@pytest.fixture(scope="module")
def base_image():
    """Podman has the base image that the Docker engine has: to make one of its own takes minutes."""
    tag = base_image_tag()
    if subprocess.run(["podman", "image", "exists", tag]).returncode == 0:
        return

    async def ensured():
        await ensure_base_image(await Engine.connect(), print)

    anyio.run(ensured)
    with subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE) as saved:
        subprocess.run(["podman", "load", "-q"], stdin=saved.stdout, check=True)
    assert saved.returncode == 0


@pytest.fixture
def service(base_image, tmp_path, monkeypatch):
    runtime = shutil.which("crun") or shutil.which("runc") or "crun"
    address = f"unix://{tmp_path}/s"
    command = ["podman", "--runtime", runtime, "system", "service", "--time=0", address]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(100):
            if (tmp_path / "s").exists():
                break
            time.sleep(0.1)
        monkeypatch.setenv("DOCKER_HOST", address)
        yield address
        process.terminate()


def test_its_sandboxes_have_the_same_walls_and_places(service, tmp_path):
    async def main():
        docker = await Docker.connect()
        environment = await environment_of(docker, tmp_path, {"file": b"content"})
        async with docker.sandbox(environment, run_id="podman", limits=SMALL) as sandbox:
            script = "git init -q . && git status -s && touch x /tmp/x ~/x /run/x && cat /proc/self/status"
            done = await sandbox.run(script, timeout=60)
            said = done.output.decode()
            assert done.exit_code == 0, said
            for line in (
                "CapEff:\t0000000000000000",
                "NoNewPrivs:\t1",
                "Seccomp:\t2",
                "Uid:\t1000\t1000\t1000\t1000",
            ):
                assert line in said
            done = await sandbox.run("touch /etc/x; ls /sys/class/net", timeout=60)
            assert b"Read-only file system" in done.output and done.output.endswith(b"\nlo\n")

    anyio.run(main)


def test_a_fix_is_accepted(service, tmp_path):
    make_project(tmp_path)
    code, result, stderr = fix(tmp_path, "local/repair", "--fail-to-pass", ABOVE)
    assert (code, result["status"]) == (0, "accepted"), stderr
    listed = ["podman", "ps", "-aq", "--filter", f"label=assay.run={result['run_id']}"]
    assert subprocess.run(listed, capture_output=True, check=True, env=dict(os.environ)).stdout == b""
