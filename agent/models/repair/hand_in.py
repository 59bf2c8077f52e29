"""Make the chosen edit with the ordinary tools, prove it by the tests, and submit it; or leave no trace."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent.models.repair.candidates import Candidate
from agent.models.repair.laboratory import quoted
from agent.models.repair.localise import Places
from agent.models.repair.source import Edit, apply_edits
from agent.models.repair.turns import Plan, Steps, Turn
from agent.types import ToolResult

Calls = list[tuple[str, dict[str, Any]]]


class HandIn:
    """Knows the workspace's files and outcomes as they were, and the edits that stand in it."""

    def __init__(
        self,
        outcomes: Mapping[str, str],
        failures: Mapping[str, str],
        wanted: Sequence[str],
        suite_seconds: float,
        removal: str,
    ) -> None:
        """`failures` is the line that tells how a test failed, by id; `removal` the command that takes the laboratory
        away, at the end."""
        self._outcomes = outcomes
        self._failures = failures
        self._wanted = list(wanted)
        self._timeout = max(60, round(6 * suite_seconds + 30))
        self._removal: Calls = [("shell", {"command": removal})]
        self._original: dict[str, str] = {}
        self._current: dict[str, str] = {}
        """Texts with the first half of a repair in them, where there is one; what candidates edit."""
        self._half: Candidate | None = None

    def know(self, sources: Mapping[str, str]) -> None:
        """Take the texts of files as they stand now."""
        for path, text in sources.items():
            self._original.setdefault(path, text)
            self._current[path] = text

    def prove(self, candidate: Candidate) -> Steps[str]:
        """Make the edit and run the tests: "" when all is well, else what went wrong, with the edit undone."""
        calls = [self._cause(candidate), *self._edits(candidate)]
        calls.append(("run_tests", {"ids": self._wanted, "timeout": self._timeout}))
        calls.append(("run_tests", {"timeout": self._timeout}))
        *edits, wanted, suite = yield Turn(f"Make the edit ({candidate.operator}) and run the tests.", calls)
        red = [test for test in self._wanted if _outcomes(wanted).get(test) != "passed"]
        problem = _refused(edits) or (f"{red[0]} still fails" if red else "") or self._lost(suite)
        if problem:
            yield from self._put_back(candidate)
        return problem

    def build_on(self, half: Candidate) -> Steps[str]:
        """Make an edit that mends a part, for others to go on from: "" or why it can't be, with the edit undone."""
        calls = [self._cause(half), *self._edits(half)]
        calls.append(("run_tests", {"timeout": self._timeout}))
        *edits, suite = yield Turn(f"Go on from a half-repair ({half.operator}) that breaks nothing.", calls)
        problem = _refused(edits) or self._lost(suite)
        if problem:
            yield from self._put_back(half)
            return problem
        self._half = half
        for path in {edit.path for edit in half.edits}:
            self._current[path] = apply_edits(self._current[path], [e for e in half.edits if e.path == path])
        return ""

    def _cause(self, candidate: Candidate) -> tuple[str, dict[str, Any]]:
        """The statement of the cause that an edit stands for."""
        test = next((test for test in self._wanted if self._failures.get(test)), self._wanted[0])
        parts = [(self._half, self._original)] if self._half else []
        parts.append((candidate, self._current))
        where = [f"{e.path}:{line_of(texts[e.path], e)}" for part, texts in parts for e in part.edits]
        cause = {
            "cause": " ".join(_told_change(part, texts) for part, texts in parts),
            "where": list(dict.fromkeys(where)),
            "test": test,
            "observed": self._failures.get(test) or test,
            "expected": "the test passes",
            "explains": "of all small edits at the lines that the failing tests run, this one turns them green",
        }
        return "root_cause", cause

    def _edits(self, candidate: Candidate) -> Calls:
        calls: Calls = []
        for path in sorted({edit.path for edit in candidate.edits}):
            edits = [edit for edit in candidate.edits if edit.path == path]
            for old, new in replacements(self._current[path], edits):
                calls.append(("edit_file", {"path": path, "old": old, "new": new}))
        return calls

    def _lost(self, suite: ToolResult) -> str:
        after = _outcomes(suite)
        passed = [test for test, outcome in self._outcomes.items() if outcome == "passed"]
        lost = [test for test in passed if after.get(test) != "passed"]
        if lost:
            return f"{lost[0]} no longer passes" + (f", nor do {len(lost) - 1} more" if len(lost) > 1 else "")
        return "" if after else "the suite gave no outcomes"

    def _put_back(self, candidate: Candidate) -> Plan:
        paths = sorted({edit.path for edit in candidate.edits})
        calls: Calls = [("write_file", {"path": path, "content": self._current[path]}) for path in paths]
        yield Turn("Take the edit back.", calls)

    def restore(self, leave: bool = False) -> Plan:
        """Leave the workspace as it was at first, whatever edits, tests and trials did to it."""
        changed = [path for path, text in self._current.items() if text != self._original[path]]
        calls: Calls = [("write_file", {"path": p, "content": self._original[p]}) for p in sorted(changed)]
        self._current = dict(self._original)
        self._half = None
        calls += self._removal if leave else []
        results = yield Turn("Put the files back as they were.", [*calls, ("diff", {})])
        yield from self._clean(results[-1], keep=set())

    def _clean(self, diff: ToolResult, keep: set[str]) -> Plan:
        """Undo what `diff` shows beside the files in `keep`: leftovers of tests and of broken candidates."""
        calls: Calls = []
        for path, is_new in changed_files(str((diff.data or {}).get("patch", ""))).items():
            if path in keep:
                continue
            if is_new:
                calls.append(("shell", {"command": f"rm -f -- {quoted(path)}"}))
            elif path in self._original:
                calls.append(("write_file", {"path": path, "content": self._original[path]}))
        if calls:
            yield Turn("Remove what the tests left behind.", calls[:200])

    def submit(self, candidate: Candidate, places: Places, summary: str) -> Plan:
        """Hand in the edit that stands in the workspace."""
        parts = [(self._half, self._original)] if self._half else []
        parts.append((candidate, self._current))
        _, diff = yield Turn("Look at the change once more.", [*self._removal, ("diff", {})])
        yield from self._clean(diff, keep={edit.path for part, _ in parts for edit in part.edits})
        ranked = sorted(places.scores, key=lambda p: -places.scores[p])
        place = (candidate.edits[0].path, candidate.line)
        rank = (
            f"{ranked.index(place) + 1} of {len(ranked)}"
            if place in places.scores
            else "none, it runs at import"
        )
        where = dict.fromkeys(
            f"{edit.path}:{line_of(texts[edit.path], edit)}" for part, texts in parts for edit in part.edits
        )
        changes = " ".join(_told_change(part, texts) for part, texts in parts)
        cause = (
            f"{changes} Rank of the line by suspicion: {rank} (coverage of failing and passing tests, traceback, words "
            f"of the issue); {summary}."
        )
        told = (
            f"{' and '.join(part.operator for part, _ in parts)} in {', '.join(where)}. Red before and green with it: "
            f"{', '.join(self._wanted[:5])}{' and others' if len(self._wanted) > 5 else ''}; every test that passed "
            f"before still passes. {cause}"
        )
        yield Turn("Submit.", [("submit", {"summary": told})])


