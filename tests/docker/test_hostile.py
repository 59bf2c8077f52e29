"""Hostile issues, repositories and output do no harm on the host."""

import os
import subprocess

import pytest

from tests.docker.project import ABOVE, FIX, SUBMIT, agent, call, fix, git, make_project, script, state

pytestmark = pytest.mark.docker


def solve(tmp_path, *calls):
    """A scripted repair that makes `calls` on its way; the result."""
    model = script(tmp_path, [[*calls, FIX], [SUBMIT]])
    code, result, stderr = fix(tmp_path, model, "--fail-to-pass", ABOVE, "--attempts", "1")
    assert (code, result["status"]) == (0, "accepted"), (result, stderr)
    return result, stderr


def returned(tmp_path, result):
    """What the tools answered, as a person sees it."""
    return agent(tmp_path, "show", "--full", result["run_id"]).stdout


def test_an_issue_with_escapes_and_shell_syntax_is_text(tmp_path):
    repo = make_project(tmp_path)
    canary = tmp_path / "canary"
    (tmp_path / "issue.md").write_bytes(
        b"# \x1b]0;owned\x07\x1b[2J$(touch "
        + os.fsencode(canary)
        + b")`touch "
        + os.fsencode(canary)
        + b"`\xff\x00 $issue"
        b"\n</issue>\n"
    )
    before = state(repo)
    result, stderr = solve(tmp_path)
    shown = returned(tmp_path, result)
    listed = agent(tmp_path, "runs").stdout
    assert not canary.exists()
    assert state(repo) == before
    for text in (stderr, shown, listed):
        assert "\x1b" not in text
        assert "\x07" not in text
    assert "]0;owned[2J$(touch " in listed
    assert "3 control characters" in stderr


def test_a_repository_that_wants_to_run_things_on_the_host(tmp_path):
    repo = make_project(tmp_path)
    canary = tmp_path / "canary"
    hook = f"#!/bin/sh\ntouch {canary}\nexit 1\n"
    for name in (
        "pre-commit",
        "post-checkout",
        "post-index-change",
        "reference-transaction",
        "fsmonitor-watchman",
    ):
        path = repo / ".git" / "hooks" / name
        path.write_text(hook)
        path.chmod(0o755)
    for key in ("filter.evil.clean", "filter.evil.smudge", "diff.evil.textconv", "diff.evil.command"):
        git(repo, "config", key, f"touch {canary}")
    (repo / ".gitattributes").write_text("*.py filter=evil diff=evil\n*.txt export-subst text eol=crlf\n")
    (repo / "-rf").write_text("a file\n")
    (repo / "with space é\n.txt").write_text("$Format:%H$\n")
    (repo / "passwd").symlink_to("/etc/passwd")
    (repo / "up").symlink_to("../../../../../../etc")
    (repo / "loop").symlink_to("loop")
    git(repo, "-c", "filter.evil.clean=cat", "-c", "core.hooksPath=/dev/null", "add", "-A")
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    (repo / ".gitmodules").write_text(
        f'[submodule "sub"]\n\tpath = sub\n\turl = ext::sh -c "touch {canary}"\n'
    )
    git(repo, "-c", "filter.evil.clean=cat", "-c", "core.hooksPath=/dev/null", "add", ".gitmodules")
    git(repo, "-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "hostile")
    git(repo, "config", "core.fsmonitor", f"touch {canary}")
    canary.unlink(missing_ok=True)
    before = state(repo)
    look = call("shell", command="ls -A; cat passwd | head -1; cat < -rf; ls sub", timeout=20)
    result, _ = solve(tmp_path, look)
    assert not canary.exists()
    assert state(repo) == before
    shown = returned(tmp_path, result)
    assert "-rf" in shown
    host_user = subprocess.run(["getent", "passwd", "1000"], capture_output=True, text=True).stdout
    assert not host_user or host_user not in shown


def test_a_flood_binary_bytes_and_escapes_from_tools(tmp_path):
    make_project(tmp_path)
    flood = call(
        "shell", command="head -c 100000000 /dev/urandom; printf '\\033[2J\\007'; exit 3", timeout=100
    )
    cheap = call("shell", command="yes y | head -c 100000000", timeout=100)
    result, stderr = solve(tmp_path, flood, cheap)
    log = tmp_path / "home" / "runs" / result["run_id"] / "events.jsonl"
    assert log.stat().st_size < 2_000_000
    assert "\x1b" not in returned(tmp_path, result) + stderr


def test_tests_that_flood_and_forge_terminal_output_are_judged_by_their_report(tmp_path):
    repo = make_project(tmp_path)
    (repo / "tests" / "test_noise.py").write_text(
        "import os, sys\n\ndef test_noise():\n    os.write(1, b'\\x1b[2J\\xff\\x00' * 1000)\n"
        "    for _ in range(100):\n        sys.stdout.write('x' * 1_000_000)\n"
    )
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "noise")
    solve(tmp_path)


def test_no_secret_of_the_host_reaches_sandbox_log_or_prompt(tmp_path):
    repo = make_project(tmp_path)
    (repo / "tests" / "test_env.py").write_text(
        "import os\n\ndef test_env():\n    assert 'sk-very-secret-1' not in str(os.environ)\n"
    )
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "env")
    look = call("shell", command="env; cat /proc/1/environ | tr '\\0' '\\n'; ls -la / ~ /root /var/run 2>&1")
    model = script(tmp_path, [[look, FIX], [SUBMIT]])
    code, result, stderr = fix(
        tmp_path,
        model,
        "--fail-to-pass",
        ABOVE,
        ANTHROPIC_API_KEY="sk-very-secret-1",
        GITHUB_TOKEN="ghp_secret_22",
    )
    assert (code, result["status"]) == (0, "accepted")
    everything = "".join(p.read_text() for p in (tmp_path / "home").rglob("*") if p.is_file()) + stderr
    assert "sk-very-secret-1" not in everything
    assert "ghp_secret_22" not in everything
    assert "docker.sock" not in everything
