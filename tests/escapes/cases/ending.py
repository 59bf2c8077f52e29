"""The end of a sandbox, which comes whatever runs in it."""

from dataclasses import replace

import anyio
import pytest

from sandboxes.errors import SandboxDied
from tests.escapes.cell import LIMITS
from tests.escapes.corpus import escape, python

DEAF = python("""
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
for n in range(20):
    if os.fork() == 0:
        os.setsid()
        while True:
            time.sleep(1)
print("deaf", flush=True)
""")


@escape("end", "hold the sandbox when its owner lets go")
async def _(cell, _seen):
    run_id = "escapes-held"
    async with cell.driver.cell(cell.outside, run_id=run_id) as other:
        assert "deaf" in (await other.shell(f"{DEAF}; cd /workspace; exec 9< /workspace")).text
        assert await cell.driver.left(run_id)
    assert await cell.driver.left(run_id) == []


@escape("end", "sleep past the lifetime")
async def _(cell, _seen):
    run_id = "escapes-late"
    with pytest.raises(SandboxDied):
        async with cell.driver.cell(
            cell.outside, limits=replace(LIMITS, lifetime_seconds=15), run_id=run_id
        ) as other:
            await other.shell(DEAF)
            with anyio.move_on_after(60):
                await other.shell("sleep 100", 100)
            with anyio.move_on_after(60):
                while await cell.driver.left(run_id):
                    await anyio.sleep(0.2)
            assert await cell.driver.left(run_id) == []  # by itself: its owner is still here
            await other.sandbox.run("true", timeout=5)
    assert await cell.driver.left(run_id) == []


@escape("end", "an owner that is cancelled in the middle")
async def _(cell, _seen):
    run_id = "escapes-cancelled"
    with anyio.move_on_after(15) as scope:
        async with cell.driver.cell(cell.outside, run_id=run_id) as other:
            await other.shell(DEAF)
            scope.cancel()
            await anyio.sleep(100)
    assert scope.cancelled_caught
    assert await cell.driver.left(run_id) == []
