"""The image that an environment is made on: the user's, one that the repository speaks for, or the base image."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.to_thread

from sandboxes import devcontainer
from sandboxes.build import ensure_built
from sandboxes.commands import TOOLBOX
from sandboxes.devcontainer import Build, NotUsable
from sandboxes.engine import Engine
from sandboxes.errors import SetupFailed
from sandboxes.images import ensure_image
from sandboxes.locks import Kept

DOCKERFILE = "Dockerfile"
OTHERWISE = '`dockerfile = false` in [sandbox] of agent.toml, or --dockerfile "", sets it aside'


@dataclass(frozen=True, slots=True)
class Offer:
    """An image to begin with, and what is to be done in it."""

    name: str = ""
    """For a person; "" for the base image."""
    image: str | None = None
    build: Build | None = None
    commands: tuple[str, ...] = ()
    """What of them fails is a warning."""
    variables: Mapping[str, str] = field(default_factory=dict)
    chosen: bool = False
    """Whether the user named it. Then nothing is installed that was not asked for, and nothing else takes its place."""


async def best_offer(
    tree_tar: Path,
    image: str | None,
    dockerfile: str | None,
    log: Callable[[str], None],
    *,
    nothing_found: bool,
) -> Offer:
    """The image to use: the user's, that of the Dockerfile that he names, or else (unless `dockerfile` is "") that of
    the repository's devcontainer.json, which is made to develop in; then the base image.

    A Dockerfile that nobody named is most often for production, without what tests need: it is taken only with
    `nothing_found`, when there would be nothing but the bare base image. Raises NotUsable for a path that can't be.
    """
    if image:
        return Offer(image, image=image, chosen=True)
    if dockerfile:
        path = devcontainer.inside_repository(dockerfile)
        return Offer(path, build=Build(path), chosen=True)
    if dockerfile is not None:
        return Offer()
    path, text = await anyio.to_thread.run_sync(_read, tree_tar, (*devcontainer.PATHS, DOCKERFILE))
    if path in devcontainer.PATHS:
        try:
            said = devcontainer.parse(text, path)
        except NotUsable as error:
            log(f"warning: {path} is not used: {error}")
        else:
            log(f"the image is that of {path} ({OTHERWISE})")
            for line in said.ignored:
                log(f"warning: {path}: {line}")
            return Offer(path, said.image, said.build, said.commands, said.variables)
    elif path and nothing_found:
        log(f"nothing but the {path} says how the tests are set up, so its image is used ({OTHERWISE})")
        return Offer(path, build=Build(path))
    return Offer()


async def ensure_source(
    engine: Engine, tree_tar: Path, offer: Offer, kept: Kept, log: Callable[[str], None]
) -> str:
    """The id of an offered image. Raises ImageUnavailable, SetupFailed."""
    if offer.build:
        return await ensure_built(engine, tree_tar, offer.build, kept, log)
    return await ensure_image(engine, str(offer.image), log)


def check_volumes(config: Mapping[str, Any]) -> None:
    """Raises SetupFailed where an image declares a volume, which is mounted read-only, at what a sandbox needs."""
    for path in sorted(posixpath.normpath("/" + path.lstrip("/")) for path in config.get("Volumes") or {}):
        if path in ("/", "/opt") or f"{path}/".startswith(("/opt/env/", f"{TOOLBOX}/")):
            raise SetupFailed(
                f"the image declares {path} a volume, which a sandbox needs: name another image"
            )


def _read(tree_tar: Path, wanted: Sequence[str]) -> tuple[str, str]:
    """The first of the wanted files that the tree has, and its text; ("", "") when it has none."""
    with tarfile.open(tree_tar, "r:", encoding="utf-8", errors="surrogateescape") as tree:
        there = {member.name: member for member in tree if member.isreg() and member.name in wanted}
        for path in wanted:
            if (member := there.get(path)) and (file := tree.extractfile(member)):
                return path, file.read(devcontainer.LARGEST).decode("utf-8", "replace")
    return "", ""
