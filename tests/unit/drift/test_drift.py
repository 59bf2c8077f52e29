"""Drift in recorded attempts: which sign comes at which turn, and that honest work raises none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drift import Drift, Sign, signs
from agent.event_log import read_events
from agent.events import (
    BaselineTaken,
    ContextRenewed,
    Event,
    ModelReplied,
    RunStarted,
    ToolReturned,
    ToolStarted,
)
from agent.types import ToolCall, Usage

SESSIONS = Path(__file__).parent / "sessions"
HONEST = sorted((SESSIONS / "honest").glob("*.jsonl"))
ALL = sorted(SESSIONS.glob("*/*.jsonl"))
TEST = "tests/test_shop.py::test_one_digit"


def session(name: str) -> list[Event]:
    return [event for _, event in read_events(SESSIONS / f"{name}.jsonl")]


def replayed(events: Sequence[Event]) -> list[tuple[int, Sign]]:
    """The signs in order, each with the turn in which it came."""
    drift = Drift(1)
    return [(getattr(event, "turn", 0), sign) for event in events for sign in drift.noticed(event)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("looks_again", [(4, "repeated_calls", ("read_file(path='shop.py')", "turns 2, 3 and 4"))]),
        ("same_edit_refused", [(4, "repeated_calls", ("edit_file(", "turns 2, 3 and 4"))]),
        ("cycle", [(5, "repeated_calls", ("pytest -q", "turns 1, 3 and 5"))]),
        (
            "put_in_again",
            [(6, "undone_edits", ("shop.py", "in turn 5", "text of turn 2", "back in turn 3", TEST))],
        ),
        ("undone_and_put_in_again", [(4, "undone_edits", ("in turn 4", "text of turn 2", TEST))]),
        ("checked_out_and_put_in_again", [(3, "undone_edits", ("text of turn 1", "pytest -q"))]),
        (
            "more_and_more_fail",
            [(3, "more_failures", ("6 tests", "turns 1, 2 and 3", "1, 2 and 3 failed", "test_shown"))],
        ),
        (
            "third_try_on_a_line",
            [(5, "same_lines", ("shop.py, line 3", "turns 2, 4 and 5", TEST))],
        ),
        ("submits_untested", [(3, "untested_claim", ("Turn 3 submits", "shop.py was edited in turn 2"))]),
        ("says_done_untested", [(3, "untested_claim", ("Turn 3 calls no tool", "edited in turn 2"))]),
        ("edited_after_the_run", [(3, "untested_claim", ("edited in turn 2",))]),
    ],
)
def test_drift_is_seen_when_it_is_there_and_told_once(
    name: str, expected: list[tuple[int, str, tuple[str, ...]]]
) -> None:
    seen = replayed(session(f"drifting/{name}"))
    assert [(turn, sign.kind) for turn, sign in seen] == [(turn, kind) for turn, kind, _ in expected]
    for (_, sign), (_, _, facts) in zip(seen, expected, strict=True):
        assert all(fact in sign.text for fact in facts), sign.text


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_honest_work_raises_no_sign(path: Path) -> None:
    assert signs([event for _, event in read_events(path)], 1) == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_what_comes_later_changes_no_sign(path: Path) -> None:
    events = [event for _, event in read_events(path)]
    whole = signs(events, 1)
    for end in range(len(events)):
        part = signs(events[:end], 1)
        assert part == whole[: len(part)]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_only_the_attempt_that_is_asked_for_is_looked_at(path: Path) -> None:
    assert signs([event for _, event in read_events(path)], 2) == []


def turn(
    number: int,
    *calls: tuple[str, dict[str, Any], str, dict[str, Any] | None],
    text: str = "",
    stop: str = "end",
) -> list[Event]:
    """A reply and what its calls (name, arguments, text and data of the result) return."""
    made = tuple(ToolCall(f"c{i}", name, arguments) for i, (name, arguments, _, _) in enumerate(calls))
    events: list[Event] = [ModelReplied(1, number, "", made, Usage(), Decimal(0), "end", 0.0)]
    for one, (name, _, result, data) in zip(made, calls, strict=True):
        events.append(ToolStarted(1, number, one.id, name, ""))
        events.append(ToolReturned(1, number, one.id, name, result, False, 0.0, data))
    return events


def edited(old: str, new: str, before: str, after: str, path: str = "a.py", line: int = 1) -> Any:
    data = {"path": path, "replacements": 1, "line": line, "before": before, "after": after}
    return ("edit_file", {"path": path, "old": old, "new": new}, "edited", data)


def ran(**outcomes: str) -> Any:
    return ("run_tests", {}, "", {"outcomes": outcomes})


def shell(command: str, text: str = "", exit_code: int = 0) -> Any:
    return ("shell", {"command": command}, text, {"exit_code": exit_code})


LOOK = ("read_file", {"path": "a.py"}, "text", None)
SUBMIT = ("submit", {"summary": "done"}, "submitted", {"submitted": True})
EDIT = edited("a", "b", "A", "B")


def kinds(
    *turns: Sequence[Any], test_command: str = "make", wanted: Sequence[str] = (), red: Sequence[str] = ()
) -> list[tuple[int, str]]:
    """The turn and kind of each sign in an attempt with these calls a turn; `red` are the base's failing tests."""
    events: list[Event] = [
        RunStarted("", "", "", "", "", (), test_command, wanted, {}),
        BaselineTaken({}, red, 0),
    ]
    for number, calls in enumerate(turns, 1):
        events += turn(number, *calls)
    return [(number, sign.kind) for number, sign in replayed(events)]


