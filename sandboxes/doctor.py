"""What `agent doctor` says of the sandboxes."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import anyio.to_thread

from sandboxes import cgroup, scratch
from sandboxes.bubblewrap import Bubblewrap
from sandboxes.containers import container, new_name
from sandboxes.docker import Docker, Sandbox
from sandboxes.engine import Engine
from sandboxes.errors import EngineUnavailable, SandboxError
from sandboxes.images import SYSTEM_PATH, base_image_plan, base_image_tag, find_image
from sandboxes.leftovers import remove_leftovers
from sandboxes.machine_environment import missing_helpers, stale
from sandboxes.prune import VARIABLE, prune
from sandboxes.toolbox import has_toolbox
from sandboxes.types import Finding, Limits

PLENTY_MB = 5_000
"""What a base image, a toolbox and a few environments take."""


async def diagnose(cache: Path) -> list[Finding]:
    """Look at everything a sandbox needs, and remove what dead runs left behind. Builds nothing.

    One driver is enough, unless DOCKER_HOST says that an engine is wanted. `cache` is bubblewrap's.
    """
    docker, bubblewrap = await _docker(), await _bubblewrap(cache)
    if not bubblewrap.ok and docker[0].ok:
        detail = f"cannot be used, and is not needed beside an engine: {bubblewrap.detail}"
        bubblewrap = Finding(bubblewrap.name, True, detail)
    if not docker[0].ok and bubblewrap.ok and not os.environ.get("DOCKER_HOST"):
        docker = [Finding("engine", True, f"none, so bubblewrap makes the sandboxes: {docker[0].detail}")]
    return [*docker, bubblewrap, *await anyio.to_thread.run_sync(remove_left_by_bubblewrap, cache)]


async def tidy(cache: Path) -> None:
    """Remove what dead runs left behind, as far as that can be done; `cache` is bubblewrap's."""
    for folder in scratch.stale():
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(SandboxError):
        await remove_leftovers(await Docker.connect())
    await anyio.to_thread.run_sync(remove_left_by_bubblewrap, cache)


async def _bubblewrap(cache: Path) -> Finding:
    try:
        driver = await Bubblewrap.connect(cache)
    except EngineUnavailable as error:
        text, _, mend = str(error).rpartition(": ")
        return Finding("bubblewrap", False, text or mend, mend)
    lacks = missing_helpers()
    said = [driver.machine.version, "a sandbox starts", driver.limited]
    said += [f"the tools do without {', '.join(lacks)}, which the machine lacks"] if lacks else []
    return Finding("bubblewrap", True, "; ".join(said))


def remove_left_by_bubblewrap(cache: Path) -> list[Finding]:
    """Half-made folders and control groups of killed runs: removed. Its sandboxes end with their run."""
    folders, groups = stale(cache), cgroup.leftovers()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for group in groups:
        with contextlib.suppress(OSError):  # processes are in it yet, and end with their supervisor
            Path(group).rmdir()
    if not folders and not groups:
        return []
    kept = [str(path) for path in (*folders, *map(Path, groups)) if path.exists()]
    if kept:
        return [
            Finding(
                "bubblewrap's leftovers", False, f"can't be removed: {', '.join(kept)}", "remove them by hand"
            )
        ]
    return [Finding("bubblewrap's leftovers", True, f"removed {len(folders) + len(groups)} folders")]


async def _docker() -> list[Finding]:
    try:
        docker = await Docker.connect()
    except EngineUnavailable as error:
        text, _, mend = str(error).partition(": ")
        return [Finding("engine", False, text, mend)]
    engine = docker.engine
    info: dict[str, Any] = await engine.call(engine.api.info)
    findings = [
        Finding(
            "engine",
            True,
            f"Docker {info.get('ServerVersion', '?')} at {engine.address}, cgroup v{info.get('CgroupVersion', '1')}",
        ),
        _limits(info),
        _disk(info),
    ]
    findings += await _base_image(engine)
    findings.append(await _left(docker))
    findings.append(await _cached(engine))
    return findings


def _limits(info: dict[str, Any]) -> Finding:
    named = {"MemoryLimit": "memory", "SwapLimit": "swap", "PidsLimit": "processes", "CpuCfsQuota": "CPU"}
    missing = [name for key, name in named.items() if not info.get(key)]
    if not missing:
        return Finding("limits", True, "memory, swap, processes and CPU can be limited")
    rootless = any("rootless" in option for option in info.get("SecurityOptions") or ())
    if rootless:
        mend = (
            "delegate the controllers to the user's engine: https://docs.docker.com/engine/security/rootless/"
        )
    elif missing == ["swap"]:
        mend = "boot the kernel with swapaccount=1, or switch swap off; without it a sandbox may use swap as well"
    else:
        mend = "boot the kernel with these cgroup controllers (cgroup_enable=memory swapaccount=1)"
    # a sandbox that can swap is still bounded in memory, so that alone is no fault
    return Finding("limits", missing == ["swap"], f"the engine cannot limit {', '.join(missing)}", mend)


def _disk(info: dict[str, Any]) -> Finding:
    root = Path(str(info.get("DockerRootDir", "/var/lib/docker")))
    while not root.is_dir() and root != root.parent:
        root = root.parent
    try:
        free = shutil.disk_usage(root).free >> 20
    except OSError as error:
        return Finding("disk", True, f"not known for {root}: {error.strerror}")
    mend = f"free some of {root}, or set {VARIABLE} to fewer gigabytes: cached environments beyond it are removed"
    return Finding("disk", free >= PLENTY_MB, f"{free / 1000:.1f} GB free in {root}", mend)


async def _base_image(engine: Engine) -> list[Finding]:
    """Whether there is a base image, and if so, whether a hardened container starts from it."""
    image = await find_image(engine, base_image_tag())
    if image is None:
        ok, detail = await base_image_plan(engine)
        return [
            Finding(
                "base image", ok, f"not made yet; {detail}" if ok else "none, and no way to make one", detail
            )
        ]
    ready = await has_toolbox(engine, image)
    found = [
        Finding("base image", True, base_image_tag()),
        Finding("toolbox", True, "ready" if ready else "not built yet; the first run builds it in seconds"),
    ]
    try:
        async with container(
            engine, image, name=new_name(), run_id="doctor", command=["/bin/sleep", "60"], limits=Limits(),
            environment={"PATH": SYSTEM_PATH},
        ) as container_id:  # fmt: skip
            done = await Sandbox(engine, container_id).run(["/usr/bin/id", "-u"], timeout=20, cwd="/")
    except SandboxError as error:
        return [*found, Finding("sandbox", False, str(error), "see the engine's log")]
    fine = done.output.strip() == b"1000"
    return [
        *found,
        Finding("sandbox", fine, "a hardened container starts" if fine else f"answers {done.output!r}"),
    ]


async def _left(docker: Docker) -> Finding:
    removed = await remove_leftovers(docker)
    if not removed:
        return Finding("leftovers", True, "none")
    runs = ", ".join(sorted({one.run_id for one in removed}))
    return Finding("leftovers", True, f"removed {len(removed)} container(s) of runs that were killed: {runs}")


async def _cached(engine: Engine) -> Finding:
    """What cached images take, after those beyond the bound are removed."""
    removed: list[str] = []
    try:
        left = await prune(engine, removed.append)
    except SandboxError as error:
        return Finding("cached images", False, str(error), f"mend {VARIABLE}, or unset it")
    more = f"; removed {len(removed)} that were not used for longest" if removed else ""
    return Finding("cached images", True, f"{left.told()}{more}")
