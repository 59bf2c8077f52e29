"""Images of a repository's Dockerfile and devcontainer.json, on a real engine."""

import json
import subprocess
import sys
import time

import anyio
import pytest

from sandboxes import build as building
from sandboxes.docker import Docker
from sandboxes.errors import ImageUnavailable, SetupFailed
from sandboxes.images import base_image_tag, ensure_base_image
from tests.docker.sandbox_tools import RUN, SMALL, environment_of

pytestmark = pytest.mark.docker

TOKEN = "s3cr3t-t0ken"


@pytest.fixture(scope="module")
def base():
    """The name of an image that is here."""

    async def main():
        await ensure_base_image((await Docker.connect()).engine, lambda text: None)

    anyio.run(main)
    return base_image_tag()


def docker(*args):
    return subprocess.run(["docker", *args], check=True, capture_output=True, text=True).stdout


def nameless():
    """The images of builds that no name is left for."""
    return set(
        docker("images", "-q", "--filter", "dangling=true", "--filter", "label=assay.cache=build").split()
    )


def built_containers(word):
    """The engine's containers of a build step that has this word in its command."""
    told = docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Command}}")
    return [line for line in told.splitlines() if word in line]


def run_in(tmp_path, files, command="true", **wanted):
    """Make the environment and run a command in it: (environment, output, what was said)."""
    said = []

    async def main():
        engine = await Docker.connect()
        made = await environment_of(engine, tmp_path, files, log=said.append, **wanted)
        async with engine.sandbox(made, run_id=RUN, limits=SMALL) as sandbox:
            await sandbox.put_tree(tmp_path / "tree.tar")
            done = await sandbox.run(command, timeout=60)
        return made, done.output.decode("utf-8", "replace")

    made, output = anyio.run(main)
    return made, output, said


def test_a_dockerfile_is_built_once_and_the_tools_work_in_its_image(tmp_path, base):
    files = {
        "docker/Dockerfile": f"""
            ARG BASE={base}
            FROM $BASE AS made
            USER root
            RUN echo {tmp_path} > /made && echo tests need this > /tool
            FROM $BASE
            USER root
            COPY --from=made /tool /usr/local/tool
            WORKDIR /app
            COPY . .
            ENV FROM_IMAGE=yes
            VOLUME /data /workspace
            USER nobody
            ENTRYPOINT ["/bin/false"]
            HEALTHCHECK CMD false
            """.encode(),
        ".dockerignore": b"left-out\n",
        "left-out/x": b"",
        "there": b"here",
    }
    before = nameless()
    command = (
        "pwd; cat there /usr/local/tool; echo $FROM_IMAGE; ls /app; id -u; echo > /data/big; touch /usr/x"
    )
    made, output, said = run_in(tmp_path, files, command, dockerfile="docker/Dockerfile")
    assert made.summary == "docker/Dockerfile as it is"
    for line in (
        "/workspace",
        "heretests need this",
        "yes",
        "docker",
        "there",
        "1000",
        "/data/big: Read-only file system",
        "'/usr/x': Read-only file system",
    ):
        assert line in output
    assert "left-out" not in output
    assert any("building the image of docker/Dockerfile" in text for text in said)
    again, _, said = run_in(tmp_path, files, dockerfile="docker/Dockerfile")
    assert again == made and not any("building" in text for text in said)
    other, output, said = run_in(
        tmp_path, {**files, "left-out/x": b"1"}, "cat /opt/env/set", dockerfile="docker/Dockerfile",
        setup=["cat /usr/local/tool > /opt/env/set"],
    )  # fmt: skip
    assert not any("building" in text for text in said)
    assert (output, other.summary) == ("tests need this\n", "docker/Dockerfile: the given set-up commands")
    assert nameless() == before
    docker("rmi", "-f", other.image, made.image)


def fails(tmp_path, files, error=SetupFailed, **wanted):
    async def main():
        with pytest.raises(error) as failed:
            await environment_of(await Docker.connect(), tmp_path, files, **wanted)
        return failed.value

    before = nameless()
    failed = anyio.run(main)
    assert nameless() == before
    return failed


