"""The base image: Debian bookworm with what the toolbox and a Python project's set-up need."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from sandboxes import owner
from sandboxes.containers import container, new_name
from sandboxes.docker import Sandbox
from sandboxes.engine import Engine
from sandboxes.errors import ImageUnavailable
from sandboxes.hostnet import proxy_variables
from sandboxes.locks import exclusively
from sandboxes.types import Limits

REFERENCE = "debian:bookworm-slim"
DEBOOTSTRAPPED = "assay-debian:bookworm"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIMITS = Limits(lifetime_seconds=1200, pids=1024)
# what apt and dpkg need to hand files to their owners
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID")
PACKAGES = "python3 python3-venv git ripgrep patchelf busybox-static ca-certificates bash"
COMPILERS = "gcc libc6-dev python3-dev"
PREPARE = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
absent() {{
    for p in "$@"; do dpkg-query -W -f '${{Status}}' $p 2>/dev/null | grep -q 'ok installed' || echo $p; done
}}
install() {{
    apt-get -o APT::Sandbox::User=root -o Dpkg::Options::=--force-unsafe-io \\
        install -y -qq --no-install-recommends "$@"
}}
if command -v apt-get > /dev/null; then
    missing=$(absent {PACKAGES} {COMPILERS})
    if [ -n "$missing" ]; then
        apt-get -o APT::Sandbox::User=root -o Acquire::Retries=3 update -qq || echo "apt-get update failed"
        install $missing || install $(absent {PACKAGES})
        rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
    fi
fi
for program in python3 git rg patchelf busybox bash; do
    command -v $program > /dev/null || {{ echo "the image has no $program, and apt-get did not install it"; exit 1; }}
done
/usr/bin/python3 -c 'import ensurepip, venv' || {{ echo "the image has no python3-venv"; exit 1; }}
grep -q '^[^:]*:[^:]*:1000:' /etc/group || echo 'agent:x:1000:' >> /etc/group
grep -q '^[^:]*:[^:]*:1000:' /etc/passwd || echo 'agent:x:1000:1000::/home/agent:/bin/bash' >> /etc/passwd
mkdir -p /home/agent /workspace /opt/env
chown 1000:1000 /home/agent /workspace /opt/env
"""


async def ensure_base_image(engine: Engine, log: Callable[[str], None]) -> str:
    """The id of the base image. In this order: the one built before, the image named by AGENT_BASE_IMAGE
    (or Debian's own) from the engine or a registry, debootstrap on this host. Raises ImageUnavailable."""
    reference, tag = _reference(), base_image_tag()
    if found := await find_image(engine, tag):
        return found
    async with exclusively(tag.replace(":", "-"), log):
        if found := await find_image(engine, tag):
            return found
        source = await find_image(engine, reference)
        if source is None:
            log(f"pulling {reference}")
            refused = await _pull(engine, reference)
            source = await find_image(engine, reference)
        if source is None:
            if os.environ.get("AGENT_BASE_IMAGE"):
                raise ImageUnavailable(f"cannot pull AGENT_BASE_IMAGE={reference}: {refused}")
            log(f"cannot pull {reference} ({refused}); trying debootstrap")
            async with exclusively("debootstrap", log):
                source = await find_image(engine, DEBOOTSTRAPPED) or await _debootstrap(engine, refused, log)
        return await _prepare(engine, source, tag, log)


def base_image_tag() -> str:
    """The tag of the base image that this version makes with these settings."""
    return "assay-base:" + hashlib.sha256(f"{_reference()}\0{PREPARE}".encode()).hexdigest()[:24]


async def base_image_plan(engine: Engine) -> tuple[bool, str]:
    """How the base image would be made, when it is first needed; or (False, what to do)."""
    if await find_image(engine, _reference()):
        return True, f"will be made from {_reference()}"
    if os.environ.get("AGENT_BASE_IMAGE"):
        return True, f"AGENT_BASE_IMAGE={_reference()} will be pulled"
    if _debootstrap_program():
        return True, f"{REFERENCE} will be pulled, or debootstrap run"
    refused = await _pull(engine, REFERENCE)
    return (True, f"will be made from {REFERENCE}") if not refused else (False, _no_base_image(refused))


def _reference() -> str:
    return os.environ.get("AGENT_BASE_IMAGE") or REFERENCE


