"""The event log: what is on disk after any fault, and what never gets there."""

import json

import pytest

from agent.errors import UsageError
from agent.event_log import EventLog, read_events
from agent.events import ModelReplied, Note, ToolReturned, UserSaid, encode
from agent.redaction import secret_values
from agent.types import ToolCall, Usage

REPLY = ModelReplied(
    1,
    1,
    "thinking",
    (ToolCall("c1", "shell", {"command": "ls"}),),
    Usage(1, 10, 5, 3, 2),
    None,
    "tool_use",
    0.5,
    {"anthropic": [{"type": "thinking", "signature": "abc"}]},
)


def test_a_log_reads_back_as_it_was_written(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    for event in (UserSaid(1, "héllo \udcff \x1b[31m"), REPLY, Note("careful", "warning")):
        log.append(event)
    back = [event for _, event in read_events(log.path)]
    assert back == log.events
    assert encode(back[1]) == encode(REPLY)


def test_every_line_is_numbered_dated_and_versioned(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.append(Note("a"))
    log.append(Note("b"))
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["n"] for line in lines] == [0, 1]
    assert all(line["v"] == 1 and line["at"].endswith("+00:00") and line["type"] == "note" for line in lines)


def test_a_line_torn_by_a_kill_is_passed_over_and_a_broken_one_in_the_middle_is_not(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.append(Note("a"))
    log.append(Note("b"))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-10])
    assert [event for _, event in read_events(log.path)] == [Note("a")]
    log.path.write_bytes(whole[5:])
    with pytest.raises(UsageError, match="line 1"):
        list(read_events(log.path))


def test_another_version_is_refused_in_one_line(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"v": 2, "type": "note", "text": "a"}\n{"v": 2}\n')
    with pytest.raises(UsageError, match="version 2"):
        list(read_events(path))


def test_secrets_reach_neither_the_file_nor_the_listeners_nor_the_conversation(tmp_path):
    secrets = secret_values({"ANTHROPIC_API_KEY": "sk-live-12345678", "PATH": "/usr/bin", "SHORT_KEY": "abc"})
    assert secrets == ["sk-live-12345678"]
    heard = []
    log = EventLog(tmp_path / "events.jsonl", secrets, [heard.append])
    log.append(
        ToolReturned(
            1, 1, "c1", "shell", "key=sk-live-12345678", False, 0.1, {"out": ["sk-live-12345678"], "n": 1}
        )
    )
    assert "sk-live" not in log.path.read_text() + json.dumps(heard) + repr(log.events)
    assert heard[0]["data"] == {"out": ["[secret]"], "n": 1}


@pytest.mark.parametrize(
    "line",
    [
        "[1, 2]",
        "3",
        "null",
        '{"type": "note", "text": ' + "[" * 50_000 + "]" * 50_000 + "}",
        '{"type": "model_retried", "attempt": 1, "reason": "", "wait_seconds": 1, "cost_usd": "much"}',
        '{"type": "model_replied", "tool_calls": [3]}',
        '{"type": "run_ended", "result": ' + "9" * 5000 + "}",
        '{"type": "run_ended", "result": 5}',
        '{"type": "note", "text": 5}',
        '{"type": "note", "text": "", "level": "loud"}',
        '{"type": "note", "text": "", "t": "soon"}',
        '{"type": "user_said", "attempt": [1], "text": ""}',
        '{"type": "user_said", "attempt": true, "text": ""}',
        '{"type": "user_said", "attempt": 1' + "0" * 400 + ', "text": ""}',
        '{"type": "baseline_taken", "counts": {"passed": "3"}, "failing": [], "seconds": 1}',
        '{"type": "baseline_taken", "counts": {}, "failing": [5], "seconds": 1}',
        '{"type": "baseline_taken", "counts": {}, "failing": [], "seconds": NaN}',
        '{"type": "model_retried", "attempt": 1, "reason": "", "wait_seconds": null, "usage": {"input": "9"}}',
        '{"type": "model_retried", "attempt": 1, "reason": "", "wait_seconds": null, "cost_usd": "sNaN"}',
    ],
)
def test_a_line_that_is_no_event_is_named(tmp_path, line):
    path = tmp_path / "events.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(UsageError, match="line 1: not an event"):
        list(read_events(path))
