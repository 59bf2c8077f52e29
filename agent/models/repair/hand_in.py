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
    """Knows the workspace's files and outcomes as they were before any edit."""

    def __init__(
        self,
        sources: Mapping[str, str],
        outcomes: Mapping[str, str],
        wanted: Sequence[str],
        suite_seconds: float,
        removal: str,
    ) -> None:
        """`removal` is the command that takes the laboratory away, at the end."""
        self._sources = sources
        self._outcomes = outcomes
        self._wanted = list(wanted)
        self._timeout = max(60, round(6 * suite_seconds + 30))
        self._edited: set[str] = set()
        self._removal: Calls = [("shell", {"command": removal})]

    def prove(self, candidate: Candidate) -> Steps[str]:
        """Make the edit and run the tests: "" when all is well, else what went wrong, with the edit undone."""
        calls: Calls = []
        for path in sorted({edit.path for edit in candidate.edits}):
            edits = [edit for edit in candidate.edits if edit.path == path]
            for old, new in replacements(self._sources[path], edits):
                calls.append(("edit_file", {"path": path, "old": old, "new": new}))
            self._edited.add(path)
        calls.append(("run_tests", {"ids": self._wanted, "timeout": self._timeout}))
        calls.append(("run_tests", {"timeout": self._timeout}))
        first = candidate.edits[0].path
        results = yield Turn(f"Make the edit ({candidate.operator} in {first}) and run the tests.", calls)
        problem = self._problem(results)
        if problem:
            yield from self.restore()
        return problem

    def _problem(self, results: Sequence[ToolResult]) -> str:
        *edits, wanted, suite = results
        refused = next((r for r in edits if r.is_error), None)
        if refused is not None:
            return f"the edit was refused: {refused.text[:200]}"
        after = _outcomes(wanted)
        red = [test for test in self._wanted if after.get(test) != "passed"]
        if red:
            return f"{red[0]} still fails"
        after = _outcomes(suite)
        lost = [
            test
            for test, outcome in self._outcomes.items()
            if outcome == "passed" and after.get(test) != "passed"
        ]
        if lost:
            return f"{lost[0]} no longer passes" + (f", nor do {len(lost) - 1} more" if len(lost) > 1 else "")
        if not after:
            return "the suite gave no outcomes"
        return ""

    def restore(self, leave: bool = False) -> Plan:
        """Put back what was edited, and whatever trials changed or left in the workspace."""
        calls: Calls = [
            ("write_file", {"path": p, "content": self._sources[p]}) for p in sorted(self._edited)
        ]
        self._edited.clear()
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
            elif path in self._sources:
                calls.append(("write_file", {"path": path, "content": self._sources[path]}))
        if calls:
            yield Turn("Remove what the tests left behind.", calls[:200])

    def submit(self, candidate: Candidate, places: Places, summary: str, wanted: Sequence[str]) -> Plan:
        """Hand in the edit that stands in the workspace."""
        _, diff = yield Turn("Look at the change once more.", [*self._removal, ("diff", {})])
        yield from self._clean(diff, keep={edit.path for edit in candidate.edits})
        edit = candidate.edits[0]
        ranked = sorted(places.scores, key=lambda p: -places.scores[p])
        place = "none, it runs at import"
        rank = next((n for n, place in enumerate(ranked, 1) if place == (edit.path, candidate.line)), None)
        where = ", ".join(
            dict.fromkeys(f"{e.path}:{line_of(self._sources[e.path], e)}" for e in candidate.edits)
        )
        old, new = changed_text(self._sources[edit.path], edit)
        cause = (
            f"{where}: {candidate.operator}. `{old}` should be `{new}`. "
            f"Rank of the line by suspicion: {place if rank is None else f'{rank} of {len(ranked)}'} "
            f"(failing and passing tests' coverage, traceback, words of the issue); {summary}."
        )
        told = (
            f"{candidate.operator} in {where}. Red before and green with it: {', '.join(wanted[:5])}"
            f"{' and others' if len(wanted) > 5 else ''}; every test that passed before still passes."
        )
        yield Turn("Submit.", [("submit", {"summary": told, "root_cause": cause})])


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
