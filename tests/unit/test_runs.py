"""`agent runs` and `agent show`: what is kept of runs, told, chosen and removed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.cli import main
from agent.cli.fix import _write_page
from agent.errors import UsageError
from agent.event_log import EventLog
from agent.events import RunStarted
from agent.runs import held
from tests.unit.report.logs import SESSIONS, result

DAY = 24 * 3600


def make(
    root: Path, name: str, status: str | None, *, repo: str = "/src/one", days: float = 0, cost: float = 0.5
) -> Path:
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    log = EventLog(folder / "events.jsonl")
    log.append(RunStarted(name, "-", f"# Issue of {name}\n", repo, "0" * 40, ["m"], "pytest", [], {}))
    if status:
        told = {**result(status, "x"), "attempts": [{}, {}], "cost_usd": 0.5, "repo": repo}
        (folder / "result.json").write_text(json.dumps(told))
    (folder / "gate").mkdir()
    (folder / "gate" / "1.diff").write_bytes(b"x" * 100_000)
    os.utime(log.path, (time.time() - days * DAY,) * 2)
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))
    make(tmp_path, "20261001-a", "accepted", days=60)
    make(tmp_path, "20261002-b", "rejected", days=59, repo="/src/two")
    make(tmp_path, "20261128-c", "limit", days=2)
    make(tmp_path, "20261130-d", None)
    return tmp_path


def listed(capsys: pytest.CaptureFixture[str], *args: str) -> list[str]:
    assert main(["runs", *args]) == 0
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_runs_are_told_by_their_results(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.split() == [
        "20261001-a",
        "accepted",
        "2",
        "attempts",
        "0.5000",
        "USD",
        "/src/one",
        "Issue",
        "of",
        "20261001-a",
    ]
    assert last.split()[:2] == ["20261130-d", "unfinished"]
    assert main(["runs", "--json", "--limit", "1"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["run_id"], row["title"], row["cost_usd"]) == ("20261130-d", "Issue of 20261130-d", None)


def test_runs_are_chosen(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, "--status", "accepted", "--status", "limit") == ["20261001-a", "20261128-c"]
    assert listed(capsys, "--repo", "/src/two") == ["20261002-b"]
    assert listed(capsys, "--repo", "two") == ["20261002-b"]
    assert listed(capsys, "--since", "7d") == ["20261128-c", "20261130-d"]
    assert listed(capsys, "--since", "1970-01-01", "--limit", "2") == ["20261128-c", "20261130-d"]
    assert listed(capsys, "--older-than", "30d", "--status", "rejected") == ["20261002-b"]


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (["--prune"], "--older-than 30d"),
        (["--yes"], "go with --prune"),
        (["--limit", "0"], "above 0"),
        (["--since", "soon"], "write a date"),
        (["--older-than", "99999999d"], "no time"),
        (["--status", "green"], "accepted"),
    ],
)
def test_faults_are_named(
    root: Path, capsys: pytest.CaptureFixture[str], args: list[str], fault: str
) -> None:
    try:
        code = main(["runs", *args])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert fault in capsys.readouterr().err


def test_pruning_says_what_it_would_free_and_removes_only_when_told_to(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(root.rglob("*"))
    assert main(["runs", "--prune", "--older-than", "30d"]) == 0
    said = capsys.readouterr().out
    assert "would remove     0.1 MB  20261001-a" in said and "2 runs, 0.2 MB; add --yes" in said
    assert sorted(root.rglob("*")) == before
    assert main(["runs", "--prune", "--older-than", "30d", "--keep-accepted", "--yes"]) == 0
    assert "removed     0.1 MB  20261002-b" in capsys.readouterr().out
    assert sorted(path.name for path in (root / "runs").iterdir()) == [
        "20261001-a",
        "20261128-c",
        "20261130-d",
    ]


HOLD = """
import sys, time
from pathlib import Path
from agent.runs import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_that_another_process_works_on_is_running_and_stays(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = root / "runs" / "20261130-d"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert listed(capsys, "--status", "running") == ["20261130-d"]
        with pytest.raises(UsageError, match="another process"), held(folder):
            pass
        assert main(["runs", "--prune", "--older-than", "0m", "--yes"]) == 0
        assert "3 runs" in (said := capsys.readouterr().out) and "1 still running" in said
        assert [path.name for path in (root / "runs").iterdir()] == ["20261130-d"]
    finally:
        holder.kill()
        holder.wait()
    # what a killed process held is free
    assert listed(capsys, "--status", "unfinished") == ["20261130-d"]
    assert main(["runs", "--prune", "--older-than", "0m", "--yes"]) == 0
    assert list((root / "runs").iterdir()) == []


def test_what_a_cut_off_removal_left_is_no_run_and_goes_with_the_next(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "runs" / "20261128-c").rename(root / "runs" / ".pruned-20261128-c")
    (root / "runs" / "elsewhere").symlink_to(root)
    assert "20261128-c" not in listed(capsys)
    assert main(["runs", "--prune", "--older-than", "30d", "--yes"]) == 0
    assert sorted(path.name for path in (root / "runs").iterdir()) == ["20261130-d", "elsewhere"]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recorded run in its folder."""
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))
    folder = tmp_path / "runs" / "run-1"
    (folder / "gate").mkdir(parents=True)
    shutil.copy(SESSIONS / "hasty_at_first.jsonl", folder / "events.jsonl")
    return folder


def test_show_tells_the_short_of_a_run(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "run"]) == 0
    said = capsys.readouterr().out
    for text in (
        "cron(): valid expressions are rejected",
        "attempt 1, anthropic/claude-sonnet-5: rejected (green), 2 turns",
        "root cause (refuted): src/validators/cron.py:14-15",
        "FAIL  green",
        "cost: 0.1291 USD",
        f"event log: {kept / 'events.jsonl'}",
    ):
        assert text in said, text
    assert len(said.splitlines()) < 60
    assert "write_file" not in said


def test_show_writes_the_page_where_it_is_told_to(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "run-1", "--html"]) == 0
    assert capsys.readouterr().out == f"{kept / 'report.html'}\n"
    assert main(["show", "run-1", "--html", str(tmp_path / "x.html")]) == 0
    assert (tmp_path / "x.html").read_text() == (kept / "report.html").read_text()
    assert main(["show", "run-1", "--html", str(tmp_path / "no" / "x.html")]) == 2
    assert "--html" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_said_and_takes_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_page(tmp_path, [])
    (tmp_path / "events.jsonl").write_text("{}\n")
    _write_page(tmp_path, [])
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all("the page of the run could not be written: " in line for line in said)