def test_a_build_that_fails_is_told_with_its_telling_line_and_leaves_nothing(tmp_path, base):
    text = (
        f"FROM {base}\nRUN touch /tmp/{tmp_path.name}\nRUN echo noise; echo 'error: it broke' >&2; exit 7\n"
    )
    failed = fails(tmp_path, {"Dockerfile": text.encode()}, dockerfile="Dockerfile")
    assert "building Dockerfile failed: " in str(failed)
    assert "returned a non-zero code: 7: error: it broke; mend it, or name an image with --image" in str(
        failed
    )
    assert failed.log.splitlines()[-1] in ("error: it broke", "noise")
    failed = fails(tmp_path, {"Dockerfile": f"FROM {base}\n\nNOPE x\n".encode()}, dockerfile="Dockerfile")
    assert "line 3: unknown instruction: NOPE; mend it" in str(failed)
    text = f"FROM {base}\nRUN --mount=type=cache,target=/x true\n"
    failed = fails(tmp_path, {"Dockerfile": text.encode()}, dockerfile="Dockerfile")
    assert "BuildKit" in str(failed) and "build it yourself (`docker build -t NAME .`)" in str(failed)
    failed = fails(tmp_path, {"a": b""}, dockerfile="Dockerfile")
    assert str(failed) == "the commit has no Dockerfile"


def test_an_image_that_a_dockerfile_starts_from_and_that_cannot_be_had_is_named(tmp_path):
    text = b"FROM registry.invalid/no/such:1\nRUN true\n"
    failed = fails(tmp_path, {"Dockerfile": text}, ImageUnavailable, dockerfile="Dockerfile")
    assert str(failed).startswith("cannot pull registry.invalid/no/such:1, which Dockerfile starts from: ")
    assert "docker pull registry.invalid/no/such:1" in str(failed)


def test_a_build_that_hangs_or_talks_without_end_is_ended(tmp_path, base, monkeypatch):
    monkeypatch.setattr(building, "TIME_LIMIT", 12)
    word = f"hang-{tmp_path.name}"
    text = f"FROM {base}\nRUN echo error: I hang; yes {word}\n"
    failed = fails(tmp_path, {"Dockerfile": text.encode()}, dockerfile="Dockerfile")
    assert "it took more than" in str(failed)
    assert len(failed.log) < 20_000 and word in failed.log
    ends = time.monotonic() + 60  # the engine takes its time
    while built_containers(word) and time.monotonic() < ends:
        time.sleep(0.5)
    assert not built_containers(word)


def test_a_build_that_fills_the_disk_is_ended(tmp_path, base, monkeypatch):
    monkeypatch.setattr(building, "MOST_DISK_MB", 400)
    text = f"FROM {base}\nRUN head -c 900M /dev/zero > /tmp/{tmp_path.name}; sleep 100\n"
    failed = fails(tmp_path, {"Dockerfile": text.encode()}, dockerfile="Dockerfile")
    assert "it took more than 0.4 GB of the engine's disk" in str(failed)


def test_a_killed_run_takes_its_build_with_it(tmp_path, base):
    word = f"sleep-{tmp_path.name}"
    program = """
import sys, anyio
from pathlib import Path
from sandboxes.docker import Docker
from tests.docker.sandbox_tools import environment_of
async def main():
    files = {"Dockerfile": f"FROM {sys.argv[2]}\\nRUN echo {sys.argv[3]}; sleep 500\\n".encode()}
    await environment_of(await Docker.connect(), Path(sys.argv[1]), files, dockerfile="Dockerfile")
anyio.run(main)
"""
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), base, word])
    ends = time.monotonic() + 120
    while not built_containers(word) and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.5)
    assert built_containers(word)
    process.kill()
    process.wait()
    while built_containers(word) and time.monotonic() < ends:
        time.sleep(0.5)
    assert not built_containers(word)


