"""The tools work in any image: without Python, shell or libc, with another libc or an old one, with odd settings."""

import io
import subprocess
import tarfile

import anyio
import pytest

from agent.environment import TOOLS
from agent.toolbox import open_toolbox
from agent.types import ToolCall, ToolResult
from sandboxes.docker import Docker
from sandboxes.errors import SandboxError
from sandboxes.images import ensure_base_image
from tests.docker.image_parts import build, parts_image
from tests.docker.sandbox_tools import RUN, SMALL, tar_of

pytestmark = pytest.mark.docker

FILES = {"src/a.py": b"def f(x):\n    return x + 1\n", "-rf": b"odd\n", "docs/sp ace.md": b"# needle\n"}
LIB = "/lib/x86_64-linux-gnu"
ODD = r"""
USER 4242:4243
WORKDIR /nowhere/deep
VOLUME /data /workspace/cache /usr/share/doc
ENTRYPOINT ["/bin/false"]
CMD ["never"]
SHELL ["/bin/false", "-c"]
STOPSIGNAL SIGWINCH
ONBUILD RUN exit 1
HEALTHCHECK --interval=1s CMD touch /tmp/health-was-checked
LABEL assay.run="" assay.pid="1"
EXPOSE 80
"""
HOSTILE = f"""
ENV PATH=/evil LD_PRELOAD=/evil/none.so:{LIB}/libpthread.so.0 LD_LIBRARY_PATH=/evil:{LIB} LD_AUDIT=/evil/audit.so
ENV PYTHONPATH=/evil PYTHONHOME=/evil PYTHONSTARTUP=/evil/x.py PYTHONIOENCODING=utf-16 PYTHONWARNINGS=error
ENV GIT_DIR=/evil GIT_WORK_TREE=/evil GIT_EXEC_PATH=/evil GIT_CONFIG_GLOBAL=/evil RIPGREP_CONFIG_PATH=/evil
ENV HOME=/root TMPDIR=/evil SHELL=/bin/false LANG=xx_YY LC_ALL=C.ISO-8859-1 IFS=/ CDPATH=/evil
ENV ASSAY_EXEC=1 AGENT_TOOLS=evil
"""
LINKS = """
USER 0
RUN rm -rf /workspace /tmp /home/agent /opt/toolbox /etc/passwd /etc/group && mkdir -p /srv/code /srv/tmp /srv/tools
RUN ln -s /srv/code /workspace && ln -s srv/tmp /tmp && ln -s /srv/tools /opt/toolbox
"""
# what is in the image -> its Dockerfile; {parts} and {base} stand for images
IMAGES = {
    "busybox alone": "FROM scratch\nCOPY --from={parts} /parts/busybox /\n",
    "musl": "FROM scratch\nCOPY --from={parts} /parts/musl /\n",
    "old glibc": "FROM scratch\nCOPY --from={parts} /parts/old /\n",
    "old glibc, preloaded": (
        f"FROM scratch\nCOPY --from={{parts}} /parts/old /\nENV LD_PRELOAD={LIB}/libpthread.so.0 PATH=/bin:/usr/bin\n"
    ),
    "odd settings": f"FROM {{base}}\n{ODD}",
    "hostile variables": f"FROM {{base}}\n{HOSTILE}",
    "places that are links": f"FROM {{base}}\n{LINKS}",
}


@pytest.fixture(scope="module")
def sources():
    async def found():
        docker = await Docker.connect()
        return {"parts": await parts_image(), "base": await ensure_base_image(docker.engine, print)}

    return anyio.run(found)


@pytest.fixture
def image(request, sources):
    """The image of this name."""
    if request.param is None:
        yield None
        return
    if request.param == "one text file":
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("only-this"), io.BytesIO(b""))
        done = subprocess.run(
            ["docker", "import", "-"], input=buffer.getvalue(), capture_output=True, check=True
        )
        made = done.stdout.decode().strip()
    else:
        made = build(
            f"assay-test-image:{request.param.translate({32: '-', 44: ''})}",
            IMAGES[request.param].format(**sources),
        )
    yield made
    subprocess.run(["docker", "rmi", "-f", made], capture_output=True, check=False)


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
            await call("kept", "shell", command="echo $HERE in $PWD; echo ${PRELOADED:=$LD_PRELOAD}; exit 3")
            await call(
                "slow", "shell", command="echo began; while :; do :; done & while :; do :; done", timeout=1
            )
            await call("read", "read_file", path="src/a.py")
            await call("search", "search", pattern="need.e")
            await call("find", "find_files", pattern="*")
            await call("edit", "edit_file", path="src/a.py", old="x + 1", new="x + 2")
            await call("ambiguous", "edit_file", path="src/a.py", old="x", new="y")
            await call("write", "write_file", path="new/b.py", content="B = 1\n")
            await call("tests", "run_tests")
            # Here the server is an ordinary user's, who may not write everywhere.
            lock = "/opt/toolbox/bin/python3 -I -c 'import os; os.chmod(\"new\", 0o%s); print(os.getuid())'"
            await call("lock", "shell", command="cd /workspace; " + lock % 555)
            await call("locked", "undo")
            await call("unlock", "shell", command="cd /workspace; " + lock % 755)
            await call("undo", "undo")
            await call("redo", "undo", to=1)
            await call("diff", "diff")
            await call("submit", "submit", summary="done")
            await call("special", "shell", command=SPECIAL)
        # as the gate runs a suite
        done = await sandbox.run("echo by the gate; exit 5", timeout=30)
        assert done.exit_code == 5
        assert b"by the gate\n" in done.output  # amid what the loader and bash say of such variables
        done = await sandbox.run("while :; do :; done", timeout=1)
        assert done.timed_out
        assert await sandbox.read("/workspace/src/a.py", 100) == b"def f(x):\n    return x + 2\n"
    return seen


