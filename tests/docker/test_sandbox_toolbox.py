"""The toolbox works in any image: in the base image, and in one without Python, shell or libc."""

import io
import subprocess
import tarfile

import anyio
import pytest

from sandboxes.docker import Docker
from tests.docker.sandbox_tools import RUN, SMALL, a_tools_dir, environment_of, tar_of

pytestmark = pytest.mark.docker

EMPTY = "assay-test-empty:1"
PROGRAM = """
import asyncio, difflib, hashlib, json, select, subprocess, sys, tarfile, threading, tomllib, xml.etree.ElementTree
assert xml.etree.ElementTree.fromstring("<a>\\u00fc</a>").text == "\\u00fc"
assert hashlib.sha256(b"").hexdigest().startswith("e3b0")
assert all(path.startswith("/opt/toolbox/") for path in sys.path), sys.path
import tools.answer
print(tools.answer.ANSWER, sys.version_info[:2] >= (3, 11))
"""


@pytest.fixture(scope="module")
def empty_image():
    """An image that holds one text file."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo("readme")
        tar.addfile(member)
    subprocess.run(["docker", "import", "-", EMPTY], input=data.getvalue(), check=True, capture_output=True)
    yield EMPTY
    subprocess.run(["docker", "rmi", EMPTY], check=True, capture_output=True)


@pytest.mark.parametrize("kind", ["base", "empty"])
def test_python_git_ripgrep_and_a_shell_work(tmp_path, empty_image, kind):
    async def main():
        docker = await Docker.connect()
        tools = a_tools_dir(tmp_path)
        (tools / "answer.py").write_text("ANSWER = 42\n")
        tar = tar_of(tmp_path / "tree.tar", {"a.txt": b"needle\n"})
        environment = await docker.environment(
            tar, image=empty_image if kind == "empty" else None, tools_dir=tools, log=lambda text: None
        )
        async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
            await sandbox.put_tree(tar)

            async def says(*command):
                done = await sandbox.run(command[0] if len(command) == 1 else command, timeout=30)
                assert done.exit_code == 0, done.output
                return done.output.decode()

            path = "import sys; sys.path.insert(0, '/opt/toolbox/lib/agent-tools')\n"
            # the path with the tools is no part of what the program asserts of sys.path
            program = PROGRAM.replace("import tools.answer", path + "import tools.answer")
            assert await says("/opt/toolbox/bin/python3", "-I", "-B", "-c", program) == "42 True\n"
            git = "/opt/toolbox/bin/git"
            await says(
                f"{git} init -q . && {git} add -A && {git} -c user.name=a -c user.email=a@b commit -qm base"
            )
            await says("echo more >> a.txt")
            assert "+more" in await says(git, "diff", "HEAD")
            if kind == "base":  # to clone, git starts /bin/sh
                await says(f"{git} clone -q . /tmp/clone")
            await says(git, "checkout", "a.txt")
            assert await says(git, "log", "--format=%s") == "base\n"
            assert await says("/opt/toolbox/bin/rg", "-n", "need", ".") == "./a.txt:1:needle\n"
            assert await says("cd /tmp && echo $((6 * 7))") == "42\n"
            assert await sandbox.read("/workspace/a.txt", 100) == b"needle\n"

    anyio.run(main)


def test_a_users_image_keeps_its_variables_and_gets_its_set_up_commands(tmp_path):
    image = "assay-test-users:1"

    async def base_image():
        docker = await Docker.connect()
        return (await environment_of(docker, tmp_path, {"a": b""})).image

    dockerfile = f'FROM {anyio.run(base_image)}\nENV FLAVOUR=vanilla\nENTRYPOINT ["/bin/false"]\nUSER root\n'
    subprocess.run(
        ["docker", "build", "-q", "-t", image, "-"],
        input=dockerfile.encode(),
        check=True,
        capture_output=True,
    )

    async def main():
        docker = await Docker.connect()
        setup = ["pip --version", "id -u > /opt/env/who", "echo generated > built.txt"]
        environment = await environment_of(docker, tmp_path, {"a": b"tree"}, image=image, setup=setup)
        async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
            await sandbox.put_tree(tmp_path / "tree.tar")
            done = await sandbox.run(
                "echo $FLAVOUR; cat /opt/env/who built.txt a; id -u; command -v python", timeout=20
            )
            assert done.output == b"vanilla\n1000\ngenerated\ntree1000\n/opt/env/bin/python\n"
        return environment.image

    made = anyio.run(main)
    subprocess.run(["docker", "rmi", "-f", made, image], check=True, capture_output=True)
