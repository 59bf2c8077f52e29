"""Old output leaves the conversation where that costs less than it saves, and what must stay stays."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from agent.conversation import messages, parts
from agent.drift import signs
from agent.events import (
    ContextMasked,
    ContextRenewed,
    Event,
    HypothesisStated,
    ModelReplied,
    ToolReturned,
    UserSaid,
)
from agent.masking import FACTS, due, turns_left
from agent.models.catalogue import ModelInfo, Prices, load
from agent.models.provider import check_pairs
from agent.types import ToolCall, Usage

CACHED = Usage(1, 100, 50, 20_000, 1_000)
UNCACHED = Usage(1, 20_000, 50)


def model(**more: Any) -> ModelInfo:
    prices = Prices(Decimal(2), Decimal(10), Decimal("0.2"), Decimal("2.5"))
    return ModelInfo("anthropic", "x", "anthropic", **{"prices": prices, "cache_min": 1024, **more})


def turn(
    number: int, name: str = "shell", text: str = "", usage: Usage = CACHED, seconds: float = 0.1, **data: Any
) -> list[Event]:
    call = ToolCall(
        f"c{number}", name, {"path": f"{number}.py"} if name == "read_file" else {"command": f"look {number}"}
    )
    return [
        ModelReplied(1, number, "I look.", (call,), usage, Decimal(0), "tool_use", 0.1, answer_seconds=0.1),
        ToolReturned(1, number, call.id, name, text or f"{number} " * 1500, False, seconds, data or None),
    ]


CAUSE = HypothesisStated(1, 1, "wrong", ["a.py:1"], "t::a", "E   assert 1 == 2", "2", "so")


def session(*turns: Sequence[Event]) -> list[Event]:
    return [UserSaid(1, "the brief"), *(event for one in turns for event in one)]


def looks(count: int, **more: Any) -> list[list[Event]]:
    return [turn(number, **more) for number in range(1, count + 1)]


def first_masked(log: Sequence[Event], info: ModelInfo, limit: int = 60) -> ContextMasked | None:
    """What is masked first when a log is played from its start."""
    for end in range(1, len(log) + 1):
        if end == len(log) or isinstance(log[end], ModelReplied):
            masked = due(log[:end], 1, info, limit)
            if masked is not None:
                return masked
    return None


def test_nothing_is_masked_while_it_would_cost_more_than_it_saves() -> None:
    assert due(session(*looks(6)), 1, model(), 60) is None
    assert due(session(*looks(30)), 1, model(), 31) is None, "one request is left to save anything"


def test_a_long_session_is_masked_and_says_what_it_reckoned_with() -> None:
    log = session(*looks(20))
    masked = due(log, 1, model(), 60)
    assert masked is not None
    assert masked.why == "cost"
    assert list(masked.results) == list(range(1, 17)), "the latest four stay"
    assert masked.turns_left == 10
    assert masked.freed * 0.2 * masked.turns_left > masked.rewritten * (2.5 - 0.2)


def test_the_same_log_gives_the_same_decision_and_conversation() -> None:
    log = session(*looks(20))
    assert due(log, 1, model(), 60) == due(list(log), 1, model(), 60)
    log.append(ContextMasked(1, 20, [1, 2, 3], 1, 1, 1, "cost"))
    assert messages(log, 1) == messages(list(log), 1)


def test_dearer_cache_reads_are_masked_earlier() -> None:
    def when(read: str) -> int:
        prices = Prices(Decimal(2), Decimal(10), Decimal(read), Decimal("2.5"))
        masked = first_masked(session(*looks(50)), model(prices=prices))
        assert masked is not None
        return masked.turn

    assert when("1.0") < when("0.2") < when("0.1")


def test_without_a_cache_old_output_is_masked_as_soon_as_it_is_worth_a_line() -> None:
    masked = first_masked(session([CAUSE], *looks(8, usage=UNCACHED)), model())
    assert masked is not None
    assert (masked.turn, masked.rewritten) == (5, 0)


def test_until_a_cause_is_stated_all_that_it_may_cite_stays_for_a_typical_session() -> None:
    masked = first_masked(session(*looks(30, usage=UNCACHED)), model())
    assert masked is not None and masked.turn == 15
    log = session(*looks(14, usage=UNCACHED))
    assert due(log, 1, model(), 60) is None
    assert due([*log, CAUSE], 1, model(), 60) is not None
    full = due(log, 1, model(), 60, full=True)
    assert full is not None and full.why == "window"


def test_a_cache_that_has_expired_is_a_good_time() -> None:
    log = session([CAUSE], *looks(7), turn(8, seconds=301.0))
    masked = due(log, 1, model(), 60)
    assert masked is not None
    assert (masked.why, masked.rewritten) == ("lapsed", 0)
    assert due(session([CAUSE], *looks(7), turn(8, seconds=200.0)), 1, model(), 60) is None


def test_unknown_prices_mask_only_when_the_window_is_nearly_full() -> None:
    log = session(*looks(20, usage=UNCACHED))
    assert due(log, 1, model(prices=Prices()), 60) is None
    masked = due(log, 1, model(prices=Prices(), window=30_000, max_output=8_000), 60)
    assert masked is not None and masked.why == "window"
    masked = due(log, 1, model(prices=Prices()), 60, full=True)
    assert masked is not None and masked.why == "window"


def test_models_that_refuse_a_changed_past_are_left_alone() -> None:
    catalogue = load()
    for name in ("claude-opus-5-5", "claude-fable-5-2", "claude-of-tomorrow"):
        assert due(session(*looks(40)), 1, catalogue.find("anthropic", name), 60, full=True) is None
    for name in ("claude-sonnet-5", "claude-haiku-4-5"):
        assert due(session(*looks(40)), 1, catalogue.find("anthropic", name), 60, full=True) is not None


def test_what_must_survive_is_never_masked() -> None:
    red = {"outcomes": {"t::a": "failed", "t::b": "passed"}}
    cause = HypothesisStated(1, 4, "wrong", ["a.py:1"], "t::a", "E   assert 1 == 2", "2", "so")
    log = session(
        turn(1),
        turn(2, "run_tests", "1 failed\nE   assert 1 == 2\n" + "x" * 3000, **red),
        turn(3, "run_tests", "1 failed\nanother\n" + "x" * 3000, **red),
        [*turn(4, "root_cause", "taken" * 300), cause],
        turn(5, "edit_file", "edited a.py" + "x" * 3000, path="a.py"),
        turn(6, "run_tests", "1 failed\nlast red\n" + "x" * 3000, **red),
        turn(7, "run_tests", "2 passed\n" + "x" * 3000, outcomes={"t::a": "passed"}),
        turn(8, "tracker__create", "created\n" + "x" * 3000),
        *[turn(number) for number in range(9, 31)],
    )
    masked = due(log, 1, model(), 60, full=True)
    assert masked is not None
    assert set(masked.results).isdisjoint({2, 4, 5, 6, 7, 8, 28, 29, 30})
    assert {1, 3, *range(9, 28)} == set(masked.results)
    said = messages([*log, masked], 1)
    text = "\n".join(m.text + "".join(r.text for r in m.tool_results) for m in said)
    for fact in ("the brief", "E   assert 1 == 2", "last red", "edited a.py", "2 passed"):
        assert fact in text
    assert set(FACTS) >= {"edit_file", "root_cause"}


def test_what_a_late_answer_points_to_stays() -> None:
    log = session(
        *looks(17),
        turn(18, "read_file", "[lines 1-90 are as read_file showed them above]" + "x" * 600, seen_in=[3]),
    )
    masked = due(log, 1, model(), 60, full=True)
    assert masked is not None and 3 not in masked.results and 2 in masked.results


def test_the_call_stays_and_its_line_says_what_it_was_and_how_to_get_it_back() -> None:
    log = session(
        turn(1, "read_file", "     1\tx\n" * 400, start=1, end=400, lines=900),
        turn(
            2,
            "run_tests",
            "2 failed, 1 passed in 0.2 s\nlong\n[all that the tests printed is in /tmp/o/output-3.txt]",
            outcomes={"t::a": "failed", "t::b": "error", "t::c": "passed"},
        ),
        turn(3, "shell", "y" * 900 + "\n[exit code 2, 0.1 s]", output_file="/tmp/o/output-4.txt"),
        turn(4, "search", "7 matches in 2 files\na.py\n  1: x" + "z" * 900),
    )
    log.append(ContextMasked(1, 4, [1, 2, 3, 4], 1, 1, 1, "cost"))
    said = messages(log, 1)
    check_pairs(said)
    lines = [result.text for message in said for result in message.tool_results]
    assert [call.name for message in said for call in message.tool_calls] == [
        "read_file",
        "run_tests",
        "shell",
        "search",
    ]
    assert (
        lines[0]
        == "[lines 1-400 of 900; 3,600 characters left out, seen before; to see them, make this call again]"
    )
    assert "2 failed, 1 passed in 0.2 s; failing: t::a, t::b; " in lines[1]
    assert lines[1].endswith("to see them, run it again, or read /tmp/o/output-3.txt]")
    assert lines[2].startswith("[exit code 2, 0.1 s; ") and "read /tmp/o/output-4.txt" in lines[2]
    assert lines[3].startswith("[7 matches in 2 files; ") and all(line.count("\n") == 0 for line in lines)


def test_only_what_stands_behind_the_last_masking_changes_again() -> None:
    log = session(*looks(20))
    masked = due(log, 1, model(), 60)
    assert masked is not None
    log.append(masked)
    before = messages(log, 1)
    settled = max(place for place, message in enumerate(before) if message.settled)
    assert before[settled].tool_results[0].text.startswith("[")
    for number in range(21, 60):
        log += turn(number)
        again = due(log, 1, model(), 80)
        if again is not None:
            assert min(again.results) > max(masked.results)
            log.append(again)
        assert [m.tool_results for m in messages(log, 1)[:settled]] == [
            m.tool_results for m in before[:settled]
        ]
    assert sum(isinstance(event, ContextMasked) for event in log) > 1


def test_masking_counts_from_the_renewed_conversation() -> None:
    log = [*session(*looks(20)), ContextRenewed(1, 20), UserSaid(1, "anew")]
    assert due(log, 1, model(), 60) is None
    assert [part.text for part in parts(log, 1)] == ["anew"]
    for number in range(21, 45):
        log += turn(number)
        if (masked := due(log, 1, model(), 60)) is not None:
            break
    assert masked is not None and min(masked.results) == 21


def test_a_request_that_did_not_fit_leaves_nothing_in_the_conversation() -> None:
    log = session(*looks(3))
    log.append(ModelReplied(1, 4, "too long", (), Usage(), Decimal(0), "overflow", 0.1))
    assert messages(log, 1) == messages(log[:-1], 1)


@pytest.mark.parametrize(
    ("turn_", "limit", "left"),
    [(1, 60, 14), (10, 60, 5), (14, 60, 7), (40, 60, 20), (58, 60, 2), (60, 60, 0), (3, 5, 2)],
)
def test_turns_left(turn_: int, limit: int, left: int) -> None:
    assert turns_left(turn_, limit) == left


def test_a_look_at_what_was_masked_is_no_sign_of_drift() -> None:
    look = ToolCall("c", "read_file", {"path": "a"})

    def again(number: int, **data: Any) -> list[Event]:
        return [
            ModelReplied(1, number, "", (look,), CACHED, Decimal(0), "tool_use", 0.1),
            ToolReturned(1, number, "c", "read_file", f"text {len(data)}", False, 0.1, data or None),
        ]

    assert signs([*again(1), *again(2), *again(3)], 1)
    assert not signs([*again(1), *again(2), ContextMasked(1, 2, [1], 1, 1, 1, "cost"), *again(3)], 1)
    assert signs([*again(1), *again(2, seen=True, seen_in=[1]), *again(3)], 1), (
        "told in a word, it is a repeat all the same"
    )


def test_right_after_a_masking_both_ends_are_known_that_a_cache_can_count_on() -> None:
    """One is in the cache, up to where the conversation did not change; the other is to be written."""
    log = session(*looks(20))

    def settled() -> list[int]:
        return [place for place, message in enumerate(messages(log, 1)) if message.settled]

    assert settled() == [0]
    log.append(ContextMasked(1, 20, [1, 2, 3], 1, 1, 1, "cost"))
    assert settled() == [0, 6]
    log += turn(21)
    assert settled() == [6]
    log.append(ContextMasked(1, 21, [9, 12], 1, 1, 1, "cost"))
    assert settled() == [6, 24]
    log += turn(22)
    assert settled() == [24]


def test_a_masking_of_many_turns_leaves_what_is_before_it_in_the_cache() -> None:
    """Anthropic's lookup reaches 20 blocks back: the marks must lie where the cache was written."""
    from agent.models.anthropic_wire import build_request
    from tests.loopback.anthropic_rules import cached_usage, faults

    log, held = session([]), set[str]()
    read: list[int] = []
    share: list[float] = []
    for number in range(1, 61):
        if number in (31, 51):
            log.append(
                ContextMasked(
                    1, number, list(range(number - 30 if number == 31 else 31, number - 3)), 1, 1, 1, "cost"
                )
            )
        body = build_request(model(), None, "system " * 700, messages(log, 1), [])
        assert not faults({**body, "stream": True})
        usage = cached_usage(body, held)
        read.append(usage["cache_read_input_tokens"])
        share.append(read[-1] / sum(count for count in usage.values() if isinstance(count, int)))
        log += turn(number)
    assert read[30] > 1200, "system prompt and brief"
    assert read[50] > read[30] + 1000, "also what was masked first, and stayed since"
    assert all(later > 0.85 for later in (*share[33:50], *share[53:]))


@pytest.mark.parametrize("odd", [5, None, "x", [], {}, {"a": [1]}, [None, "y"]])
def test_nonsense_from_a_sandbox_breaks_nothing(odd: Any) -> None:
    keys = ("start", "end", "lines", "outcomes", "failures", "exit_code", "output_file", "seen_in", "path")
    log = session(
        *[
            turn(n, name, **dict.fromkeys(keys, odd))
            for n, name in enumerate(("read_file", "run_tests", "shell", "x") * 5, 1)
        ]
    )
    masked = due(log, 1, model(), 60, full=True)
    assert masked is not None
    check_pairs([*messages([*log, masked], 1)])
