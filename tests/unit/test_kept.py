"""What a run keeps of its command line is taken back as it was written, and no other thing is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from agent.cli.kept import GIVEN, INPUTS, digest_of, inputs_of, task_of
from agent.errors import UsageError
from agent.events import RunStarted

STARTED = RunStarted("r", "-", "bug", "/repo", "0" * 40, ["scripted/x"], "pytest", [], {})


@pytest.fixture
def kept(tmp_path, monkeypatch) -> dict[str, Any]:
    monkeypatch.setenv("AGENT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    given = dict.fromkeys(GIVEN) | {"issue": "-", "pr": False, "attempts": 2, "minutes": 1.5}
    return {**given, "allow_host": ["example.org"], "budget": "0.5", "cwd": str(tmp_path)}


def read(folder: Path, kept: dict[str, Any], **more: Any) -> argparse.Namespace:
    (folder / INPUTS).write_text(json.dumps(kept))
    return inputs_of(folder, STARTED, **more)


def test_the_flags_are_those_that_were_given(tmp_path, kept):
    given = read(tmp_path, {**kept, "mcp_config": "servers.json", "runtime": "runsc"})
    assert (given.attempts, given.minutes, str(given.budget)) == (2, 1.5, "0.5")
    assert [str(host) for host in given.allow_host] == ["example.org"]
    assert (given.mcp_config, given.runtime) == ("servers.json", "runsc")


def test_of_a_record_that_is_somebody_elses_nothing_opens_a_sandbox(tmp_path, kept, capsys):
    given = read(tmp_path, {**kept, "mcp_config": "servers.json", "runtime": "runsc"}, foreign=True)
    assert (given.allow_host, given.mcp_config, given.runtime) == ([], None, None)
    assert "so its --allow-host, --mcp-config, --runtime do not count" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cwd", None),
        ("cwd", 5),
        ("issue", 5),
        ("output", 5),
        ("output", "a\0b"),
        ("minutes", "1"),
        ("attempts", 1.5),
        ("attempts", True),
        ("test", ["pytest"]),
        ("allow_host", [5]),
        ("allow_host", 5),
        ("mcp_config", {}),
        ("budget", "much"),
        ("pr", "yes"),
    ],
)
def test_a_value_that_was_never_written_is_one_clear_line(tmp_path, kept, name, value):
    with pytest.raises(UsageError, match="not what this agent keeps"):
        read(tmp_path, {**kept, name: value})


def test_hidden_tests_that_are_not_what_they_were_are_refused(tmp_path):
    (tmp_path / "test_patch.diff").write_bytes(b"diff")
    known = RunStarted(*(getattr(STARTED, name) for name in STARTED.__slots__[:9]), digest_of(b"diff"))
    assert task_of(tmp_path, known).test_patch == b"diff"
    (tmp_path / "test_patch.diff").write_bytes(b"other")
    with pytest.raises(UsageError, match="not the hidden tests that the run began with"):
        task_of(tmp_path, known)
    (tmp_path / "test_patch.diff").unlink()
    with pytest.raises(UsageError, match="not the hidden tests that the run began with"):
        task_of(tmp_path, known)
