"""What a person sees of a run, whatever hostile text is in it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, TextIO

import pytest

from agent import events
from agent.progress import PLAIN_WIDTH, View, clean, cut, event_lines, verdict_table, worth_a_line, wrapped
from agent.types import Check, ToolCall, Usage, Verdict

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\r\nverdict: accepted\x00\x9b1m\u202etxt\udcff\u200b end"
VERDICT = Verdict(
    accepted=False,
    checks=(
        Check("applies", True, "3 files"),
        Check("pass_to_pass", False, "tests/test_b.py::test_b\nfailed: " + EVIL),
    ),
    fail_to_pass=("tests/test_a.py::test_a",),
    before={"tests/test_a.py::test_a": "failed", "tests/test_b.py::test_b": "passed", "t.py::same": "passed"},
    after={"tests/test_a.py::test_a": "passed", "tests/test_b.py::test_b": "failed", "t.py::same": "passed"},
)
RESULT: dict[str, Any] = {
    "status": "rejected",
    "error": EVIL,
    "attempts": [
        {"model": "local/repair", "ended": "gave_up", "summary": EVIL, "verdict": None},
        {"model": "scripted/x", "ended": "submitted", "summary": "", "verdict": asdict(VERDICT)},
    ],
}
CALL = ToolCall("c1", "shell", {"command": EVIL})
ACCOUNT = {
    "usd_limit": None,
    "usd_spent": 0.25,
    "usd_reserved": 0.0,
    "tokens_limit": None,
    "tokens_spent": 11,
    "tokens_reserved": 0,
    "unpriced": 0,
}
LIMITED = {**ACCOUNT, "usd_limit": 1.0, "usd_spent": 0.12, "usd_reserved": 0.03}
RUN: list[events.Event] = [
    events.RunStarted("run-1", "-", EVIL, "/repo", "0" * 40, ["scripted/x"], "pytest", [], {}),
    events.PhaseStarted("setup"),
    events.Note("pip install " + EVIL),
    events.Note("uncommitted changes " + EVIL, "warning"),
    events.EnvironmentReady("sha256:1", "d", "Python 3.11 " + EVIL, 3.25),
    events.SetupWritten("openai/x", ("pip install x",), "it is needed", "/runs/1/setup.toml"),
    events.PhaseStarted("baseline", "python -m pytest"),
    events.BaselineTaken({"failed": 1, "passed": 412}, ["tests/test_a.py::test_a"], 33.0),
    events.PhaseStarted("attempt", "1 of 3: scripted/x"),
    events.AttemptStarted(1, "scripted/x", None, "You mend bugs."),
    events.UserSaid(1, EVIL),
    events.ModelReplied(1, 1, "Let me look. " + EVIL, [CALL], Usage(1, 5, 6), 0.25, "tool_use", 2.0),
    events.ModelRetried(1, "HTTP 529", 4.0),
    events.BudgetChanged("settled", 0.25, 11, {"run": ACCOUNT}),
    events.ToolStarted(1, 1, "c1", "shell", EVIL),
    events.ToolReturned(1, 1, "c1", "shell", EVIL, True, 0.5),
    events.WorkspaceKept(1, 1, 1, "ab" * 32),
    events.SandboxRemade(1, 1, EVIL),
    events.RunResumed(EVIL),
    events.ServerStarted(1, EVIL, "sandbox", [EVIL], [EVIL], 0.5),
    events.ServerLeftOut(1, EVIL, "http", EVIL),
    events.HypothesisStated(1, 1, EVIL, ["a.py:1"], EVIL, EVIL, EVIL, EVIL, EVIL),
    events.ContextRenewed(1, 1),
    events.ContextMasked(1, 1, [1, 2], 4000, 800, 9, "cost"),
    events.DriftSeen(1, 1, "repeated", EVIL),
    events.AttemptEnded(1, "submitted", EVIL, "", None, 1, 80.0),
    events.PhaseStarted("gate", "attempt 1"),
    events.VerdictReached(1, asdict(VERDICT)),
    events.RunEnded(RESULT),
]


def shown(stream: TextIO, some: list[events.Event] = RUN) -> None:
    with View(stream) as view:
        for event in some:
            view.show(events.encode(event))


def plain(some: list[events.Event] = RUN) -> str:
    """What a follower is told where there is no terminal."""
    data = [events.encode(event) for event in some]
    return "".join(f"{line}\n" for one in data if worth_a_line(one) for line in event_lines(one))


def test_every_event_has_its_line() -> None:
    kinds = {events.encode(event)["type"] for event in RUN}
    assert len(kinds) == len(events.Event.__args__)
    for event in RUN:
        assert event_lines(events.encode(event))


@pytest.mark.parametrize("full", [False, True])
def test_hostile_text_stays_text_in_every_event(full: bool) -> None:
    for event in RUN:
        for line in event_lines(events.encode(event), full=full):
            assert line.isprintable()
            # What pretends to be a line of its own stays inside the line, or indented below it.
            assert not line.startswith("verdict: accepted")


def test_full_lines_hold_whole_texts() -> None:
    text = "\n".join(f"line {n}" for n in range(300))
    event = events.encode(events.ToolReturned(1, 1, "c1", "shell", text, False, 0.5))
    assert "    line 299" in event_lines(event, full=True)
    assert not any("line 299" in line for line in event_lines(event))


def test_without_a_terminal_there_are_plain_lines() -> None:
    text = plain()
    lines = text.splitlines()
    assert text.replace("\n", "").isprintable()
    assert max(len(line) for line in lines if line.startswith(("  told", "  turn", "  >"))) <= PLAIN_WIDTH
    for start in (
        "setup",
        "  warning: uncommitted changes",
        "  environment ready in 3.2 s",
        "  1 failed, 412 passed in 33.0 s",
        "attempt: 1 of 3: scripted/x",
        "  turn 1, 2.0 s, 5 new, 0.2500 USD: Let me look.",
        "  2 old outputs masked, about 1,000 tokens less in each request, 200 written to the cache again",
        "  model: HTTP 529; again in 4.0 s",
        "  > shell red",
        "    error in 0.5 s",
        "gate: attempt 1",
        "verdict: rejected",
    ):
        assert any(line.startswith(start) for line in lines), start


class Terminal:
    """A pseudo-terminal of 66 columns. `stream` is the side of the program that writes."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 66, 0, 0))
        self.stream = os.fdopen(slave, "w", encoding="utf-8", errors="backslashreplace")
        self.seen = ""

    def read(self, more_than: int = 0) -> str:
        """All that was written so far; waits until it is longer than `more_than`."""
        while select.select([self.master], [], [], 0.05 if len(self.seen) > more_than else 10)[0]:
            self.seen += os.read(self.master, 65536).decode()
        assert len(self.seen) > more_than
        return self.seen


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    made = Terminal()
    yield made
    made.stream.close()
    os.close(made.master)


