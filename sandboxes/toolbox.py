"""The toolbox volumes: programs and tools that work in any image, mounted read-only at /opt/toolbox.

    assay-toolbox-KEY  its own Python with loader and libc, git, ripgrep, busybox; follows the base image
    assay-tools-KEY    the tools' sources, at lib/agent-tools/tools/; follows their content

Two volumes, so that a change of the tools costs a few files. The toolbox is built in a container of the base
image and committed; the engine fills an empty volume from the image that it is mounted over. An image tag, set
last, says that a volume is complete.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from sandboxes import inside
from sandboxes.commands import PYTHON, TOOLBOX, TOOLS
from sandboxes.containers import container, new_name
from sandboxes.docker import BUSYBOX, Sandbox
from sandboxes.engine import Engine
from sandboxes.errors import SandboxError
from sandboxes.images import commit, find_image
from sandboxes.locks import exclusively
from sandboxes.scratch import scratch
from sandboxes.types import Limits
from sandboxes.volumes import complete, create_empty, set_complete

LIMITS = Limits(lifetime_seconds=600)
SOURCES = (".py", ".mjs", ".cjs")
COMPILE = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", TOOLS)


async def ensure_toolbox(
    engine: Engine, base_image: str, tools_dir: Path, log: Callable[[str], None]
) -> tuple[str, str]:
    """The names of the two volumes, made if they are not there yet. Raises SandboxError."""
    sources = await anyio.to_thread.run_sync(_sources, tools_dir)
    if not sources:
        raise SandboxError(f"there are no tools in {tools_dir}")
    image = toolbox_image(base_image)
    toolbox, tools = _names(base_image, sources)
    if not await complete(engine, toolbox):
        async with exclusively(toolbox, log):
            if not await complete(engine, toolbox):
                await _make_toolbox(engine, base_image, image, toolbox, log)
    if not await complete(engine, tools):
        async with exclusively(tools, log):
            if not await complete(engine, tools):
                await _make_tools(engine, image, tools, sources)
    return toolbox, tools


def toolbox_volumes(base_image: str, tools_dir: Path) -> tuple[str, str]:
    """The names of the two volumes, whether they are there or not."""
    return _names(base_image, _sources(tools_dir))


async def has_toolbox(engine: Engine, base_image: str) -> bool:
    """Whether the toolbox of this base image is ready."""
    return await complete(engine, f"assay-toolbox-{_toolbox_key(base_image)}")


def toolbox_image(base_image: str) -> str:
    """The name of the image that the toolbox of a base image is made of."""
    return f"assay-toolbox:{_toolbox_key(base_image)}"


def _toolbox_key(base_image: str) -> str:
    return _hash(base_image.encode(), inside.source("build_toolbox").encode())


def _names(base_image: str, sources: dict[str, bytes]) -> tuple[str, str]:
    key = _toolbox_key(base_image)
    parts = (part for name in sources for part in (name.encode(), sources[name]))
    return f"assay-toolbox-{key}", f"assay-tools-{_hash(key.encode(), *parts)}"


def _sources(tools_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(tools_dir.glob("*.*")) if path.suffix in SOURCES}


def _hash(*parts: bytes) -> str:
    """One short hash of the parts, with their bounds."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:24]


async def _make_toolbox(
    engine: Engine, base_image: str, image: str, volume: str, log: Callable[[str], None]
) -> None:
    if await find_image(engine, image) is None:
        log("building the toolbox")
        async with container(
            engine, base_image, name=new_name(), run_id="toolbox", user="0:0",
            command=["/bin/sleep", str(LIMITS.lifetime_seconds)], limits=LIMITS, read_only=False,
        ) as builder:  # fmt: skip
            done = await Sandbox(engine, builder, user="0:0").run(
                ["/usr/bin/python3", "-I", "-c", inside.source("build_toolbox")], timeout=300, cwd="/"
            )
            if done.exit_code != 0:
                raise SandboxError(f"could not build the toolbox: {_last_line(done.output)}")
            await commit(engine, builder, image, kind="toolbox")
    await create_empty(engine, volume, "toolbox")
    # to start a container over the empty volume is to fill it
    async with container(
        engine, image, name=new_name(), run_id="toolbox", command=[BUSYBOX, "sleep", "60"], limits=LIMITS,
        volumes={volume: (TOOLBOX, "rw")},
    ):  # fmt: skip
        await set_complete(engine, volume, image)


async def _make_tools(engine: Engine, image: str, volume: str, sources: dict[str, bytes]) -> None:
    await create_empty(engine, volume, "toolbox")
    async with container(
        engine, image, name=new_name(), run_id="toolbox", command=[BUSYBOX, "sleep", "60"], limits=LIMITS,
        volumes={volume: (TOOLS, "rw")},
    ) as filler:  # fmt: skip
        sandbox = Sandbox(engine, filler, user="0:0")
        with scratch() as folder:
            file = Path(folder) / "tools.tar"
            with tarfile.open(file, mode="w") as tar:
                for name, data in sources.items():
                    member = tarfile.TarInfo(f"tools/{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
            await sandbox.put_tree(file, into=TOOLS)
        done = await sandbox.run([*PYTHON[:-1], *COMPILE], timeout=60, cwd="/")
        if done.exit_code != 0:
            raise SandboxError(f"the tools do not compile: {_last_line(done.output)}")
        await set_complete(engine, volume, image)


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no output"
