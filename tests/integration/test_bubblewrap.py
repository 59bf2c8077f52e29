"""What is bubblewrap's alone: the walls it builds of the machine's own, and that it needs no engine and no root."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from sandboxes import disk, seccomp
from sandboxes.bubblewrap import Bubblewrap
from sandboxes.driver import connect
from sandboxes.errors import EngineUnavailable, SandboxError, SetupFailed
from sandboxes.machine import Bind, Machine
from sandboxes.types import Limits
from tests.docker.project import ABOVE, BUGGY, FIXED_LINE, agent, fix, git, make_project
from tests.docker.sandbox_tools import FILL, SMALL, environment_of

LINKS = [name for name in ("bin", "lib", "lib32", "lib64", "libx32", "sbin") if Path("/", name).exists()]
PLACES = ["dev", "etc", "home", "opt", "proc", "run", "sys", "tmp", "usr", "var", "workspace"]
DESCRIPTORS = """
import os
fds = map(int, os.listdir("/proc/self/fd"))
print(sorted(fd for fd in fds if os.path.lexists(f"/proc/self/fd/{fd}")))
"""
NOWHERE = {"DOCKER_HOST": "unix:///no/such/socket"}


def in_sandbox(folder, test, limits=SMALL, **options):
    async def main():
        driver = await Bubblewrap.connect(folder / "cache")
        async with driver.bare(limits, **options) as sandbox:
            await test(sandbox)

    anyio.run(main)


async def says(sandbox, command):
    return (await sandbox.run(command, timeout=30)).output.decode()


def test_nothing_of_the_host_is_to_be_seen_but_its_programs(tmp_path):
    async def test(sandbox):
        assert (await says(sandbox, "ls /")).split() == sorted([*LINKS, *PLACES])
        assert (await says(sandbox, "ls /home /opt /run /var; ls -d /root /mnt 2>/dev/null")).split() == [
            *["/home:", "agent", "/opt:", "sleep", "/run:", "/var:", "run"],
        ]
        assert "shadow" not in await says(sandbox, "ls /etc")
        assert (
            await says(sandbox, "cat /etc/passwd | cut -d: -f1; hostname") == "root\nagent\nnobody\nsandbox\n"
        )
        # a descriptor of the host's would be a door
        done = await sandbox.run(["/usr/bin/python3", "-c", DESCRIPTORS], timeout=20)
        assert done.output == b"[0, 1, 2]\n"
        assert await says(sandbox, "find /dev /proc -type s 2>/dev/null; cat /proc/net/unix | wc -l") == "1\n"
        for file in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname"):
            assert "Read-only file system" in await says(sandbox, f"(echo x > {file}) 2>&1")

    in_sandbox(tmp_path, test)


def test_there_is_no_network_but_its_own_loopback(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        async def test(sandbox):
            program = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
            done = await sandbox.run(["/usr/bin/python3", "-c", program], timeout=20)
            assert b"ConnectionRefusedError" in done.output
            own = "import socket as s; a = s.create_server(('', 0)); s.create_connection(a.getsockname()); print(1)"
            assert (await sandbox.run(["/usr/bin/python3", "-c", own], timeout=20)).output == b"1\n"

        in_sandbox(tmp_path, test)


CALLS = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    answer = libc.syscall(*arguments)
    return "allowed" if answer >= 0 else os.strerror(ctypes.get_errno())
new_user = 0x10000000
x86 = platform.machine() == "x86_64"
print(call(272 if x86 else 97, new_user), call(56 if x86 else 220, new_user | 17, 0, 0, 0, 0), call(435, 0, 0), sep="|")
print(call(250 if x86 else 219, 0, 0, 0), call(425, 1, 0), call(321 if x86 else 280, 0, 0, 0), sep="|")
print(call(16 if x86 else 29, 0, 0x5412, 0), call(16 if x86 else 29, 0, 0x15412 | 1 << 32, 0), sep="|")
socket, personality = (41, 135) if x86 else (198, 92)
print(call(socket, 40, 1, 0), call(socket, 1, 1, 0), call(personality, 0xffffffff), sep="|")
"""


def test_system_calls_that_open_new_doors_are_refused(tmp_path):
    async def test(sandbox):
        no, absent = "Operation not permitted", "Function not implemented"
        done = await sandbox.run(["/usr/bin/python3", "-c", CALLS], timeout=20)
        assert done.output.decode().splitlines() == [
            f"{no}|{no}|{absent}",
            f"{no}|{no}|{no}",
            f"{no}|Inappropriate ioctl for device",
            f"{no}|allowed|allowed",
        ]
        assert (
            await sandbox.run("x=$(python3 -c 'print(6 * 7)') && (echo $x) | cat", timeout=20)
        ).output == b"42\n"

    in_sandbox(tmp_path, test)


