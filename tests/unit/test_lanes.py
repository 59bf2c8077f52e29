"""Work side by side."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from agent.lanes import Started, side_by_side


class Fault(Exception):
    pass


def test_results_come_when_they_are_asked_for() -> None:
    async def number(value: int) -> int:
        await anyio.sleep(0.01 * value)
        return value

    async def main() -> list[int]:
        async with side_by_side() as tasks:
            started = [Started(tasks, lambda n=n: number(n)) for n in (3, 0, 2)]  # type: ignore[misc]
            return [await one.result() for one in started]

    assert anyio.run(main) == [3, 0, 2]


def test_a_fault_of_one_ends_the_others_and_comes_out_as_it_is() -> None:
    ended = []

    async def forever() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        async with side_by_side() as inner:
            Started(inner, forever)
            await anyio.lowlevel.checkpoint()
            raise Fault

    async def main() -> None:
        async with side_by_side() as tasks:
            Started(tasks, forever)
            await Started(tasks, fail).result()

    with pytest.raises(Fault):
        anyio.run(main)
    assert ended == [True, True]


def test_a_cancelled_group_asks_nothing_more() -> None:
    async def main() -> str:
        async with side_by_side() as tasks:
            Started(tasks, anyio.sleep_forever)
            tasks.cancel_scope.cancel()
        return "went on"

    assert anyio.run(main) == "went on"