def _debootstrap_program() -> str | None:
    """debootstrap, where this user may run it."""
    if os.geteuid() != 0:
        return None
    return shutil.which("debootstrap", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _no_base_image(refused: str) -> str:
    return (
        f"{REFERENCE} cannot be pulled ({refused}): run `docker pull {REFERENCE}` where there is a registry and "
        "`docker load` it here, set AGENT_BASE_IMAGE to a Debian image that you have, or run once as root with "
        "debootstrap installed (`apt-get install debootstrap`)"
    )


async def find_image(engine: Engine, reference: str) -> str | None:
    """The id of an image that the engine has, or None."""
    from docker.errors import ImageNotFound

    try:
        return str((await engine.call(engine.api.inspect_image, reference))["Id"])
    except ImageNotFound:
        return None


async def ensure_image(engine: Engine, reference: str, log: Callable[[str], None]) -> str:
    """The id of the user's image, pulled if the engine does not have it. Raises ImageUnavailable."""
    if found := await find_image(engine, reference):
        return found
    log(f"pulling {reference}")
    refused = await _pull(engine, reference)
    if found := await find_image(engine, reference):
        return found
    raise ImageUnavailable(
        f"cannot pull the image {reference}: {refused}; `docker pull` or `docker load` it, or name another image"
    )


async def image_config(engine: Engine, image: str) -> dict[str, Any]:
    """What the image says of itself: Env, Labels, User and so on."""
    found = await engine.call(engine.api.inspect_image, image)
    return dict(found.get("Config") or {})


async def tag_image(engine: Engine, image: str, tag: str) -> None:
    repository, _, name = tag.partition(":")
    await engine.call(engine.api.tag, image, repository, name, force=True)


def _instructions(config: Mapping[str, Any]) -> list[str]:
    """The same as a Dockerfile's instructions."""
    # its parser keeps the backslashes of quoted values, so nothing is quoted: in JSON a space can be written otherwise
    labels = [
        f"LABEL {name}={value.replace(' ', chr(92) + 'u0020')}" for name, value in config["Labels"].items()
    ]
    variables = [f"ENV {one}" for one in config["Env"]]
    return [*labels, *variables, f"USER {config['User']}", f"WORKDIR {config['WorkingDir']}"]


async def commit(
    engine: Engine,
    container_id: str,
    tag: str,
    *,
    kind: str,
    path: str = SYSTEM_PATH,
    labels: dict[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Make an image of a container, with nothing of the container's own configuration left; returns its id."""
    repository, _, name = tag.partition(":")
    config: dict[str, Any] = {
        "Env": [f"PATH={path}", *(f"{name}={value}" for name, value in (variables or {}).items())],
        "User": "1000:1000",
        "WorkingDir": "/workspace",
        "Hostname": "",
        # the engine merges the container's labels in, so the owner's have to be blanked
        "Labels": {owner.RUN: "", owner.PID: "", owner.BOOT: "", owner.CACHE: kind, **(labels or {})},
    }
    changes = _instructions(config) if await engine.is_podman() else None  # which reads no configuration
    done = await engine.call(
        engine.api.commit, container_id, repository=repository, tag=name, conf=config, changes=changes
    )
    return str(done["Id"])


async def _prepare(engine: Engine, source: str, tag: str, log: Callable[[str], None]) -> str:
    """Install what is missing, and make the agent's user and directories."""
    log("preparing the base image (packages by apt-get)")
    async with container(
        engine, source, name=new_name(), run_id="base-image", user="0:0",
        command=["/bin/sleep", str(LIMITS.lifetime_seconds)], limits=LIMITS,
        network="bridge", read_only=False, capabilities=CAPABILITIES,
    ) as builder:  # fmt: skip
        done = await Sandbox(engine, builder, user="0:0").run(
            ["/bin/sh", "-c", PREPARE], timeout=900, cwd="/", env={"PATH": SYSTEM_PATH, **proxy_variables()}
        )
        if done.exit_code != 0:
            lines = done.output.decode("utf-8", "replace").strip().splitlines()
            raise ImageUnavailable(
                "could not prepare the base image: "
                + ("it took more than 15 minutes" if done.timed_out else lines[-1] if lines else "no output")
                + "; see that containers reach the Debian mirror, or set AGENT_BASE_IMAGE to a Debian image that has "
                + PACKAGES
            )
        return await commit(engine, builder, tag, kind="base")


async def _pull(engine: Engine, reference: str) -> str:
    """Pull an image; returns the reason of a failure, "" for success.

    The engine may try an unreachable registry for minutes, so 30 seconds without a byte end it.
    """

    def pull() -> str:
        import requests
        from docker.auth import get_config_header, resolve_repository_name
        from docker.utils import parse_repository_tag

        api = engine.api
        repository, tag = parse_repository_tag(reference)
        header = get_config_header(api, resolve_repository_name(repository)[0])
        try:
            with api.post(
                f"{api.base_url}/v{api.api_version}/images/create",
                params={"fromImage": repository, "tag": tag or "latest"},
                headers={"X-Registry-Auth": header} if header else {},
                stream=True,
                timeout=30,
            ) as response:
                if not response.ok:
                    return str(response.json().get("message", response.reason))
                for line in response.iter_lines():
                    event = json.loads(line) if line.strip() else {}
                    if "error" in event:
                        return str(event["error"])
        except requests.RequestException as error:
            timeout = isinstance(error, requests.Timeout) or "timed out" in str(error)
            return "the registry did not answer within 30 seconds" if timeout else str(error)
        return ""

    return (await anyio.to_thread.run_sync(pull)).replace("\n", " ")


async def _debootstrap(engine: Engine, refused: str, log: Callable[[str], None]) -> str:
    """Make a minimal Debian on this host and import it; returns DEBOOTSTRAPPED, its name."""
    program = _debootstrap_program()
    if program is None:
        raise ImageUnavailable(f"there is no base image: {_no_base_image(refused)}")
    # not in /tmp, which others may write to, and which may be mounted without device files or programs
    folder = Path("/var/cache/assay-base")
    await anyio.to_thread.run_sync(_clear, folder)  # what a killed run left
    try:
        log("building a minimal Debian with debootstrap (about a minute)")
        root = folder / "root"
        with anyio.move_on_after(900) as limit:
            code, output = await _run_group([program, "--variant=minbase", "bookworm", str(root)])
        if limit.cancelled_caught:
            raise ImageUnavailable(
                "debootstrap took more than 15 minutes; see that the Debian mirror can be reached"
            )
        if code != 0:
            lines = output.decode("utf-8", "replace").strip().splitlines()
            raise ImageUnavailable(f"debootstrap failed: {lines[-1] if lines else code}")
        await engine.call(_import, engine, root)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_clear, folder)
    return DEBOOTSTRAPPED


async def _run_group(command: list[str]) -> tuple[int, bytes]:
    """Run a program to its end: (exit code, output). When cancelled, its children are killed with it."""
    output = b""
    async with await anyio.open_process(command, stderr=subprocess.STDOUT, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            async for chunk in process.stdout:
                output = (output + chunk)[-(1 << 16) :]
            return await process.wait(), output
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)


def _clear(folder: Path) -> None:
    """Remove what debootstrap made. It mounts /proc and /sys there, and leaves them when it is killed."""
    for name in ("proc", "sys"):
        subprocess.run(["umount", "-R", str(folder / "root" / name)], capture_output=True)
    if any(os.path.ismount(folder / "root" / name) for name in ("proc", "sys")):
        raise ImageUnavailable(
            f"cannot unmount what is mounted below {folder}: unmount it and remove the directory"
        )
    shutil.rmtree(folder, ignore_errors=True)


def _import(engine: Engine, root: Path) -> None:
    left_out = ["./dev/*", "./proc/*", "./sys/*", "./var/cache/apt/*", "./var/lib/apt/lists/*"]
    command = [
        "tar",
        "-C",
        str(root),
        "--numeric-owner",
        *(f"--exclude={path}" for path in left_out),
        "-c",
        ".",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
        repository, _, tag = DEBOOTSTRAPPED.partition(":")
        answer = engine.api.import_image(
            src=tar.stdout,
            stream_src=True,
            repository=repository,
            tag=tag,
            changes=f"LABEL {owner.CACHE}=base",
        )
    found = re.search(r"sha256:[0-9a-f]{64}", str(answer))
    if tar.returncode != 0 or found is None:
        raise ImageUnavailable(f"the Docker engine did not import the image: {answer}")
    engine.api.tag(found[0], repository, tag, force=True)  # which Podman forgets
