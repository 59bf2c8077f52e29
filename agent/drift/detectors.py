"""One class for each way to drift. Each takes what happened and returns what it saw, or None."""

from __future__ import annotations

import difflib
import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from agent.calls import digest, without_word
from agent.drift.facts import FAILING, Edit, Run, listed, quoted, some
from agent.events import ToolReturned
from agent.types import ToolCall

REPEATS = 3
"""Of a call with the same result, while no other call brings anything new.

OpenHands' stuck detector (openhands/sdk/conversation/stuck_detector.py and types.py) takes 3 for errors, 4 for other
results, and 6 calls for A B A B A B, each time in a row; gemini-cli (loopDetectionService.ts) takes 5, for cycles of up
to 5 calls, whatever they return. One rule covers runs and cycles of any length here.
"""
RISES = 3
"""Runs in a row of which each fails more tests than the one before."""
TRIES = 3
"""Edits of the same line while the same test fails on."""

_WAITS = re.compile(r"\b(sleep|wait)\b")
_VARIES = re.compile(r"\b\d+(\.\d+)? ?(m?s|seconds?)\b|0x[0-9a-f]+|/tmp/\S+")
_SHOWS = re.compile(
    r"\b(print|p?printf|println|eprintln|dbg|console\.\w+|log(ger|ging)?\.\w+|fmt\.Print\w*|System\.(out|err)|breakpoint|"
    r"pdb|import (sys|logging|pprint))\b|^\s*$"
)


@dataclass
class RepeatedCalls:
    """The same call again and again, alone or in a cycle with others, while no file changes and nothing new is seen."""

    _seen: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    """By call: its last result, and the turns in which that came."""
    _again: Counter[str] = field(default_factory=Counter)
    """Calls since the last that brought something new."""

    def changed(self) -> None:
        """From here on everything is worth another look."""
        self._seen.clear()
        self._again.clear()

    def returned(self, call: ToolCall, event: ToolReturned) -> str | None:
        if call.name == "shell" and _WAITS.search(str(call.arguments.get("command"))):
            return None
        key, result = digest(call.name, call.arguments), digest(_result(event))
        last, turns = self._seen.get(key, ("", []))
        if (event.data or {}).get("seen") is True:  # told in a word that it is as before
            result = last or result
        if last != result:
            self._seen[key] = result, [event.turn]
            self._again.clear()
            return None
        if turns[-1] == event.turn:  # twice in one reply: the model had not seen the first one's result
            return None
        turns.append(event.turn)
        self._again[key] += 1
        if self._again[key] < REPEATS - 1:
            return None
        self._again.clear()
        shown = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
        return (
            f"{quoted(call.name)}({quoted(shown, 200)}) was called in turns {listed(turns[-REPEATS:])} with the same "
            "result each time; no file was edited between, and no other call since has shown anything new."
        )


def _result(event: ToolReturned) -> Any:
    """What a call brought, without what differs from run to run."""
    data = event.data or {}
    if event.name == "run_tests" and data.get("outcomes"):
        failures = data.get("failures")
        told = [
            (one.get("id"), _VARIES.sub("", str(one.get("message"))))
            for one in (failures if isinstance(failures, list | tuple) else ())
            if isinstance(one, Mapping)
        ]
        return [data["outcomes"], told]
    return [event.is_error, _VARIES.sub("", without_word(event.text))]


@dataclass
class _State:
    turn: int
    """In which it was first there."""
    failing: dict[str, frozenset[str]] = field(default_factory=dict)
    """What failed on it, by the key of the run."""


_Texts = frozenset[tuple[str, str | None]]


@dataclass
class UndoneEdits:
    """Texts that were taken back and put in again, and on which the tests then fail as they did before.

    Going back is no sign: that is how an experiment ends. Nor is coming again to a text on which the tests pass: so it
    is shown that a test fails without the fix.
    """

    _files: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    """By path: digest of the text before the first edit, and of the text now."""
    _line: list[_Texts] = field(default_factory=lambda: [frozenset()])
    """The states that lead to the one now; going back to one of them forgets those after it."""
    _states: dict[_Texts, _State] = field(default_factory=lambda: {frozenset(): _State(0)})
    _again: tuple[Edit, int] | None = None
    """The edit that put in again what was taken back, and the turn of what took it back."""
    _back: int = 0

    def edited(self, edit: Edit) -> bool:
        """Whether the edit goes back to where the work came from."""
        first, now = self._files.get(edit.path, (edit.before, edit.before))
        if now != edit.before:  # changed since by other means than the edit tools, perhaps back
            self._files[edit.path] = first, edit.before
            self._enter(edit)
        self._files[edit.path] = first, edit.after
        return self._enter(edit)

    def _enter(self, edit: Edit) -> bool:
        state = frozenset((path, now) for path, (first, now) in self._files.items() if now != first)
        self._again = None
        if state in self._line:
            if state != self._line[-1]:
                self._back = edit.turn
            del self._line[self._line.index(state) + 1 :]
            return True
        self._line.append(state)
        if state in self._states:
            self._again = edit, self._back
        else:
            self._states[state] = _State(edit.turn)
        return False

    def ran(self, run: Run) -> str | None:
        state = self._states[self._line[-1]]
        before = state.failing.get(run.key)
        state.failing[run.key] = run.failing
        if self._again is None or not run.failing or before != run.failing:
            return None
        (edit, back), self._again = self._again, None
        return (
            f"The edit of {quoted(edit.path)} in turn {edit.turn} put in again the text of turn {state.turn}, which "
            f"was taken back in turn {back}; the same tests fail on it as did then: {some(run.failing)}."
        )


