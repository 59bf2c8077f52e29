"""A run as a trajectory, checked by the format's pydantic models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from atif import Trajectory

from agent import events
from agent.cli import main
from agent.report.atif import document
from agent.report.story import Logged
from agent.types import ToolCall, Usage
from tests.unit.report.logs import SESSIONS, every_kind, logged, session


def checked(log: Logged) -> Trajectory:
    return Trajectory.model_validate_json(document(log, "0.1.0"))


@pytest.mark.parametrize("name", ["one_attempt", "hasty_at_first", "against_the_whole_release"])
def test_recorded_runs_are_valid_trajectories(name: str) -> None:
    log = session(name)
    told = checked(log)
    starts = [event for _, event in log if isinstance(event, events.AttemptStarted)]
    assert told.schema_version == "ATIF-v1.7"
    assert [one.agent.model_name for one in told.subagent_trajectories or []] == [one.model for one in starts]
    called = [step.observation.results[0].subagent_trajectory_ref for step in told.steps if step.observation]
    ids = [one.trajectory_id for one in told.subagent_trajectories or []]
    assert [references[0].trajectory_id for references in called if references] == ids
    assert "the gate judged attempt 1: " in document(log, "0.1.0")


def test_a_conversation_is_told_step_by_step_with_what_tools_answered() -> None:
    told = checked(session("hasty_at_first"))
    assert told.subagent_trajectories is not None
    system, user, first, *_ = told.subagent_trajectories[0].steps
    assert (system.source, user.source, first.source) == ("system", "user", "agent")
    assert first.tool_calls is not None and first.observation is not None and first.metrics is not None
    assert [call.function_name for call in first.tool_calls] == ["shell", "shell"]
    assert [result.source_call_id for result in first.observation.results] == [
        c.tool_call_id for c in first.tool_calls
    ]
    assert "[exit code 0" in str(first.observation.results[1].content)
    assert first.metrics.prompt_tokens == 2514 and first.metrics.completion_tokens == 94
    assert told.subagent_trajectories[1].steps[2].reasoning_effort == "max"


def test_sums_are_those_of_the_run() -> None:
    log = session("hasty_at_first")
    told = checked(log)
    replies = [event for _, event in log if isinstance(event, events.ModelReplied)]
    assert told.final_metrics is not None and told.final_metrics.total_cost_usd is not None
    assert told.final_metrics.total_completion_tokens == sum(event.usage.output for event in replies)
    parts = [
        one.final_metrics.total_cost_usd for one in told.subagent_trajectories or [] if one.final_metrics
    ]
    assert told.final_metrics.total_cost_usd == pytest.approx(sum(filter(None, parts)))


def test_any_log_gives_a_valid_trajectory_and_an_unknown_price_no_cost() -> None:
    checked(logged(every_kind("plain")))
    checked(logged(every_kind("\x00\udcff\u202e")[:1]))
    call = ToolCall("same", "shell", {})
    reply = events.ModelReplied(1, 1, "", (call, call), Usage(1, 5, 5), None, "tool_use", 1.0)
    returned = events.ToolReturned(1, 1, "same", "shell", "x", False, 0.1)
    stray = events.ToolReturned(1, 1, "other", "shell", "x", False, 0.1)
    start = events.AttemptStarted(1, "openai/x", None, "s")
    told = checked(logged([every_kind("plain")[0], start, returned, reply, returned, returned, stray]))
    assert told.final_metrics is not None and told.final_metrics.total_cost_usd is None


def test_a_set_up_that_a_model_wrote_is_a_trajectory_of_its_own() -> None:
    start = every_kind("plain")[0]
    reply = events.ModelReplied(0, 1, "{}", (), Usage(1, 5, 5), None, "end", 1.0)
    told = checked(logged([start, events.UserSaid(0, "write it"), reply]))
    assert [one.trajectory_id for one in told.subagent_trajectories or []] == ["plain-setup"]


def test_thinking_is_told_where_the_provider_gave_it() -> None:
    thinking = [
        {"anthropic": [{"type": "thinking", "thinking": "hm", "signature": "x"}]},
        {"openai": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}]},
        {"google": {"parts": [{"thought": True, "text": "hm"}, {"text": "said"}]}},
    ]
    for data in thinking:
        reply = events.ModelReplied(1, 1, "so", (), Usage(1, 5, 5), None, "end", 1.0, data)
        start = events.AttemptStarted(1, "openai/x", None, "s")
        told = checked(logged([every_kind("plain")[0], start, reply]))
        assert told.subagent_trajectories is not None
        assert told.subagent_trajectories[0].steps[-1].reasoning_content == "hm"


def test_export_prints_or_writes_it_without_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))
    folder = tmp_path / "runs" / "run-1"
    folder.mkdir(parents=True)
    shutil.copy(SESSIONS / "one_attempt.jsonl", folder / "events.jsonl")
    key = "ghp_" + "aB3" * 12
    text = (folder / "events.jsonl").read_text().replace("You repair a bug", f"{key} You repair a bug")
    (folder / "events.jsonl").write_text(text)
    assert main(["export", "run-1", "--format", "atif"]) == 0
    printed = capsys.readouterr().out
    assert key not in printed and "[secret] You repair a bug" in printed
    Trajectory.model_validate_json(printed)
    assert main(["export", "run-1", "--format", "atif", "--output", str(tmp_path / "t.json")]) == 0
    assert (tmp_path / "t.json").read_text() == printed
    assert main(["export", "run-1", "--format", "otel", "--output", "x"]) == 2
