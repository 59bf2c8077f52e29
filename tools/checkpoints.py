"""Checkpoints of the workspace, one for each state that the tests ran on, and the tool `undo`."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.text import counted, readable, safe
from tools.tool import Call, Result, Tool, ToolError

if TYPE_CHECKING:
    from tools.changes import Restored
    from tools.workspace import Workspace

MAX_NAMES = 10
"""Names listed of one kind."""
GOOD = ("passed", "xfailed", "xpassed")
BAD = ("failed", "error")


@dataclass
class Checkpoint:
    """A state of the workspace, and how the tests went that ran on it."""

    tree: str
    parent: int
    """The checkpoint that the work went on from; the start's own is -1."""
    passing: dict[str, None] = field(default_factory=dict)
    """Ids, in the order of the report. A test that was skipped is in neither."""
    failing: dict[str, None] = field(default_factory=dict)

    def add(self, outcomes: Mapping[str, str]) -> None:
        """One more run on this state; where it contradicts an earlier one it is right."""
        self.__dict__.pop("_good", None)
        for test, outcome in outcomes.items():
            self.passing.pop(test, None)
            self.failing.pop(test, None)
            if outcome in GOOD:
                self.passing[test] = None
            elif outcome in BAD:
                self.failing[test] = None

    @property
    def tested(self) -> bool:
        return bool(self.passing or self.failing)

    def beats(self, other: Checkpoint) -> bool:
        """Whether, of what ran on both, less fails here: some of what does there, and nothing else."""
        return not self._good.isdisjoint(other.failing) and other._good.isdisjoint(self.failing)

    @cached_property
    def _good(self) -> set[str]:
        """The tests that pass, and the files and classes that could be loaded: those whose tests ran."""
        found = set(self.passing)
        for test in (*self.passing, *self.failing):
            while (test := test.rpartition("::")[0]) and test not in found:
                found.add(test)
        return found.difference(self.failing)


class Checkpoints:
    """The states that were tested, as a tree: each remembers which one the work went on from.

    They outlive the server, in a folder beside the base's git directory.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._base = workspace.base
        self._folder = Path(workspace.private, "checkpoints")
        self._lock = threading.Lock()
        self._points: list[Checkpoint] = []
        self._current = 0
        """The one that was tested, or gone back to, last."""

    def take(self, call: Call) -> tuple[str, str]:
        """The workspace as it is now, and why it can't be recorded where it is ""."""
        try:
            return self._base.tree(call), ""
        except (ToolError, OSError) as error:
            return "", str(error)

    def record(self, tree: str, outcomes: Mapping[str, str]) -> tuple[int, list[str]]:
        """Keep what came out of the tests that ran on `tree`; the checkpoint's number, and the tests that fail here
        and passed at one before it. Raises ToolError, OSError."""
        with self._lock:
            self._load()
            number = self._current
            if self._points[number].tree != tree:
                number = self._new(tree)
            self._points[number].add(outcomes)
            self._save(number)
            self._go(number)
            earlier = [self._points[before] for before in self._line() if before != number]
            failing = self._points[number].failing
            return number, [test for test in failing if any(test in point.passing for point in earlier)]

    def undo(self, call: Call, to: int | None) -> Result:
        """Go back to checkpoint `to`, else to the last one before now that none before it beats; where no test ran
        before now, to the start. Raises ToolError, OSError."""
        with self._lock:
            self._load()
            now = self._base.tree(call)
            number = self._last_good(now) if to is None else to
            if not 0 <= number < len(self._points):
                raise ToolError(f"there is no checkpoint {to}; there are\n{self._listing()}")
            target = self._points[number]
            if target.tree == now:
                what = "at the start" if number == 0 else f"at checkpoint {number}"
                raise ToolError(
                    f"nothing to undo: the workspace is as it was {what}. There are\n{self._listing()}"
                )
            # What is lost was perhaps worth something: it can be had back.
            before = self._current if self._points[self._current].tree == now else self._new(now)
            self._save(before)
            done = self._base.restore(target.tree)
            self._go(number)
            data = {"checkpoint": number, "before": before, "failing": list(target.failing)}
            return _told(f"back at {self._title(number)}", target, before, done, data)

    def _last_good(self, now: str) -> int:
        line = list(self._line())
        for place, number in enumerate(line):
            point, earlier = self._points[number], [self._points[before] for before in line[place + 1 :]]
            beaten = any(before.beats(point) for before in earlier)
            if point.tested and point.tree != now and not beaten:
                return number
        return 0

    def _line(self) -> Iterator[int]:
        """The current checkpoint and those before it, the start last."""
        number = self._current
        while number >= 0:
            yield number
            number = self._points[number].parent

    def _title(self, number: int) -> str:
        point = self._points[number]
        count = len(point.passing) + len(point.failing)
        tests = f"{len(point.failing)} of {counted(count, 'test')} failed there" if count else "not tested"
        return f"checkpoint {number}{', the start' if number == 0 else ''} ({tests})"

    def _listing(self) -> str:
        shown = range(max(0, len(self._points) - 2 * MAX_NAMES), len(self._points))
        return "\n".join(self._title(number) for number in sorted({0, *shown}))

    def _new(self, tree: str) -> int:
        self._points.append(Checkpoint(tree, self._current))
        return len(self._points) - 1

    def _load(self) -> None:
        """What an earlier server kept, else the start alone. Raises ToolError, OSError."""
        if self._points:
            return
        try:
            kept = range(len(list(self._folder.glob("*.json"))))
            points = [_read((self._folder / f"{number}.json").read_bytes(), number) for number in kept]
            current = int((self._folder / "current").read_text())
            if current not in kept:
                raise ValueError(f"there is no checkpoint {current}")
        except (OSError, ValueError, TypeError):
            # None is kept yet, or something wrote in there: then the start is all that is sure.
            shutil.rmtree(self._folder, ignore_errors=True)
            points, current = [Checkpoint(self._base.start(), -1)], 0
        self._points, self._current = points, current
        self._save(0)
        self._go(current)

    def _save(self, number: int) -> None:
        self._folder.mkdir(exist_ok=True)
        _write(self._folder / f"{number}.json", json.dumps(asdict(self._points[number])))

    def _go(self, number: int) -> None:
        _write(self._folder / "current", str(number))
        self._current = number


