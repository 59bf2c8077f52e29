"""Sessions of minds that knew nothing of the project, on real bugs: what the runtime reads from their logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import events
from agent.conversation import messages
from agent.drift import signs
from agent.event_log import read_events
from agent.events import AttemptEnded, HypothesisStated, ModelReplied, UserSaid
from agent.explain import explanation
from agent.hypotheses import ledger
from agent.models.provider import check_pairs

SESSIONS = Path(__file__).parent / "sessions"
STANDINGS = {
    "one_attempt": ["confirmed"],
    "hasty_at_first": ["refuted"] * 3,
    "against_the_whole_release": ["refuted"] * 3,
}


def log(name: str) -> list[events.Event]:
    return [event for _, event in read_events(SESSIONS / f"{name}.jsonl")]


@pytest.mark.parametrize("name", STANDINGS)
def test_each_cause_is_judged_by_its_attempt_s_verdict(name: str) -> None:
    entries = ledger(log(name))
    assert [entry.standing for entry in entries] == STANDINGS[name]
    assert all(entry.hypothesis and not entry.hypothesis.unchecked for entry in entries)
    assert (explanation(log(name)) is None) == (STANDINGS[name][-1] == "confirmed")


@pytest.mark.parametrize("name", STANDINGS)
def test_honest_sessions_raise_no_sign_of_drift(name: str) -> None:
    for number in range(1, len(STANDINGS[name]) + 1):
        assert signs(log(name), number) == []


@pytest.mark.parametrize("name", STANDINGS)
def test_product_code_was_edited_after_a_cause_was_stated(name: str) -> None:
    for number in range(1, len(STANDINGS[name]) + 1):
        stated = next(
            i for i, e in enumerate(log(name)) if isinstance(e, HypothesisStated) and e.attempt == number
        )
        for event in log(name)[:stated]:
            if isinstance(event, events.ToolReturned) and event.attempt == number and not event.is_error:
                path = str((event.data or {}).get("path", ""))
                assert (
                    event.name not in ("edit_file", "write_file") or "test" in path or path.startswith("/tmp")
                )


@pytest.mark.parametrize("name", STANDINGS)
def test_the_conversation_is_one_that_every_provider_takes(name: str) -> None:
    mine = [e for e in log(name) if not isinstance(e, AttemptEnded)]
    for number in range(1, len(STANDINGS[name]) + 1):
        conversation = messages(mine, number)
        assert [m.role for m in conversation] == ["user", "assistant"] * (len(conversation) // 2) + (
            ["user"] if len(conversation) % 2 else []
        )
        check_pairs(conversation)


@pytest.mark.parametrize("name", [name for name, all_of in STANDINGS.items() if len(all_of) > 1])
def test_what_the_second_attempt_is_told_holds_no_rejected_code(name: str) -> None:
    told = next(e.text for e in log(name) if isinstance(e, UserSaid) and e.attempt == 2)
    written = [
        line.strip()
        for e in log(name)
        if isinstance(e, ModelReplied) and e.attempt == 1
        for call in e.tool_calls
        if call.name in ("edit_file", "write_file") and "test" not in str(call.arguments.get("path"))
        for line in str(call.arguments.get("new", call.arguments.get("content", ""))).splitlines()
        if line.strip() not in str(call.arguments.get("old", ""))
    ]
    assert "Attempt 1: " in told and "the cause that it stated" in told
    assert not [line for line in written if len(line) > 12 and line in told]