@dataclass
class MoreFailures:
    """More and more tests that fail: of the same tests, run again after edits."""

    _first: dict[str, Run] = field(default_factory=dict)
    _last: dict[str, deque[tuple[int, Run]]] = field(default_factory=dict)
    """The runs since, at most one for each state of the files, with the number of changes before it."""

    def ran(self, run: Run, changes: int) -> str | None:
        first = self._first.setdefault(run.key, run)
        last = self._last.setdefault(run.key, deque(maxlen=RISES))
        if last and not last[-1][1].outcomes.keys() & run.outcomes.keys():
            # One of them saw a file that can't be loaded, and none of its tests.
            if len(run.outcomes) > len(last[-1][1].outcomes):
                self._first[run.key], self._last[run.key] = run, deque([(changes, run)], maxlen=RISES)
            return None
        if last and last[-1][0] == changes:
            last.pop()
        last.append((changes, run))
        runs = [one for _, one in last]
        common = set(first.outcomes).intersection(*(one.outcomes for one in runs))
        failed = [{test for test in common if one.outcomes[test] in FAILING} for one in (first, *runs)]
        counts = [len(tests) for tests in failed]
        rising = all(fewer < more for fewer, more in pairwise(counts[1:]))
        if len(runs) < RISES or not rising or counts[-1] <= counts[0]:
            return None
        self._last[run.key] = deque([(changes, run)], maxlen=RISES)
        return (
            f"Of the {len(common)} tests that ran in each of turns {listed([one.turn for one in runs])}, "
            f"{listed(counts[1:])} failed: more after each change. New since turn {runs[0].turn}: "
            f"{some(failed[-1] - failed[1])}."
        )


@dataclass(frozen=True, slots=True)
class _Tries:
    """Edits of one line: their turns, and the tests that failed after each of them but the last."""

    turns: tuple[int, ...]
    runs: int
    """How many runs had failed before the last of them."""
    failing: frozenset[str] = frozenset()


@dataclass
class SameLines:
    """A line of the product that is edited again and again, while a test fails after each edit.

    That is one edit on top of the other: a try that was taken back counts no more. Edits without a failing run between
    are one try. A run that fails fewer tests than any before is progress, and all counts from there. Tests are not
    looked at (a new one shall fail), nor lines that only show values.
    """

    _lines: dict[str, dict[int, _Tries]] = field(default_factory=dict)
    """By path, the lines that were edited, as they are numbered now."""
    _texts: dict[str, str] = field(default_factory=dict)
    """By path, the digest of the text that these numbers are good for."""
    _failed: list[frozenset[str]] = field(default_factory=list)
    _fewest: dict[str, int] = field(default_factory=dict)

    def ran(self, run: Run) -> None:
        fewest = self._fewest.get(run.key)
        count = len(run.failing)
        if count and (fewest is None or count >= fewest):
            self._failed.append(run.failing)
        elif fewest is not None and count < fewest:
            self._lines.clear()
        if count or fewest is not None:
            self._fewest[run.key] = count if fewest is None else min(count, fewest)

    def edited(self, edit: Edit, back: bool) -> str | None:
        """`back`: the edit takes a try away, and is none itself."""
        known = self._texts.get(edit.path) == edit.before
        self._texts[edit.path] = edit.after
        lines = self._lines.pop(edit.path, {}) if known else {}
        if not edit.line or edit.is_test or edit.is_prose:
            return None
        end, grown = edit.line + len(edit.old), len(edit.new) - len(edit.old)
        moved = {n if n < edit.line else n + grown: t for n, t in lines.items() if not edit.line <= n < end}
        many: dict[int, _Tries] = {}
        pieces = difflib.SequenceMatcher(None, edit.old, edit.new).get_opcodes()
        for kind, old, old_end, new, new_end in pieces:
            before = [lines.get(edit.line + n) for n in range(old, old_end)]
            after = range(edit.line + new, edit.line + new_end)
            if kind == "equal":
                moved |= {n: tries for n, tries in zip(after, before, strict=True) if tries}
                continue
            most = max(filter(None, before), key=lambda tries: len(tries.turns), default=None)
            if not all(map(_SHOWS.search, (*edit.old[old:old_end], *edit.new[new:new_end]))):
                most = self._tried(most, edit.turn)
            if most and not back:
                moved |= dict.fromkeys(after, most)
                if len(most.turns) >= TRIES:
                    many |= dict.fromkeys(after, most)
        self._lines[edit.path] = moved
        if not many:
            return None
        moved |= dict.fromkeys(many, self._tried(None, edit.turn))
        tries = next(iter(many.values()))
        where = f"line {min(many)}" if len(many) == 1 else f"lines {min(many)} to {max(many)}"
        return (
            f"{quoted(edit.path)}, {where}: edited in turns {listed(tries.turns)}, and after each of these edits but "
            f"the last the same tests failed on: {some(tries.failing)}."
        )

    def _tried(self, earlier: _Tries | None, turn: int) -> _Tries:
        """What is known of a line with one edit more."""
        first = _Tries((turn,), len(self._failed))
        if earlier is None:
            return first
        since = frozenset[str]().union(*self._failed[earlier.runs :])
        if not since or earlier.turns[-1] == turn:  # what one reply holds was decided at once
            return earlier
        failing = since & earlier.failing if earlier.failing else since
        return _Tries((*earlier.turns, turn), len(self._failed), failing) if failing else first