def test_proxies_reach_a_build_without_passwords_and_stay_out_of_its_image(tmp_path, base, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("https_proxy", f"http://me:{TOKEN}@proxy.invalid:3128")
    monkeypatch.setenv("MY_API_KEY", TOKEN)
    text = f"FROM {base}\nUSER root\nRUN env > /usr/seen-{tmp_path.name}\n"
    made, output, said = run_in(
        tmp_path, {"Dockerfile": text.encode()}, "cat /usr/seen-*", dockerfile="Dockerfile"
    )
    assert "http_proxy=http://proxy.invalid:3128" in output
    assert TOKEN not in output
    assert any("a proxy whose address holds a password" in text for text in said)
    told = docker("inspect", made.image) + docker("history", "--no-trunc", made.image)
    docker("rmi", "-f", made.image)
    assert "proxy.invalid" not in told and TOKEN not in told


def test_a_devcontainer_is_used_by_itself_with_its_commands_and_variables(tmp_path, base):
    said_in_it = {
        "build": {"dockerfile": "Dockerfile", "context": "..", "args": {"WHAT": tmp_path.name}},
        "containerEnv": {"GREETING": "hello"},
        "onCreateCommand": "echo $GREETING > /opt/env/first",
        "postCreateCommand": ["cp", "/usr/arg", "/opt/env/second"],
        "updateContentCommand": "sudo apt-get install x",
        "remoteUser": "vscode",
    }
    files = {
        ".devcontainer/devcontainer.json": b"// a comment\n" + json.dumps(said_in_it).encode(),
        ".devcontainer/Dockerfile": f"FROM {base}\nARG WHAT\nUSER root\nRUN echo $WHAT > /usr/arg\n".encode(),
        "setup.py": b"raise SystemExit('not to be run')",
    }
    command = "cat /opt/env/first /opt/env/second; echo $GREETING again"
    made, output, said = run_in(tmp_path, files, command)
    assert output == f"hello\n{tmp_path.name}\nhello again\n"
    assert made.variables["GREETING"] == "hello"
    assert any("sudo apt-get install x` failed" in text for text in made.warnings)
    log = "\n".join(said)
    assert "the image is that of .devcontainer/devcontainer.json" in log and "dockerfile = false" in log
    assert "remoteUser has no effect" in log
    plain, _, said = run_in(tmp_path, files, dockerfile="", setup=[f"echo {tmp_path}"])
    assert "GREETING" not in plain.variables and "devcontainer.json" not in "\n".join(said)
    docker("rmi", "-f", made.image, plain.image)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"image": "registry.invalid/x:1"}', "cannot pull the image registry.invalid/x:1"),
        (b'{"build": {"dockerfile": "nowhere"}}', "the commit has no .devcontainer/nowhere"),
        (b'{"dockerComposeFile": "compose.yml"}', "Docker Compose, which is not supported"),
        (b"{", "not valid JSON"),
    ],
)
def test_a_devcontainer_that_cannot_be_had_gives_way_to_what_is_found(tmp_path, text, why):
    made, _, said = run_in(tmp_path, {".devcontainer/devcontainer.json": text, "readme": b""})
    assert made.summary.startswith("no set-up")
    (warning,) = [line for line in said if line.startswith("warning")]
    assert why in warning


def test_a_dockerfile_that_nobody_named_is_used_only_where_nothing_else_is_found(tmp_path, base):
    files = {"Dockerfile": f"FROM {base}\nENV A={tmp_path.name}\n".encode(), "x.txt": b""}
    made, output, said = run_in(tmp_path, files, "echo $A")
    assert output.strip() == tmp_path.name
    assert any("nothing but the Dockerfile says how the tests are set up" in text for text in said)
    docker("rmi", "-f", made.image)
    for more in ({"setup": []}, {"dockerfile": ""}):
        _, output, _ = run_in(tmp_path, files, "echo $A", **more)
        assert output.strip() == ""


def test_an_image_whose_volume_would_hide_the_tools_is_refused(tmp_path, base):
    text = f"FROM {base}\nLABEL made.by={tmp_path.name}\nVOLUME /opt/\n"
    failed = fails(tmp_path, {"Dockerfile": text.encode()}, dockerfile="Dockerfile")
    assert "declares /opt a volume" in str(failed)
    docker("rmi", "-f", *docker("images", "-q", "--filter", f"label=made.by={tmp_path.name}").split())
