"""What every driver's sandboxes do, as what runs in them sees it, and as their owner sees it."""

import json
import os
import resource
import subprocess
import tarfile
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import pytest

from agent.git import Repository
from agent.laying import lay_tree
from sandboxes import cgroup
from sandboxes.bubblewrap import Bubblewrap
from sandboxes.docker import Docker
from sandboxes.errors import SandboxDied, SandboxError
from tests.docker.project import git
from tests.docker.sandbox_tools import RUN, SMALL, containers, environment_of, tar_of
from tests.docker.test_layers import BASE, CHANGED, commit, listing


class OfDocker:
    """How a test reaches round the driver of this name."""

    async def connect(self, folder):
        return await Docker.connect()

    def kill(self, sandbox):
        subprocess.run(["docker", "kill", sandbox.id], check=True, capture_output=True)

    def left(self, run_id):
        return containers(run_id)


class OfBubblewrap:
    def __init__(self):
        self._before = cgroup.leftovers()  # of others, who were killed

    async def connect(self, folder):
        return await Bubblewrap.connect(folder / "cache")

    def kill(self, sandbox):
        os.kill(int(sandbox.id), 9)

    def left(self, run_id):
        """Supervisors of this process, which are its grandchildren, and control groups without one."""
        found = [pid for child in children_of("self") for pid in children_of(child)]
        supervisors = [pid for pid in found if b"supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return supervisors + [group for group in cgroup.leftovers() if group not in self._before]


def children_of(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended
            found += (task / "children").read_text().split()
    return found


@pytest.fixture(
    params=[
        pytest.param(OfDocker, marks=pytest.mark.docker, id="docker"),
        pytest.param(OfBubblewrap, id="bubblewrap"),
    ]
)
def driver(request):
    return request.param()


@asynccontextmanager
async def a_sandbox(driver, folder, limits=SMALL, run_id=RUN):
    """A sandbox with one file in the workspace."""
    made = await driver.connect(folder)
    environment = await environment_of(made, folder, {"file": b"content"})
    async with made.sandbox(environment, run_id=run_id, limits=limits) as sandbox:
        yield sandbox


def in_sandbox(driver, tmp_path, test, **options):
    async def main():
        async with a_sandbox(driver, tmp_path, **options) as sandbox:
            await test(sandbox)

    anyio.run(main)


def test_what_runs_inside_is_hardened(driver, tmp_path):
    async def test(sandbox):
        async def says(command):
            done = await sandbox.run(command, timeout=20)
            return done.output.decode().strip()

        assert await says("id -u; id -g; id -G") == "1000\n1000\n1000"
        status = await says("cat /proc/self/status")
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert f"{capabilities}:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
        assert await says("tail -n +3 /proc/net/dev | cut -d: -f1") == "lo"
        assert "Read-only" in await says("touch /etc/x /opt/env/x /opt/toolbox/x 2>&1; mkdir /x 2>&1")
        assert await says("grep -c rw, /proc/mounts | head -1") != "0"
        assert await says("touch /opt/toolbox/lib/agent-tools/tools/x 2>/dev/null; echo $?") == "1"
        names = {line.partition("=")[0] for line in (await says("env")).splitlines()}
        assert names <= {"PATH", "HOME", "LANG", "HOSTNAME", "PWD", "SHLVL", "_", "OLDPWD", "ASSAY_EXEC"}
        assert await says("test -e /var/run/docker.sock; echo $?") == "1"
        assert await says("readlink /proc/self/fd/0") == "/dev/null"
        assert (
            await says("cd ~ && touch a && cd /tmp && touch a && cd /workspace && touch a && pwd")
            == "/workspace"
        )

    in_sandbox(driver, tmp_path, test)


def test_a_process_cannot_end_the_sandbox(driver, tmp_path):
    async def test(sandbox):
        await sandbox.run("kill -9 -1; kill -9 1", timeout=20)
        assert (await sandbox.run("echo alive", timeout=20)).output == b"alive\n"

    in_sandbox(driver, tmp_path, test)


def test_memory_processes_and_disk_are_bounded(driver, tmp_path):
    async def test(sandbox):
        eater = (
            "import sys; sys.stdout.write('began'); sys.stdout.flush(); b'x' * (1 << 30); print('survived')"
        )
        done = await sandbox.run(["/usr/bin/python3", "-c", eater], timeout=60)
        assert (done.exit_code, done.output) == (137, b"began")
        many = await sandbox.run("for i in $(seq 200); do sleep 10 & done; wait", timeout=60)
        assert b"Resource temporarily unavailable" in many.output
        for place, size in (
            ("/workspace", 32),
            ("/tmp", 16),
            ("/home/agent", 256),
            ("/dev/shm", 64),
        ):
            done = await sandbox.run(
                f"head -c {size + 1}M /dev/zero > {place}/full; rm {place}/full", timeout=60
            )
            assert b"No space left" in done.output, place
        assert (await sandbox.run("echo alive", timeout=20)).output == b"alive\n"

    in_sandbox(driver, tmp_path, test)


def test_a_flood_of_output_keeps_its_ends_and_costs_the_host_nothing(driver, tmp_path):
    async def test(sandbox):
        await sandbox.run("true", timeout=20)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        done = await sandbox.run(
            "echo first; yes | head -c 100000000; echo last", timeout=120, output_limit=1000
        )
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert done.exit_code == 0
        assert done.output.startswith(b"first\ny\n")
        assert done.output.endswith(b"y\nlast\n")
        assert done.cut == 100000011 - 1000
        assert len(done.output) < 1100
        assert grown_kb < 20_000

    in_sandbox(driver, tmp_path, test)


def test_output_may_be_any_bytes(driver, tmp_path):
    async def test(sandbox):
        done = await sandbox.run("printf '\\xff\\x00\\x1b[2J'; printf err >&2; exit 7", timeout=20)
        assert sorted(done.output) == sorted(b"\xff\x00\x1b[2Jerr")
        assert (done.exit_code, done.cut, done.timed_out) == (7, 0, False)

    in_sandbox(driver, tmp_path, test)


def test_a_timeout_kills_all_that_the_command_started(driver, tmp_path):
    async def test(sandbox):
        command = "setsid sleep 1000 & (setsid sh -c 'sleep 1001; true' &) ; echo begun; sleep 1002"
        done = await sandbox.run(command, timeout=1)
        assert (done.exit_code, done.timed_out) == (None, True)
        assert done.output.removesuffix(b"Killed\n") == b"begun\n"  # the shell may see its child go first
        left = await sandbox.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", timeout=20)
        assert b"sleep 100" not in left.output

    in_sandbox(driver, tmp_path, test)


def test_a_timeout_works_with_no_process_to_spare(driver, tmp_path):
    async def test(sandbox):
        done = await sandbox.run("for i in $(seq 200); do sleep 1000 & done; sleep 1000", timeout=3)
        assert done.timed_out
        assert (await sandbox.run("echo alive", timeout=20)).output == b"alive\n"

    in_sandbox(driver, tmp_path, test)


def test_a_background_process_that_holds_the_output_is_not_waited_for(driver, tmp_path):
    async def test(sandbox):
        done = await sandbox.run("setsid sleep 1000 & echo done", timeout=60)
        assert (done.exit_code, done.timed_out, done.output) == (0, False, b"done\n")

    in_sandbox(driver, tmp_path, test)


def test_a_command_may_be_longer_than_an_argument(driver, tmp_path):
    async def test(sandbox):
        words = " ".join(f"w{number}" for number in range(60_000))
        done = await sandbox.run(f"set -- {words}; echo $# ${{60000}}", timeout=60)
        assert done.output == b"60000 w59999\n"

    in_sandbox(driver, tmp_path, test)


def test_files_of_any_name_and_symlinks_of_any_target_arrive_as_they_are(driver, tmp_path):
    files = {
        "-rf": b"a",
        "with space/ü": b"b",
        "\udcff\udcfe": b"c",
        "new\nline": b"d",
        "run.sh": b"#!/bin/sh\n",
    }
    links = {"absolute": "/etc/passwd", "dangling": "nowhere/x", "up": "../../etc", "self": "self"}

    async def test(sandbox):
        await sandbox.put_tree(tar_of(tmp_path / "odd.tar", files, links))
        shown = (
            "import os,json;print(json.dumps({os.fsencode(f).hex(): os.readlink(f) if os.path.islink(f) else "
        )
        shown += "[oct(os.stat(f).st_mode & 0o777), os.stat(f).st_uid] for f in os.listdir(b'.')}))"
        done = await sandbox.run(
            ["/usr/bin/python3", "-c", shown.replace("os.readlink(f)", "'->'")], timeout=20
        )
        listed = json.loads(done.output)
        assert listed == {
            **{name.encode().hex(): "->" for name in links},
            **{
                n.encode("utf-8", "surrogateescape").hex(): ["0o644", 1000]
                for n in ("-rf", "\udcff\udcfe", "new\nline")
            },
            b"with space".hex(): ["0o755", 1000],
            b"run.sh".hex(): ["0o755", 1000],
        }
        assert (await sandbox.run("readlink absolute dangling up self; cat -- -rf", timeout=20)).output == (
            b"/etc/passwd\nnowhere/x\n../../etc\nself\na"
        )

    in_sandbox(driver, tmp_path, test)


def test_unpacking_never_writes_through_a_symlink_or_out_of_the_directory(driver, tmp_path):
    async def test(sandbox):
        await sandbox.run("mkdir /tmp/target && echo safe > /tmp/target/f", timeout=20)
        tar = tar_of(
            tmp_path / "a.tar", {"d/f": b"evil", "g": b"evil"}, {"d": "/tmp/target", "g": "/tmp/target/f"}
        )
        await sandbox.put_tree(tar)
        assert (
            await sandbox.run("cat /tmp/target/f d/f g; ls /tmp/target", timeout=20)
        ).output == b"safe\nevilevilf\n"
        with pytest.raises(SandboxError, match="outside the tree"):
            await sandbox.put_tree(tar_of(tmp_path / "b.tar", {"../tmp/x": b""}))
        with pytest.raises(SandboxError, match="outside the tree"):
            await sandbox.put_tree(tar_of(tmp_path / "c.tar", {"/tmp/x": b""}))

    in_sandbox(driver, tmp_path, test)


def test_a_tree_that_does_not_fit_is_one_clear_line(driver, tmp_path):
    async def test(sandbox):
        with pytest.raises(SandboxError, match="no space left"):
            await sandbox.put_tree(tar_of(tmp_path / "big.tar", {"big": bytes(40 << 20)}))

    in_sandbox(driver, tmp_path, test)


def test_reading_files(driver, tmp_path):
    async def test(sandbox):
        await sandbox.run("printf 'a\\0b' > f; mkfifo fifo; ln -s /dev/zero zero; mkdir d", timeout=20)
        assert await sandbox.read("/workspace/f", 3) == b"a\0b"
        with pytest.raises(ValueError, match="larger"):
            await sandbox.read("/workspace/f", 2)
        with pytest.raises(FileNotFoundError):
            await sandbox.read("/workspace/none", 2)
        for path in ("fifo", "zero", "d"):
            with pytest.raises(ValueError, match="regular"):
                await sandbox.read(f"/workspace/{path}", 2)

    in_sandbox(driver, tmp_path, test)


def test_a_stream_carries_bytes_both_ways_and_ends(driver, tmp_path):
    async def test(sandbox):
        big = bytes(range(256)) * 20_000  # 5 MB, through frames of any size
        async with sandbox.stream(["/bin/sh", "-c", "echo warning >&2; cat; exit 3"], {}) as stream:
            got = bytearray()

            async def receive():
                while len(got) < len(big):
                    got.extend(await stream.receive())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                await stream.send(big)
            assert bytes(got) == big
        assert stream.exit_code == 3  # its stdin was closed at the end of the block
        assert stream.stderr_tail == b"warning\n"
        async with sandbox.stream(["/bin/true"], {"A": "b"}) as stream:
            assert await stream.receive() == b""
            assert await stream.receive() == b""
        async with sandbox.stream(["/bin/sleep", "1000"], {}) as stream:
            pass  # does not care for its stdin
        left = await sandbox.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", timeout=20)
        assert b"sleep 1000" not in left.output

    in_sandbox(driver, tmp_path, test)


def test_a_killed_sandbox_is_told_as_such(driver, tmp_path):
    async def test(sandbox):
        async with sandbox.stream(["/bin/cat"], {}) as stream:
            await stream.send(b"runs")
            assert await stream.receive() == b"runs"
            driver.kill(sandbox)
            assert await stream.receive() == b""
        with pytest.raises(SandboxDied):
            await sandbox.run("true", timeout=20)
        with pytest.raises(SandboxDied):
            await sandbox.read("/etc/passwd", 10_000)

    in_sandbox(driver, tmp_path, test)


@pytest.mark.parametrize("moment", [0.02, 0.1, 0.3, 1.0])
def test_cancelling_at_any_moment_leaves_nothing(driver, tmp_path, moment):
    async def main():
        async with a_sandbox(driver, tmp_path):
            pass  # the environment is there now
        with anyio.move_on_after(moment) as scope:
            async with a_sandbox(driver, tmp_path, run_id=f"cancelled-{moment}") as sandbox:
                await sandbox.run("sleep 1000", timeout=1000)
        assert scope.cancelled_caught

    anyio.run(main)
    assert driver.left(f"cancelled-{moment}") == []


def test_an_error_in_the_block_leaves_nothing(driver, tmp_path):
    async def test(sandbox):
        assert driver.left("failing") != []
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_sandbox(driver, tmp_path, test, run_id="failing", limits=SMALL)
    assert driver.left("failing") == []


def test_a_sandbox_that_is_killed_while_it_is_filled_has_died(driver, tmp_path):
    async def test(sandbox):
        reading, writing = os.pipe()

        def feed():
            member = tarfile.TarInfo("big")
            member.size = 8 << 20
            os.write(writing, member.tobuf() + bytes(512))
            for _ in range(16):
                os.write(writing, bytes(1 << 15))
            time.sleep(0.5)
            driver.kill(sandbox)
            time.sleep(0.5)  # a busy machine takes a while to end it, and the end of the tar must come after
            os.close(writing)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, feed)
            with pytest.raises(SandboxDied):
                await sandbox.put_tree(Path(f"/dev/fd/{reading}"))
        os.close(reading)

    in_sandbox(driver, tmp_path, test)


def test_sandboxes_begin_with_a_tree_and_another_is_laid_as_if_it_were_put_whole(driver, tmp_path):
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    base = commit(repo, BASE)
    commit(repo, CHANGED)
    changed = commit(repo, {"plain/now/a/folder": "5\n", "folder/file": None, "link": ("nowhere",)})
    setup = ["mkdir -p src/deep/er && echo generated > src/deep/er/only.py && echo generated > made"]

    async def main(repository):
        made = await driver.connect(tmp_path)
        bare = await environment_of(made, tmp_path, {"file": b""}, setup=setup)
        write = partial(repository.write_tar, base)
        async with made.workspace(bare, base, write, log=lambda text: None) as begun:
            for tree in (base, changed):
                async with made.sandbox(begun, run_id=RUN, limits=SMALL) as sandbox:
                    assert sandbox.tree == base
                    before = await listing(sandbox)
                    assert before["/workspace/run.sh"][1:] == ["0o100755", 1000]
                    await lay_tree(sandbox, repository, tree)
                    laid = await listing(sandbox)
                    assert (laid == before) is (tree == base)
                    await sandbox.run("rm -r src made; echo x > new", timeout=20)
                async with made.sandbox(bare, run_id=RUN, limits=SMALL) as sandbox:
                    assert sandbox.tree == ""
                    await lay_tree(sandbox, repository, tree)
                    assert await listing(sandbox) == laid

    with Repository(repo) as repository:
        anyio.run(main, repository)
    if isinstance(driver, OfBubblewrap):
        assert not list((tmp_path / "cache").glob("making-*"))
