"""What the events of an attempt tell of its calls: edits, test runs, and words for them.

Results come from a sandbox that hostile code may have taken over: whatever has not the expected shape tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from agent.events import ToolReturned
from agent.text import printable
from agent.types import APART, ToolCall

FAILING = ("failed", "error")
MAX_LINES = 1000
"""Of one edit; comparing longer texts line by line takes seconds."""

_RUNS_TESTS = re.compile(
    r"\b(pytest|py\.test|unittest|doctest|nose2|nosetests|tox|go test|cargo test|jest|vitest|mocha|node --test|ctest"
    r"|(npm|yarn|pnpm)( run)? test|mvn|mvnw|gradlew?|make (test|check))\b"
)
_SAID_TO_FAIL = re.compile(
    r"\b[1-9]\d* (failed|failures?|errors?)\b|^(FAILED|FAIL\b|not ok\b|--- FAIL)|test result: FAILED", re.M
)
_FAILED_EXITS = (1, 2, 101)
"""pytest's failed and broken off, cargo's 101. Others, such as 127, say that no test ran."""
_NO_RUN = re.compile(
    r"\s*(cat|ls|grep|rg|head|tail|sed|awk|find|wc|git|diff|cd|echo|printf|pwd|nl|less|tree|file|stat|which|sort|uniq"
    r"|cut|tr|rm|mv|cp|mkdir|touch|true|export|sleep|patch|tee)\b|\s*$|.*\binstall\b"
)
_TEST_FILE = re.compile(r"(^|/)(tests?|__tests__|spec)/|(^|/)(test_|conftest)|[._-](test|tests|spec)\.\w+$")
_PROSE = re.compile(r"\.(md|rst|txt|adoc)$|(^|/)(LICENSE|CHANGELOG|CHANGES|AUTHORS)$", re.I)


@dataclass(frozen=True, slots=True)
class Edit:
    """A file that was changed by a tool."""

    turn: int
    path: str
    before: str | None
    """Digest of the text before, None where there was no file."""
    after: str
    line: int
    """Where `old` begins; 0 where the lines are not known: of a whole file, of several places, of too many lines."""
    old: Sequence[str] = ()
    new: Sequence[str] = ()

    @property
    def is_test(self) -> bool:
        return bool(_TEST_FILE.search(self.path))

    @property
    def is_prose(self) -> bool:
        return bool(_PROSE.search(self.path))


@dataclass(frozen=True, slots=True)
class Run:
    """Tests that were run."""

    turn: int
    key: str
    """Which tests: runs with the same key can be compared."""
    outcomes: Mapping[str, str]
    """By test id; of a command in the shell, its own outcome under the command's text."""
    failing: frozenset[str]
    """Those that failed and are not known to fail anyway."""


def edit_of(event: ToolReturned, call: ToolCall) -> Edit | None:
    """The change that a result tells of; None when no file of the workspace has another text than before."""
    data = event.data or {}
    path, before = data.get("path"), data.get("before")
    if event.is_error or event.name not in ("edit_file", "write_file") or not isinstance(path, str):
        return None
    after = data.get("after")
    if path.startswith("/") or (after and before == after):  # a scratch file, or the same text again
        return None
    texts = call.arguments.get("old"), call.arguments.get("new")
    line = data.get("line") if event.name == "edit_file" and data.get("replacements") == 1 else None
    old, new = (text.split("\n") if isinstance(text, str) else [] for text in texts)
    known = isinstance(line, int) and 0 < len(old) <= MAX_LINES and 0 < len(new) <= MAX_LINES
    return Edit(
        event.turn,
        path,
        None if before is None else str(before),
        # Without a digest it is a text that no other is equal to.
        str(after or f"{event.turn} {event.call_id}"),
        int(line or 0) if known else 0,
        old if known else (),
        new if known else (),
    )


def run_of(event: ToolReturned, call: ToolCall, test_command: str, excused: Collection[str]) -> Run | None:
    """The test run that a result tells of. `excused` are the ids that fail on the base and need not be mended."""
    data = event.data or {}
    if event.name == "run_tests":
        found = data.get("outcomes")
        outcomes = {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}
        ids = call.arguments.get("ids")
        key = "run_tests " + " ".join(sorted(map(str, ids)) if isinstance(ids, list | tuple) else ())
    else:
        command = call.arguments.get("command")
        exit_code = data.get("exit_code")
        if event.name != "shell" or not isinstance(command, str):
            return None
        is_test = any(_RUNS_TESTS.search(part) for part in _tries_of(command))
        is_test = is_test or bool(test_command and test_command in command)
        # What an exit code says of tests that fail anyway can't be told apart.
        if not is_test or excused:
            return None
        failed = exit_code in _FAILED_EXITS or _SAID_TO_FAIL.search(event.text) is not None
        if not failed and exit_code != 0:
            return None
        key = "shell " + command
        outcomes = {command: "failed" if failed else "passed"}
    if not outcomes:
        return None
    failing = frozenset(test for test, outcome in outcomes.items() if outcome in FAILING) - frozenset(excused)
    return Run(event.turn, key, outcomes, failing)


def may_have_tried(event: ToolReturned, call: ToolCall) -> bool:
    """Whether this call may have run the changed code: also a script or a program of the shell tries something, and
    what a tool of the user's own servers does is not known."""
    if event.name == "run_tests":
        data = event.data or {}
        return bool(data.get("outcomes") or data.get("timed_out"))
    if event.name != "shell":
        return APART in event.name and not event.is_error
    return bool(_tries_of(str(call.arguments.get("command"))))


def _tries_of(command: str) -> list[str]:
    """The parts of a command line that do more than look, move files or install."""
    return [part for part in re.split(r"&&|\|\||[;|\n]", command) if not _NO_RUN.match(part)]


def quoted(text: str, limit: int = 100) -> str:
    """Text of a model or a repository on one line of the runtime's own words."""
    text = " ".join(printable(text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def some(names: Collection[str]) -> str:
    """The first few of them, and how many more."""
    shown = [quoted(name) for name in sorted(names)[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def listed(numbers: Sequence[int]) -> str:
    """2, 5 and 7."""
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
