"""Batches of real processes: each task ends once, whatever dies, and nothing is left."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest

from agent.batch import drive
from agent.batch.drive import Brakes, Result, run_batch
from agent.batch.engine import Shared
from agent.batch.local import Local, descendants
from agent.batch.queue import Limits
from agent.batch.tasks import TaskLine
from agent.batch.view import View
from agent.budget import Limit
from agent.cli import fix
from agent.cli.dispatch import run
from agent.cli.worker import _arguments
from agent.git import Repository
from tests.docker.project import agent, command, environment, make_project
from tests.integration.batch_work import work


def lines(folder: Path, *words: str) -> list[TaskLine]:
    return [TaskLine(f"t{number}", str(folder), issue=word) for number, word in enumerate(words)]


def batch(tasks: Sequence[TaskLine], *, workers: int = 2, seconds: float = 60, brakes: Brakes | None = None):
    view = View(sys.stderr, len(tasks))
    with Local(work, Shared()) as engine:
        given = {"seconds": seconds, "watcher": view, "brakes": brakes}
        yield from run_batch(tasks, engine, Limits(workers), **given)


def by_id(results: Sequence[Result]) -> dict[str, Result]:
    found = {result.id: result for result in results}
    assert len(found) == len(results), "a task ended twice"
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pids: Sequence[int], seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    return not any(map(alive, pids))


def leads_its_session(pid: int) -> bool:
    with suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False


def starts(folder: Path, task: str) -> list[int]:
    """The processes that a task was started in."""
    path = folder / task
    return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


def test_what_tasks_are_forked_from_has_no_thread():
    # A fork has only the thread that forks: what another one held would be held for ever.
    program = (
        "import agent.batch.warm, threading; assert threading.active_count() == 1, threading.enumerate()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_tasks_find_everything_imported(tmp_path):
    [result] = batch(lines(tmp_path, "warm"))
    assert result.status == "accepted", result.error


def test_a_task_whose_process_dies_is_run_again_and_then_a_crash_but_never_a_patch(tmp_path):
    told = by_id(list(batch(lines(tmp_path, "accepted", "dies-once", "dies", "leaves", "rejected"))))
    assert {name: result.status for name, result in told.items()} == {
        "t0": "accepted",
        "t1": "accepted",
        "t2": "crash",
        "t3": "crash",
        "t4": "rejected",
    }
    assert (told["t1"].tries, told["t1"].model_patch) == (2, "patch of t1\n")
    assert (told["t2"].tries, told["t2"].model_patch) == (drive.MAX_TRIES, None)
    assert "SIGKILL" in str(told["t2"].error) and "exit code 7" in str(told["t3"].error)


def test_one_that_hangs_holds_nobody_up_and_is_killed_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(drive, "GRACE_SECONDS", 0.5)
    ended = []
    for result in batch(lines(tmp_path, "hangs", *["accepted"] * 3), seconds=4):
        ended.append(result)
    assert ended[0].id != "t0"  # others went by
    hung = by_id(ended).pop("t0")
    assert [result.status for result in ended if result is not hung] == ["accepted"] * 3
    assert hung.status == "limit" and "--time-limit" in str(hung.error)
    assert hung.cost_usd is None  # it was killed, and told nothing
    assert hung.tries == 1  # what takes too long once does so again
    assert gone([*starts(tmp_path, "t0"), int((tmp_path / "child").read_text())], 5)


def test_what_is_stopped_has_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(drive, "GRACE_SECONDS", 0.5)
    brakes = Brakes()
    seen = []
    for result in batch(lines(tmp_path, "accepted", "hangs", "accepted 2", "accepted"), brakes=brakes):
        seen.append(result.id)
        brakes.drain = brakes.stop = True
    assert "t1" not in seen and "t3" not in seen
    assert gone(starts(tmp_path, "t1"), 5)


def test_a_drained_batch_finishes_what_runs_and_begins_nothing(tmp_path):
    brakes = Brakes()
    seen = []
    for result in batch(lines(tmp_path, "accepted", "accepted 2", *["accepted"] * 5), brakes=brakes):
        seen.append(result.id)
        brakes.drain = True
    assert "t1" in seen and len(seen) < 5


def test_a_budget_of_all_that_is_spent_ends_none_but_holds_the_rest_for_resume(tmp_path):
    brakes = Brakes()
    seen = list(batch(lines(tmp_path, "spends", "accepted 2", *["accepted"] * 5), brakes=brakes))
    assert brakes.spent
    assert {result.status for result in seen} == {"accepted"} and "t0" not in by_id(seen)
    assert "t1" in by_id(seen) and len(seen) < 6


def test_what_a_line_and_the_flags_say_is_what_fix_is_told(tmp_path):
    repo = make_project(tmp_path)
    line = TaskLine(
        "a",
        str(repo),
        test="python -m pytest tests",
        image="my/image:1",
        setup=("make tools",),
        models=("local/repair",),
    )
    shared = Shared(("--turns=5", "--allow-host=pypi.example"), "b", Decimal("1.50"), 1000)
    args = _arguments(line, shared)
    with Repository(repo) as repository:
        told = fix.settings_of(args, repository, repository.resolve("HEAD"))
    assert (told.test, told.image, told.setup) == (line.test, line.image, line.setup)
    assert (told.models, told.turns, [str(host) for host in told.hosts]) == (line.models, 5, ["pypi.example"])
    assert args.batch == ("b", Limit(Decimal("1.50"), 1000)) and told.usd is None


def driver(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.integration.batch_driver", "tasks.jsonl", "out", "3", *more]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "AGENT_HOME": str(folder / "home")}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)


def test_killed_tasks_and_a_killed_driver_change_no_result(tmp_path):
    chance = random.Random(7)
    (tmp_path / "work").mkdir()
    words = ["accepted 0.2", "rejected 0.1", "accepted 0.05"] * 6
    tasks = [{"id": f"t{number}", "repo": "work", "issue": word} for number, word in enumerate(words)]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    process = driver(tmp_path)
    results = tmp_path / "out" / "results.jsonl"
    kills = 0
    while True:
        try:
            assert process.wait(chance.uniform(0.8, 1.6) if kills < 3 else 60) == 0
            break
        except subprocess.TimeoutExpired:
            running = [pid for task in tasks for pid in starts(tmp_path / "work", task["id"]) if alive(pid)]
            for pid in chance.sample(running, min(1, len(running))):
                os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()
            kills += 1
            assert gone([pid for task in tasks for pid in starts(tmp_path / "work", task["id"])])
            if results.exists() and kills == 2:  # as a power cut leaves it
                results.write_bytes(results.read_bytes() + b'{"id":"t17","re')
            process = driver(tmp_path, "--resume")
    assert kills
    ended = [json.loads(line) for line in results.read_text().splitlines()]
    assert sorted(line["id"] for line in ended) == sorted(task["id"] for task in tasks)
    assert {line["id"]: line["status"] for line in ended} == {
        task["id"]: task["issue"].split()[0] for task in tasks
    }
    predicted = [
        json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    ]
    assert {line["instance_id"]: line["model_patch"] for line in predicted} == {
        line["id"]: line["model_patch"] or "" for line in ended
    }
    left = [path for path in (tmp_path / "work").iterdir() if path.name.startswith("t")]
    assert len(left) == len(tasks)


def test_two_drivers_on_one_folder_are_refused(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "tasks.jsonl").write_text('{"id": "t0", "repo": "work", "issue": "waits"}\n')
    first = driver(tmp_path)
    while not (tmp_path / "work" / "t0").exists():
        time.sleep(0.05)
    make_project(tmp_path)
    second = agent(tmp_path, "batch", "tasks.jsonl", "--out", "out", "--resume")
    assert second.returncode == 2
    assert (
        second.stderr == "agent: --out out: another batch works on it; wait for it, or name another folder\n"
    )
    (tmp_path / "work" / "go").touch()
    assert first.wait() == 0
    again = agent(tmp_path, "batch", "tasks.jsonl", "--out", "out")
    assert again.returncode == 2 and "--resume" in again.stderr


BAD = {
    "no such folder": ({"repo": "nowhere"}, "is not a directory"),
    "no such commit": ({"repo": "repo", "base": "nope"}, "is not a commit"),
    "no patch": ({"repo": "repo", "test_patch": "no patch"}, "test_patch does not apply"),
    "no such image": ({"repo": "repo", "image": "-v /:/host"}, "image must be the name of an image"),
    "a command for a URL": ({"repo": "ext::sh -c true"}, "is not a directory"),
    "a command for a host": ({"repo": "ext://sh"}, "git may use"),
    "a secret": ({"repo": "https://me:hunter2@host.invalid/x"}, "credential helper"),
    "a host that is not": ({"repo": "https://host.invalid/x"}, "git fetch failed"),
    "an option for a repository": ({"repo": "--upload-pack=x"}, "is not a directory"),
}


def test_tasks_that_cannot_begin_say_why_and_the_others_run(tmp_path):
    make_project(tmp_path)
    tasks = [{"id": name, "issue": "x", **task} for name, (task, _) in BAD.items()]
    text = "".join(json.dumps(task) + "\n" for task in tasks)
    twice = json.dumps(tasks[0]) + "\n"
    (tmp_path / "tasks.jsonl").write_text(text + '{"id": "no JSON\n{"id": "no issue"}\n' + twice)
    done = agent(tmp_path, "batch", "tasks.jsonl", "--out", "out", "--model", "local/repair")
    assert done.returncode == 1
    results = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    told = {result["id"]: result for result in results}
    for name, (_, reason) in BAD.items():
        assert reason in told[name]["error"]
        assert told[name]["status"] == ("environment" if "fetch" in reason else "invalid"), told[name]
    assert "not JSON" in told[f"line {len(BAD) + 1}"]["error"] and "no issue" in told["no issue"]["error"]
    assert "twice" in told["no such folder (2)"]["error"]
    assert len(results) == len(BAD) + 3
    assert not (tmp_path / "out" / "predictions.jsonl").read_text()
    kept = "".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert "hunter2" not in done.stderr + done.stdout + kept


@pytest.fixture
def nobody_answers() -> Iterator[str]:
    """The URL of a git server that takes connections and says nothing: a task that hangs before it has a sandbox."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"git://127.0.0.1:{server.getsockname()[1]}/x"


