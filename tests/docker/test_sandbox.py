"""A sandbox as what runs in it sees it, and as its owner sees it."""

import contextlib
import socket
import threading
from dataclasses import replace

import anyio
import pytest

from sandboxes.docker import Docker
from sandboxes.errors import EngineUnavailable, SandboxDied
from tests.docker.sandbox_tools import SMALL, a_sandbox, environment_of, tar_of

pytestmark = pytest.mark.docker


def in_sandbox(tmp_path, test, **options):
    async def main():
        async with a_sandbox(tmp_path, **options) as sandbox:
            await test(sandbox)

    anyio.run(main)


def test_a_command_that_hides_from_its_timeout_costs_the_sandbox(tmp_path):
    async def test(sandbox):
        # which is hidden well before its time is over, so that nothing of it can be found
        done = await sandbox.run("exec env -i /bin/sh -c 'echo hidden; exec sleep 1000'", timeout=3)
        assert done.timed_out and done.output == b"hidden\n"
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


def test_a_runtime_is_passed_on_and_one_that_the_engine_lacks_is_named(tmp_path):
    async def main():
        with pytest.raises(EngineUnavailable, match=r"no runtime 'no-such', but .*runc.*: add it"):
            await Docker.connect("no-such")
        docker = await Docker.connect("runc")
        environment = await environment_of(docker, tmp_path, {"file": b"content"})
        async with docker.sandbox(environment, run_id="runtime", limits=SMALL) as sandbox:
            told = await docker.engine.call(docker.engine.api.inspect_container, sandbox.id)
            assert told["HostConfig"]["Runtime"] == "runc"

    anyio.run(main)


def forward(server, path):
    """Every connection to a listening socket goes on to the engine's own."""

    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(path)
            for pair in ((client, engine), (engine, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()


def test_an_engine_elsewhere_is_used_by_its_address(tmp_path, monkeypatch):
    async def test(sandbox):
        await sandbox.put_tree(tar_of(tmp_path / "more.tar", {"more": b"x" * 100_000}))
        assert (await sandbox.run("wc -c < more", timeout=20)).output == b"100000\n"
        async with sandbox.stream(["/bin/cat"]) as stream:
            await stream.send(b"over there")
            assert await stream.receive() == b"over there"

    with socket.create_server(("127.0.0.1", 0)) as server:
        local = anyio.run(Docker.connect).engine.address.removeprefix("unix://")
        threading.Thread(target=forward, args=(server, local), daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.getsockname()[1]}")
        in_sandbox(tmp_path, test)