def test_going_on_after_a_sign_is_a_new_sign() -> None:
    assert kinds(*[[LOOK]] * 7) == [(3, "repeated_calls"), (5, "repeated_calls"), (7, "repeated_calls")]


def test_the_same_call_thrice_in_one_reply_is_no_repeat() -> None:
    assert kinds([LOOK, LOOK, LOOK], [LOOK, LOOK]) == []


def test_looking_again_between_other_looks_is_no_repeat() -> None:
    other = [("read_file", {"path": f"{n}.py"}, "", None) for n in range(4)]
    assert kinds(*([look, LOOK] for look in other)) == []


def test_after_the_conversation_began_anew_all_may_be_looked_at_again() -> None:
    events = [*turn(1, LOOK), *turn(2, LOOK), ContextRenewed(1, 2), *turn(3, LOOK), *turn(4, LOOK)]
    assert signs(events, 1) == []


def test_a_tool_that_fails_again_is_a_repeat_though_its_result_says_how_often() -> None:
    word = "no such file\n\n[This same call has now failed {} times in the same way. Sending it again will not help.]"
    texts = ["no such file", word.format(2), word.format(3)]
    assert kinds(*([("read_file", {"path": "b.py"}, text, None)] for text in texts)) == [
        (3, "repeated_calls")
    ]


@pytest.mark.parametrize(
    "command",
    [
        "pytest -q",
        "python -m pytest tests/test_a.py -x 2>&1 | tail -5",
        "cd sub && go test ./...",
        "npm test",
        "cargo test --lib",
        "./scripts/check.sh",
        "python -c 'import a; print(a.f(1))'",
        "git diff; make check",
    ],
)
def test_who_tried_the_edit_in_the_shell_claims_nothing_untested(command: str) -> None:
    assert kinds([EDIT], [shell(command)], [SUBMIT]) == []


@pytest.mark.parametrize(
    "command", ["git diff", "cat a.py | head -20", "cd src && ls", "grep -n 'f(' a.py", ""]
)
def test_looking_at_the_edit_is_no_test_of_it(command: str) -> None:
    assert kinds([EDIT], [shell(command)], [SUBMIT]) == [(3, "untested_claim")]


def test_a_tool_of_the_user_s_own_server_may_have_tried_the_edit() -> None:
    debugger = ("debugger__run", {"file": "a.py"}, "it ran", {})
    assert kinds([EDIT], [debugger], [SUBMIT]) == []
    assert kinds([EDIT], [("debuggers", {}, "it ran", {})], [SUBMIT]) == [(3, "untested_claim")]


def test_a_tool_of_the_user_s_own_server_that_says_the_same_again_is_a_repeat() -> None:
    look = ("docs__look", {"word": "a"}, "nothing", {})
    assert kinds([look], [look], [look]) == [(3, "repeated_calls")]


def test_what_needs_no_test_can_be_edited_last() -> None:
    prose = edited("a", "b", "A", "B", path="docs/changes.md")
    scratch = edited("a", "b", "A", "B", path="/tmp/try.py")
    gives_up = ("submit", {"summary": "", "give_up": True}, "gave up", {"submitted": True})
    assert kinds([EDIT, ran(t="passed")], [prose, scratch], [SUBMIT]) == []
    assert kinds([EDIT], [gives_up]) == []
    assert kinds([ran(t="failed"), EDIT, SUBMIT]) == [(1, "untested_claim")]


