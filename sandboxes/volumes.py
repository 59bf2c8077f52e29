"""Volumes that are filled once: an image tag, set last, says that one is complete."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sandboxes import owner
from sandboxes.engine import Engine
from sandboxes.images import find_image, tag_image
from sandboxes.locks import unless_kept


async def complete(engine: Engine, volume: str) -> bool:
    """Whether the volume is there and holds all that it is to hold."""
    from docker.errors import NotFound

    if await find_image(engine, _tag(volume)) is None:
        return False
    try:
        await engine.call(engine.api.inspect_volume, volume)
    except NotFound:
        return False
    return True


async def create_empty(engine: Engine, volume: str, kind: str) -> None:
    """Create the volume, in place of one that an earlier try left half filled."""
    await remove(engine, volume)  # in use, it was complete, and filling it again changes nothing
    await engine.call(engine.api.create_volume, volume, labels={owner.CACHE: kind})


async def set_complete(engine: Engine, volume: str, image: str) -> None:
    """Say that the volume is complete; `image` bears the tag."""
    await tag_image(engine, image, _tag(volume))


async def remove(engine: Engine, volume: str) -> None:
    """Remove a volume and its tag, unless a container uses it."""
    from docker.errors import APIError, NotFound

    try:
        await engine.call(engine.api.remove_volume, volume)
    except NotFound:
        pass
    except APIError as error:
        if error.status_code != 409:
            raise
        return
    with suppress(NotFound):
        await engine.call(engine.api.remove_image, _tag(volume), noprune=True)


async def remove_oldest(engine: Engine, kind: str, keep: int) -> None:
    """Of a kind, remove all but the newest ones that nobody uses."""
    found: dict[str, Any] = await engine.call(engine.api.volumes, filters={"label": f"{owner.CACHE}={kind}"})
    volumes = sorted(found.get("Volumes") or (), key=lambda one: str(one.get("CreatedAt", "")), reverse=True)
    for one in volumes[keep:]:
        name = str(one["Name"])
        with unless_kept(name) as free:
            if free:
                await remove(engine, name)


def _tag(volume: str) -> str:
    return f"assay-volume:{volume}"