def _told_change(part: Candidate, texts: Mapping[str, str]) -> str:
    old, new = changed_text(texts[part.edits[0].path], part.edits[0])
    return f"{part.operator}: `{old}` should be `{new}`." if old else f"{part.operator}: add `{new}`."


def _refused(edits: Sequence[ToolResult]) -> str:
    refused = next((result for result in edits if result.is_error), None)
    return f"the edit was refused: {refused.text[:200]}" if refused else ""


def _outcomes(result: ToolResult) -> dict[str, str]:
    return {str(k): str(v) for k, v in ((result.data or {}).get("outcomes") or {}).items()}


def changed_files(patch: str) -> dict[str, bool]:
    """Paths in a git patch, and whether each is new. Quoted names are left out."""
    found: dict[str, bool] = {}
    path = ""
    for line in patch.split("\n"):
        match = re.fullmatch(r"diff --git a/(.+) b/\1", line)
        if match:
            path = match[1]
            found[path] = False
        elif path and line.startswith("new file mode"):
            found[path] = True
        elif line.startswith("@@"):
            path = ""
    return found


def line_of(text: str, edit: Edit) -> int:
    """The line, from 1, at which an edit begins to differ."""
    data = text.encode()
    return data[: edit.start].count(b"\n") + 1


def changed_text(text: str, edit: Edit) -> tuple[str, str]:
    """The edited lines before and after, each as one line."""
    data = text.encode()
    first = data.rfind(b"\n", 0, edit.start) + 1
    last = data.find(b"\n", max(edit.end - 1, edit.start))
    last = len(data) if last < 0 else last
    old = data[first:last].decode()
    new = (data[first : edit.start] + edit.new.encode() + data[edit.end : max(last, edit.end)]).decode()
    return tuple(" ".join(part.split())[:300] for part in (old, new))  # type: ignore[return-value]


def replacements(text: str, edits: Sequence[Edit]) -> list[tuple[str, str]]:
    """`edits` as replacements of whole lines, each unique in the text as it is when its turn comes."""
    found: list[tuple[str, str]] = []
    current = text
    for edit in sorted(edits, key=lambda e: e.start, reverse=True):
        new_text = apply_edits(current, [edit])
        data, after = current.encode(), new_text.encode()
        first = data.rfind(b"\n", 0, edit.start) + 1
        last = data.find(b"\n", max(edit.start, edit.end - 1)) + 1 or len(data)
        while data.count(data[first:last]) != 1 or first == last:
            if first > 0:
                first = data.rfind(b"\n", 0, first - 1) + 1
            if last < len(data):
                last = data.find(b"\n", last) + 1 or len(data)
            if first == 0 and last == len(data):
                break
        grown = len(after) - len(data)
        found.append((data[first:last].decode(), after[first : last + grown].decode()))
        current = new_text
    return found
