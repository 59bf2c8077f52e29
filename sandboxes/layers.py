"""A repository's tree that many sandboxes begin with: one copy on disk, and a layer of its own in memory for each.

The tree lies in a volume, made once for a tree and an environment. A sandbox's /workspace is an overlay of it and a
bounded place in memory, which the engine mounts: no file is copied when a sandbox starts. The places are tmpfs mounts
of one more container, the holder, since a sandbox's own mounts are not there before its overlay is. Where an engine
mounts no overlays (rootless ones on old kernels), the tree is copied into the sandbox's memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from sandboxes import volumes
from sandboxes.commands import TOOLBOX, TOOLS
from sandboxes.containers import AGENT, Begun, anonymous_volume, container, new_name
from sandboxes.docker import BUSYBOX, Sandbox
from sandboxes.engine import Engine
from sandboxes.errors import SandboxError
from sandboxes.images import base_image_tag, find_image
from sandboxes.locks import Kept, exclusively
from sandboxes.scratch import scratch
from sandboxes.types import Environment, Limits, inodes

KEPT = 12
"""Trees that stay on disk; of more, the oldest that no container uses are removed when one is made."""
COPY_FROM = "/opt/tree"
"""Where a sandbox finds its tree when it must copy it."""
PLACES = 8
"""Sandboxes that one holder is for; each place is used once."""
LIMITS = Limits(lifetime_seconds=1200)
HOLDER = Limits(memory_mb=256, pids=64)
CLEAR = "chmod -R u+rwX {0}; rm -rf {0}/*"


class Layers:
    """The tree's volume, and the places in memory for what is written over it."""

    def __init__(
        self, engine: Engine, tree: str, volume: str, stack: AsyncExitStack, log: Callable[[str], None]
    ) -> None:
        self._copies = False
        self._tree = tree
        self._seen = False
        self._engine = engine
        self._volume = volume
        self._stack = stack
        self._log = log
        self._source = ""
        self._free: dict[int, list[_Place]] = {}
        self._lock = anyio.Lock()

    async def begin(
        self,
        stack: AsyncExitStack,
        start: Callable[[Begun], AbstractAsyncContextManager[str]],
        limits: Limits,
    ) -> Sandbox:
        """A sandbox that begins with the tree; `stack` ends it. `start` runs its container. Raises SandboxError."""
        if not self._copies:
            async with AsyncExitStack() as trying:
                try:
                    begun = await trying.enter_async_context(self._overlay(limits))
                    container_id = await trying.enter_async_context(start(begun))
                    sandbox = Sandbox(self._engine, container_id, tree=self._tree)
                    await self._look(sandbox)
                except SandboxError as error:
                    if "mount" not in str(error):
                        raise
                    self._refused(error)
                else:
                    await stack.enter_async_context(trying.pop_all())
                    return sandbox
        container_id = await stack.enter_async_context(
            start(Begun(volumes={self._volume: (COPY_FROM, "ro")}))
        )
        sandbox = Sandbox(self._engine, container_id, tree=self._tree)
        done = await sandbox.run([BUSYBOX, "cp", "-a", f"{COPY_FROM}/.", "/workspace"], timeout=600, cwd="/")
        if done.exit_code != 0:
            raise SandboxError(f"could not copy the repository into the sandbox: {_first_line(done.output)}")
        return sandbox

    def copy(self) -> None:
        """Have each sandbox copy the tree."""
        self._copies = True

    @asynccontextmanager
    async def _overlay(self, limits: Limits) -> AsyncIterator[Begun]:
        """A place over the tree, for one container, which ends before the block does."""
        place = await self._place(limits.workspace_mb)
        options = (
            f"lowerdir={self._source},upperdir={place.path}/upper,workdir={place.path}/work,nosuid,nodev"
        )
        try:
            yield Begun(mounts=[anonymous_volume("/workspace", "overlay", options)])
        finally:
            with anyio.CancelScope(shield=True):
                await place.clear()

    async def _look(self, sandbox: Sandbox) -> None:
        """See once that the engine mounted what it was told to: some take any volume for a plain one."""
        if self._seen:
            return
        done = await sandbox.run(
            [BUSYBOX, "grep", " /workspace overlay ", "/proc/mounts"], timeout=60, cwd="/"
        )
        if done.exit_code != 0:
            raise SandboxError("/workspace is not mounted as an overlay")
        self._seen = True

    def _refused(self, error: SandboxError) -> None:
        if not self._copies:
            self._log(
                f"warning: the engine mounts no overlays, so each sandbox copies the repository ({error})"
            )
        self._copies = True

    async def _place(self, size_mb: int) -> _Place:
        async with self._lock:
            if not self._source:
                found = await self._engine.call(self._engine.api.inspect_volume, self._volume)
                self._source = str(found["Mountpoint"])
            free = self._free.setdefault(size_mb, [])
            if not free:
                free += await self._hold(size_mb)
            return free.pop()

    async def _hold(self, size_mb: int) -> list[_Place]:
        """Start a holder. It ends with the run, or by its lifetime when nobody is left to end it."""
        targets = [f"/places/{number}" for number in range(PLACES)]
        options = f"size={size_mb}m,nr_inodes={inodes(size_mb)},nosuid,nodev,uid=1000,gid=1000,mode=0700"
        image = await find_image(self._engine, base_image_tag())
        if image is None:
            raise SandboxError("the base image was removed while a run used it: start the run again")
        holder = await self._stack.enter_async_context(
            container(
                self._engine, image, name=new_name(), run_id="layers", limits=HOLDER,
                command=["/bin/sleep", str(24 * 3600)],
                mounts=[anonymous_volume(target, "tmpfs", options) for target in targets],
                volumes={self._volume: (COPY_FROM, "ro")},  # so that no other host takes it for unused
            )
        )  # fmt: skip
        sandbox = Sandbox(self._engine, holder)
        made = " ".join(f"{target}/upper {target}/work" for target in targets)
        done = await sandbox.run(["/bin/sh", "-c", f"mkdir -m 755 {made}"], timeout=60, cwd="/")
        if done.exit_code != 0:
            raise SandboxError(
                f"could not make places in memory: {done.output.decode('utf-8', 'replace')[:300]}"
            )
        found = await self._engine.call(self._engine.api.inspect_container, holder)
        sources = {mount["Destination"]: str(mount["Source"]) for mount in found["Mounts"]}
        return [_Place(sources[target], target, sandbox) for target in targets]


