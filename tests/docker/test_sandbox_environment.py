"""Setting up Python repositories, with packages from the index."""

import json
import subprocess
import sys
import time

import anyio
import pytest

from sandboxes import disk, owner
from sandboxes.docker import Docker
from sandboxes.errors import SetupFailed
from tests.docker.sandbox_tools import FILL, RUN, a_tools_dir, environment_of, tar_of

pytestmark = pytest.mark.docker

TOKEN = "s3cr3t-t0ken"
PROJECT = {
    "pyproject.toml": b"""
[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"
[project]
name = "tiny"
version = "1.0"
dependencies = ["iniconfig"]
[project.optional-dependencies]
test = ["pytest-mock"]
[tool.setuptools.packages.find]
where = ["src"]
""",
    "setup.py": b"""
from pathlib import Path
from setuptools import setup
Path("src/tiny/_generated.py").write_text("VALUE = 42")
Path("src/tiny/kept.py").write_text("overwritten")
setup()
""",
    "src/tiny/__init__.py": b"import iniconfig\nfrom tiny._generated import VALUE\n",
    "src/tiny/kept.py": b"KEPT = True\n",
    "tests/test_tiny.py": b"""
from importlib.metadata import version
def test_it(mocker):
    import tiny
    from tiny.kept import KEPT
    assert (tiny.VALUE, KEPT, version("tiny")) == (42, True, "1.0")
    assert tiny.__file__ == "/workspace/src/tiny/__init__.py"
""",
}


def fresh(folder, files):
    """The files as a project that no cached environment is for."""
    return {**files, "pyproject.toml": files["pyproject.toml"] + f"# {folder}\n".encode()}


def remove_image(image):
    subprocess.run(["docker", "rmi", "-f", image], check=True, capture_output=True)


def image_text(image):
    """Everything the engine tells of an image, and the content of all that the set-up may have written."""
    inspect = subprocess.run(["docker", "inspect", image], capture_output=True, text=True, check=True).stdout
    history = subprocess.run(
        ["docker", "history", "--no-trunc", image], capture_output=True, text=True, check=True
    )
    files = subprocess.run(
        [
            *["docker", "run", "--rm", "--network=none", "--entrypoint=grep", "--user=0", image, "-rlaF"],
            *["-e", TOKEN, "/opt", "/workspace", "/home", "/tmp", "/var", "/etc", "/run", "/root"],
        ],
        capture_output=True,
        text=True,
    ).stdout
    assert json.loads(inspect)
    return inspect + history.stdout + files


def test_a_project_is_set_up_once_and_nothing_secret_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"https://agent:{TOKEN}@pypi.org/simple")
    said: list[str] = []
    files = fresh(tmp_path, PROJECT)

    async def main():
        docker = await Docker.connect()
        environment = await environment_of(docker, tmp_path, files, log=said.append)
        assert environment.warnings == ()
        assert environment.path.startswith("/opt/env/bin:")
        async with docker.sandbox(environment, run_id=RUN) as sandbox:
            await sandbox.put_tree(tmp_path / "tree.tar")
            done = await sandbox.run("python -m pytest -q", timeout=60)
            assert done.exit_code == 0, done.output.decode()
            assert (await sandbox.run("env; cat /run/* 2>/dev/null", timeout=20)).output.find(
                b"BEGIN CERT"
            ) == -1
        return environment

    environment = anyio.run(main)
    assert any("installing" in text for text in said)
    assert TOKEN not in "\n".join(said)
    said.clear()
    assert anyio.run(main) == environment
    assert not any("installing" in text for text in said)
    told = image_text(environment.image)
    remove_image(environment.image)
    assert TOKEN not in told
    assert "PIP_" not in told
    assert "BEGIN CERTIFICATE" not in told


def test_an_image_into_which_the_repository_wrote_credentials_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"https://agent:{TOKEN}@pypi.org/simple")
    setup = ["env > /opt/env/loot"]

    async def main():
        docker = await Docker.connect()
        with pytest.raises(SetupFailed, match="credentials") as failed:
            await environment_of(docker, tmp_path, {"a": b""}, setup=setup)
        assert TOKEN not in str(failed.value) + failed.value.log

    anyio.run(main)


def test_a_project_that_cannot_be_installed_gets_its_dependencies(tmp_path):
    broken = fresh(tmp_path, PROJECT)
    broken["requirements-dev.txt"] = b"no-such-package-on-any-index-1\npytest-mock\n"
    broken["setup.py"] = b"raise SystemExit('error: no way to build this')\n"
    broken["src/tiny/__init__.py"] = b"import iniconfig\nVALUE = 42\n"
    broken["tests/test_tiny.py"] = b"def test_it(mocker):\n    import tiny\n    assert tiny.VALUE == 42\n"

    async def main():
        docker = await Docker.connect()
        environment = await environment_of(docker, tmp_path, broken)
        assert any("could not be installed" in warning for warning in environment.warnings)
        assert any("no-such-package" in warning for warning in environment.warnings)
        async with docker.sandbox(environment, run_id=RUN) as sandbox:
            await sandbox.put_tree(tmp_path / "tree.tar")
            done = await sandbox.run("python -m pytest -q", timeout=60)
            assert done.exit_code == 0, done.output.decode()
        return environment.image

    remove_image(anyio.run(main))


def test_a_failing_set_up_command_is_told_with_its_last_lines(tmp_path):
    command = "printf 'noise\\n\\033[31mERROR: it\\007 broke\\033[0m\\n'; exit 3"

    async def main():
        docker = await Docker.connect()
        with pytest.raises(SetupFailed, match="ERROR: it broke") as failed:
            await environment_of(docker, tmp_path, {"a": b""}, setup=[command])
        assert failed.value.log == "noise\nERROR: it broke"

    anyio.run(main)


def test_two_processes_may_prepare_the_same_environment(tmp_path):
    program = """
import sys, anyio
from pathlib import Path
from sandboxes.docker import Docker
async def main():
    docker = await Docker.connect()
    tar, tools = map(Path, sys.argv[1:])
    made = await docker.environment(tar, setup=[f"echo {tar}"], tools_dir=tools, log=print)
    print(made.image)
anyio.run(main)
"""
    tar, tools = tar_of(tmp_path / "tree.tar", {"a": b""}), a_tools_dir(tmp_path)
    (tools / "fresh.py").write_text(f"X = {str(tmp_path)!r}\n")
    command = [sys.executable, "-c", program, str(tar), str(tools)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [one.communicate(timeout=300)[0].splitlines()[-1] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert answers[0] == answers[1]
    assert answers[0].startswith("sha256:")
    remove_image(answers[0])


def test_a_set_up_that_fills_the_disk_is_ended_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "MOST_MB", 50)

    async def main():
        docker = await Docker.connect()
        with pytest.raises(SetupFailed, match=r"wrote more than 0\.05 GB to the disk; let it install less"):
            await environment_of(docker, tmp_path, {"a": str(tmp_path).encode()}, setup=[FILL])

    began = time.monotonic()
    anyio.run(main)
    assert time.monotonic() - began < 900
    ours = f"label={owner.PID}={owner.labels('')[owner.PID]}"
    listed = subprocess.run(["docker", "ps", "-aq", "--filter", ours], check=True, capture_output=True)
    assert listed.stdout == b""
