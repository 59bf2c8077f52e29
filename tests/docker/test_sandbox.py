"""A sandbox as what runs in it sees it, and as its owner sees it."""

from dataclasses import replace

import anyio
import pytest

from sandboxes.docker import Docker
from sandboxes.errors import SandboxDied
from tests.docker.sandbox_tools import SMALL, a_sandbox, environment_of

pytestmark = pytest.mark.docker


def in_sandbox(tmp_path, test, **options):
    async def main():
        async with a_sandbox(tmp_path, **options) as sandbox:
            await test(sandbox)

    anyio.run(main)


def test_a_command_that_hides_from_its_timeout_costs_the_sandbox(tmp_path):
    async def test(sandbox):
        done = await sandbox.run("exec env -i /bin/sleep 1000", timeout=1)
        assert done.timed_out
        with pytest.raises(SandboxDied):
            await sandbox.run("true", timeout=20)

    in_sandbox(tmp_path, test)


def test_more_cpus_than_the_engine_has_are_all_that_it_has(tmp_path):
    said = []

    async def main():
        docker = await Docker.connect()
        environment = await environment_of(docker, tmp_path, {"file": b"content"}, log=said.append)
        for _ in range(2):
            limits = replace(SMALL, cpus=1000)
            async with docker.sandbox(environment, run_id="cpus", limits=limits) as sandbox:
                assert (await sandbox.run("echo alive", timeout=20)).output == b"alive\n"

    anyio.run(main)
    assert len([line for line in said if "CPUs, so sandboxes get these instead of 1000" in line]) == 1