def test_the_filter_is_a_program_that_always_ends_in_an_answer():
    for machine in ("x86_64", "aarch64"):
        code = seccomp.program(machine)
        steps = [code[place : place + 8] for place in range(0, len(code), 8)]
        for place, step in enumerate(steps):
            operation, if_true, if_false = int.from_bytes(step[:2], sys.byteorder), step[2], step[3]
            if operation & 7 == 5:  # a jump
                assert place + 1 + max(if_true, if_false) < len(steps)
        assert int.from_bytes(steps[-1][:2], sys.byteorder) == 6


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user can't lay an overlay everywhere")
def test_what_is_mounted_does_not_say_where_it_is_on_the_host(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir(mode=0o755)
    (folder / "file").write_text("content")

    async def test(sandbox):
        mounts = await says(sandbox, "cat /opt/env/file /proc/self/mountinfo; touch /opt/env/x 2>&1")
        assert mounts.startswith("content")
        assert " /opt/env " in mounts and "Read-only file system" in mounts
        assert str(tmp_path) not in mounts

    in_sandbox(tmp_path, test, binds=[Bind(folder, "/opt/env")])


TRACING = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace(16, 1, 0, 0)
print(os.strerror(ctypes.get_errno()))
try:
    open("/proc/1/mem", "wb")
except OSError as error:
    print(error.strerror)
try:
    os.listdir("/proc/1/fd")
except OSError as error:
    print(error.strerror)
"""
KILLING = "import os\nprint('began', flush=True)\nwhile True:\n try: os.kill(-1, 9)\n except OSError: pass\n"


def test_the_keeper_is_out_of_reach_of_all_that_runs_inside(tmp_path):
    async def test(sandbox):
        done = await sandbox.run(["/usr/bin/python3", "-c", TRACING], timeout=20)
        assert done.output == b"Operation not permitted\nPermission denied\nPermission denied\n"
        await sandbox.run(
            'echo kept > f; setsid python3 -c "$CODE" & sleep 1', timeout=20, env={"CODE": KILLING}
        )
        with pytest.raises(SandboxError):
            await sandbox.read("/workspace/f", 100)  # what reads it is killed
        for _ in range(5):
            assert await sandbox.read("/workspace/f", 100, keeper=True) == b"kept\n"

    toolbox = tmp_path / "toolbox"
    (toolbox / "bin").mkdir(parents=True)
    (toolbox / "bin" / "python3").symlink_to(Machine.look().python)
    in_sandbox(tmp_path, test, binds=[Bind(toolbox, "/opt/toolbox")])


DAEMON = "env -i setsid sh -c '(sleep 1002 & sleep 1003 &) ' & sleep 0.5; sleep 1004"


def test_a_command_that_hides_from_its_timeout_is_found(tmp_path):
    async def test(sandbox):
        for command in ("exec env -i /bin/sleep 1000", "env -i setsid -w sh -c 'sleep 1001 & wait'", DAEMON):
            assert (await sandbox.run(command, timeout=1)).timed_out
        assert "sleep 100" not in await says(sandbox, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")

    in_sandbox(tmp_path, test)


def test_orphans_are_reaped(tmp_path):
    async def test(sandbox):
        await sandbox.run(
            "for i in $(seq 20); do (setsid sh -c 'sleep 0.1 & exit' &); done; sleep 1", timeout=20
        )
        assert "Z" not in await says(sandbox, "grep -h State /proc/[0-9]*/status")

    in_sandbox(tmp_path, test)


def test_a_sandbox_ends_by_itself(tmp_path):
    async def test(sandbox):
        with pytest.raises(SandboxError, match="ended"):
            await sandbox.run("sleep 60", timeout=50)

    in_sandbox(tmp_path, test, limits=Limits(lifetime_seconds=1))


OWNER = """
import sys, anyio
from pathlib import Path
from sandboxes.bubblewrap import Bubblewrap
from tests.docker.sandbox_tools import FILL, SMALL, environment_of

async def main(folder):
    driver = await Bubblewrap.connect(folder / "cache")
    if sys.argv[2] == "set-up":
        setup = ["echo begun; sleep 600 # " + str(folder)]
        said = lambda text: print(text, flush=True) if text.startswith("running") else None
        await environment_of(driver, folder, {"a": b""}, setup=setup, log=said)
    async with driver.bare(SMALL) as sandbox:
        print(sandbox.id, flush=True)
        await sandbox.run("sleep 600", timeout=600)

anyio.run(main, Path(sys.argv[1]))
"""


def inside(folder):
    """The processes that were started below a folder, or by one that was."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and str(folder).encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("moment", ["running", "set-up"])
def test_kill_9_of_the_owner_leaves_no_process_and_doctor_removes_the_rest(tmp_path, moment):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), moment], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    first = owner.stdout.readline()
    assert first
    owner.kill()
    owner.wait()
    for _ in range(200):
        if not inside(tmp_path) and not (moment == "running" and Path("/proc", first.strip()).exists()):
            break
        time.sleep(0.05)
    assert inside(tmp_path) == []
    if moment == "running":
        assert not Path("/proc", first.strip()).exists()
        return
    there = tmp_path / "there"
    home = there / "home"
    home.mkdir(parents=True)
    (tmp_path / "cache").rename(home / "bubblewrap")
    assert list((home / "bubblewrap").glob("making-*"))
    told = agent(there, "doctor").stdout
    assert "bubblewrap's leftovers: removed" in told
    assert not list((home / "bubblewrap").glob("making-*"))


