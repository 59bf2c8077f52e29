"""How much cached images take, and which of them go when that is too much.

When an image was last used is told by the engine itself: it notes when a name was last given, so a use gives the name
anew. Several processes and hosts that share the engine see the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sandboxes import owner
from sandboxes.engine import Engine
from sandboxes.errors import SandboxError
from sandboxes.images import base_image_tag, find_image, tag_image
from sandboxes.locks import unless_kept
from sandboxes.toolbox import toolbox_image

VARIABLE = "AGENT_CACHE_GB"
USUAL_GB = 20.0
GB = 1e9
RANKS = {"environment": 0, "build": 0, "toolchain": 1, "toolbox": 2, "base": 3}
"""Which kinds go first. What makes an environment is gone in a minute; without a base image all has to be made anew."""
ABANDONED = timedelta(hours=1)
"""After this time an image without a name belongs to no build that still runs."""


@dataclass(frozen=True, slots=True)
class Cached:
    """One image of ours."""

    id: str
    names: tuple[str, ...]
    kind: str
    layers: tuple[str, ...]
    size: int
    """Bytes that it alone takes: without the image that it is made on."""
    used: datetime


@dataclass(frozen=True, slots=True)
class Cache:
    """What there is, and what may be, in bytes."""

    images: tuple[Cached, ...]
    bound: float

    @property
    def size(self) -> int:
        return sum(image.size for image in self.images)

    def told(self) -> str:
        """One line for a person."""
        many = sum(image.kind in ("environment", "build") for image in self.images)
        return (
            f"{self.size / GB:.1f} GB of at most {self.bound / GB:g} ({VARIABLE}), "
            f"{many} image{'' if many == 1 else 's'} of repositories"
        )


def bound() -> float:
    """Bytes that all cached images may take, by AGENT_CACHE_GB. Raises SandboxError when that is no number."""
    value = os.environ.get(VARIABLE) or USUAL_GB
    try:
        size = float(value) * GB
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise SandboxError(f"{VARIABLE} must be a number of gigabytes such as 20, not {value!r}")
    return size


async def mark_used(engine: Engine, image: str, name: str) -> None:
    """Note that an image is used now."""
    await tag_image(engine, image, name)


async def cache(engine: Engine) -> Cache:
    """The images of ours that the engine has."""
    return Cache(tuple(_cached(await _inspected(engine))), bound())


async def prune(engine: Engine, log: Callable[[str], None]) -> Cache:
    """Remove the images that were not used for longest until what is left is within the bound; returns that.

    Images that any container has, that a process keeps, that other images are made of or that the user gave a name
    of his own stay, and so do the base image and the toolbox of this version. What builds left that were killed goes
    in any case.
    """
    base = await find_image(engine, base_image_tag())
    needed = {base_image_tag(), toolbox_image(base)} if base else set()
    before = await cache(engine)
    left = list(before.images)
    for image in before.images:
        abandoned = not image.names and datetime.now(UTC) - image.used > ABANDONED
        if abandoned and await _removed(engine, image):
            left.remove(image)
    tried: set[str] = set()
    while sum(image.size for image in left) > before.bound:
        first = _first_to_go(left, needed, tried)
        if first is None:
            break
        tried.add(first.id)
        if await _removed(engine, first):
            left.remove(first)
            log(f"removed {first.names[0]} from the cache of images: last used {first.used:%Y-%m-%d %H:%M}")
    return Cache(tuple(left), before.bound)


def _first_to_go(left: list[Cached], needed: set[str], tried: Collection[str]) -> Cached | None:
    """The image to remove next; None when all that are left have to stay."""
    for image in sorted(left, key=lambda one: (RANKS.get(one.kind, 0), one.used)):
        ours = image.names and all(name.startswith("assay-") for name in image.names)
        beneath = any(_begins(other.layers, image.layers) for other in left)
        if ours and not beneath and image.id not in tried and not needed & set(image.names):
            return image
    return None


async def _removed(engine: Engine, image: Cached) -> bool:
    """Remove an image by all of its names, if nothing has it."""
    from docker.errors import APIError

    first = image.names[0] if image.names else image.id
    with unless_kept(first) as free:
        if not free:
            return False
        try:
            for name in image.names or (image.id,):
                await engine.call(engine.api.remove_image, name)
                if name.startswith("assay-volume:"):
                    await engine.call(engine.api.remove_volume, name.partition(":")[2])
        except APIError:
            return False  # a container has it
    return True


async def _inspected(engine: Engine) -> list[dict[str, Any]]:
    """All images, as the engine tells of each; those that vanish meanwhile are passed over."""
    from docker.errors import APIError

    found = []
    for image in await engine.call(engine.api.images):
        with suppress(APIError):
            found.append(await engine.call(engine.api.inspect_image, image["Id"]))
    return found


def _cached(images: list[dict[str, Any]]) -> list[Cached]:
    sizes = {_layers(image): int(image["Size"]) for image in images}
    found, counted = [], set()
    for image in images:
        labels, layers = image["Config"].get("Labels") or {}, _layers(image)
        if owner.CACHE not in labels:
            continue
        beneath = max((size for other, size in sizes.items() if _begins(layers, other)), default=0)
        size = 0 if layers in counted else max(0, sizes[layers] - beneath)
        counted.add(layers)
        used = max(_time(image.get("Created")), _time((image.get("Metadata") or {}).get("LastTagTime")))
        names = tuple(sorted(image.get("RepoTags") or ()))
        found.append(Cached(image["Id"], names, labels[owner.CACHE], layers, size, used))
    return found


def _layers(image: dict[str, Any]) -> tuple[str, ...]:
    return tuple((image.get("RootFS") or {}).get("Layers") or ())


def _begins(layers: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether an image of `layers` is made on one of the `other`, fewer ones."""
    return len(other) < len(layers) and layers[: len(other)] == other


def _time(text: str | None) -> datetime:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
