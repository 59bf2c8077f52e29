"""The loop of an attempt: a recorded model, the real tool server, the event log."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from agent import attempt
from agent.conversation import messages
from agent.events import EventLog, ToolReturned, UserSaid
from agent.models.provider import INVALID_JSON
from agent.models.registry import open_model
from agent.toolbox import PROTOCOL, Toolbox

START = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); from tools.server import main; main()"
EDIT = {"name": "write_file", "arguments": {"path": "b.txt", "content": "two\n"}}
SUBMIT = {"name": "submit", "arguments": {"summary": "done"}}


def work(tmp_path: Path, *lines: dict[str, Any]) -> tuple[attempt.Ending, EventLog]:
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "a.txt").write_text("one\n")
    script = tmp_path / "script.jsonl"
    script.write_text("\n".join(map(json.dumps, lines)))
    config = {"workspace": str(root), "scratch": str(tmp_path / "s"), "test_command": "python -m pytest"}
    env = {"AGENT_TOOLS": json.dumps(config), "PATH": os.environ["PATH"]}
    server = StdioServerParameters(command=sys.executable, args=["-I", "-c", START], env=env)
    log = EventLog(tmp_path / "events.jsonl")
    log.append(UserSaid(1, "Mend it."))

    async def run() -> attempt.Ending:
        async with anyio.create_task_group() as tasks:
            toolbox = Toolbox(tasks, lambda: Client(server, mode=PROTOCOL))
            await toolbox.start()
            ending = await attempt.work(
                1,
                open_model(f"scripted/{script}"),
                toolbox,
                log,
                system="You mend bugs.",
                turns=10,
                deadline=anyio.current_time() + 60,
            )
            toolbox.stop()
            return ending

    return anyio.run(run), log


def results(log: EventLog) -> list[ToolReturned]:
    return [event for event in log.events if isinstance(event, ToolReturned)]


def test_a_mended_call_runs_and_is_counted_as_mended(tmp_path: Path) -> None:
    raw = '```json\n{"path": "a.txt",}\n```'
    read = {"name": "read_file", "arguments": {INVALID_JSON: raw}}
    ending, log = work(tmp_path, {"tool_calls": [read, EDIT]}, {"tool_calls": [SUBMIT]})
    first, second, _ = results(log)
    assert "one" in first.text and not first.is_error and first.mended
    assert not second.mended
    assert ending.how == "submitted" and ending.patch is not None and b"+two" in ending.patch


def test_a_call_beyond_mending_is_answered_and_the_work_goes_on(tmp_path: Path) -> None:
    broken = {"name": "read_file", "arguments": {INVALID_JSON: '{"path": "a.t'}}
    _, log = work(tmp_path, {"tool_calls": [broken]}, {"tool_calls": [broken]}, {"tool_calls": [SUBMIT]})
    first, second, *_ = results(log)
    assert first.is_error and "path (string, required)" in first.text
    assert "failed 2 times" in second.text


def test_a_call_that_was_cut_is_not_mended(tmp_path: Path) -> None:
    broken = {"name": "read_file", "arguments": {INVALID_JSON: '{"path": "a.txt"'}}
    _, log = work(tmp_path, {"tool_calls": [broken], "stop": "length"}, {"tool_calls": [SUBMIT]})
    assert results(log)[0].is_error and not results(log)[0].mended


def test_an_unknown_tool_is_answered_with_the_nearest(tmp_path: Path) -> None:
    _, log = work(tmp_path, {"tool_calls": [{"name": "readfile", "arguments": {}}]}, {"tool_calls": [SUBMIT]})
    assert "did you mean 'read_file'?" in results(log)[0].text


@pytest.mark.parametrize(
    ("stop", "how", "patched"),
    [("refusal", "refused", False), ("filtered", "refused", False), ("overflow", "context", True)],
)
def test_a_named_outcome_ends_the_attempt(stop: str, how: str, patched: bool, tmp_path: Path) -> None:
    ending, _ = work(
        tmp_path, {"tool_calls": [EDIT]}, {"text": "No.", "stop": stop}, {"tool_calls": [SUBMIT]}
    )
    assert (ending.how, ending.patch is not None) == (how, patched)
    assert "No." in ending.detail


def test_an_answer_that_was_cut_is_told_so_and_goes_on(tmp_path: Path) -> None:
    ending, log = work(tmp_path, {"text": "I will", "stop": "length"}, {"tool_calls": [EDIT, SUBMIT]})
    assert ending.how == "submitted"
    assert "cut at the output limit" in messages(log.events, 1)[2].text


def test_a_model_that_says_nothing_is_asked_once_more(tmp_path: Path) -> None:
    ending, log = work(tmp_path, {"text": " ", "stop": "empty"}, {"text": "Well.", "stop": "end"})
    assert ending.how == "no_patch"
    assert "held no tool call" in messages(log.events, 1)[2].text
