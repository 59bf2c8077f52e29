"""The tools that are measured: how each is installed, and how it runs the session in a Docker sandbox.

Each peer has an environment of its own, from the package index, and works in an image made of the one that Assay set
up for the benchmark's repository: the same programs, as root, since their own ways into it ask for that. What they
need inside (SWE-ReX's server, OpenHands' agent server) is mounted from that environment, so nothing is installed while
it runs. They are not asked to bring the repository into it, as Assay does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.benchmarks.peers.session import Attributes, Peer, Script
from tests.docker.project import ABOVE, ISSUE

MODEL = "anthropic/claude-haiku-4-5"
PACKAGES = {
    "mini": ("mini-swe-agent==2.4.6", "swe-rex==1.4.0"),
    "openhands": (
        "openhands-sdk==1.58.2",
        "openhands-tools==1.58.2",
        "openhands-workspace==1.58.2",
        "openhands-agent-server==1.58.2",
    ),
}
PYTHONS = {"mini": (sys.executable,), "openhands": ("python3.13", "python3.12", sys.executable)}
"""OpenHands wants 3.12 or newer."""
ASSAY = "Assay, Docker"
SOURCE = Path(__file__).parents[3]
KEY = "loopback-key-0123456789"
TASK = ISSUE.replace("\n", " ").strip()


def install(name: str, folder: Path) -> Path:
    """The environment of a peer, made from the package index if it is not there."""
    home = folder / name
    if not (home / "done").exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([_python(PYTHONS[name]), "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin/pip"), "install", "-q", *PACKAGES[name]], check=True)
        (home / "done").touch()
    return home


def _python(names: Sequence[str]) -> str:
    """The first of these interpreters that starts; pyenv's are known too, without being chosen."""
    versions = Path.home() / ".pyenv/versions"
    for name in names:
        kept = (
            versions.glob(f"{name.removeprefix('python')}.*/bin/python3") if name.startswith("python") else ()
        )
        for program in (name, *map(str, kept)):
            with suppress(OSError):
                if subprocess.run([program, "-c", "import ssl"], capture_output=True).returncode == 0:
                    return program
    raise SystemExit(f"none of {', '.join(names)} is here")


def _mounts(home: Path) -> list[str]:
    """An environment and the Python that it is of, for a container, at the same places."""
    told = "import sys; print(sys.base_prefix)"
    done = subprocess.run([str(home / "bin/python"), "-c", told], check=True, capture_output=True, text=True)
    base = done.stdout.strip()
    if base in ("/usr", "/usr/local"):
        raise SystemExit(f"the Python of {home} is the system's, which can't be mounted into a container")
    return [f"{home}:{home}:ro", f"{base}:{base}:ro"]


def derived(image: str, name: str, *lines: str) -> str:
    """An image of `image` whose containers are root's, with more lines of a Dockerfile."""
    tag = f"assay-peers-{name}:{image.removeprefix('sha256:')[:16]}"
    text = "\n".join([f"FROM {image}", "USER 0", "WORKDIR /", *lines]) + "\n"
    subprocess.run(
        ["docker", "build", "-q", "-t", tag, "-"], input=text.encode(), check=True, capture_output=True
    )
    return tag


NETWORK = f"assay-peers-{os.getpid()}"
"""Of the containers that need one."""


@contextmanager
def network() -> Iterator[str]:
    """The network; the address of this machine in it."""
    subprocess.run(["docker", "network", "create", NETWORK], check=True, capture_output=True)
    command = ["docker", "network", "inspect", NETWORK, "--format", "{{json .IPAM.Config}}"]
    try:
        done = subprocess.run(command, check=True, capture_output=True)
        yield str(json.loads(done.stdout)[0]["Gateway"])
    finally:
        subprocess.run(["docker", "network", "rm", NETWORK], capture_output=True)


