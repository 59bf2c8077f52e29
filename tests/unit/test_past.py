"""What a run that is gone on with knows of itself."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agent.budget import Account, Amount, Limit
from agent.errors import UsageError
from agent.event_log import EventLog, current, read_events
from agent.events import (
    AttemptEnded,
    AttemptStarted,
    BaselineTaken,
    BudgetChanged,
    Event,
    ModelReplied,
    ModelRetried,
    Note,
    RunEnded,
    RunResumed,
    UserSaid,
    VerdictReached,
)
from agent.past import Past, lost, patch_path, revived, status
from agent.types import Usage

DIGEST = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"


def ended(number: int, how: str, digest: str | None = None) -> AttemptEnded:
    return AttemptEnded(number, how, "so", "", digest, 1, 1.0)


def run_ended(how: str) -> RunEnded:
    return RunEnded({"status": how})


def replied(number: int, turn: int = 1) -> ModelReplied:
    return ModelReplied(number, turn, "", (), Usage(1, 10, 5), Decimal("0.01"), "end", 1.0)


def logged(folder: Path, *events: Event) -> EventLog:
    log = EventLog(folder / "events.jsonl")
    for event in events:
        log.append(event)
    return log


def past_of(folder: Path, *events: Event) -> tuple[Past, EventLog]:
    path = logged(folder, *events).path
    again = EventLog.reopened(path)
    return revived(list(read_events(path)), again, folder), again


def start(number: int) -> AttemptStarted:
    return AttemptStarted(number, "scripted/x", None, "")


@pytest.mark.parametrize(
    ("how", "status", "open_again"),
    [
        ("model_error", "model_error", True),
        ("sandbox_died", "environment", True),
        ("model_error", "interrupted", False),
        ("submitted", "environment", False),
        ("sandbox_died", "model_error", False),
    ],
)
def test_an_attempt_that_ended_for_want_of_what_the_run_ended_on_is_gone_on_with(
    tmp_path: Path, how: str, status: str, open_again: bool
) -> None:
    first = (start(1), ended(1, how), start(2), ended(2, how))
    past, log = past_of(tmp_path, *first, run_ended(status))
    assert set(past.ended) == ({1} if open_again else {1, 2})
    assert any(isinstance(e, AttemptEnded) and e.attempt == 2 for e in log.events) != open_again


def test_a_run_that_goes_on_has_not_ended(tmp_path: Path) -> None:
    log = logged(tmp_path, start(1), run_ended("interrupted"))
    assert status(list(read_events(log.path))) == "interrupted"
    log.append(RunResumed("interrupted"))
    log.append(ended(1, "submitted"))
    read = list(read_events(log.path))
    assert status(read) == ""
    assert not any(isinstance(event, RunEnded) for _, event in current(read))
    log.append(run_ended("accepted"))
    assert status(list(read_events(log.path))) == "accepted"


def test_an_attempt_that_was_begun_again_is_what_it_is_since(tmp_path: Path) -> None:
    events = (start(1), UserSaid(1, "old"), ended(1, "submitted"), Note("kept"), start(1), UserSaid(1, "new"))
    told = [event for _, event in current(list(read_events(logged(tmp_path, *events).path)))]
    assert told == [Note("kept"), start(1), UserSaid(1, "new")]
    bill = ModelRetried(1, "under way when the process was killed", None)
    (tmp_path / "a").mkdir()
    late = (start(1), ended(1, "submitted"), RunResumed(""), bill)
    told = [event for _, event in current(list(read_events(logged(tmp_path / "a", *late).path)))]
    assert [type(event) for event in told] == [type(event) for event in late]
    reopened = (
        start(1),
        ended(1, "model_error"),
        RunResumed("model_error"),
        replied(1),
        ended(1, "submitted"),
    )
    (tmp_path / "b").mkdir()
    told = [event for _, event in current(list(read_events(logged(tmp_path / "b", *reopened).path)))]
    assert [event.how for event in told if isinstance(event, AttemptEnded)] == ["submitted"]


def test_the_patch_of_an_ended_attempt_is_the_one_that_the_log_names(tmp_path: Path) -> None:
    past, _ = past_of(tmp_path, start(1), ended(1, "submitted", DIGEST))
    with pytest.raises(UsageError, match="not the patch that the run's log tells of"):
        past.ending(1)
    patch_path(tmp_path, 1).parent.mkdir()
    patch_path(tmp_path, 1).write_text("hello")
    ending = past.ending(1)
    assert ending is not None and (ending.how, ending.patch) == ("submitted", b"hello")
    assert past.ending(2) is None


def test_a_verdict_is_had_again_with_what_the_next_attempt_is_told(tmp_path: Path) -> None:
    told: dict[str, Any] = {
        "accepted": False,
        "needs_review": False,
        "checks": [{"name": "green", "passed": False, "evidence": "red"}],
        "fail_to_pass": [],
        "before": {"t": "failed"},
        "after": {"t": "failed"},
        "seconds": 1.5,
    }
    past, _ = past_of(tmp_path, start(1), VerdictReached(1, told, {"t": "trace"}, ("tests/t.py",)))
    verdict = past.verdict(1)
    assert verdict is not None and verdict.status == "rejected"
    assert (verdict.traces, verdict.proven_tests) == ({"t": "trace"}, ("tests/t.py",))


def test_time_counts_from_each_baseline_whatever_the_clock_says(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    taken = BaselineTaken({}, [], 1.0)
    logged(tmp_path, taken, replied(1), RunResumed(""), Note(""), taken, replied(1))
    seconds = (5.0, 25.0, 0.1, 1.0, 2.0, 9.0)
    lines = path.read_text().splitlines()
    rest = [line.partition(',"t":')[2].partition(",")[2] for line in lines]
    path.write_text(
        "".join(
            f'{{"v":1,"n":{n},"at":"19{n}0-01-01T00:00:00+00:00","t":{t},{line}\n'
            for n, (t, line) in enumerate(zip(seconds, rest, strict=True))
        )
    )
    past = revived(list(read_events(path)), EventLog.reopened(path), tmp_path)
    assert past.seconds == pytest.approx(20 + 7)


def change(what: str, usd: float | None, tokens: int) -> BudgetChanged:
    return BudgetChanged(what, usd, tokens, {})


def account(usd: str, tokens: int, unpriced: int = 0) -> Account:
    return Account(Limit(), Amount.of(Decimal(usd), tokens), Amount(0, 0), unpriced)


def test_what_the_ledger_has_counted_beyond_the_log_was_under_way() -> None:
    log: list[Event] = [start(3), change("reserved", 0.5, 900), change("settled", 0.1, 100), replied(3)]
    assert lost(log, account("0.1", 100)) is None
    fault = lost([*log, change("reserved", 0.5, 900)], account("0.6", 1000))  # its worst case
    assert fault is not None and (fault.attempt, fault.cost_usd) == (3, Decimal("0.500000000"))
    assert fault.usage == Usage(1)
    # it was answered and settled, and the answer was not logged any more
    answered = lost([*log, change("reserved", 0.5, 900), change("settled", 0.2, 150)], account("0.3", 250))
    assert answered is not None and answered.cost_usd == Decimal("0.200000000")
    unknown = lost([*log, change("reserved", None, 900)], account("0.1", 1000, unpriced=1))
    assert unknown is not None and unknown.cost_usd is None


def test_a_log_that_goes_on_is_numbered_on_and_its_torn_line_is_gone(tmp_path: Path) -> None:
    log = logged(tmp_path, start(1), UserSaid(1, "a"), start(1))
    log.path.write_bytes(log.path.read_bytes() + b'{"v":1,"n":3,"type":"no')
    again = EventLog.reopened(log.path)
    again.append(Note("on"))
    read = list(read_events(log.path))
    assert [data["n"] for data, _ in read] == [0, 1, 2, 3] and read[-1][1] == Note("on")
    assert again.events == [start(1), Note("on")]
    again.forget(1)
    assert again.events == [Note("on")]


@pytest.mark.parametrize(
    "between",
    [
        (RunResumed("model_error"),),  # killed before its first new attempt
        (RunResumed("model_error"), run_ended("interrupted")),
        (RunResumed("model_error"), run_ended("interrupted"), RunResumed("interrupted")),
        (RunResumed("model_error"), ModelRetried(1, "lost", None, Usage(), None)),
    ],
)
def test_an_end_that_waits_for_a_provider_is_still_that_after_a_process_that_did_nothing(tmp_path, between):
    past, _ = past_of(tmp_path, start(1), ended(1, "model_error"), run_ended("model_error"), *between)
    assert past.ended == {}


def test_an_attempt_that_followed_an_end_is_what_counts(tmp_path):
    later = (RunResumed("model_error"), start(1), ended(1, "no_patch"), run_ended("interrupted"))
    past, _ = past_of(tmp_path, start(1), ended(1, "model_error"), run_ended("model_error"), *later)
    assert past.ended[1].how == "no_patch"


def test_an_attempt_that_its_budget_ended_is_gone_on_with(tmp_path):
    judged = VerdictReached(1, {"accepted": False})  # of what it had come to by then
    past, log = past_of(tmp_path, start(1), ended(1, "budget"), judged, run_ended("limit"))
    assert (past.ended, past.verdicts) == ({}, {})
    log.append(ended(1, "submitted"))
    assert judged not in [event for _, event in current(list(read_events(log.path)))]
