"""The environment of a repository for bubblewrap: /opt/env made with the machine's own Python, and the toolbox.

All of it is kept in folders of the cache, named after what they were made from; each is made beside its place and put
there at once. Only the set-up has a network: the host's, so unlike Docker's it can reach what listens on this host.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from sandboxes import owner
from sandboxes.commands import TOOLBOX, TOOLS
from sandboxes.detect import plan, scan
from sandboxes.disk import Disk, bounded, size_of
from sandboxes.environment import ENV, LIMITS, RECIPE, Work, digest_of, set_up
from sandboxes.errors import SandboxError
from sandboxes.hostnet import HostNetwork
from sandboxes.locks import exclusively
from sandboxes.machine import PATH, Bind, Machine
from sandboxes.syscalls import ROOTS
from sandboxes.toolbox import SOURCES
from sandboxes.types import Environment

if TYPE_CHECKING:
    from sandboxes.bubblewrap import Bubblewrap

MAKING = "making-"
"""Folders under way, with a file that names their owner."""
HELPERS = {"git": "/usr/bin/git", "rg": "/usr/bin/rg", "busybox": "/usr/bin/busybox"}
NETWORK_FILES = ("resolv.conf", "hosts")


async def prepare(
    driver: Bubblewrap,
    tree_tar: Path,
    *,
    setup: Sequence[str] | None,
    tools_dir: Path,
    log: Callable[[str], None],
) -> Environment:
    """See Driver.environment."""
    cache, machine = driver.cache, driver.machine
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        toolbox = await anyio.to_thread.run_sync(_toolbox, cache, machine, log)
        tools = await anyio.to_thread.run_sync(_tools, cache, machine, tools_dir)
        repository = await anyio.to_thread.run_sync(scan, tree_tar)
    except (OSError, tarfile.TarError) as error:
        raise SandboxError(f"cannot prepare the environment: {error}") from error
    found = plan(repository) if setup is None else None
    host = await anyio.to_thread.run_sync(HostNetwork.read)
    made_from: list[Any] = [_identity(machine)]
    if found is not None or setup:
        made_from += [
            RECIPE, list(setup or ()), found and asdict(found), host.public, repository.layout,
            {name: hashlib.sha256(data).hexdigest() for name, data in repository.manifests.items()},
        ]  # fmt: skip
    digest = digest_of("bubblewrap", *made_from)
    name = "environment-" + digest.removeprefix("sha256:")[:32]
    async with exclusively(name, log):
        if not (cache / name).exists():
            with _making(cache, name) as folder:
                await anyio.to_thread.run_sync(_writable, folder / "env")
                kept: dict[str, Any] = {
                    "path": machine.path,
                    "variables": {},
                    "summary": "no set-up: this is no Python project",
                    "warnings": [],
                }
                if found is not None or setup:
                    binds = [
                        Bind(cache / toolbox, TOOLBOX),
                        Bind(cache / tools, TOOLS),
                        Bind(folder / "env", ENV, writable=True),
                    ]
                    files = await anyio.to_thread.run_sync(_network_files)
                    variables = {"PATH": f"{ENV}/bin:{PATH}"}
                    size = partial(anyio.to_thread.run_sync, size_of, folder / "env")
                    async with (
                        driver.bare(
                            LIMITS, binds=binds, variables=variables, files=files, network=True
                        ) as sandbox,
                        bounded(size, Disk(folder)),
                    ):
                        kept = await set_up(
                            sandbox,
                            tree_tar,
                            repository,
                            Work(found, list(setup or ()), must=setup is not None, variables={}),
                            path=PATH,
                            host=host,
                            log=log,
                        )
                (folder / "kept.json").write_text(json.dumps(kept))
    kept = json.loads(await anyio.to_thread.run_sync((cache / name / "kept.json").read_text))
    return Environment(
        image=name,
        toolbox=toolbox,
        tools=tools,
        path=kept["path"],
        variables=kept["variables"],
        digest=digest,
        summary=kept["summary"],
        warnings=tuple(kept["warnings"]),
    )


def missing_helpers() -> list[str]:
    """The programs that the tools would like to have and the machine lacks."""
    return [name for name, path in HELPERS.items() if not os.access(path, os.X_OK)]


def stale(cache: Path) -> list[Path]:
    """Folders under way whose maker is dead."""
    found = []
    for folder in cache.glob(MAKING + "*"):
        try:
            labels = json.loads((folder / "owner").read_text())
        except (OSError, ValueError):
            labels = {}
        if owner.state(labels.get(owner.PID, ""), labels.get(owner.BOOT, "")) == "dead" or not labels:
            found.append(folder)
    return found


def _identity(machine: Machine) -> list[str]:
    """What of the machine an environment is made from."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    system = [release.get(key, "") for key in ("ID", "VERSION_ID")]
    return [
        *system,
        platform.machine(),
        *platform.libc_ver(machine.python),
        machine.python,
        machine.python_version,
    ]