def test_ctrl_c_drains_twice_stops_and_resume_goes_on(tmp_path, nobody_answers):
    tasks = [{"id": f"t{number}", "issue": "x", "repo": nobody_answers} for number in range(3)]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("batch", "tasks.jsonl", "--out", "out", "--model", "local/repair", "--workers", "2"),
        cwd=tmp_path,
        env=environment(tmp_path, TERM="xterm", COLUMNS="120"),
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""

    def until(words: bytes) -> None:
        nonlocal seen
        while words not in seen:
            try:
                seen += os.read(ours, 1 << 16)
            except OSError:  # its end, at which nobody holds the other side any more
                pytest.fail(f"{words!r} is not in {seen!r}")

    until(b"2 run, 1 wait")  # the table
    until(b"starts")
    pids = [pid for pid in descendants(process.pid) if leads_its_session(pid)]
    process.send_signal(signal.SIGINT)
    until(b"Ctrl-C again stops it")
    process.send_signal(signal.SIGINT)
    until(b"t0: stopped; --resume runs it")
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 130
    assert "3  without a result: --resume runs them" in out
    assert pids and gone(pids, 10)
    assert not (tmp_path / "out" / "results.jsonl").read_text()


def test_results_of_shards_are_merged(tmp_path):
    tasks = [{"id": f"t{number}", "issue": "x", "repo": "nowhere"} for number in range(5)]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    for shard in ("1/2", "2/2"):
        out = f"out{shard[0]}"
        done = agent(
            tmp_path, "batch", "tasks.jsonl", "--out", out, "--shard", shard, "--model", "local/repair"
        )
        assert done.returncode == 1, done.stderr
    done = agent(tmp_path, "batch", "--merge", "out1", "out2", "--out", "out1")
    assert done.returncode == 2 and "name another folder" in done.stderr
    done = agent(tmp_path, "batch", "--merge", "out1", "out2", "--out", "all")
    assert done.returncode == 1 and "5  invalid" in done.stdout
    lines = (tmp_path / "all" / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == [task["id"] for task in tasks]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--workers", "0"], "--workers must be a number above 0"),
        (["--budget", "-1"], "usd must be dollars above 0"),
        (["--budget", "1", "--model", "openai/nobody-knows"], "can't be kept"),
        (["--model", "anthropic/claude-haiku-4-5"], "ANTHROPIC_API_KEY"),
        (["--shard", "3/2"], "write K/N"),
        (["--per-provider", "2"], "--per-provider needs --model"),
        (["--repo", "https://a:b@h/x"], "credential helper"),
        (["--engine", "ray"], "--engine ray"),
    ],
)
def test_a_slip_on_the_command_line_starts_nothing(tmp_path, flags, told, capsys, monkeypatch):
    monkeypatch.setenv("AGENT_HOME", str(tmp_path / "home"))
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-used")
    (tmp_path / "tasks.jsonl").write_text('{"id": "a", "issue": "x"}\n')
    given = ["batch", str(tmp_path / "tasks.jsonl"), "--out", str(tmp_path / "out"), *flags]
    assert run(given) == 2
    assert told in capsys.readouterr().err
    assert (
        not (tmp_path / "out" / "results.jsonl").exists()
        or not (tmp_path / "out" / "results.jsonl").read_text()
    )