def painted(seen: str) -> list[str]:
    """The status lines and lasting lines, in order, without the one escape that the view itself uses."""
    return [part.rstrip("\r\n") for part in seen.split("\r\x1b[K")]


def test_a_terminal_shows_what_is_going_on(terminal: Terminal) -> None:
    with View(terminal.stream) as view:
        for event in RUN[:14]:
            view.show(events.encode(event))
        view.show(events.encode(events.ToolStarted(1, 1, "c1", "run_tests", "tests/test_a.py")))
        status = painted(terminal.read())[-1]
        assert re.fullmatch(
            r"\d+:\d\d \| 0\.25 USD \| attempt 1 of 3: scripted/x \| turn 1 \| run_t.*…", status
        )
        view.show(events.encode(events.BudgetChanged("reserved", 0.03, 90, {"run": LIMITED})))
        assert " | 0.12 of 1.00 USD, 0.03 reserved | attempt 1" in painted(terminal.read())[-1]
        unpriced = {**ACCOUNT, "unpriced": 3}
        view.show(events.encode(events.BudgetChanged("settled", None, 11, {"run": unpriced})))
        assert " | 0.25 USD, 3 requests at an unknown price | " in painted(terminal.read())[-1]
    parts = painted(terminal.read())
    assert parts[-1] == ""  # no status line is left behind
    assert all(part.isprintable() and len(part) <= 66 for part in parts)
    assert "  warning: uncommitted changes red verdict: acceptedtxt end" in parts


