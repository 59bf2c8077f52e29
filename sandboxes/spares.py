"""Sandboxes started before they are needed: who asks for one finds it ready."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from sandboxes.driver import Sandbox, Sandboxes
from sandboxes.errors import SandboxError
from sandboxes.types import Environment, Limits

SHORTER = 300
"""Seconds that a spare's life may be shorter than what is asked for: less than any owner adds to its work's time."""


class Spares:
    """Keeps sandboxes of a driver ready. Each is handed out once, and nothing has run in it before."""

    def __init__(self, driver: Sandboxes, tasks: TaskGroup) -> None:
        """`tasks` is what the spares live in: they end when it is cancelled."""
        self._driver = driver
        self._tasks = tasks
        self._spares: list[_Spare] = []

    def keep(self, environment: Environment, *, run_id: str, limits: Limits, number: int) -> None:
        """See that `number` sandboxes of this kind are ready or on their way."""
        kind = _kind(environment, limits)
        for _ in range(number - sum(spare.kind == kind for spare in self._spares)):
            spare = _Spare(kind, time.monotonic() + limits.lifetime_seconds)
            self._spares.append(spare)
            self._tasks.start_soon(self._start, spare, environment, run_id, limits)

    def forget(self) -> None:
        """Hand out none of those that are ready: what they run on may be gone."""
        for spare in self._spares:
            spare.done.set()
        self._spares.clear()

    @asynccontextmanager
    async def sandbox(
        self, environment: Environment, *, run_id: str, limits: Limits | None = None
    ) -> AsyncIterator[Sandbox]:
        """A spare, if there is one that fits, or else a new sandbox."""
        limits = limits or Limits()
        spare = self._take(environment, limits)
        if spare is not None:
            try:
                await spare.ready.wait()
                if spare.sandbox is not None:
                    yield spare.sandbox
                    return
            finally:
                spare.done.set()
                with anyio.CancelScope(shield=True):
                    await spare.gone.wait()
        # none, or it did not start: its fault is told by one that is asked for
        async with self._driver.sandbox(environment, run_id=run_id, limits=limits) as sandbox:
            yield sandbox

    async def cpus(self, limits: Limits) -> float:
        """As the driver's."""
        return await self._driver.cpus(limits)

    def _take(self, environment: Environment, limits: Limits) -> _Spare | None:
        kind, until = _kind(environment, limits), time.monotonic() + limits.lifetime_seconds - SHORTER
        for spare in self._spares:
            if spare.kind == kind and spare.ends >= until and not spare.gone.is_set():
                self._spares.remove(spare)
                return spare
        return None

    async def _start(self, spare: _Spare, environment: Environment, run_id: str, limits: Limits) -> None:
        try:
            async with self._driver.sandbox(environment, run_id=run_id, limits=limits) as sandbox:
                spare.sandbox = sandbox
                spare.ready.set()
                await spare.done.wait()
        except SandboxError:
            if spare in self._spares:
                self._spares.remove(spare)
        finally:
            spare.gone.set()
            spare.ready.set()


class _Spare:
    def __init__(self, kind: tuple[Environment, Limits], ends: float) -> None:
        self.kind = kind
        self.ends = ends
        """On the monotonic clock."""
        self.sandbox: Sandbox | None = None
        self.ready, self.done, self.gone = anyio.Event(), anyio.Event(), anyio.Event()


def _kind(environment: Environment, limits: Limits) -> tuple[Environment, Limits]:
    return environment, replace(limits, lifetime_seconds=0)