PROJECT = {
    "pyproject.toml": b"[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n[project]\n"
    b"name = 'tiny'\nversion = '1.0'\ndependencies = ['iniconfig']\n[tool.setuptools]\npy-modules = ['tiny']\n",
    "tiny.py": b"import iniconfig\n",
    "test_tiny.py": b"from importlib.metadata import version\n\n\ndef test_it():\n    import tiny\n\n"
    b"    assert version('tiny') == '1.0'\n    assert tiny.__file__ == '/workspace/tiny.py'\n",
}


def test_a_project_is_set_up_once_with_the_machine_s_python(tmp_path):
    said = []

    async def main():
        driver = await Bubblewrap.connect(tmp_path / "cache")
        environment = await environment_of(driver, tmp_path, PROJECT, log=said.append)
        assert environment.warnings == ()
        async with driver.sandbox(environment, run_id="x") as sandbox:
            await sandbox.put_tree(tmp_path / "tree.tar")
            done = await sandbox.run("python -m pytest -q; touch /opt/env/x", timeout=60)
            assert b"1 passed" in done.output
            assert b"Read-only" in done.output
        return environment

    environment = anyio.run(main)
    assert any("installing" in line for line in said)
    said.clear()
    assert anyio.run(main) == environment
    assert not any("installing" in line for line in said)
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "cache").iterdir()) == [
        *["environment", "toolbox", "tools"],
    ]


def test_a_set_up_that_fails_leaves_nothing_in_the_cache(tmp_path):
    async def main():
        driver = await Bubblewrap.connect(tmp_path / "cache")
        with pytest.raises(SandboxError, match="it broke"):
            await environment_of(driver, tmp_path, {"a": b""}, setup=["echo error: it broke; exit 3"])

    anyio.run(main)
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "cache").iterdir()) == [
        "toolbox",
        "tools",
    ]


def test_a_set_up_that_fills_the_disk_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "MOST_MB", 50)

    async def main():
        driver = await Bubblewrap.connect(tmp_path / "cache")
        with pytest.raises(SetupFailed, match=r"wrote more than 0\.05 GB to the disk; let it install less"):
            await environment_of(driver, tmp_path, {"a": b""}, setup=[FILL])

    began = time.monotonic()
    anyio.run(main)
    assert time.monotonic() - began < 900
    assert not list((tmp_path / "cache").glob("*/env"))


# --- the choice


def test_auto_is_bubblewrap_where_no_engine_answers_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", NOWHERE["DOCKER_HOST"])
    said = []
    driver = anyio.run(lambda: connect("auto", cache=tmp_path, log=said.append))
    assert isinstance(driver, Bubblewrap)
    assert any("bubblewrap" in line and "DOCKER_HOST" in line for line in said)
    with pytest.raises(EngineUnavailable, match="DOCKER_HOST"):
        anyio.run(lambda: connect("docker", cache=tmp_path, log=said.append))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match=r"Docker.*bubblewrap is not installed"):
        anyio.run(lambda: connect("auto", cache=tmp_path, log=said.append))


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--sandbox", "bubblewrap", "--image", "python:3"], 2, "bubblewrap has no images"),
        (["--sandbox", "bubblewrap", "--runtime", "runsc"], 2, "bubblewrap has no OCI runtimes"),
        (["--image", "python:3"], 3, "mend DOCKER_HOST"),
        (["--sandbox", "docker"], 3, "mend DOCKER_HOST"),
        (["--sandbox", "podman"], 2, "invalid choice"),
    ],
)
def test_what_cannot_be_had_is_one_line(tmp_path, flags, code, words):
    make_project(tmp_path)
    (tmp_path / "p.diff").write_text("--- a/x\n+++ b/x\n")
    done = agent(tmp_path, "gate", "--repo", str(tmp_path / "repo"), "--patch", "p.diff", *flags, **NOWHERE)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