def test_a_terminal_is_renewed_while_nothing_happens(terminal: Terminal) -> None:
    with View(terminal.stream) as view:
        view.show(events.encode(RUN[1]))
        first = terminal.read()
        assert "0.00 USD | setup" in painted(terminal.read(more_than=len(first)))[-1]


def test_a_run_goes_on_when_nobody_watches_any_more() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    shown(stream)
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_the_table_shows_red_and_green() -> None:
    table = verdict_table(asdict(VERDICT))
    rows = [line.split() for line in table.splitlines()]
    assert ["tests/test_a.py::test_a", "failed", "passed"] in rows
    assert ["tests/test_b.py::test_b", "passed", "failed"] in rows
    assert "unchanged: 1 passed" in table
    assert ["ok", "applies", "3", "files"] in rows
    assert ["FAIL", "pass_to_pass", "tests/test_b.py::test_b"] in rows
    assert table.replace("\n", "").isprintable()


def test_the_table_of_a_run_names_each_attempt() -> None:
    lines = verdict_table(RESULT).splitlines()
    assert lines[0].startswith("attempt 1, local/repair: gave_up: red verdict: accepted")
    assert lines[1] == "attempt 2, scripted/x: rejected"
    assert any(line.startswith("FAIL  pass_to_pass") for line in lines)
    assert verdict_table({**RESULT, "attempts": []}) == ""


def test_a_reply_tells_what_was_new_read_from_and_written_to_the_cache_and_what_it_cost() -> None:
    def line(usage: Usage, cost: float | None) -> str:
        reply = events.ModelReplied(1, 3, "So.", (), usage, None, "end", 1.0)
        return event_lines({**events.encode(reply), "cost_usd": cost})[0]

    assert line(Usage(1, 12, 5, 3456, 789), 0.5) == (
        "  turn 3, 1.0 s, 12 new + 3,456 from cache + 789 to cache, 0.5000 USD: So."
    )
    assert line(Usage(1, 12), None) == "  turn 3, 1.0 s, 12 new, ? USD: So."
    assert line(Usage(1), 0.0) == "  turn 3, 1.0 s: So."


def test_a_long_table_is_cut_with_a_count() -> None:
    names = [f"t.py::test_{n:03}" for n in range(100)]
    verdict = Verdict(True, (), before=dict.fromkeys(names, "failed"), after=dict.fromkeys(names, "passed"))
    lines = verdict_table(asdict(verdict)).splitlines()
    assert len(lines) == 42
    assert lines[-1] == "… and 60 more"


def test_notes_of_checks_that_hold_are_shown_and_bounded() -> None:
    said = "9 of 9 tests still pass\nflaky: t.py::test_x fails 2 of 5 times"
    many = "\n".join(f"killed: {n}" for n in range(20))
    verdict = Verdict(True, (Check("pass_to_pass", True, said), Check("adequate", True, many)))
    lines = verdict_table(asdict(verdict)).splitlines()
    assert "      flaky: t.py::test_x fails 2 of 5 times" in lines
    assert sum("killed" in line for line in lines) == 5
    assert lines[-1] == "      … and 15 more lines"


LONG = " ".join(f"reason-{number}" for number in range(60)) + " so mend it like this"


def test_evidence_and_mends_are_whole_where_there_is_no_terminal() -> None:
    verdict = Verdict(False, (Check("applies", False, f"{LONG}\n{LONG}"),))
    assert verdict_table(asdict(verdict)).count(LONG) == 2
    assert LONG in verdict_table(
        {"attempts": [{"model": "m", "ended": "x", "summary": LONG, "verdict": None}]}
    )
    ended = events.AttemptEnded(1, "model_error", LONG, "", None, 1, 80.0)
    told = plain([events.Note(LONG, "warning"), events.VerdictReached(1, asdict(verdict)), ended])
    assert told.count(LONG) == 4
    assert any(
        LONG in line for line in event_lines(events.encode(events.RunEnded({**RESULT, "error": LONG})))
    )


