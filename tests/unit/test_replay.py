"""Where a replay parts from what was recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from agent.errors import ModelError
from agent.event_log import Logged
from agent.events import (
    AttemptEnded,
    BaselineTaken,
    Event,
    HypothesisStated,
    ModelReplied,
    ToolReturned,
    VerdictReached,
    encode,
)
from agent.replay import Difference, compared, differences, opener
from agent.types import ToolCall, Usage

BASELINE = BaselineTaken({"passed": 3}, ["t"], 1.0)
RESULT = ToolReturned(1, 1, "c", "shell", "ran in 1.2 s\nat 0x7f of /tmp/a1", False, 0.1)
CAUSE = HypothesisStated(1, 1, "c", ["a:1"], "t", "o", "e", "x")
END = AttemptEnded(1, "submitted", "", "", "ab" * 32, 2, 1.0)
VERDICT = VerdictReached(
    1,
    {
        "accepted": True,
        "needs_review": False,
        "checks": [{"name": "green", "passed": True, "evidence": ""}],
        "fail_to_pass": ["t"],
        "before": {"t": "failed"},
        "after": {"t": "passed"},
        "seconds": 1,
    },
)
LOG = (BASELINE, RESULT, CAUSE, replace(RESULT, turn=2), END, VERDICT)


def logged(*events: Event) -> Logged:
    return [({**encode(event), "n": n}, event) for n, event in enumerate(events)]


def test_other_times_and_addresses_are_no_difference() -> None:
    other = replace(RESULT, text="ran in 77 ms\nat 0x99 of /tmp/b2")
    now = (replace(BASELINE, seconds=9.0), other, CAUSE, replace(other, turn=2), END, VERDICT)
    assert differences(logged(*LOG), logged(*now)) == []
    assert compared(logged(*LOG)) == {"results": 2, "verdicts": 1}


def verdict(**changed: Any) -> VerdictReached:
    return replace(VERDICT, verdict={**VERDICT.verdict, **changed})


@pytest.mark.parametrize(
    ("place", "other", "where"),
    [
        (0, replace(BASELINE, failing=[]), "baseline"),
        (1, replace(RESULT, is_error=True), "turn 1, shell"),
        (1, replace(RESULT, refused=True), "turn 1, shell"),
        (2, replace(CAUSE, unchecked="not seen"), "turn 1, root cause"),
        (4, replace(END, patch_sha256=None), "end"),
        (4, replace(END, how="gave_up"), "end"),
        (5, verdict(accepted=False), "verdict"),
        (5, verdict(after={"t": "failed"}), "verdict"),
    ],
)
def test_what_was_done_or_found_otherwise_is_where_it_parts(place: int, other: Event, where: str) -> None:
    now = (*LOG[:place], other, *LOG[place + 1 :])
    (found,) = differences(logged(*LOG), logged(*now))
    assert (found.where, found.text_only) == (where, False)
    assert found.then != found.now


def test_another_text_alone_is_told_as_such() -> None:
    now = (BASELINE, replace(RESULT, text="ran in 1.2 s\nhello"), *LOG[2:])
    assert differences(logged(*LOG), logged(*now)) == [
        Difference(1, "turn 1, shell", "at … of …", "hello", text_only=True)
    ]


def test_what_is_missing_or_more_is_told_where_the_record_is_whole() -> None:
    assert [one.now for one in differences(logged(*LOG), logged(*LOG[:-1]))] == ["nothing"]
    assert differences(logged(*LOG[:3]), logged(*LOG)) == []  # cut short when it was recorded
    (more,) = differences(logged(*LOG[:5]), logged(*LOG))
    assert more.then == "nothing" and more.now.startswith("verdict")
    budget = replace(END, how="budget")  # an end from outside is none of the replay's
    assert differences(logged(*LOG[:4], budget), logged(*LOG[:4], END)) == []


def test_each_attempt_gets_its_own_replies_and_then_an_end() -> None:
    def reply(attempt: int, text: str) -> ModelReplied:
        call = ToolCall("c", "shell", {"command": "ls"})
        return ModelReplied(attempt, 1, text, (call,), Usage(1, 2, 3), None, "tool_use", 1.0)

    open_model = opener(logged(reply(1, "one"), reply(2, "two"), reply(1, "three")))
    first, second = (open_model("anthropic/claude", attempt=n, seconds=5.0) for n in (1, 2))
    assert (first.spec, first.repeats_itself) == ("anthropic/claude", False)
    assert open_model("local/repair").repeats_itself

    async def said() -> list[str]:
        return [(await model.reply("", [], [])).text for model in (first, second, first)]

    assert anyio.run(said) == ["one", "two", "three"]
    with pytest.raises(ModelError, match="the recording ends here"):
        anyio.run(first.reply, "", [], [])


def test_of_attempts_side_by_side_another_may_be_the_first() -> None:
    second = tuple(replace(one, attempt=2) for one in (RESULT, END, VERDICT))
    then = logged(BASELINE, RESULT, *second)  # the first was outrun
    now = logged(BASELINE, *LOG[1:], second[0])
    assert differences(then, now) == []
    assert differences(then, logged(BASELINE, *LOG[1:])) == []
    rejected = verdict(accepted=False, checks=[{"name": "green", "passed": False, "evidence": ""}])
    assert differences(then, logged(BASELINE, *LOG[1:-1], rejected)) != []
