"""The tool server as a process, spoken to by the MCP SDK's own client and by hand."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters

REPOSITORY = Path(__file__).parents[2]
START = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from tools.server import main; main()"
ERAS = ["legacy", "2026-07-28"]
NAMES = [
    "shell",
    "read_file",
    "edit_file",
    "write_file",
    "search",
    "find_files",
    "run_tests",
    "undo",
    "diff",
    "submit",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    (root / "tests").mkdir(parents=True)
    (root / "sums.py").write_text("def add(a, b):\n    return a - b\n")
    (root / "tests/test_sums.py").write_text(
        "from sums import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n"
    )
    return root


@pytest.fixture
def env(root: Path, tmp_path: Path) -> dict[str, str]:
    config = {
        "workspace": str(root),
        "scratch": str(tmp_path / "scratch"),
        "test_command": f"{sys.executable} -m pytest",
    }
    return {"AGENT_TOOLS": json.dumps(config), "PATH": os.environ["PATH"]}


def client(env: dict[str, str], mode: str) -> Client:
    server = StdioServerParameters(command=sys.executable, args=["-I", "-c", START], env=env)
    return Client(server, mode=mode)


async def call(client: Client, tool: str, /, **arguments: Any) -> tuple[str, dict[str, Any], bool]:
    result = await client.call_tool(tool, arguments)
    [block] = result.content
    assert block.type == "text"
    data = result.structured_content
    assert data is None or isinstance(data, dict)
    return block.text, data or {}, bool(result.is_error)


def ended(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("era", ERAS)
def test_a_repair_from_the_red_test_to_the_patch(env: dict[str, str], root: Path, era: str) -> None:
    async def work() -> None:
        async with client(env, era) as mcp:
            listed = (await mcp.list_tools()).tools
            assert [tool.name for tool in listed] == NAMES
            for tool in listed:
                assert tool.description
                assert tool.input_schema["type"] == "object"
            _, red, failed = await call(mcp, "run_tests")
            assert not failed
            assert red["outcomes"] == {"tests/test_sums.py::test_add": "failed"}
            assert red["failures"][0]["message"].startswith("assert -1 == 5")
            text, _, _ = await call(mcp, "read_file", path="sums.py")
            assert text == "     1\tdef add(a, b):\n     2\t    return a - b"
            text, _, failed = await call(mcp, "submit", summary="nothing yet")
            assert failed
            await call(mcp, "edit_file", path="sums.py", old="a - b", new="a + b")
            _, green, _ = await call(mcp, "run_tests", ids=["tests/test_sums.py::test_add"])
            assert green["counts"] == {"passed": 1}
            _, diff, _ = await call(mcp, "diff")
            assert "-    return a - b\n+    return a + b\n" in diff["patch"]
            _, done, _ = await call(mcp, "submit", summary="add subtracted")
            assert done == {"submitted": True, "give_up": False}

    anyio.run(work)


def test_undo_goes_back_to_what_was_tested_also_after_a_restart(env: dict[str, str], root: Path) -> None:
    async def work() -> None:
        async with client(env, "2026-07-28") as mcp:
            text, red, _ = await call(mcp, "run_tests")
            assert red["checkpoint"] == 0
            assert "\n[checkpoint 0]\n" in text
            await call(mcp, "write_file", path="tests/test_more.py", content="def test_more(): pass\n")
            _, more, _ = await call(mcp, "run_tests")
            assert more["checkpoint"] == 1
            await call(mcp, "edit_file", path="sums.py", old="def add(a, b):", new="def add(a, b)")
            _, broken, _ = await call(mcp, "run_tests")
            assert broken["counts"] == {"error": 1}
            await call(mcp, "write_file", path="notes", content="not tested\n")
        async with client(env, "2026-07-28") as mcp:
            text, undone, failed = await call(mcp, "undo")
            assert not failed, text
            assert text.startswith(
                "back at checkpoint 1 (1 of 2 tests failed there)\nfailing there: tests/test_sums.py::test_add\n"
                "put back: sums.py\nremoved: notes\n"
            )
            assert (undone["checkpoint"], undone["before"]) == (1, 3)
            _, diff, _ = await call(mcp, "diff")
            assert diff["patch"].count("diff --git") == 1
            text, _, failed = await call(mcp, "undo", to=7)
            assert failed
            assert text.startswith(
                "there is no checkpoint 7; there are\ncheckpoint 0, the start (1 of 1 test failed"
            )
            text, _, failed = await call(mcp, "undo", to=-1)
            assert failed
            assert "'to' must be at least 0" in text
            await call(mcp, "undo")
            assert not (root / "tests/test_more.py").exists()

    anyio.run(work)


@pytest.mark.parametrize("era", ERAS)
def test_mistakes_are_results_that_teach(env: dict[str, str], era: str) -> None:
    async def work() -> None:
        async with client(env, era) as mcp:
            for tool, arguments, said in [
                ("raed_file", {"path": "x"}, "did you mean 'read_file'?"),
                ("zzz", {}, "The tools are shell, read_file"),
                (
                    "read_file",
                    {},
                    "'path' is missing. Usage: read_file(path: string, start: integer (optional)",
                ),
                ("read_file", {"path": 3}, "'path' must be a string, not a number"),
                ("read_file", {"path": "sums.py", "strat": 1}, "no argument 'strat', perhaps 'start'"),
                (
                    "read_file",
                    {"path": "sums.py", "start": True},
                    "'start' must be an integer, not a boolean",
                ),
            ]:
                text, _, failed = await call(mcp, tool, **arguments)
                assert failed
                assert said in text
            text, _, failed = await call(mcp, "read_file", path="sums.py", start=None, end=1.0)
            assert not failed, text

    anyio.run(work)


@pytest.mark.parametrize("era", ERAS)
def test_a_cancelled_call_kills_its_processes_and_the_server_lives(
    env: dict[str, str], root: Path, era: str
) -> None:
    async def work() -> None:
        async with client(env, era) as mcp:
            await call(mcp, "shell", command="true")
            with pytest.raises(MCPError) as raised:
                command = "setsid sh -c 'echo $$ > pid; sleep 300' & sleep 300"
                await mcp.call_tool("shell", {"command": command}, read_timeout_seconds=1)
            assert raised.value.error.code == -32001
            assert await anyio.to_thread.run_sync(ended, int((root / "pid").read_text()))
            text, _, _ = await call(mcp, "shell", command="echo next")
            assert text.startswith("next\n")
            with anyio.move_on_after(1):
                await mcp.call_tool("run_tests", {"ids": ["tests/test_slow.py"]})
            text, _, _ = await call(mcp, "shell", command="echo next")
            assert text.startswith("next\n")

    anyio.run(work)


def test_calls_run_side_by_side(env: dict[str, str]) -> None:
    async def work() -> None:
        async with client(env, "2026-07-28") as mcp:
            await call(mcp, "shell", command="true")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    lambda: call(mcp, "shell", command="until [ -e go ]; do sleep 0.05; done", timeout=60)
                )
                text, _, _ = await call(mcp, "read_file", path="sums.py")
                assert "def add" in text
                await call(mcp, "write_file", path="go", content="")

    anyio.run(work)


def test_daemons_are_found_and_killed(env: dict[str, str], root: Path) -> None:
    daemon = "setsid setsid sh -c '(env -i sleep 300 & echo $! > daemon) & exit' ; while [ ! -s daemon ]; do :; done"

    async def work() -> None:
        async with client(env, "2026-07-28") as mcp:
            _, data, _ = await call(mcp, "shell", command=f"{daemon}; sleep 300", timeout=1)
            assert data["timed_out"]
            assert ended(int((root / "daemon").read_text()))
            (root / "daemon").unlink()
            # Left by the tests: killed at their end, while the shell's own daemon may stay.
            await call(mcp, "shell", command=daemon)
            keep = int((root / "daemon").read_text())
            (root / "tests/test_daemon.py").write_text(
                "import subprocess\n"
                "def test_d():\n"
                f"    subprocess.run(['sh', '-c', {daemon.replace('daemon', 'daemon2')!r}])\n"
            )
            _, data, _ = await call(mcp, "run_tests", ids=["tests/test_daemon.py"])
            assert data["counts"] == {"passed": 1}
            assert ended(int((root / "daemon2").read_text()))
            text, _, _ = await call(mcp, "shell", command=f"kill -0 {keep} && echo lives")
            assert text.startswith("lives")
        assert ended(keep)

    anyio.run(work)


def test_orphans_that_ended_do_not_pile_up(env: dict[str, str]) -> None:
    async def work() -> None:
        async with client(env, "2026-07-28") as mcp:
            for _ in range(5):
                await call(
                    mcp, "shell", command="for i in 1 2 3 4 5 6 7 8 9; do (setsid true &); done; sleep 0.1"
                )
            command = 'cat /proc/[0-9]*/stat 2>/dev/null | grep -c ") Z $PPID "'
            text, _, _ = await call(mcp, "shell", command=command)
            assert text.startswith("0\n")

    anyio.run(work)


# --- by hand


class Wire:
    """Lines to and from a server."""

    def __init__(self, env: dict[str, str]) -> None:
        pipe = subprocess.PIPE
        # As in a sandbox: without capabilities, also where the tests run as root.
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [*drop, sys.executable, "-I", "-c", START], env=env, stdin=pipe, stdout=pipe, stderr=pipe
        )

    def send(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout
        message = json.loads(self.process.stdout.readline())
        assert isinstance(message, dict)
        return message

    def ask(self, request_id: int | str, method: str, **params: Any) -> dict[str, Any]:
        self.send(
            json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()
        )
        answer = self.receive()
        assert answer["id"] == request_id
        return answer


@pytest.fixture
def wire(env: dict[str, str]) -> Iterator[Wire]:
    wire = Wire(env)
    yield wire
    wire.process.kill()
    wire.process.wait()
    for pipe in (wire.process.stdin, wire.process.stdout, wire.process.stderr):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()  # type: ignore[union-attr]


MODERN = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}


def test_the_era_of_initialize(wire: Wire) -> None:
    for asked, told in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("1999-01-01", "2025-11-25"),
    ]:
        result = wire.ask(1, "initialize", protocolVersion=asked)["result"]
        assert result["protocolVersion"] == told
        assert result["capabilities"] == {"tools": {}}
    assert wire.ask("a", "ping")["result"] == {}
    assert "resultType" not in wire.ask(2, "tools/list")["result"]


def test_the_era_without_sessions(wire: Wire) -> None:
    found = wire.ask(1, "server/discover", **MODERN)["result"]
    assert found["supportedVersions"] == ["2026-07-28"]
    assert found["resultType"] == "complete"
    listed = wire.ask(2, "tools/list", **MODERN)["result"]
    assert [tool["name"] for tool in listed["tools"]] == NAMES
    assert (listed["ttlMs"], listed["cacheScope"]) == (0, "private")
    called = wire.ask(3, "tools/call", name="read_file", arguments={"path": "sums.py"}, **MODERN)["result"]
    assert called["resultType"] == "complete"
    assert called["_meta"]["io.modelcontextprotocol/serverInfo"]["name"]
    unknown = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2031-01-01"}}
    error = wire.ask(4, "tools/list", **unknown)["error"]
    assert error["code"] == -32022
    assert "2026-07-28" in error["data"]["supported"]
    assert error["data"]["requested"] == "2031-01-01"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json", -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"3", -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"resources/list"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","x":"' + b"y" * (33 << 20) + b'"}', -32600),
    ],
)
def test_broken_messages_are_answered_and_survived(wire: Wire, line: bytes, code: int) -> None:
    wire.send(line)
    assert wire.receive()["error"]["code"] == code
    wire.send(b'{"jsonrpc":"2.0","method":"notifications/unknown"}')
    wire.send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[]}}')
    wire.send(b"")
    assert wire.ask(2, "ping")["result"] == {}


def test_what_commands_print_stays_off_the_wire(wire: Wire) -> None:
    # The shell's parent is the server: its files hold the wire.
    command = """
        for f in 0 1 2 3 4 5 6 7 8 9; do echo '{"forged": 1}' > /proc/$PPID/fd/$f; done
        echo '{"jsonrpc":"2.0"}'; echo '{"jsonrpc":"2.0"}' >&2
        """
    answer = wire.ask(1, "tools/call", name="shell", arguments={"command": command, "timeout": 20})
    text = answer["result"]["content"][0]["text"]
    assert "/fd/1: Permission denied" in text
    assert '{"jsonrpc":"2.0"}\n{"jsonrpc":"2.0"}\n' in text
    assert wire.ask(2, "ping")["result"] == {}


@pytest.mark.parametrize("how", ["eof", "term"])
def test_the_end_of_the_input_ends_everything(wire: Wire, root: Path, how: str) -> None:
    wire.ask(1, "tools/call", name="shell", arguments={"command": "sleep 300 & echo $! > a; echo $$ > b"})
    request = {"name": "shell", "arguments": {"command": "setsid sleep 300 & echo $! > c; sleep 300"}}
    wire.send(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": request}).encode())
    while not (root / "c").exists() or not (root / "c").read_text():
        time.sleep(0.01)
    assert wire.process.stdin
    if how == "eof":
        wire.process.stdin.close()
    else:
        os.kill(wire.process.pid, signal.SIGTERM)
    assert wire.process.wait(30) == 0
    for name in "abc":
        assert ended(int((root / name).read_text()))


def test_a_reader_that_went_away_ends_the_server(wire: Wire) -> None:
    assert wire.process.stdout
    wire.process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        wire.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert wire.process.wait(30) == 0


@pytest.mark.parametrize("config", ["", "{", "[]", '{"workspace": "/"}'])
def test_a_useless_configuration_is_said_in_one_line(env: dict[str, str], config: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", START], env=env | {"AGENT_TOOLS": config}, input=b"", capture_output=True
    )
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"AGENT_TOOLS holds no usable configuration")
    assert done.stderr.count(b"\n") == 1


def test_only_the_standard_library_is_imported() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import tools.server, tools.near\n"
        "print([m for m in sys.modules if m.partition('.')[0] not in sys.stdlib_module_names | {'tools', '__main__'}])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
