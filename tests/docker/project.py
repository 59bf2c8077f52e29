"""A small real project with a bug, and the `agent` command run on it as a user runs it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

BUGGY = """\
def clamp(value, low, high):
    if value < low:
        return low
    if value > high:
        return low
    return value


def mean(values):
    return sum(values) / len(values)
"""
FIXED_LINE = ("        return low\n    return value", "        return high\n    return value")

TESTS = """\
from calc import clamp, mean


def test_inside():
    assert clamp(2, 1, 3) == 2


def test_below():
    assert clamp(0, 1, 3) == 1


def test_mean():
    assert mean([1, 2, 3]) == 2
"""
RED = """\


def test_above():
    assert clamp(5, 1, 3) == 3
"""
ABOVE = "tests/test_calc.py::test_above"
ISSUE = "# clamp() is wrong above the range\n\n`clamp(5, 1, 3)` gives 1; it should give 3.\n"

ENVIRONMENT_KEYS = (
    "PATH",
    "HOME",
    "LANG",
    "DOCKER_HOST",
    "AGENT_BASE_IMAGE",
    "SSL_CERT_FILE",
    "PIP_CERT",
    "TMPDIR",
    "PYTHONPATH",
)


def git(repo: Path, *args: str) -> str:
    command = ["git", "-C", str(repo), "-c", "user.name=t", "-c", "user.email=t@localhost", *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make_project(folder: Path, *, red: bool = True) -> Path:
    """A git repository with the bug; with `red`, its suite has the failing test already."""
    repo = folder / "repo"
    (repo / "tests").mkdir(parents=True)
    (repo / "calc.py").write_text(BUGGY)
    (repo / "conftest.py").write_text("")
    (repo / "tests" / "test_calc.py").write_text(TESTS + (RED if red else ""))
    (folder / "issue.md").write_text(ISSUE)
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "base")
    return repo


def state(repo: Path) -> dict[str, str]:
    """Every file of a repository, .git included, with a hash of its bytes: unchanged means byte for byte."""
    return {
        str(path.relative_to(repo)): "link"
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(repo.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def call(name: str, **arguments: object) -> dict[str, object]:
    return {"name": name, "arguments": arguments}


def script(folder: Path, *attempts: list[list[dict[str, object]]]) -> str:
    """A scripted model: for each attempt a list of replies, for each reply a list of tool calls.

    It sees the failure and states the root cause before the first one, and runs something before it submits, if it
    does not do so itself.
    """
    lines = []
    for number, (first, *replies) in enumerate(attempts, 1):
        understood = any(one["name"] == "root_cause" for reply in [first, *replies] for one in reply)
        replies = [[*([] if understood else UNDERSTOOD), *first], *replies]
        replies[-1] = [*([] if understood else [call("shell", command=SEE)]), *replies[-1]]
        if number > 1:
            lines.append(json.dumps({"attempt": number}))
        lines += [json.dumps({"text": "so", "tool_calls": calls}) for calls in replies]
    path = folder / "script.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return f"scripted/{path}"


FIX = call("edit_file", path="calc.py", old=FIXED_LINE[0], new=FIXED_LINE[1])
SUBMIT = call("submit", summary="return the upper bound")
SEE = "python3 -c 'from calc import clamp; print(\"clamp(5, 1, 3) gives\", clamp(5, 1, 3))'"
CAUSE = call(
    "root_cause",
    cause="clamp returns low for values above high",
    where=["calc.py:5"],
    test=SEE,
    observed="clamp(5, 1, 3) gives 1",
    expected="clamp(5, 1, 3) gives 3",
    explains="value > high holds for 5, and line 5 then returns low, which is 1",
)
UNDERSTOOD = [call("shell", command=SEE), CAUSE]


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "agent", *args]


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ENVIRONMENT_KEYS if key in os.environ}
    kept |= {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "DOCKER_"))}
    return kept | {"AGENT_HOME": str(folder / "home"), **more}


def agent(folder: Path, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*args),
        capture_output=True,
        text=True,
        env=environment(folder, **more),
        cwd=folder,
        timeout=900,
    )


def fix(folder: Path, model: str, *args: str, **more: str) -> tuple[int, dict[str, object], str]:
    """`agent fix --json` on the project in `folder`: exit code, result, stderr."""
    issue = ["--issue", str(folder / "issue.md")]
    done = agent(
        folder, "fix", "--repo", str(folder / "repo"), *issue, "--model", model, "--json", *args, **more
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr
