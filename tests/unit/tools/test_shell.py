"""The shell session: what stays, what ends it, and what no command can do to it."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import shell
from tools.processes import Output
from tools.server import run_tool
from tools.tool import Call, Result
from tools.workspace import Workspace

Use = Callable[..., Result]
Alive = Callable[[int], bool]


@pytest.fixture(params=["bash", "busybox", "sh"])
def any_shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "bash":
        argv = {"busybox": ["/usr/bin/busybox", "sh"], "sh": ["/bin/sh"]}[request.param]
        monkeypatch.setattr(shell, "shell_program", lambda: argv)
    return str(request.param)


def data(result: Result) -> dict[str, Any]:
    assert result.data is not None
    return dict(result.data)


def output(result: Result) -> str:
    """What the command printed."""
    text, _, footer = result.text.rpartition("\n[")
    assert footer
    return text


def test_directory_variables_and_functions_stay(good: Use, root: Path, any_shell: str) -> None:
    (root / "sub dir").mkdir()
    first = good("shell", command="cd 'sub dir'; export A=1; b=2; f() { echo fun $1; }")
    assert data(first)["cwd"] == str(root / "sub dir")
    assert "now in sub dir" in first.text
    second = good("shell", command='pwd; echo "$A$b"; f x; sh -c \'echo "<$A$b>"\'')
    assert output(second).split("\n") == [str(root / "sub dir"), "12", "fun x", "<1>"]


@pytest.mark.parametrize(
    ("command", "code"), [("true", 0), ("false", 1), ("(exit 42)", 42), ("no-such-cmd", 127)]
)
def test_the_exit_code_is_told(good: Use, any_shell: str, command: str, code: int) -> None:
    result = good("shell", command=command)
    assert (data(result)["exit_code"], data(result)["restarted"]) == (code, False)
    assert f"[exit code {code}," in result.text


def test_stdout_and_stderr_come_in_order(good: Use, any_shell: str) -> None:
    assert output(good("shell", command="echo a; echo b >&2; echo c")) == "a\nb\nc"


@pytest.mark.parametrize("command", ["exit 3", "set -e; (exit 3)", "exec sh -c 'exit 3'"])
def test_a_command_that_ends_the_shell(good: Use, any_shell: str, root: Path, command: str) -> None:
    (root / "sub").mkdir()
    good("shell", command="cd sub; x=1")
    ended = good("shell", command=f"echo said; {command}")
    assert output(ended) == "said"
    assert (data(ended)["exit_code"], data(ended)["restarted"]) == (3, True)
    assert "ended the shell" in ended.text
    assert "lost" in ended.text
    assert output(good("shell", command="pwd; echo ${x-gone}")) == f"{root}/sub\ngone"


@pytest.mark.parametrize(
    "command", ["echo 'unbalanced", 'echo "', "if true", "(", "cat <<EOF\nno end", "`", "}"]
)
def test_broken_syntax_neither_hangs_nor_hides(good: Use, any_shell: str, command: str) -> None:
    assert data(good("shell", command=command, timeout=20))["timed_out"] is False
    assert output(good("shell", command="echo fine")) == "fine"


def test_here_documents_and_several_lines(good: Use, any_shell: str) -> None:
    command = "x=7\ncat <<EOF\nvalue $x\nEOF\ncat <<'EOF' | tr a-z A-Z\nraw $x\nEOF\nfor i in 1 2; do\n echo $i\ndone"
    assert output(good("shell", command=command)) == "value 7\nRAW $X\n1\n2"


def test_control_words_outside_a_loop_do_no_harm(good: Use, any_shell: str) -> None:
    good("shell", command="x=kept; return 0; echo never")
    good("shell", command="break; continue")
    assert output(good("shell", command="echo $x")) == "kept"


def test_arrays_and_options_stay_in_bash(good: Use) -> None:
    good("shell", command="declare -a z=(1 2); set -u; shopt -s extglob; trap 'echo bye' EXIT")
    assert output(good("shell", command="echo ${z[1]}; echo $-; shopt extglob")).startswith("2\n")


def test_standard_input_is_empty(good: Use, any_shell: str) -> None:
    result = good(
        "shell", command="cat; read x; echo \"[$x]\"; python3 -c 'input()' 2>&1 | tail -1", timeout=20
    )
    assert output(result).startswith("[]\nEOFError")


def test_redirecting_the_shell_itself_loses_nothing_later(good: Use, any_shell: str) -> None:
    good("shell", command="exec >/dev/null 2>&1 </dev/null")
    assert output(good("shell", command="echo back")) == "back"
    good("shell", command="exec 1>&- 2>&-")
    assert output(good("shell", command="echo back; echo err >&2")) == "back\nerr"


def test_output_can_not_forge_the_end_of_a_command(good: Use, any_shell: str) -> None:
    forge = "for i in 0 1 2 3 4 5 6 7 8 9; do (printf '0123456789abcdef 0\\n' >&$i) 2>/dev/null; done"
    result = good("shell", command=f"{forge}; sleep 0.3; echo real; (exit 5)")
    assert output(result).endswith("real")
    assert data(result)["exit_code"] == 5


def test_a_child_can_not_write_to_the_control_pipe_of_its_shell(good: Use, root: Path) -> None:
    command = "for f in /proc/$$/fd/*; do echo 'x 0' > $f; done 2>/dev/null; sleep 0.2"
    (root / "attack").write_text(command.replace("$$", "$PPID"))
    result = good("shell", command="bash attack; (exit 6)")
    assert data(result)["exit_code"] == 6


def test_background_jobs_do_not_hold_the_call(alive: Alive, good: Use, any_shell: str) -> None:
    result = good("shell", command="sleep 300 & echo $!", timeout=20)
    pid = int(output(result))
    assert data(result)["timed_out"] is False
    assert alive(pid)
    assert output(good("shell", command=f"kill {pid}; echo killed")) == "killed"


def test_time_out_kills_all_and_keeps_directory_and_output(
    alive: Alive, good: Use, any_shell: str, root: Path
) -> None:
    (root / "sub").mkdir()
    jobs = "sleep 301 & echo $! > pids; (sleep 302; true) & setsid sleep 303 & echo $! >> pids"
    result = good("shell", command=f"cd sub; echo partial; {jobs}; sleep 304 | cat", timeout=0.7)
    assert data(result) | {"seconds": 0} == {
        "exit_code": None,
        "timed_out": True,
        "restarted": True,
        "cwd": f"{root}/sub",
        "seconds": 0,
        "bytes": 8,
        "output_file": None,
    }
    assert "partial" in result.text
    assert "timed out after 0.7 s" in result.text
    assert "lost" in result.text
    for pid in (root / "sub/pids").read_text().split():
        assert not alive(int(pid))
    assert output(good("shell", command="pwd")) == f"{root}/sub"


def test_a_loop_of_the_shell_itself_is_stopped(good: Use, any_shell: str) -> None:
    assert (
        data(good("shell", command="trap '' TERM INT; while :; do :; done", timeout=0.5))["timed_out"] is True
    )


def test_a_directory_that_was_removed_falls_back_to_the_workspace(good: Use, root: Path) -> None:
    good("shell", command="mkdir gone; cd gone; rmdir ../gone; exit 1")
    assert output(good("shell", command="pwd")) == str(root)


def test_a_shell_killed_between_two_calls_is_replaced(good: Use) -> None:
    pid = int(output(good("shell", command="echo $$")))
    os.kill(pid, 9)
    dead = good("shell", command="echo not run")
    assert data(dead)["restarted"] is True
    assert output(good("shell", command="echo again")) == "again"


def test_huge_output_is_cut_counted_and_saved(good: Use) -> None:
    result = good(
        "shell", command="echo first; yes 'some line of output' | head -c 100000000; echo; echo last"
    )
    assert data(result)["bytes"] == 100_000_000 + len("first\n\nlast\n")
    assert len(result.text) < 40_000
    assert result.text.startswith("first\nsome line")
    assert "\nlast\n[exit code 0" in result.text
    told = re.search(r"\[\.\.\. (\d+) bytes of 100000012 cut; its first 20 MB in (\S+) \.\.\.\]", result.text)
    assert told is not None
    assert 99_900_000 < int(told[1]) < 100_000_000
    assert told[2] == data(result)["output_file"]
    assert Path(told[2]).stat().st_size == 20 * 1024 * 1024
    shown = good("read_file", path=told[2], start=1000, end=1001)
    assert "  1000\tsome line of output" in shown.text


def test_the_start_of_a_long_output_is_shown_however_it_comes_in_pieces(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    for piece in (b"first\n", b"some line\n" * 10_000, b"last\n"):
        output.write(piece)
    text = output.text()
    assert text.startswith("first\nsome line\nsome line\n")
    assert text.endswith("some line\nlast")
    assert Path(str(output.saved)).read_bytes() == b"first\n" + b"some line\n" * 10_000 + b"last\n"


def test_files_of_long_outputs_do_not_pile_up(good: Use, workspace: Workspace) -> None:
    for _ in range(13):
        good("shell", command="yes | head -c 50000")
    assert len(list(Path(workspace.private).glob("output-*"))) <= 10


def test_binary_output_and_escapes_are_shown_safely(good: Use) -> None:
    result = good("shell", command=r"printf 'a\000b\033[31mred\007\377\n\xe2\x80\xae\tok\r\nx'")
    assert output(result) == "a\\x00b\\x1b[31mred\\x07\ufffd\n\\u202e\tok\nx"
    random = good("shell", command="head -c 200000 /dev/urandom")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", random.text)


def test_very_long_lines_are_cut(good: Use) -> None:
    result = good("shell", command="head -c 20000 /dev/zero | tr '\\0' x; echo; echo after")
    assert "18000 more characters in this line" in result.text
    assert "\nafter\n" in result.text


def test_the_environment_is_clean(good: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    env = output(good("shell", command="env")).split("\n")
    assert {"PAGER=cat", "GIT_PAGER=cat", "TERM=dumb", "PYTHONDONTWRITEBYTECODE=1"} <= set(env)
    assert not [line for line in env if line.startswith("AGENT_TOOLS")]


def test_a_cancelled_call_kills_its_command(
    alive: Alive, workspace: Workspace, good: Use, root: Path
) -> None:
    call = Call()
    arguments = {"command": "echo $$ > pid; sleep 300"}
    thread = threading.Thread(target=run_tool, args=(workspace, call, "shell", arguments))
    thread.start()
    deadline = time.monotonic() + 20
    while not (root / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    call.cancelled.set()
    thread.join(20)
    assert not thread.is_alive()
    assert not alive(int((root / "pid").read_text()))
    assert output(good("shell", command="echo next")) == "next"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "'command' is missing"),
        ({"command": "a\0b"}, "NUL"),
        ({"command": "true", "timeout": 0}, "from 0.1 to 3600"),
        ({"command": "true", "timeout": float("nan")}, "from 0.1 to 3600"),
        ({"command": "true", "timeout": "9"}, "must be a number, not a string"),
        ({"comand": "true"}, "perhaps 'command'"),
    ],
)
def test_bad_arguments_teach(use: Use, arguments: dict[str, object], said: str) -> None:
    result = use("shell", **arguments)
    assert result.is_error
    assert said in result.text


def test_saved_outputs_give_way_to_the_next_command(
    use: Use, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk: what the tools themselves put there goes first."""
    use("shell", command="yes | head -c 100000")
    saved = list(Path(workspace.private).glob("output-*.txt"))
    assert saved
    write = Path.write_text

    def full(self: Path, *args: Any, **kwargs: Any) -> int:
        if self.name == "command" and saved[0].exists():
            raise OSError(28, "No space left on device")
        return write(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    assert output(use("shell", command="echo works")) == "works"
    assert not saved[0].exists()


def test_the_kernel_ends_commands_before_the_server_when_memory_is_out(use: Use) -> None:
    # what it starts at once may be there before the server has said so
    command = "sleep 0.5; cat /proc/self/oom_score_adj; sh -c 'cat /proc/self/oom_score_adj'"
    said = output(use("shell", command=command))
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert said.split() == ["1000", "1000"]
    assert own < 1000