def _read(data: bytes, number: int) -> Checkpoint:
    """Raises ValueError, TypeError."""
    found = Checkpoint(**json.loads(data))
    follows = found.parent == -1 if number == 0 else found.parent in range(number)
    tests = isinstance(found.passing, dict) and isinstance(found.failing, dict)
    if not (follows and tests and re.fullmatch("[0-9a-f]{40}", found.tree)):
        raise ValueError("this is no checkpoint of ours")
    return found


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def _told(title: str, target: Checkpoint, before: int, done: Restored, data: dict[str, Any]) -> Result:
    kinds = {"put back": "MT", "restored": "A", "removed": "D"}
    lines = [title]
    if target.failing:
        lines.append(f"failing there: {_some(list(target.failing))}")
    for word, letters in kinds.items():
        names = [readable(name) for status, name in done.changes if status in letters]
        data[word.replace(" ", "_")] = names
        if names:
            lines.append(f"{word}: {_some(names)}")
    if done.left:
        lines.append(f"left, though no longer ignored: {_some([readable(name) for name in done.left])}")
    lines.append(f"What you had is checkpoint {before}: undo with to={before} brings it back.")
    return Result("\n".join(lines), data)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(map(safe, names[:MAX_NAMES])) + more


def _undo(workspace: Workspace, call: Call, arguments: dict[str, Any]) -> Result:
    try:
        return workspace.checkpoints.undo(call, arguments.get("to"))
    except OSError as error:
        raise ToolError(f"undo failed: {error}; see `diff` for what is there now") from error


TOOLS = [
    Tool(
        "undo",
        "Take back your last edits: each run_tests keeps a checkpoint of the files as they were tested, and this goes "
        "back to the last one at which no test was worse than before. Use it when an edit made things worse or led "
        "nowhere, instead of editing on. Files made since are removed, ignored ones stay. Again goes one further back.",
        _undo,
        {
            "to": {
                "type": "integer",
                "minimum": 0,
                "description": "number of a checkpoint to go to instead; 0 is the start",
            }
        },
        changes=True,
    )
]
