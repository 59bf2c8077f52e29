"""Building an image from a repository's Dockerfile, within bounds.

A Dockerfile is a stranger's: its commands run as root in the engine's containers, with network. So the build gets no
credentials and nothing of the host but the base commit's files, the addresses of proxies and the certificates that
the host trusts; memory, CPUs, time and disk are bounded, and a build that fails leaves nothing. Docker's classic
builder is what can be held to that: BuildKit, which takes no limits, would need the docker CLI besides.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlencode

import anyio
import anyio.to_thread

from sandboxes import owner
from sandboxes.containers import affordable_cpus
from sandboxes.devcontainer import Build
from sandboxes.disk import Disk
from sandboxes.dockerfile import KIND, NAME, OURS, own_lines, write_context
from sandboxes.engine import CHUNK, Engine, Refused
from sandboxes.errors import ImageUnavailable, SetupFailed
from sandboxes.hostnet import named_certificates, proxy_variables
from sandboxes.images import find_image
from sandboxes.install import clean, telling
from sandboxes.locks import Kept, exclusively
from sandboxes.prune import mark_used, prune
from sandboxes.types import Limits

TIME_LIMIT = 1800
LIMITS = Limits(memory_mb=8192)
MOST_DISK_MB = 30_000
LEAST_FREE_MB = 1_000
LONGEST_LINE = 1 << 20
"""Bytes of one message of the engine's; more is passed over."""
RECIPE = 1
"""To be raised when the same Dockerfile should be built anew."""

_STEP = re.compile(r"Step \d+/\d+ : (.*)")
_MADE = re.compile(r" ---> ([0-9a-f]{12,64})\Z")
TAIL = 1 << 16
"""Characters of a build's output that are kept."""
MOST_MADE = 1000
LOOK_SECONDS = 1.0
MEND = "mend it, or name an image with --image"


async def ensure_built(
    engine: Engine, tree_tar: Path, build: Build, kept: Kept, log: Callable[[str], None]
) -> str:
    """The id of the image that a Dockerfile of the tree makes; kept by content, so that the same is built once.

    Raises NotUsable when the tree has no such Dockerfile, ImageUnavailable when an image that it starts from can't be
    had, and SetupFailed with the telling lines when the build fails.
    """
    certificates = await anyio.to_thread.run_sync(named_certificates)
    with tempfile.TemporaryDirectory(prefix="assay-build-") as folder:
        context = Path(folder) / "context.tar"
        with context.open("wb") as file:
            key, marked = await anyio.to_thread.run_sync(write_context, tree_tar, build, certificates, file)
        tag = f"assay-build:{RECIPE}-{key[:32]}"
        kept.keep(tag)
        async with exclusively(tag.replace(":", "-"), log):
            if not await find_image(engine, tag):
                log(f"building the image of {build.dockerfile}")
                try:
                    await _build(engine, context, build, tag, log)
                except Refused as refused:
                    fault = own_lines(str(refused), marked)
                    raise SetupFailed(f"building {build.dockerfile} failed: {fault}; {MEND}") from refused
                await prune(engine, log)
    if found := await find_image(engine, tag):
        await mark_used(engine, found, tag)
        return found
    raise SetupFailed(
        f"building {build.dockerfile} came to nothing: the engine broke off, or removed the image"
    )


async def _build(engine: Engine, context: Path, build: Build, tag: str, log: Callable[[str], None]) -> None:
    cpus = await affordable_cpus(engine, LIMITS)
    query = {
        "t": tag,
        "dockerfile": NAME,
        "target": build.target or "",
        "buildargs": json.dumps({**_proxies(log), **build.args}),
        "labels": json.dumps({owner.CACHE: KIND}),
        "rm": "1",
        "forcerm": "1",
        "memory": LIMITS.memory_mb << 20,
        "memswap": LIMITS.memory_mb << 20,
        "cpuperiod": 100_000,
        "cpuquota": int(cpus * 100_000),
    }
    told = _Told(log)
    try:
        with anyio.move_on_after(TIME_LIMIT) as limit:
            room = _Room(await Disk.of_engine(engine))
            async with engine.post(f"/build?{urlencode(query)}", context) as answer:
                fault = await _heard(answer, told, room)
        if limit.cancelled_caught:
            fault = f"it took more than {TIME_LIMIT // 60} minutes"
        if fault:
            raise _failure(build.dockerfile, fault, told)
    finally:
        with anyio.CancelScope(shield=True):
            await _remove_made(engine, told.made)


