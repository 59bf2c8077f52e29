"""An attempt cut off after each event of its log, and gone on with: by what it knows from the log alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent.attempt import Attempt, Ending
from agent.event_log import EventLog, read_events
from agent.events import Event, ModelReplied, ToolReturned, UserSaid, encode
from agent.models.registry import open_model
from agent.toolbox import Toolbox
from agent.working import since
from tests.integration.test_attempt import CAUSE, EDIT, FILES, GIVE_UP, RUN, STATE, SUBMIT
from tests.integration.workspace import base_of, tool_server

LOOK = {"name": "shell", "arguments": {"command": "cat a.txt"}}
WRONG = {"name": "edit_file", "arguments": {"path": "a.txt", "old": "nothing", "new": "two"}}
ADD = {"name": "shell", "arguments": {"command": "echo more >> b.txt"}}
UNKNOWN = {"name": "root_cause", "arguments": {**CAUSE, "where": ["a.txt:9"]}}
CASES: dict[str, list[dict[str, Any]]] = {
    "edits": [
        {"tool_calls": [RUN, UNKNOWN]},
        {"tool_calls": [STATE, EDIT, WRONG, SUBMIT]},
        {"tool_calls": [ADD, LOOK]},
        {"tool_calls": [ADD]},
        {"tool_calls": [SUBMIT, LOOK]},
    ],
    "nudged": [{"text": "Hm."}, {"tool_calls": [RUN, STATE, EDIT]}, {"text": "That is all."}],
    "cut": [
        {"tool_calls": [RUN], "stop": "length"},
        {"text": "And so", "stop": "length"},
        {"tool_calls": [STATE, EDIT, LOOK]},
        {"tool_calls": [SUBMIT]},
    ],
    "renewed": [
        {"tool_calls": [RUN, STATE, EDIT]},
        {"text": "too long", "stop": "overflow"},
        {"tool_calls": [ADD]},
        {"tool_calls": [SUBMIT]},
    ],
    "drifts": [
        {"tool_calls": [RUN, STATE, EDIT]},
        *[{"tool_calls": [LOOK]}] * 3,
        {"tool_calls": [STATE, ADD]},
        *[{"tool_calls": [LOOK]}] * 3,
        {"tool_calls": [SUBMIT]},
    ],
    "given up": [{"tool_calls": [RUN]}, {"tool_calls": [GIVE_UP, LOOK]}],
    "never ends": [{"tool_calls": [LOOK]}] * 2,
    "refuses": [{"tool_calls": [RUN]}, {"text": "no", "stop": "refusal"}],
}


def worked(folder: Path, lines: list[dict[str, Any]], log: EventLog, turns: int) -> Ending:
    """Work in a new workspace on, from what the log tells."""
    root = folder / "workspace"
    root.mkdir(parents=True)
    for name, text in FILES.items():
        (root / name).write_text(text)
    script = folder / "script.jsonl"
    script.write_text("\n".join(map(json.dumps, lines)))
    config = {"workspace": str(root), "scratch": str(folder / "s"), "test_command": "python -m pytest"}
    answered = sum(isinstance(event, ModelReplied) for event in log.events)

    async def run() -> Ending:
        ending = None
        async with anyio.create_task_group() as tasks:
            toolbox = Toolbox(tasks, lambda: tool_server(config))
            await toolbox.start()
            for call in since(log.events, 0):
                await toolbox.call(call, timeout=60)
            model = open_model(f"scripted/{script}", answered=answered)
            deadline = anyio.current_time() + 60
            ending = await Attempt(1, model, toolbox, log, base_of(FILES), "", turns, deadline).work()
            toolbox.stop()
        assert ending is not None
        return ending

    return anyio.run(run)


def told(log: EventLog) -> list[tuple[Any, ...]]:
    """What must be the same: of texts the runtime's own, of tools what they did."""
    return [_told(event) for event in log.events if not _remade(event)]


def _remade(event: Event) -> bool:
    return isinstance(event, UserSaid) and event.text.startswith("The sandbox was made anew")


def _told(event: Event) -> tuple[Any, ...]:
    if isinstance(event, ToolReturned):
        return "tool", event.turn, event.name, event.is_error, event.refused
    data = encode(event)
    return tuple((key, value) for key, value in data.items() if key not in ("seconds", "at", "text", "usage"))


@pytest.mark.parametrize("name", CASES)
def test_it_comes_to_the_same_wherever_it_was_cut_off(tmp_path: Path, name: str) -> None:
    lines, turns = CASES[name], 2 if name == "never ends" else 12
    log = EventLog(tmp_path / "events.jsonl")
    log.append(UserSaid(1, "Mend it."))
    whole = worked(tmp_path / "whole", lines, log, turns)
    written = log.path.read_bytes().splitlines(keepends=True)
    assert len(written) == len(log.events) > 2
    for cut in range(1, len(written) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "events.jsonl").write_bytes(b"".join(written[:cut]) + written[0][:20])  # and a torn line
        again = EventLog.reopened(folder / "events.jsonl")
        ending = worked(folder, lines, again, turns)
        assert told(again) == told(log), f"after {cut} events"
        assert (ending.how, ending.patch, ending.root_cause, ending.turns) == (
            whole.how,
            whole.patch,
            whole.root_cause,
            whole.turns,
        ), f"after {cut} events"
        numbers = [data["n"] for data, _ in read_events(again.path)]
        assert numbers == list(range(len(numbers)))
