"""Starting and removing containers: one hardened shape for sandboxes, set-up and builders."""

from __future__ import annotations

import hashlib
import posixpath
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from sandboxes import docker_seccomp, owner
from sandboxes.engine import Engine
from sandboxes.errors import SandboxError
from sandboxes.types import Limits, inodes

AGENT = "1000:1000"
"""Who every command in a sandbox runs as."""
KEEPER = "65534:65534"
"""Who PID 1 runs as: another user than the commands', so that their `kill -9 -1` spares it."""
HOME_MB, SHM_MB = 256, 64


def new_name() -> str:
    return f"assay-{secrets.token_hex(6)}"


def agent_tmpfs(limits: Limits, *, workspace: bool = True) -> dict[str, str]:
    """The writable places of a sandbox, in memory and bounded; without /workspace where that is a layer."""
    return {
        **({"/workspace": _tmpfs(limits.workspace_mb, "0755")} if workspace else {}),
        "/tmp": _tmpfs(limits.tmp_mb, "1777"),  # noqa: S108
        "/home/agent": _tmpfs(HOME_MB, "0755"),
        "/run": _tmpfs(16, "0755"),
        "/dev/shm": _tmpfs(SHM_MB, "1777", "noexec"),  # noqa: S108
    }


def _tmpfs(size_mb: int, mode: str, programs: str = "exec") -> str:
    bounds = f"size={size_mb}m,nr_inodes={inodes(size_mb)}"
    return f"rw,{programs},nosuid,nodev,{bounds},mode={mode},uid=1000,gid=1000"


def _for_podman(options: str) -> str:
    """Podman gives a tmpfs no owner and no number of files: so all may write to it, and memory alone bounds it."""
    return re.sub(r",(?:nr_inodes|uid|gid|mode)=[0-9]+", "", options) + ",mode=1777,notmpcopyup"


@dataclass(frozen=True, slots=True)
class Begun:
    """What a sandbox's container gets besides, to begin with a repository's tree."""

    mounts: Sequence[Any] = ()
    """The overlay of /workspace."""
    volumes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The tree, to be copied."""


@asynccontextmanager
async def container(
    engine: Engine,
    image: str,
    *,
    name: str,
    run_id: str,
    command: Sequence[str],
    limits: Limits,
    user: str = KEEPER,
    environment: Mapping[str, str] | None = None,
    tmpfs: Mapping[str, str] | None = None,
    volumes: Mapping[str, tuple[str, str]] | None = None,
    mounts: Sequence[Any] = (),
    network: str = "none",
    read_only: bool = True,
    capabilities: Sequence[str] = (),
    directories: bytes | None = None,
) -> AsyncIterator[str]:
    """A running container, yielded by its id and removed at the end, whatever happens.

    `command` is PID 1's child and bounds the container's life: when it ends, the engine removes the container.
    `volumes` maps a volume's name to (path, "ro" or "rw"); `mounts` are of anonymous_volume. `directories` is a tar
    unpacked into the root before the start. An engine that has fewer CPUs than the limit gives what it has. Raises
    SandboxError when the engine refuses; docker.errors.APIError 409 when the name is taken.
    """
    api = engine.api
    cpus = await affordable_cpus(engine, limits)
    tmpfs, binds = dict(tmpfs or {}), dict(volumes or {})
    writable = {*tmpfs, *(mount["Target"] for mount in mounts)}
    ours = {*writable, *(path for path, _ in binds.values())}
    for path in await _declared_volumes(engine, image, ours):
        # below a place that may be written the writing would end there, and above one of ours that could not be mounted
        if any(f"{path}/".startswith(f"{place}/") for place in writable) or any(
            place.startswith(f"{path}/") for place in ours
        ):
            tmpfs[path] = _tmpfs(limits.tmp_mb, "0755")
        else:
            binds[await _image_volume(engine, image, path)] = (path, "ro")
    podman = await engine.is_podman()
    if podman:
        tmpfs = {path: _for_podman(options) for path, options in tmpfs.items()}
    config = api.create_host_config(
        auto_remove=True,
        init=True,
        network_mode=network,
        read_only=read_only,
        cap_drop=["ALL"],
        cap_add=list(capabilities),
        security_opt=["no-new-privileges:true", *await _filter(engine)],
        mem_limit=limits.memory_mb << 20,
        memswap_limit=limits.memory_mb << 20,
        pids_limit=limits.pids,
        nano_cpus=int(cpus * 1e9),
        shm_size=SHM_MB << 20,
        tmpfs=tmpfs,
        binds={volume: {"bind": path, "mode": mode} for volume, (path, mode) in binds.items()},
        mounts=list(mounts),
        ulimits=_ulimits(limits, podman=podman),
        log_config=_log_none(),
        runtime=engine.runtime,
    )
    try:
        created = await engine.call(
            _create,
            engine,
            name=name,
            image=image,
            command=list(command),
            entrypoint=[""],  # the way to say: none, whatever the image has
            user=user,
            environment=dict(environment or {}),
            hostname="sandbox",
            labels=owner.labels(run_id),
            host_config=config,
            working_dir="/",
            healthcheck={"test": ["NONE"]},
            use_config_proxy=False,  # it may hold a password
        )
        if directories is not None:
            await engine.call(api.put_archive, created, "/", directories)
        await _start(engine, created)
        if podman and tmpfs:
            await _open(engine, created, list(tmpfs), toolbox="/opt/toolbox" in ours)
        yield created
    except _NameTaken as taken:
        name = ""
        raise taken.error from None
    finally:
        if name:
            # by name: when cancelled, the engine may have created it without our having its id
            with anyio.CancelScope(shield=True):
                await remove(engine, name)


async def affordable_cpus(engine: Engine, limits: Limits) -> float:
    """The limit's CPUs, or all of the engine's where those are fewer: asking for more than it has is an error to it."""
    return min(limits.cpus, await engine.cpus() or limits.cpus)


async def _filter(engine: Engine) -> list[str]:
    """The filter of system calls. Podman takes a file of its own machine alone, so there it is Podman's default one."""
    return [] if await engine.is_podman() else [f"seccomp={docker_seccomp.profile()}"]


