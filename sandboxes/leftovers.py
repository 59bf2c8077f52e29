"""Containers whose owner was killed before it could remove them."""

from __future__ import annotations

from dataclasses import dataclass

from sandboxes import containers, owner
from sandboxes.docker import Docker


@dataclass(frozen=True, slots=True)
class Leftover:
    """A container that its owner will not remove any more."""

    id: str
    run_id: str


async def leftovers(docker: Docker) -> list[Leftover]:
    """All containers of ours whose owner is dead. Those of owners that cannot be seen from here (another host or
    another pid namespace on the same engine) count only once they have stopped; they end by their lifetime."""
    engine = docker.engine
    found = await engine.call(engine.api.containers, all=True, filters={"label": owner.RUN})
    left = []
    for one in found:
        labels = one["Labels"]
        state = owner.state(labels.get(owner.PID, ""), labels.get(owner.BOOT, ""))
        if state == "dead" or (state == "unknown" and one["State"] in ("exited", "dead")):
            left.append(Leftover(one["Id"], labels[owner.RUN]))
    return left


async def remove_leftovers(docker: Docker) -> list[Leftover]:
    """Remove them; returns what was removed. A set-up or sandbox of a living run is never touched."""
    found = await leftovers(docker)
    for one in found:
        await containers.remove(docker.engine, one.id)
    return found
