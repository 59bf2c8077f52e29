"""Independent runs side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

T = TypeVar("T")


@asynccontextmanager
async def side_by_side() -> AsyncIterator[TaskGroup]:
    """A task group in which a fault ends all tasks, and leaves as what it is: not in an exception group."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        first = _first(group)
        raise first from first.__cause__


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class Started(Generic[T]):
    """Work that was begun, and whose result is asked for later. A fault in it ends the group that it is in."""

    def __init__(self, tasks: TaskGroup, work: Callable[[], Awaitable[T]]) -> None:
        self._done = anyio.Event()
        self._work = work
        self._result: list[T] = []
        tasks.start_soon(self._run)

    async def _run(self) -> None:
        self._result.append(await self._work())
        self._done.set()

    @property
    def ended(self) -> bool:
        return bool(self._result)

    async def result(self) -> T:
        await self._done.wait()
        return self._result[0]
