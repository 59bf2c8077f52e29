"""A model that writes the set-up: what it is told, what is tried, and when it ends."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent import set_up
from agent.config import Settings
from agent.errors import NotSetUp
from agent.event_log import EventLog
from agent.events import ModelReplied, Note, UserSaid
from agent.git import Repository
from agent.models.registry import open_model
from sandboxes.errors import SetupFailed
from tests.docker.project import git

FACTS = {"image": "an image", "setup": "found", "test_command": "python -m pytest", "manifests": "none"}
FAULT = NotSetUp("the tests can't run: the module yaml is not installed", "E   No module named 'yaml'")


def answer(*commands: str, why: str = "because") -> dict[str, Any]:
    return {"text": "Sure:\n" + json.dumps({"commands": commands, "why": why})}


def ask(
    folder: Path,
    replies: Sequence[dict[str, Any]],
    outcomes: Sequence[Exception | str],
    secrets: Sequence[str] = (),
) -> tuple[Any, list[tuple[str, ...]], EventLog]:
    """What comes of it, the commands that were tried, and the log."""
    script = folder / "script.jsonl"
    script.write_text("\n".join(map(json.dumps, replies)))
    tried: list[tuple[str, ...]] = []
    log = EventLog(folder / "events.jsonl", secrets)

    async def run() -> Any:
        model = open_model(f"scripted/{script}")
        writer = set_up.Writer(lambda: model, log, FAULT, FACTS)
        while (wrote := await writer.next()) is not None:
            tried.append(wrote.commands)
            outcome = outcomes[len(tried) - 1]
            if not isinstance(outcome, SetupFailed | NotSetUp):
                return wrote
            writer.failed(outcome)
        return None

    return anyio.run(run), tried, log


def told(log: EventLog) -> list[str]:
    return [event.text for event in log.events if isinstance(event, UserSaid)]


def test_the_first_commands_that_hold_end_it(tmp_path: Path) -> None:
    failed = SetupFailed("the set-up command `pip install yaml` failed: no such package", "ERROR: no yaml")
    found, tried, log = ask(
        tmp_path,
        [answer("pip install yaml"), answer("pip install PyYAML pytest", why="its name")],
        [failed, "start"],
    )
    assert (found.commands, found.why) == (("pip install PyYAML pytest",), "its name")
    assert tried == [("pip install yaml",), ("pip install PyYAML pytest",)]
    first, second = told(log)
    assert "the module yaml is not installed" in first and "No module named 'yaml'" in first
    assert "no yaml" not in first
    assert "ERROR: no yaml" in second and '["pip install yaml"]' in second and "the module yaml" in second
    replies = [event for event in log.events if isinstance(event, ModelReplied)]
    assert [(event.attempt, event.turn) for event in replies] == [(0, 1), (0, 2)]


def test_it_is_given_up_after_three_tries(tmp_path: Path) -> None:
    found, tried, log = ask(tmp_path, [answer(f"try {n}") for n in range(5)], [FAULT] * 5)
    assert found is None
    assert tried == [("try 0",), ("try 1",), ("try 2",)]
    assert len(told(log)) == 3


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        ([answer(why="the image needs libpq")], "knows no set-up: the image needs libpq"),
        ([{"text": "I would run pip."}, {"text": "Really."}], "no structured answer in 2 replies"),
        ([{"text": "no", "stop": "refusal"}], "refusal: no"),
    ],
)
def test_a_model_without_an_answer_ends_it(tmp_path: Path, replies: list[dict[str, Any]], why: str) -> None:
    found, tried, log = ask(tmp_path, replies, [])
    assert (found, tried) == (None, [])
    assert any(isinstance(event, Note) and why in event.text for event in log.events)
    assert sum(isinstance(event, ModelReplied) for event in log.events) == len(replies)  # each is paid for


@pytest.mark.parametrize(
    "commands", [[""], ["x" * 3000], ["a\x1b[2Jb"], ["true"] * 30], ids=["empty", "long", "escape", "many"]
)
def test_commands_that_are_out_of_bounds_are_not_run(tmp_path: Path, commands: list[str]) -> None:
    found, tried, _ = ask(tmp_path, [answer(*commands), answer("pip install x")], ["start"])
    assert found is not None and tried == [("pip install x",)]


def test_no_secret_of_a_log_reaches_the_model(tmp_path: Path) -> None:
    failed = SetupFailed("it failed", "token: hunter2-hunter2")
    _, _, log = ask(tmp_path, [answer("true"), answer("true")], [failed, "start"], ["hunter2-hunter2"])
    assert "token: [secret]" in told(log)[1]


def test_the_model_is_told_the_manifests_as_bounded_data(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    (repo / ".github/workflows").mkdir(parents=True)
    (repo / "a/b/c/d").mkdir(parents=True)
    (repo / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (repo / "requirements-dev.txt").write_text("x\n" * 10_000 + "the end")
    (repo / ".github/workflows/ci.yml").write_text("run: make \x1b[2J test\n")
    (repo / "a/b/c/d/setup.py").write_text("too deep")
    (repo / "main.py").write_text("the code")
    (repo / "tox.ini").symlink_to("/etc/passwd")
    for number in range(20):
        (repo / f"a/requirements{number}.txt").write_text("y" * 5000)
    git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "x")
    with Repository(repo) as repository:
        facts = set_up.facts(
            Settings(image="img:1", setup=("a",)), repository, repository.tree_of(repository.resolve("HEAD"))
        )
    text = facts["manifests"]
    assert '<file path="pyproject.toml">\n[project]' in text
    assert '<file path="requirements-dev.txt">' in text and "the end" not in text
    assert "too deep" not in text and "the code" not in text and "root:" not in text and "\x1b" not in text
    assert len(text) < set_up.MAX_FILES + 3000
    assert (facts["image"], facts["setup"], facts["test_command"]) == ("img:1", '["a"]', "python -m pytest")


def test_the_commands_are_kept_as_a_part_of_agent_toml() -> None:
    commands = ["pip install \"a[b]\" \\\n  'c'", "echo ünïcode \U0001f600"]
    text = set_up.Written("openai/x", tuple(commands), "").as_toml()
    assert tomllib.loads(text) == {"sandbox": {"setup": commands}}
    assert "openai/x wrote" in text