# --- the whole of it


def patch_of(repo):
    (repo / "calc.py").write_text(BUGGY.replace(*FIXED_LINE))
    good = git(repo, "diff")
    (repo / "calc.py").write_text(BUGGY.replace("value > high", "value >= high"))
    bad = git(repo, "diff")
    git(repo, "checkout", "-q", "calc.py")
    return good, bad


def test_fix_and_gate_end_to_end_without_an_engine(tmp_path):
    repo = make_project(tmp_path)
    code, result, stderr = fix(tmp_path, "local/repair", "--fail-to-pass", ABOVE, **NOWHERE)
    assert (code, result["status"]) == (0, "accepted"), (result, stderr)
    log = (tmp_path / "home" / "runs" / str(result["run_id"]) / "events.jsonl").read_text()
    assert "sandboxes are made by bubblewrap" in log
    assert "no control group" in log or "limited by a control group" in log
    for patch, status in zip(patch_of(repo), (0, 1), strict=True):
        (tmp_path / "p.diff").write_text(patch)
        words = ["gate", "--repo", str(repo), "--patch", "p.diff", "--fail-to-pass", ABOVE, "--json"]
        done = agent(tmp_path, *words, "--sandbox", "bubblewrap", **NOWHERE)
        assert done.returncode == status, (done.stdout, done.stderr)
        assert json.loads(done.stdout)["accepted"] is (status == 0)


USER = 54321
AS_USER = """
set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/site /mnt/repo /mnt/tmp
mount --bind {site} /mnt/site
mount --bind {repo} /mnt/repo
chown {user} /mnt/tmp
cd /mnt/repo
exec setpriv --reuid={user} --regid={user} --clear-groups env -i PATH=/usr/bin:/bin HOME=/mnt/tmp TMPDIR=/mnt/tmp \
    DOCKER_HOST=unix:///no/such/socket PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/mnt/repo:/mnt/site {variables} \
    {python} -m pytest -q -p no:cacheprovider --basetemp=/mnt/tmp/pytest {tests}
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="this user is an ordinary one already")
def test_an_ordinary_user_without_a_name_gets_the_same(tmp_path):
    """The contract, and a repair from end to end, as a user who may not do anything: no engine, no control group."""
    python = Machine.look().python
    version = (
        subprocess.run([python, "-V"], capture_output=True, text=True).stdout.split()[1].rpartition(".")[0]
    )
    if version != ".".join(map(str, sys.version_info[:2])) or not shutil.which("setpriv"):
        pytest.skip(
            "the packages of this test are for another Python than the machine's, or there is no setpriv"
        )
    wanted = ("PIP_", "SSL_", "http", "HTTP", "no_proxy", "NO_PROXY")
    kept = {name: value for name, value in os.environ.items() if name.startswith(wanted)}
    script = AS_USER.format(
        site=Path(pytest.__file__).parent.parent,
        repo=Path(__file__).parent.parent.parent,
        user=USER,
        variables=" ".join(f"'{name}={value}'" for name, value in kept.items()),
        python=python,
        tests="tests/contract/test_sandboxes.py tests/integration/test_bubblewrap.py -k 'bubblewrap and not ordinary'",
    )
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "failed" not in done.stdout


def parent_of(pid):
    return int(Path(f"/proc/{pid}/status").read_text().split("PPid:")[1].split()[0])


def test_signals_of_the_terminal_do_not_end_a_sandbox_before_its_owner(tmp_path):
    async def test(sandbox):
        parent = parent_of(parent_of(int(sandbox.id)))
        assert os.getpgid(parent) != os.getpgrp()  # so Ctrl-C does not reach it
        os.kill(parent, signal.SIGKILL)
        with pytest.raises(SandboxError):
            await sandbox.run("sleep 30", timeout=20)

    in_sandbox(tmp_path, test)


def test_programs_are_found_by_path_and_the_exit_code_says_why_one_did_not_start(tmp_path):
    async def test(sandbox):
        for command, cwd, code in (
            (["id", "-u"], "/", 0),
            (["no-such-program"], "/", 127),
            (["/etc/passwd"], "/", 126),
            (["true"], "/nowhere", 127),
        ):
            done = await sandbox.run(command, timeout=20, cwd=cwd)
            assert done.exit_code == code, done
            assert (done.output == b"1000\n") is (code == 0)

    in_sandbox(tmp_path, test)
