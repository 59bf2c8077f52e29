"""Ctrl-C, SIGTERM and `kill -9`: nothing of a run is left, and the repository is untouched."""

import json
import os
import signal
import subprocess
import time

import pytest

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
    state,
)

pytestmark = pytest.mark.docker

MOMENTS = ["setup", "baseline", "attempt", "gate"]


def left(process: subprocess.Popen[str]) -> list[str]:
    """Containers, volumes and networks that belong to the process, whatever they were for."""
    found = []
    for what in (["ps", "-aq"], ["volume", "ls", "-q"], ["network", "ls", "-q"]):
        command = ["docker", *what, "--filter", f"label=assay.pid={process.pid}"]
        found += subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return found


def start(folder, moment: str) -> tuple[subprocess.Popen[str], str]:
    """A run, stopped for us in the middle of the phase that is asked for; with its id."""
    replies = [[call("shell", command="sleep 60", timeout=100)]] if moment == "attempt" else [[FIX], [SUBMIT]]
    process = subprocess.Popen(
        command(
            *["fix", "--repo", "repo", "--issue", "issue.md", "--model", script(folder, replies)],
            *["--fail-to-pass", ABOVE, "--stream-json"],
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(folder),
        cwd=folder,
        start_new_session=True,
    )
    assert process.stdout is not None
    run_id = ""
    for line in process.stdout:
        event = json.loads(line)
        run_id = event.get("run_id", run_id)
        if moment == "attempt":
            reached = event["type"] == "tool_started"
        else:
            reached = event["type"] == "phase_started" and event["phase"] == moment
        if reached:
            break
    time.sleep(0.4)  # into the phase, not before it
    return process, run_id


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_9_then_doctor_leaves_nothing(tmp_path, moment, monkeypatch):
    repo = make_project(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    before = state(repo)
    process, run_id = start(tmp_path, moment)
    process.kill()
    process.wait()
    done = agent(tmp_path, "doctor")
    assert done.returncode == 0, done.stdout
    assert left(process) == []
    assert state(repo) == before
    # but the folder of locks, which is one for all runs
    assert [one.name for one in temporary.iterdir()] in ([], [f"assay-{os.getuid()}"])
    assert run_id in agent(tmp_path, "runs").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["baseline", "attempt"])
def test_an_interrupted_run_cleans_up_after_itself(tmp_path, moment, number):
    repo = make_project(tmp_path)
    before = state(repo)
    process, run_id = start(tmp_path, moment)
    os.killpg(process.pid, number)  # as a terminal does: to all processes of the command
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(rest.splitlines()[-1])["result"]["status"] == "interrupted"
    result = json.loads((tmp_path / "home" / "runs" / run_id / "result.json").read_text())
    assert result["status"] == "interrupted"
    assert left(process) == []
    assert state(repo) == before


def test_a_second_ctrl_c_is_obeyed_at_once(tmp_path):
    make_project(tmp_path)
    process, _ = start(tmp_path, "attempt")
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert agent(tmp_path, "doctor").returncode == 0
    assert left(process) == []