@asynccontextmanager
async def tree_folder(
    driver: Bubblewrap, environment: Environment, write_tar: Callable[[Path], None]
) -> AsyncIterator[Path]:
    """A folder with a tree in it, as a sandbox unpacks it, until the block ends."""
    with _folder(driver.cache, "tree") as folder:
        tar, files = folder / "tree.tar", folder / "files"
        await anyio.to_thread.run_sync(write_tar, tar)
        await anyio.to_thread.run_sync(_writable, files)
        binds = [*driver.binds(environment), Bind(files, "/workspace", writable=True)]
        async with driver.bare(LIMITS, binds=binds) as sandbox:
            await sandbox.put_tree(tar)
        yield files


@contextmanager
def _folder(cache: Path, what: str) -> Iterator[Path]:
    """A new folder, which is gone when the block has ended."""
    folder = cache / f"{MAKING}{secrets.token_hex(6)}"
    folder.mkdir()
    try:
        (folder / "owner").write_text(json.dumps(owner.labels(what)))
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _making(cache: Path, name: str) -> Iterator[Path]:
    """A new folder that gets its name when the block has ended well, and is gone when not."""
    with _folder(cache, name) as folder:
        yield folder
        (folder / "owner").unlink()
        try:
            folder.rename(cache / name)
        except OSError:
            if not (cache / name).exists():  # another was faster, on a host that shares this folder
                raise


def _writable(folder: Path) -> None:
    """A folder that commands may write to."""
    folder.mkdir()
    folder.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder, ROOTS, ROOTS)


def _toolbox(cache: Path, machine: Machine, log: Callable[[str], None]) -> str:
    """The folder for /opt/toolbox: links to the machine's own programs."""
    missing = missing_helpers()
    if missing:
        log(f"the machine has no {', '.join(missing)}: the tools do without")
    links = {"bin/python3": machine.python}
    links |= {f"bin/{name}": path for name, path in HELPERS.items() if name not in missing}
    if "git" not in missing:
        core = subprocess.run([HELPERS["git"], "--exec-path"], capture_output=True, text=True, check=True)
        links |= {
            "libexec/git-core": core.stdout.strip(),
            "libexec/templates": "/usr/share/git-core/templates",
        }
    name = "toolbox-" + digest_of(links).removeprefix("sha256:")[:24]
    if not (cache / name).exists():
        with _making(cache, name) as folder:
            for place in ("bin", "lib", "libexec", "lib/agent-tools"):
                (folder / place).mkdir()
                (folder / place).chmod(0o755)
            for link, target in links.items():
                (folder / link).symlink_to(target)
    return name


def _tools(cache: Path, machine: Machine, tools_dir: Path) -> str:
    """The folder for the tools' sources."""
    sources = {
        path.name: path.read_bytes() for path in sorted(tools_dir.glob("*.*")) if path.suffix in SOURCES
    }
    if not sources:
        raise SandboxError(f"there are no tools in {tools_dir}")
    parts = {name: hashlib.sha256(data).hexdigest() for name, data in sources.items()}
    name = "tools-" + digest_of(machine.python_version, parts).removeprefix("sha256:")[:24]
    if not (cache / name).exists():
        with _making(cache, name) as folder:
            (folder / "tools").mkdir()
            for file, data in sources.items():
                (folder / "tools" / file).write_bytes(data)
            compiling = [
                "-I",
                "-m",
                "compileall",
                "-q",
                "--invalidation-mode",
                "unchecked-hash",
                str(folder / "tools"),
            ]
            done = subprocess.run([machine.python, *compiling], capture_output=True, text=True, env={})
            if done.returncode != 0:
                raise SandboxError(f"the tools do not compile: {done.stdout.strip()[-300:]}")
            for path in (folder / "tools", *(folder / "tools").rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
    return name


def _network_files() -> dict[str, bytes]:
    """The host's own words on names, for a set-up."""
    found = {}
    for name in NETWORK_FILES:
        try:
            found[name] = Path("/etc", name).read_bytes()
        except OSError:
            continue
    return found
