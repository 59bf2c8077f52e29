"""Helpers of the sandbox tests: trees as tars, an engine, sandboxes."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from sandboxes.docker import Docker, Sandbox
from sandboxes.types import Environment, Limits

SMALL = Limits(memory_mb=512, pids=64, workspace_mb=32, tmp_mb=16, lifetime_seconds=600)
RUN = "sandbox-tests"
FILL = "for i in $(seq 20); do head -c 20M /dev/zero > /opt/env/$i; sleep 0.1; done; sleep 1100"
"""A set-up command that writes 400 MB and does not end by itself."""


def tar_of(path: Path, files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> Path:
    """A tar of regular files and symlinks; names may hold surrogates for bytes that are no UTF-8."""
    with tarfile.open(path, "w", encoding="utf-8", errors="surrogateescape") as tar:
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(member, io.BytesIO(data))
    return path


def a_tools_dir(folder: Path) -> Path:
    """The same content at every test, so that its volume is made once."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "__init__.py").write_text("")
    return tools


async def environment_of(
    docker: Docker,
    folder: Path,
    files: Mapping[str, bytes],
    *,
    image: str | None = None,
    dockerfile: str | None = None,
    setup: list[str] | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> Environment:
    tar = tar_of(folder / "tree.tar", files)
    return await docker.environment(
        tar, image=image, dockerfile=dockerfile, setup=setup, tools_dir=a_tools_dir(folder), log=log
    )


@asynccontextmanager
async def a_sandbox(folder: Path, limits: Limits = SMALL, run_id: str = RUN) -> AsyncIterator[Sandbox]:
    """A sandbox of the base image with one file in the workspace."""
    docker = await Docker.connect()
    environment = await environment_of(docker, folder, {"file": b"content"})
    async with docker.sandbox(environment, run_id=run_id, limits=limits) as sandbox:
        yield sandbox


def containers(run_id: str) -> list[str]:
    """The containers of a run, in any state."""
    command = ["docker", "ps", "-aq", "--filter", f"label=assay.run={run_id}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