def test_the_first_submission_is_told_and_the_second_is_not_until_another_edit() -> None:
    other = edited("b", "c", "B", "C")
    assert kinds([EDIT], [SUBMIT], [SUBMIT], [other], [SUBMIT]) == [
        (2, "untested_claim"),
        (5, "untested_claim"),
    ]


def test_tests_of_the_shell_are_compared_by_their_command() -> None:
    fails = shell("./check", "", 1)
    a, b = edited("a", "b", "A", "B"), edited("b", "a", "B", "A")
    turns = [[a, fails], [b, fails], [a, fails]]
    assert kinds(*turns) == []  # nobody knows what this program is
    assert kinds(*turns, test_command="./check") == [(3, "undone_edits")]


@pytest.mark.parametrize(
    "command", ["grep -n unittest a.py", "cat pytest.ini", "pip install pytest", "pytest missing.py"]
)
def test_a_command_that_names_a_test_runner_is_no_failing_run(command: str) -> None:
    fails = shell(command, "", 4 if command.startswith("pytest") else 1)
    a, b = edited("a", "b", "A", "B"), edited("b", "a", "B", "A")
    assert kinds([a, fails], [b, fails], [a, fails], [b, fails]) == []


def test_lines_are_followed_when_others_move_them() -> None:
    above = edited("import x", "import x\nimport y", "B", "C", line=1)
    tries = [edited("v = 1", "v = 2", "A", "B", line=9), edited("v = 2", "v = 3", "C", "D", line=10)]
    last = edited("v = 3", "v = 4", "D", "E", line=10)
    red = ran(t="failed")
    assert kinds([tries[0], red], [above], [tries[1], red], [last]) == [(4, "same_lines")]
    elsewhere = edited("v = 3", "v = 4", "D", "E", line=9)
    assert kinds([tries[0], red], [above], [tries[1], red], [elsewhere]) == []


def test_tries_of_which_each_mends_something_are_no_drift() -> None:
    edits = [
        edited("v = 1", "v = 2", "A", "B"),
        edited("v = 2", "v = 3", "B", "C"),
        edited("v = 3", "v = 4", "C", "D"),
    ]
    fewer = [ran(t="failed", u="failed", v="failed"), ran(t="failed", u="failed"), ran(t="failed")]
    assert kinds(*zip(edits, fewer, strict=True)) == []
    others = [ran(t="failed", u="passed"), ran(t="passed", u="failed"), ran(t="failed", u="passed")]
    assert kinds(*zip(edits, others, strict=True)) == []
    same = [ran(t="failed", u="failed")] * 3
    assert kinds(*zip(edits, same, strict=True)) == [(3, "same_lines")]


TRIES = [
    edited("v = 1", "v = 2", "A", "B"),
    edited("v = 2", "v = 3", "B", "C"),
    edited("v = 3", "v = 4", "C", "D"),
    edited("v = 4", "v = 5", "D", "E"),
    edited("v = 5", "v = 6", "E", "F"),
]
RED = ran(t="failed")
UNDO = ("undo", {}, "back", {"checkpoint": 1})


def test_more_tries_after_the_sign_are_a_new_one() -> None:
    assert kinds(*([one, RED] for one in TRIES)) == [(3, "same_lines"), (5, "same_lines")]


def test_a_correction_before_the_next_run_is_part_of_its_try() -> None:
    assert kinds([TRIES[0]], [TRIES[1]], [TRIES[2]]) == []
    assert kinds([TRIES[0], RED], [TRIES[1]], [TRIES[2]], [RED], [TRIES[3]]) == [(5, "same_lines")]


def test_what_one_reply_holds_is_one_try() -> None:
    assert kinds([TRIES[0], RED, TRIES[1], RED, TRIES[2], RED]) == []


def test_progress_begins_anew() -> None:
    two, one = ran(t="failed", u="failed"), ran(t="failed", u="passed")
    assert kinds([TRIES[0], two], [TRIES[1], two], [one], [TRIES[2], one]) == []


def test_lines_of_a_file_that_was_changed_otherwise_are_not_known_any_more() -> None:
    other = edited("v = 3", "v = 4", "X", "D")
    assert kinds([TRIES[0], RED], [TRIES[1], RED], [shell("sed -i 1d a.py")], [other, RED]) == []