@dataclass(frozen=True, slots=True)
class _Place:
    path: str
    """On the engine's host."""
    target: str
    """In the holder."""
    holder: Sandbox

    async def clear(self) -> None:
        """Give the memory back. What can't be cleared goes with the holder; the place is not used again."""
        try:
            await self.holder.run(["/bin/sh", "-c", CLEAR.format(self.target)], timeout=30, cwd="/")
        except SandboxError:
            return


@asynccontextmanager
async def layers(
    engine: Engine,
    environment: Environment,
    tree: str,
    write_tar: Callable[[Path], None],
    log: Callable[[str], None],
) -> AsyncIterator[Layers]:
    """Layers over a tree, `tree` being its id; `write_tar` is called when it is not there yet."""
    volume = "assay-tree-" + _hash(environment.image, environment.toolbox, tree)
    kept = Kept()  # the engine does not know that an overlay uses it
    kept.keep(volume)
    if not await volumes.complete(engine, volume):
        async with exclusively(volume, log):
            if not await volumes.complete(engine, volume):
                await _make(engine, environment, volume, write_tar)
    try:
        async with AsyncExitStack() as stack:
            over = Layers(engine, tree, volume, stack, log)
            if await engine.is_podman():
                over.copy()  # it takes the mounts for plain volumes
            yield over
    finally:
        kept.let_go()


def _first_line(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip().partition("\n")[0][:300] or "no output"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


async def _make(
    engine: Engine, environment: Environment, volume: str, write_tar: Callable[[Path], None]
) -> None:
    image = await find_image(engine, base_image_tag())
    if image is None:
        raise SandboxError("the base image was removed while a run used it: start the run again")
    await volumes.create_empty(engine, volume, "tree")
    with scratch() as folder:
        tar = Path(folder) / "tree.tar"
        await anyio.to_thread.run_sync(write_tar, tar)
        async with container(
            engine, environment.image, name=new_name(), run_id="layers", limits=LIMITS,
            command=[BUSYBOX, "sleep", str(LIMITS.lifetime_seconds)],
            volumes={
                environment.toolbox: (TOOLBOX, "ro"), environment.tools: (TOOLS, "ro"), volume: ("/workspace", "rw"),
            },
            user="0:0",
            capabilities=("CHOWN",),
        ) as filler:  # fmt: skip
            root = Sandbox(engine, filler, user="0:0")
            done = await root.run([BUSYBOX, "chown", AGENT, "/workspace"], timeout=60, cwd="/")
            if done.exit_code != 0:
                raise SandboxError(f"could not make the volume of a tree: {_first_line(done.output)}")
            await Sandbox(engine, filler).put_tree(tar)
    await volumes.set_complete(engine, volume, image)
    await volumes.remove_oldest(engine, "tree", KEPT)
