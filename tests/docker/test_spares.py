"""Sandboxes that were started before they were needed."""

from dataclasses import replace

import anyio
import pytest

from sandboxes.docker import Docker
from sandboxes.errors import SandboxError
from sandboxes.spares import Spares
from sandboxes.types import Limits
from tests.docker.sandbox_tools import SMALL, containers, environment_of

pytestmark = pytest.mark.docker
RUN = "spares-tests"


def with_spares(tmp_path, test):
    async def main():
        docker = await Docker.connect()
        environment = await environment_of(docker, tmp_path, {"file": b""})
        async with anyio.create_task_group() as tasks:
            await test(Spares(docker, tasks), environment)
            tasks.cancel_scope.cancel()

    anyio.run(main)
    assert containers(RUN) == []


async def running(number):
    """The ids of this many containers, once they are there."""
    with anyio.fail_after(60):
        while len(found := set(await anyio.to_thread.run_sync(containers, RUN))) < number:  # noqa: ASYNC110
            await anyio.sleep(0.1)
    return found


def is_one_of(sandbox, ids):
    return any(sandbox.id.startswith(one) for one in ids)


def test_who_asks_gets_one_that_was_started_before_and_nobody_gets_it_again(tmp_path):
    async def test(spares, environment):
        spares.keep(environment, run_id=RUN, limits=SMALL, number=1)
        spares.keep(environment, run_id=RUN, limits=SMALL, number=1)
        ready = await running(1)
        async with spares.sandbox(environment, run_id=RUN, limits=SMALL) as one:
            assert is_one_of(one, ready)
            await one.run("touch /tmp/used", timeout=20)
            async with spares.sandbox(environment, run_id=RUN, limits=SMALL) as other:
                assert not is_one_of(other, ready)
                assert (await other.run("ls /tmp", timeout=20)).output == b""
        assert await anyio.to_thread.run_sync(containers, RUN) == []

    with_spares(tmp_path, test)


@pytest.mark.parametrize(
    "wanted",
    [
        replace(SMALL, memory_mb=256),
        replace(SMALL, lifetime_seconds=SMALL.lifetime_seconds + 400),
    ],
)
def test_one_of_another_kind_is_not_handed_out(tmp_path, wanted):
    async def test(spares, environment):
        spares.keep(environment, run_id=RUN, limits=SMALL, number=1)
        ready = await running(1)
        async with spares.sandbox(environment, run_id=RUN, limits=wanted) as one:
            assert not is_one_of(one, ready)

    with_spares(tmp_path, test)


def test_the_fault_of_one_that_cannot_start_is_told_to_who_asks(tmp_path):
    async def test(spares, environment):
        gone = replace(environment, image="sha256:" + "0" * 64)
        spares.keep(gone, run_id=RUN, limits=SMALL, number=2)
        for _ in range(2):
            with pytest.raises(SandboxError, match="refused a container"):
                async with spares.sandbox(gone, run_id=RUN, limits=SMALL):
                    pass

    with_spares(tmp_path, test)


def test_a_fault_in_the_work_leaves_as_itself(tmp_path):
    async def test(spares, environment):
        spares.keep(environment, run_id=RUN, limits=Limits(), number=1)
        with pytest.raises(KeyError):
            async with spares.sandbox(environment, run_id=RUN):
                raise KeyError("x")

    with_spares(tmp_path, test)