def test_a_test_may_be_edited_until_it_fails_for_the_right_reason() -> None:
    tries = [("edit_file", dict(call[1]), call[2], {**call[3], "path": "tests/test_a.py"}) for call in TRIES]
    assert kinds(*([one, RED] for one in tries)) == []


def test_lines_that_an_edit_only_repeats_were_not_edited() -> None:
    edits = [
        edited("v = 1\nw = 1\nx = 1", "v = 2\nw = 1\nx = 1", "A", "B"),
        edited("v = 2\nw = 1\nx = 1", "v = 2\nw = 2\nx = 1", "B", "C"),
        edited("v = 2\nw = 2\nx = 1", "v = 2\nw = 2\nx = 2", "C", "D"),
    ]
    assert kinds(*([one, RED] for one in edits)) == []


def test_an_edit_of_many_places_names_no_lines() -> None:
    many = [(name, args, text, {**data, "replacements": 2}) for name, args, text, data in TRIES]
    assert kinds(*([one, RED] for one in many)) == []


def test_an_edit_of_very_many_lines_is_not_compared_line_by_line() -> None:
    long = "".join(f"\nw = {n}" for n in range(1000))
    tries = [edited(f"v = {n}{long}", f"v = {n + 1}{long}", str(n), str(n + 1)) for n in range(3)]
    assert kinds(*([one, RED] for one in tries)) == []


def test_an_edit_that_tells_no_digests_is_one_all_the_same() -> None:
    name, arguments, text, _ = EDIT
    assert kinds([(name, arguments, text, {"path": "a.py"})], [SUBMIT]) == [(2, "untested_claim")]


def test_what_fails_on_the_base_anyway_is_no_failure() -> None:
    back = edited("b", "a", "B", "A")
    anyway, twice = ran(t="failed"), [[EDIT], [back], [EDIT]]
    assert kinds(*([*one, anyway] for one in twice), red=["t"]) == []
    assert kinds(*([*one, anyway] for one in twice), red=["t"], wanted=["t"]) == [(3, "undone_edits")]
    cases = ("run_tests", {}, "", {"outcomes": {"t[1]": "failed"}})
    assert kinds(*([*one, cases] for one in twice), red=["t[1]"], wanted=["t"]) == [(3, "undone_edits")]
    by_shell = shell("pytest -q", "", 1)
    assert kinds(*([*one, by_shell] for one in twice), red=["t"]) == []  # its exit code tells nothing then
    assert kinds(*([*one, by_shell] for one in twice)) == [(3, "undone_edits")]
    piped = shell("pytest -q | tail -1", "1 failed in 0.1s")
    assert kinds(*([*one, piped] for one in twice)) == [(3, "undone_edits")]


def test_a_text_that_fails_otherwise_than_before_says_something_new() -> None:
    back = edited("b", "a", "B", "A")
    assert kinds([EDIT, ran(t="failed", u="failed")], [back], [EDIT, ran(t="failed", u="passed")]) == []


def test_undo_takes_edits_back_to_what_was_tried() -> None:
    assert kinds([RED], [EDIT], [UNDO], [("submit", {"summary": ""}, "", None)]) == []
    assert kinds([LOOK], [LOOK], [UNDO], [LOOK], [UNDO], [LOOK]) == []
    events = turn(1, EDIT) + [
        replace(event, is_error=True) if isinstance(event, ToolReturned) else event for event in turn(2, UNDO)
    ]
    assert [sign.kind for sign in signs([*events, *turn(3, SUBMIT)], 1)] == ["untested_claim"]


def test_writing_the_same_text_again_is_a_repeat_and_no_edit() -> None:
    same = (
        "write_file",
        {"path": "a.py", "content": "x"},
        "overwrote",
        {"path": "a.py", "before": "X", "after": "X"},
    )
    assert kinds([same], [same], [same], [SUBMIT]) == [(3, "repeated_calls")]


def test_a_reply_that_was_cut_claims_nothing() -> None:
    events = turn(1, EDIT)
    cut = ModelReplied(1, 2, "Now I", (), Usage(), Decimal(0), "length", 0.0)
    assert [sign.kind for sign in signs([*events, cut], 1)] == []
    assert [sign.kind for sign in signs([*events, replace(cut, stop="end")], 1)] == ["untested_claim"]


