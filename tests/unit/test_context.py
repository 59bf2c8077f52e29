"""What a conversation cost by turn and what filled it, for result.json and the terminal."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from agent.cli import main
from agent.context import drawn, filled, growth, of_attempt
from agent.event_log import EventLog, read_events
from agent.events import AttemptStarted, ContextMasked, Event, ModelReplied, ToolReturned, UserSaid
from agent.types import ToolCall, Usage

START = AttemptStarted(1, "anthropic/x\x1b[31m", None, "s" * 400)


def request(
    turn: int,
    usage: Usage,
    cost: str | None = None,
    inputs: str | None = None,
    plain: str | None = None,
    attempt: int = 1,
) -> list[Event]:
    call = ToolCall(f"c{turn}", "read_file", {"path": "a"})
    dollars = [None if one is None else Decimal(one) for one in (cost, inputs, plain)]
    return [
        ModelReplied(
            attempt,
            turn,
            "r" * 40,
            (call,),
            usage,
            dollars[0],
            "tool_use",
            0.1,
            None,
            None,
            None,
            *dollars[1:],
        ),
        ToolReturned(attempt, turn, call.id, "read_file", "o" * 800, False, 0.1),
    ]


def log() -> list[Event]:
    return [
        START,
        UserSaid(1, "b" * 200),
        *request(1, Usage(1, 0, 10, 0, 1000), "0.0030", "0.0025", "0.0020"),
        *request(2, Usage(1, 20, 10, 1000, 200), "0.0020", "0.0012", "0.0024"),
        ContextMasked(1, 2, [1], 700, 100, 5, "cost"),
        *request(3, Usage(1, 30, 10, 1000, 100), "0.0010", "0.0008", "0.0022"),
    ]


def test_each_request_tells_what_was_new_read_and_written_and_what_it_cost() -> None:
    told = of_attempt(log(), 1)
    assert told is not None
    assert told["turns"][1] == {
        "turn": 2,
        "new": 20,
        "cache_read": 1000,
        "cache_write": 200,
        "output": 10,
        "cost_usd": 0.002,
        "input_usd": 0.0012,
    }
    assert told["masked"] == 1


def test_growth_is_by_the_models_own_prices() -> None:
    assert growth(log(), [1]) == round((0.0025 + 0.0012 + 0.0008) / (3 * 0.0020), 4)
    unknown = [START, *request(1, Usage(1, 1000)), *request(2, Usage(1, 0, 0, 1000, 400))]
    assert growth(unknown, [1]) == (1000 + 100 + 500) / 2000


def test_growth_of_several_attempts_takes_each_by_its_own_first_request() -> None:
    cheap = request(1, Usage(1, 1000), "0.001", "0.001", "0.001")
    dear = request(1, Usage(1, 1000), "0.1", "0.1", "0.1", attempt=2)
    assert growth([*cheap, *dear], [1, 2]) == 1


def test_what_filled_the_last_request_is_told_by_kind() -> None:
    tokens = filled(log(), 1)
    assert tokens["output of read_file"] < 2 * 200, "the first is masked, the last not sent yet"
    assert tokens["system"] == 100 and tokens["brief"] == 50
    assert tokens["tool definitions"] == 1000 - 150, "what the first request counted beyond its text"
    assert list(tokens.values()) == sorted(tokens.values(), reverse=True)


def test_the_terminal_shows_turns_maskings_growth_and_shares() -> None:
    text = "\n".join(drawn(log(), START))
    assert "\x1b" not in text
    rows = [line.split() for line in text.split("\n")]
    assert rows[3][:6] == ["2", "20", "1,000", "200", "10", "0.0020"]
    assert len(rows[2][6]) > len(rows[3][6]) > len(rows[4][6]), "a bar for each turn, by its cost"
    assert "after turn 2: 1 old output masked, about 175 tokens less in each request" in text
    assert "input billed: 0.0045 USD, 0.75 times the linear price: 3 requests" in text
    assert "like the first one without a cache (0.0060 USD)" in text
    assert "output of read_file" in text and "replies" in text


def test_a_model_that_counts_no_tokens_has_none() -> None:
    nothing = [START, UserSaid(1, "b"), *request(1, Usage(1), "0")]
    assert (
        of_attempt(nothing, 1) is None and list(drawn(nothing, START)) == [] and growth(nothing, [1]) is None
    )


def test_the_log_has_each_request_s_split_and_show_draws_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "20260101-000000-aaaa"
    folder.mkdir(parents=True)
    kept = EventLog(folder / "events.jsonl")
    for event in log():
        kept.append(event)
    lines = [json.loads(line) for line in kept.path.read_text().splitlines()]
    second = [line for line in lines if line["type"] == "model_replied"][1]
    assert second["usage"] == {
        "requests": 1,
        "input": 20,
        "output": 10,
        "cache_read": 1000,
        "cache_write": 200,
    }
    assert (second["cost_usd"], second["input_usd"], second["uncached_usd"]) == (0.002, 0.0012, 0.0024)
    assert [event for _, event in read_events(kept.path)] == kept.events
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))
    assert main(["show", "--steps", "aaaa"]) == 0
    shown = capsys.readouterr().out
    assert "20 new + 1,000 from cache + 200 to cache, 0.0020 USD" in shown
    assert "cost by turn of attempt 1, anthropic/x" in shown and "0.75 times the linear price" in shown
    assert "1 old output masked" in shown and "\x1b" not in shown
