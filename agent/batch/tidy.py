"""What killed tasks left, removed: their containers, folders and control groups."""

from __future__ import annotations

import shutil

import anyio

from agent.config import home
from agent.scratch import stale
from sandboxes.docker import Docker
from sandboxes.doctor import remove_left_by_bubblewrap
from sandboxes.errors import SandboxError
from sandboxes.leftovers import remove_leftovers


def tidy() -> None:
    """Remove them, of all runs whose process is dead: as `agent doctor` does, without its findings."""
    for folder in stale():
        shutil.rmtree(folder, ignore_errors=True)
    remove_left_by_bubblewrap(home() / "bubblewrap")
    anyio.run(_containers)


async def _containers() -> None:
    try:
        await remove_leftovers(await Docker.connect())
    except SandboxError:
        return  # no engine, or one that fails: containers end by their lifetime