async def _declared_volumes(engine: Engine, image: str, ours: set[str]) -> list[str]:
    """Where the image asks for volumes, which the engine would make on its disk, writable and without bounds."""
    from docker.errors import ImageNotFound

    try:
        found = await engine.call(engine.api.inspect_image, image)
    except ImageNotFound:
        return []  # the engine will say so
    paths = {
        "/" + posixpath.normpath(path).strip("/") for path in (found.get("Config") or {}).get("Volumes") or {}
    }
    return sorted(paths - ours)


async def _image_volume(engine: Engine, image: str, path: str) -> str:
    """A volume for what the image has there, which the engine fills when it is first mounted.

    All sandboxes of the image share it, since none may write to it: it costs no more than the image, and no run has
    to clean it up.
    """
    name = "assay-data-" + hashlib.sha256(f"{image}:{path}".encode()).hexdigest()[:24]
    await engine.call(engine.api.create_volume, name, labels={owner.CACHE: "data"})
    return name


class _NameTaken(Exception):
    def __init__(self, error: Exception) -> None:
        self.error = error


def _create(engine: Engine, **config: Any) -> str:
    from docker.errors import APIError

    try:
        return str(engine.api.create_container(**config)["Id"])
    except APIError as error:
        if error.status_code == 409:
            raise _NameTaken(error) from error
        raise SandboxError(f"the Docker engine refused a container: {error.explanation or error}") from error


async def _open(engine: Engine, container_id: str, places: Sequence[str], *, toolbox: bool) -> None:
    """Let all write to places in memory: Podman gives them the mode that the image has there, and root as the owner."""
    program = ["/opt/toolbox/bin/busybox", "chmod"] if toolbox else ["/bin/chmod"]
    made = await engine.call(engine.api.exec_create, container_id, [*program, "1777", *places], user="0:0")
    said = await engine.call(engine.api.exec_start, made["Id"])
    if (await engine.call(engine.api.exec_inspect, made["Id"]))["ExitCode"] != 0:
        raise SandboxError(f"Podman's places in memory could not be opened: {said[-300:]!r}")


async def _start(engine: Engine, container_id: str) -> None:
    from docker.errors import APIError

    try:
        await engine.call(engine.api.start, container_id)
    except APIError as error:
        raise SandboxError(
            f"the Docker engine could not start a container: {error.explanation or error}"
        ) from error


async def remove(engine: Engine, name: str) -> None:
    """Remove a container and wait until it is gone; one that is gone already is fine."""
    from docker.errors import APIError, NotFound

    for _ in range(50):
        try:
            await engine.call(engine.api.remove_container, name, force=True, v=True)
            return
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409:  # 409: the engine is removing it already
                raise SandboxError(
                    f"could not remove container {name}: {error.explanation or error}"
                ) from error
        await anyio.sleep(0.1)


async def written(engine: Engine, container_id: str) -> int:
    """Bytes that a container wrote to the layer of its own; 0 when it is gone. Raises SandboxError."""
    api = engine.api
    url = f"{api.base_url}/v{api.api_version}/containers/{container_id}/json"
    answer = await engine.call(api.get, url, params={"size": "1"}, timeout=120)
    if not answer.ok and answer.status_code != 404:
        raise SandboxError(f"the engine did not tell what a container wrote: {answer.reason}")
    return int(answer.json().get("SizeRw") or 0)


def _ulimits(limits: Limits, *, podman: bool) -> list[Any]:
    from docker.types import Ulimit

    # above what fits in any writable place, so that a program sees a full disk rather than SIGXFSZ
    largest = 2 * max(limits.workspace_mb, limits.tmp_mb, HOME_MB) << 20
    return [
        # no more than any engine may give: asking for more than its own limit fails
        Ulimit(name="nofile", soft=4096, hard=4096),
        Ulimit(name="fsize", soft=largest, hard=largest),
        Ulimit(name="core", soft=0, hard=0),
        # Podman's own choice is more than it may give without CAP_SYS_RESOURCE; the pids limit is what bounds a sandbox
        *([Ulimit(name="nproc", soft=16384, hard=16384)] if podman else []),
    ]


def anonymous_volume(target: str, kind: str, options: str) -> Any:
    """A mount that the engine makes for one container, of a file system of this kind, and drops with it."""
    from docker.types import DriverConfig, Mount

    config = DriverConfig("local", {"type": kind, "device": kind, "o": options})
    return Mount(target, None, type="volume", no_copy=True, driver_config=config)


def _log_none() -> Any:
    from docker.types import LogConfig

    return LogConfig(type="none", config={})
