"""The tools work in any image: also in one that holds nothing at all but a text file, no Python, no shell, no libc."""

import io
import subprocess
import tarfile

import anyio
import pytest

from agent.run import TOOLS
from agent.toolbox import open_toolbox
from agent.types import ToolCall, ToolResult
from sandboxes.docker import Docker
from tests.docker.sandbox_tools import RUN, SMALL, tar_of

pytestmark = pytest.mark.docker

FILES = {"src/a.py": b"def f(x):\n    return x + 1\n", "-rf": b"odd\n", "docs/sp ace.md": b"# needle\n"}


@pytest.fixture
def bare_image():
    """An image of one text file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("only-this")
        tar.addfile(member, io.BytesIO(b""))
    done = subprocess.run(["docker", "import", "-"], input=buffer.getvalue(), capture_output=True, check=True)
    image = done.stdout.decode().strip()
    yield image
    subprocess.run(["docker", "rmi", "-f", image], capture_output=True, check=False)


async def session(tmp_path, image: str | None) -> dict[str, ToolResult]:
    docker = await Docker.connect()
    tar = tar_of(tmp_path / "tree.tar", FILES)
    environment = await docker.environment(
        tar, image=image, setup=None, tools_dir=TOOLS, log=lambda text: None
    )
    seen: dict[str, ToolResult] = {}
    async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
        await sandbox.put_tree(tar)
        async with open_toolbox(sandbox, test_command="python -m pytest") as toolbox:

            async def call(key: str, name: str, **arguments: object) -> None:
                seen[key] = await toolbox.call(ToolCall(key, name, arguments), timeout=60)

            await call("cd", "shell", command="cd src && export HERE=kept")
            await call("kept", "shell", command="echo $HERE in $PWD; id -u; exit 3")
            await call("slow", "shell", command="echo began; sleep 100 & sleep 100", timeout=1)
            await call("read", "read_file", path="src/a.py")
            await call("search", "search", pattern="need.e")
            await call("find", "find_files", pattern="*")
            await call("edit", "edit_file", path="src/a.py", old="x + 1", new="x + 2")
            await call("ambiguous", "edit_file", path="src/a.py", old="x", new="y")
            await call("write", "write_file", path="new/b.py", content="B = 1\n")
            await call("tests", "run_tests")
            # Here the server is an ordinary user's, who may not write everywhere.
            await call("lock", "shell", command="chmod 555 /workspace/new")
            await call("locked", "undo")
            await call("unlock", "shell", command="chmod 755 /workspace/new")
            await call("undo", "undo")
            await call("redo", "undo", to=1)
            await call("diff", "diff")
            await call("submit", "submit", summary="done")
    return seen


@pytest.mark.parametrize("bare", [True, False])
def test_every_tool_answers(tmp_path, bare, request):
    image = request.getfixturevalue("bare_image") if bare else None
    seen = anyio.run(session, tmp_path, image)
    assert "kept in /workspace/src\n1000" in seen["kept"].text
    assert seen["kept"].data["exit_code"] == 3
    assert seen["slow"].data["timed_out"]
    assert "began" in seen["slow"].text
    assert "return x + 1" in seen["read"].text
    assert "needle" in seen["search"].text
    assert {"src/a.py", "-rf", "docs/sp ace.md"} <= set(seen["find"].data["files"])
    assert not seen["edit"].is_error
    assert seen["ambiguous"].is_error
    assert seen["tests"].is_error  # there is nothing to run, and it says so instead of calling that green
    assert seen["locked"].is_error
    assert "1 file could not be put back (new/b.py)" in seen["locked"].text
    assert seen["undo"].data["checkpoint"] == 0
    assert seen["undo"].data["removed"] == ["new/b.py"]
    assert seen["redo"].data["put_back"] == ["src/a.py"]
    assert seen["redo"].data["restored"] == ["new/b.py"]
    patch = seen["diff"].data["patch"]
    assert "+    return x + 2" in patch
    assert "+++ b/new/b.py" in patch
    assert seen["submit"].data["submitted"]