def _proxies(log: Callable[[str], None]) -> dict[str, str]:
    """The host's proxies as build arguments, which the engine keeps out of images. A password is not given away:
    what a command of the build does with it is not for us to see."""
    proxies = proxy_variables()
    open_ones = {name: value for name, value in proxies.items() if "@" not in value}
    if len(open_ones) < len(proxies):
        log("warning: a proxy whose address holds a password is not told to the build")
    return open_ones


async def _heard(answer: asyncio.StreamReader, told: _Told, room: _Room) -> str:
    """Hear the engine out; returns the fault that ends the build, "" when none is told."""
    line = bytearray()
    while True:
        data = None
        with anyio.move_on_after(LOOK_SECONDS):
            try:
                data = await answer.read(CHUNK)
            except ConnectionError:  # a build that is through may end so, too
                data = b""
        if full := room.full():
            return full
        if data is None:
            continue
        if not data:
            return ""
        for part in data.splitlines(keepends=True):
            line += part[: max(0, LONGEST_LINE - len(line))]
            if part.endswith(b"\n"):
                if fault := told.hear(bytes(line)):
                    return fault
                line.clear()


class _Told:
    """What the engine says of a build."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._line = ""
        self.step = ""
        """The instruction that it is at."""
        self.made: deque[str] = deque(maxlen=MOST_MADE)
        """The images that it named."""
        self.tail = ""

    def hear(self, line: bytes) -> str:
        """Take one message; returns the error that it tells, else ""."""
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            return ""  # too long, or none of the engine's own
        if not isinstance(said, dict):
            return ""
        if error := said.get("error"):
            return " ".join(str(error).split())
        text = str(said.get("stream") or "")
        if step := _STEP.match(text):
            self.step = step[1].strip()
            if self.step not in OURS:
                self._say(f"{self.step}\n")
                self._log(f"  {self.step[:120]}")
        elif made := _MADE.match(text.strip("\n")):
            self.made.append(made[1])
        elif not text.startswith((" ---> ", "Removing intermediate container ")):
            self._say(text)
        return ""

    def _say(self, text: str) -> None:
        self.tail = (self.tail + text)[-TAIL:]


class _Room:
    """What is left of the engine's disk while a build runs: its layers have no one container."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._before = disk.free_mb()

    def full(self) -> str:
        """Why a build must end for the disk's sake, "" when it need not."""
        free = self._disk.free_mb()
        if free is None or self._before is None:
            return ""
        if self._before - free > MOST_DISK_MB:
            return f"it took more than {MOST_DISK_MB / 1000:g} GB of the engine's disk"
        return f"only {free} MB are left on the engine's disk" if free < LEAST_FREE_MB else ""


def _failure(dockerfile: str, fault: str, told: _Told) -> SetupFailed | ImageUnavailable:
    log = clean(told.tail)
    if told.step.upper().startswith("FROM ") and "unable to find target" not in fault:
        name = " ".join(told.step.split()[1:2])
        return ImageUnavailable(
            f"cannot pull {name}, which {dockerfile} starts from: {fault}; run `docker pull {name}` where there is a "
            "registry and `docker load` it here, or name another image with --image"
        )
    by_hand = "build it yourself (`docker build -t NAME .`) and give --image NAME"
    mend = by_hand if "BuildKit" in fault else MEND
    said = telling(log) if "returned a non-zero code" in fault else ""
    return SetupFailed(f"building {dockerfile} failed: {fault}{f': {said}' if said else ''}; {mend}", log)


async def _remove_made(engine: Engine, made: Iterable[str]) -> None:
    """Remove what a build made and does not need: images with our label, without a name, that no other is made of."""
    from docker.errors import APIError

    for image in reversed(list(made)):
        for _ in range(20):
            try:
                found = await engine.call(engine.api.inspect_image, image)
                labels = found["Config"].get("Labels") or {}
                if labels.get(owner.CACHE) == KIND and not found.get("RepoTags"):
                    await engine.call(engine.api.remove_image, image)
            except APIError as error:
                if "container" in str(error.explanation):  # which the engine is about to end
                    await anyio.sleep(0.2)
                    continue
            break