SPECIAL = f"""
[ -x /bin/ninja ] && echo ninja $(/bin/ninja --version)
[ -x {LIB}/libc.so.6 ] && {LIB}/libc.so.6
for place in /data /usr/share/doc /workspace/cache; do
    [ -d $place ] && (: > $place/x) 2>/dev/null && echo "written: $place"
done
[ -f /tmp/health-was-checked ] && echo health-was-checked
:
"""


@pytest.mark.parametrize("image", [None, "one text file", *IMAGES], indirect=True, ids=str)
def test_every_tool_answers(tmp_path, image, request):
    seen = anyio.run(session, tmp_path, image)
    name = request.node.callspec.params["image"]
    assert "kept in /workspace/src\n" in seen["kept"].text
    assert seen["kept"].data["exit_code"] == 3
    assert seen["slow"].data["timed_out"]
    assert "began" in seen["slow"].text
    assert "return x + 1" in seen["read"].text
    assert "needle" in seen["search"].text
    assert {"src/a.py", "-rf", "docs/sp ace.md"} <= set(seen["find"].data["files"])
    assert not seen["edit"].is_error
    assert seen["ambiguous"].is_error
    assert seen["tests"].is_error  # there is nothing to run, and it says so instead of calling that green
    assert seen["lock"].text.startswith("1000\n")
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
    special = seen["special"].text
    assert ("ninja 1.13" in special) == (name == "musl"), special
    if name and name.startswith("old glibc"):
        assert "GLIBC 2.31" in special
    preloads = {"old glibc, preloaded": f"{LIB}/libpthread.so.0"}.get(name or "")
    assert preloads is None or f"\n{preloads}\n" in seen["kept"].text  # the image's own programs have it
    # the image's volumes are as read-only as the rest of it, but for those that hold, or lie in, a place of ours
    written = {"/workspace/cache"} if name == "odd settings" else set()
    assert {line[9:] for line in special.splitlines() if line.startswith("written: ")} == written
    assert "health-was-checked" not in special


def test_an_images_volumes_are_made_once_and_hold_what_the_image_has(tmp_path, sources):
    image = build("assay-test-image:volumes", "FROM {base}\nVOLUME /data /usr/share/doc\n".format(**sources))

    async def used():
        docker = await Docker.connect()
        tar = tar_of(tmp_path / "tree.tar", FILES)
        environment = await docker.environment(tar, image=image, tools_dir=TOOLS, log=print)
        found = []
        for _ in range(2):
            async with docker.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
                about = await docker.engine.call(docker.engine.api.inspect_container, sandbox.id)
                found.append({m["Name"]: m["Destination"] for m in about["Mounts"] if m["Type"] == "volume"})
                assert not any(mount["RW"] for mount in about["Mounts"]), about["Mounts"]
                listed = await sandbox.run("ls /usr/share/doc | wc -l", timeout=20)
                assert int(listed.output) > 10
        return found

    try:
        first, second = anyio.run(used)
        assert first == second
        assert {"/data", "/usr/share/doc"} <= set(first.values())
        labels = ["docker", "volume", "ls", "-q", "--filter", "label=assay.cache=data"]
        kept = subprocess.run(labels, capture_output=True, check=True, text=True).stdout.split()
        mine = {name for name, place in first.items() if place in ("/data", "/usr/share/doc")}
        assert mine <= set(kept)
        subprocess.run(["docker", "volume", "rm", *mine], capture_output=True, check=True)
    finally:
        subprocess.run(["docker", "rmi", "-f", image], capture_output=True, check=False)


def test_an_image_with_a_file_where_the_workspace_goes_is_one_clear_line(tmp_path, sources):
    image = build(
        "assay-test-image:file",
        "FROM {base}\nUSER root\nRUN rm -rf /workspace && touch /workspace\n".format(**sources),
    )
    try:
        with pytest.raises(SandboxError, match=r"^[^\n]*could not start a container: [^\n]*workspace[^\n]*$"):
            anyio.run(session, tmp_path, image)
    finally:
        subprocess.run(["docker", "rmi", "-f", image], capture_output=True, check=False)