def test_evidence_is_wrapped_on_a_terminal_and_nothing_of_it_is_lost(terminal: Terminal) -> None:
    verdict = Verdict(False, (Check("applies", False, LONG),))
    lines = verdict_table(asdict(verdict), 66).splitlines()
    assert max(map(len, lines)) <= 66
    assert " ".join(" ".join(lines).split()) == f"FAIL applies {LONG}"
    shown(terminal.stream, [events.VerdictReached(1, asdict(verdict))])
    seen = painted(terminal.read())
    assert max(len(line) for part in seen for line in part.splitlines()) <= 66
    assert "so mend it like this" in " ".join(" ".join(seen).split())


@pytest.mark.parametrize(
    "text", ["", "short", "x" * 50, "日本語" * 9, "a " * 40, "    " + "y" * 30, "one two  three"]
)
@pytest.mark.parametrize("width", [1, 2, 7, 20])
def test_wrapping_keeps_every_character(text: str, width: int) -> None:
    lines = wrapped(text, width, "  ")
    assert "".join("".join(lines).split()) == "".join(text.split())
    if width >= 7:
        assert all(cut(line, width) == line for line in lines)


def test_text_is_cut_by_columns() -> None:
    assert cut("short", 5) == "short"
    assert cut("longer", 5) == "long…"
    assert cut("日本語", 6) == "日本語"
    assert cut("日本語", 5) == "日本…"
    assert cut("日本語", 4) == "日…"
    assert clean("a\tb\x1b[1mc\x1b(Bd") == "a bcd"


def budget_lines(what: str, held_to: int | None = None, **accounts: dict[str, Any]) -> list[str]:
    return event_lines(events.encode(events.BudgetChanged(what, 0.0312, 90, accounts, held_to)))


def test_money_is_told_as_it_goes() -> None:
    assert budget_lines("reserved", 2_345, run=LIMITED) == [
        "  budget: reserved for the next request: 0.0312 USD, its answer held to 2,345 tokens by what is left; "
        "0.12 of 1.00 USD, 0.03 reserved"
    ]
    tokens = {**ACCOUNT, "tokens_limit": 5_000}
    assert budget_lines("settled", run=tokens) == ["  budget: settled: 0.0312 USD; 11 of 5,000 tokens"]


def test_of_several_limits_the_tightest_is_told() -> None:
    day = {**LIMITED, "usd_limit": 20.0, "usd_spent": 19.5}
    assert budget_lines("settled", run=LIMITED, day=day)[0].endswith(
        "; today: 19.50 of 20.00 USD, 0.03 reserved"
    )
    assert budget_lines("settled", run=LIMITED, day={**day, "usd_limit": 200.0})[0].endswith(
        "; 0.12 of 1.00 USD, 0.03 reserved"
    )
    assert budget_lines("settled", run=ACCOUNT, day={**ACCOUNT, "usd_spent": 8.0})[0].endswith("; 0.25 USD")


def test_each_request_is_told_once_where_nobody_watches_live() -> None:
    changes = [events.BudgetChanged(what, 0.03, 90, {"run": LIMITED}) for what in ("reserved", "settled")]
    line = "  budget: reserved for the next request: 0.0300 USD; 0.12 of 1.00 USD, 0.03 reserved\n"
    assert plain([*changes, *changes]) == line * 2


def test_lines_of_attempts_side_by_side_tell_whose_they_are(terminal: Terminal) -> None:
    def seen(best_of: int) -> str:
        limits = {"best_of": best_of}
        started = events.RunStarted("r", "-", "bug", "/repo", "0" * 40, ["scripted/x"], "pytest", [], limits)
        before = len(terminal.seen)
        shown(terminal.stream, [started, events.AttemptEnded(12, "turns", "so", "", None, 1, 2.0)])
        return terminal.read(more_than=before)[before:]

    assert "#12   turns after 1 turns: so" in painted(seen(2))
    assert "  turns after 1 turns: so" in painted(seen(1))


def test_what_is_no_event_stands_above_the_status_line(terminal: Terminal) -> None:
    with View(terminal.stream) as view:
        view.show(events.encode(RUN[1]))
        view.say("warning: a library says something " + "long " * 20)
        parts = painted(terminal.read())
    assert any(part.startswith("warning: a library says something long") for part in parts)
    assert "| setup" in parts[-1] and all(len(part) <= 66 for part in parts)