def test_calls_of_one_reply_that_share_an_id_are_told_apart_by_their_order() -> None:
    one, two = ToolCall("c", "read_file", {"path": "a"}), ToolCall("c", "read_file", {"path": "b"})
    events: list[Event] = []
    for number, calls in enumerate([(one, two), (two, one), (one, two)], 1):
        events.append(ModelReplied(1, number, "", calls, Usage(), Decimal(0), "tool_use", 0.0))
        events += [
            ToolReturned(1, number, "c", "read_file", call.arguments["path"], False, 0.0) for call in calls
        ]
    assert [(number, sign.text[:19]) for number, sign in replayed(events)] == [(3, "read_file(path='a')")]


def test_failures_that_do_not_rise_each_time_are_no_drift() -> None:
    edits = [edited(str(n), str(n + 1), str(n), str(n + 1), line=n * 10 + 1) for n in range(5)]
    counts = [1, 3, 3, 2, 1]
    runs = [ran(**{f"t{i}": "failed" if i < count else "passed" for i in range(5)}) for count in counts]
    assert kinds(*zip(edits, runs, strict=True)) == []
    recovered = [
        ran(**{f"t{i}": "failed" if i < count else "passed" for i in range(9)}) for count in [8, 1, 2, 3, 0]
    ]
    assert kinds(*zip(edits, recovered, strict=True)) == []
    flaky = [ran(**{f"t{i}": "failed" if i < count else "passed" for i in range(5)}) for count in range(4)]
    assert kinds(*([run] for run in flaky)) == []


def test_a_file_that_cannot_be_loaded_is_passed_over() -> None:
    edits = [edited(str(n), str(n + 1), str(n), str(n + 1), line=n * 10 + 1) for n in range(6)]
    runs = [ran(**{f"t{i}": "failed" if i < count else "passed" for i in range(5)}) for count in range(1, 4)]
    unloaded = ran(file="error")
    for turns in ([runs[0], unloaded, runs[1], runs[2]], [unloaded, *runs]):
        assert kinds(*zip(edits, turns, strict=False)) == [(4, "more_failures")]


def test_edits_by_the_shell_may_be_why_more_tests_fail() -> None:
    runs = [ran(**{f"t{i}": "failed" if i < count else "passed" for i in range(5)}) for count in range(1, 4)]
    assert kinds(*([shell(f"sed -i {n}d a.py"), run] for n, run in enumerate(runs, 1))) == [
        (3, "more_failures")
    ]


def test_other_tests_are_not_compared() -> None:
    edits = [edited(str(n), str(n + 1), str(n), str(n + 1), line=n * 10 + 1) for n in range(3)]
    runs = [ran(**{f"{name}{i}": "failed" for i in range(n + 1)}) for n, name in enumerate("abc")]
    assert kinds(*zip(edits, runs, strict=True)) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        "path",
        "line",
        "replacements",
        "before",
        "after",
        "outcomes",
        "failures",
        "exit_code",
        "command",
        "old",
        "new",
        "ids",
    ]
)
OBJECTS = st.dictionaries(KEYS, JSON | st.sampled_from(["a.py", "pytest", 1]), max_size=8)
CALLS = st.tuples(
    st.sampled_from(["edit_file", "write_file", "run_tests", "shell", "submit", "undo", "other"]),
    OBJECTS,
    st.text(max_size=5),
    st.none() | OBJECTS,
)


@settings(deadline=None)
@given(st.lists(st.lists(CALLS, max_size=3), max_size=12))
def test_nonsense_from_a_sandbox_breaks_nothing(turns: list[list[Any]]) -> None:
    events = [event for number, calls in enumerate(turns, 1) for event in turn(number, *calls)]
    whole = signs(events, 1)
    for end in range(len(events)):
        part = signs(events[:end], 1)
        assert part == whole[: len(part)]
    assert all(sign.text and len(sign.text) < 2000 for sign in whole)


A, B, RED, GREEN = edited("a", "b", "A", "B"), edited("b", "a", "B", "A"), ran(t="failed"), ran(t="passed")
WORK = st.sampled_from(
    [EDIT, edited("b", "c", "B", "C"), edited("c", "d", "C", "D"), B, RED, GREEN, LOOK, SUBMIT]
)


@settings(deadline=None)
@given(st.lists(st.lists(WORK, min_size=1, max_size=2), max_size=20))
def test_what_comes_later_changes_no_sign_of_any_work(turns: list[list[Any]]) -> None:
    events = [event for number, calls in enumerate(turns, 1) for event in turn(number, *calls)]
    whole = signs(events, 1)
    for end in range(len(events)):
        part = signs(events[:end], 1)
        assert part == whole[: len(part)]