def assay(project: Path, source: Path = SOURCE, *, name: str = ASSAY) -> Peer:
    """Assay, of a source tree, on the repository of a project folder; what it keeps is in there."""
    command = [sys.executable, "-m", "agent"]

    def fix(url: str, turns: int) -> list[str]:
        paths = ["--repo", str(project / "repo"), "--issue", str(project / "issue.md")]
        limits = ["--attempts", "1", "--turns", str(turns + 5), "--minutes", "30"]
        given = ["--fail-to-pass", ABOVE, "--model", MODEL, "--sandbox", "docker"]
        return ["env", f"ANTHROPIC_BASE_URL={url}", *command, "fix", *paths, *given, *limits]

    return Peer(
        name,
        fix,
        Script("shell", "command", "submit", {"summary": "enough", "give_up": True}),
        {"AGENT_HOME": str(project / "home"), "PYTHONPATH": str(source), "ANTHROPIC_API_KEY": KEY},
        lambda attributes, pid: attributes.get("assay.pid") == str(pid),
        help=[*command, "--help"],
    )


def mini(home: Path, image: str, *, swerex: bool) -> Peer:
    """mini-swe-agent by its own command and the settings of its own SWE-bench runs, with `docker exec` or SWE-ReX."""
    sandbox = {"environment_class": "swerex_docker" if swerex else "docker", "image": image, "cwd": "/"}
    set_to = [f"environment.{key}={value}" for key, value in sandbox.items()]
    if swerex:
        inside = [flag for mount in _mounts(home) for flag in ("-v", mount)]
        arguments = ["--network", NETWORK, "-e", f"PATH={home}/bin:/usr/local/bin:/usr/bin:/bin", *inside]
        set_to.append(
            "environment.deployment_extra_kwargs=" + json.dumps({"docker_args": arguments, "pull": "never"})
        )

    def command(url: str, turns: int) -> list[str]:
        configs = ["swebench.yaml", *set_to, f"model.model_kwargs.api_base={url}"]
        given = [part for config in configs for part in ("-c", config)]
        return [
            str(home / "bin/mini"),
            "-m",
            MODEL,
            "-t",
            TASK,
            "-y",
            "--exit-immediately",
            "-l",
            "0",
            *given,
        ]

    return Peer(
        f"mini-swe-agent, {'SWE-ReX' if swerex else 'Docker'}",
        command,
        Script("bash", "command", "bash", {"command": "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"}),
        {
            "MSWEA_CONFIGURED": "true",
            "MSWEA_GLOBAL_CONFIG_DIR": str(home / "config"),
            "MSWEA_COST_TRACKING": "ignore_errors",
            **_quiet(),
        },
        _by_image(image),
        help=[str(home / "bin/mini"), "--help"],
    )


def openhands(home: Path, image: str | None = None, host: str = "127.0.0.1") -> Peer:
    """The OpenHands SDK by the script that its documentation begins with; without an image, on the host. `host` is
    where the model is."""
    mounts = "" if image is None else json.dumps(_mounts(home))
    script = str(Path(__file__).with_name("openhands_session.py"))

    def command(url: str, turns: int) -> list[str]:
        return [str(home / "bin/python"), script, MODEL, url, TASK, image or "", NETWORK, mounts]

    return Peer(
        "OpenHands SDK, Docker" if image else "OpenHands SDK, no sandbox",
        command,
        Script("terminal", "command", "finish", {"message": "enough"}),
        {**_quiet(), "OPENHANDS_SUPPRESS_BANNER": "1"},
        _by_image(image or "-"),
        host=host,
    )


def _quiet() -> Mapping[str, str]:
    """Keys, and no look at the network for price lists."""
    return {"ANTHROPIC_API_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def _by_image(image: str) -> Callable[[Attributes, int], bool]:
    def owns(attributes: Attributes, pid: int) -> bool:
        return attributes.get("image") == image

    return owns


def field(folder: Path, image: str, host: str) -> list[Peer]:
    """All peers, in environments below `folder`, in sandboxes of an image; `host` is this machine in the network."""
    home, other = install("mini", folder), install("openhands", folder)
    plain = derived(image, "plain")
    entry = json.dumps([str(other / "bin/python"), "-m", "openhands.agent_server"])
    server = derived(image, "openhands", f"ENTRYPOINT {entry}")
    rex = derived(image, "swerex", "LABEL peer=swerex")
    return [
        mini(home, plain, swerex=False),
        mini(home, rex, swerex=True),
        openhands(other, server, host),
        openhands(other),
    ]
