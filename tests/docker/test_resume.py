"""Runs that were cut short, and go on: as a user sees it, on a real engine."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks import crashes
from tests.benchmarks.crashes import HOOK, KILLED, ByPlace, Case, crashed, undisturbed
from tests.benchmarks.kills import docker
from tests.docker.project import (
    ABOVE,
    FIX,
    SUBMIT,
    agent,
    call,
    command,
    environment,
    make_project,
    script,
)
from tests.loopback.anthropic_server import AnthropicServer, Fault

pytestmark = pytest.mark.docker
LONG = call("shell", command="sed -i '5s/low/high/' calc.py; sleep 60")


def start(folder: Path, *argv: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*argv),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder, **more),
        cwd=folder,
    )


def fix_flags(model: str) -> list[str]:
    return ["--repo", "repo", "--issue", "issue.md", "--model", model, "--fail-to-pass", ABOVE]


def log_of(folder: Path) -> Path:
    return next((folder / "home/runs").glob("*/events.jsonl"))


def events(folder: Path, kind: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in log_of(folder).read_text().split("\n")[:-1]]
    return [line for line in lines if line["type"] == kind]


def wait_for(
    process: subprocess.Popen[str], folder: Path, kind: str, count: int = 1, seconds: float = 120
) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        if list((folder / "home/runs").glob("*/events.jsonl")) and len(events(folder, kind)) >= count:
            return
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no {kind}: {process.communicate()}")


@pytest.mark.parametrize(("name", "shares"), [("paid", (0.4, 0.55)), ("rejected", (0.8,))])
def test_a_killed_run_comes_to_the_same_end_and_pays_nothing_twice(tmp_path, name, shares):
    whole, count, _ = undisturbed(tmp_path, name)
    for share in shares:
        assert crashed(tmp_path, name, whole, after=int(count * share)).startswith("the same")


def test_ctrl_c_leaves_a_run_that_says_how_it_goes_on_and_does(tmp_path):
    make_project(tmp_path)
    flags = fix_flags(script(tmp_path, [[LONG], [SUBMIT]]))
    with start(tmp_path, "fix", *flags, "--output", "mend.diff") as process:
        wait_for(process, tmp_path, "tool_started", 3)
        two = agent(tmp_path, "resume", log_of(tmp_path).parent.name)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert two.returncode == 2 and "another process works on this run" in two.stderr
    run = log_of(tmp_path).parent
    assert f"agent resume {run.name}" in out
    # the command under way is made again, which is not waited for here
    replaced = (tmp_path / "script.jsonl").read_text().replace("sleep 60", "sleep 0")
    (tmp_path / "script.jsonl").write_text(replaced)
    text = log_of(tmp_path).read_text().replace("sleep 60", "sleep 0")
    log_of(tmp_path).write_text(text + '{"v":1,"n":99,"type":"no')  # and the power failed
    done = agent(tmp_path, "resume", run.name, "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["status"]) == (0, "accepted"), done.stderr
    assert "return high" in (tmp_path / "mend.diff").read_text()
    assert len(events(tmp_path, "attempt_started")) == 1 and len(events(tmp_path, "run_resumed")) == 1
    assert (result["attempts"][0]["turns"], result["attempts"][0]["tool_calls"]["total"]) == (2, 5)
    again = agent(tmp_path, "resume", run.name)  # there is nothing left to do
    assert again.returncode == 0 and "accepted" in again.stdout
    assert len(events(tmp_path, "run_resumed")) == 1
    same = agent(tmp_path, "replay", run.name)
    assert same.returncode == 0 and "the same" in same.stdout, same.stdout + same.stderr


def test_an_attempt_goes_on_in_a_new_sandbox_when_its_own_is_killed(tmp_path):
    make_project(tmp_path)
    half = call("shell", command="sed -i '5s/low/high/' calc.py")
    with start(
        tmp_path, "fix", *fix_flags(script(tmp_path, [[half], [LONG], [SUBMIT]])), "--json"
    ) as process:
        wait_for(process, tmp_path, "tool_started", 4)
        for one in docker("ps", "-q", "--filter", f"label=assay.pid={process.pid}"):
            # that of the second baseline may be gone by then
            subprocess.run(["docker", "kill", one], capture_output=True)
        out, err = process.communicate(timeout=300)
    result = json.loads(out)
    assert (process.returncode, result["status"]) == (0, "accepted"), err
    assert len(events(tmp_path, "sandbox_remade")) == 1
    (lost,) = (
        e for e in events(tmp_path, "tool_returned") if "the sandbox ended during this call" in str(e["text"])
    )
    assert lost["is_error"]


def test_what_a_provider_s_outage_ended_goes_on_with_the_same_conversation(tmp_path):
    with ByPlace([]) as server:
        case = Case.made("paid", tmp_path / "case", server.environ)
        with AnthropicServer([Fault(402, message="no credit")]) as poor:
            case.environ = poor.environ
            assert case.fix() == 5
        case.environ = server.environ
        assert case.log is not None
        code = case.run("resume", case.log.parent.name)
        told = case.told(code)
        assert (told.code, told.status, len(told.replies)) == (0, "accepted", len(server.requests))
        assert 0 < told.cost == pytest.approx(told.spent)


def test_a_run_that_its_budget_ended_goes_on_with_more_and_not_without(tmp_path, monkeypatch):
    with ByPlace([]) as server:
        case = Case.made("paid", tmp_path / "case", server.environ)
        case.flags = ["--model", "anthropic/claude-sonnet-5", "--budget", "0.30", "--attempts", "1"]
        # killed while the third request is under way, whose worst case is all that is left
        reserved = "left -= getattr(event, 'what', '') == 'reserved'"
        monkeypatch.setattr(crashes, "HOOK", HOOK.replace("left -= 1", reserved))
        assert case.fix(after=3) == KILLED
        log = case.log
        assert log is not None
        run = log.parent.name
        assert case.run("resume", run) == 4
        assert case.told(4).cost == pytest.approx(case.told(4).spent) == pytest.approx(0.30, abs=0.01)
        said = (case.folder / "output").read_text()
        assert f"agent resume {run} --budget USD (or --tokens N), with more than it had" in said
        assert case.run("resume", run) == 4  # told again
        sent = len(server.requests)
        code = case.run("resume", run, "--budget", "2")
        told = case.told(code)
        assert (told.code, told.status) == (0, "accepted"), (case.folder / "output").read_text()[-2000:]
        assert len(server.requests) == sent + len(told.replies) - 2
        assert told.cost == pytest.approx(told.spent)


def test_a_full_disk_ends_a_run_in_a_line_and_it_goes_on_when_there_is_room(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("a file system of its own needs root")
    make_project(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(home)], check=True)
    try:
        flags = fix_flags(script(tmp_path, [[FIX], [SUBMIT]]))
        line = [
            sys.executable,
            "-c",
            HOOK.replace("os.kill(os.getpid(), signal.SIGKILL)", FILL),
            "14",
            "fix",
            *flags,
        ]
        full = subprocess.run(line, capture_output=True, text=True, env=environment(tmp_path), cwd=tmp_path)
        assert full.returncode == 3, full.stdout + full.stderr
        assert "space" in full.stdout + full.stderr
        assert "Traceback" not in full.stderr
        (home / "filler").unlink()
        done = agent(tmp_path, "resume", log_of(tmp_path).parent.name, "--json")
        assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "accepted"), done.stderr
    finally:
        subprocess.run(["umount", str(home)], check=True)


FILL = """
        try:
            with open(os.environ["AGENT_HOME"] + "/filler", "wb") as f:
                while True:
                    f.write(bytes(4096))
        except OSError:
            pass
"""


def test_a_log_of_a_newer_version_is_refused(tmp_path):
    run = tmp_path / "home/runs/20260101-000000-aaaa"
    run.mkdir(parents=True)
    (run / "events.jsonl").write_text('{"v":2,"n":0,"type":"run_started"}\n')
    for name in ("resume", "replay"):
        done = agent(tmp_path, name, "aaaa")
        assert done.returncode == 2 and "version 2; this agent reads version 1" in done.stderr
