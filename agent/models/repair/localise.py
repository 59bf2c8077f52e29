"""Which lines of the product are suspicious: by the tests' spectrum, tracebacks and the issue's words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,}")
_COMMON = frozenset(
    _WORD.findall(
        """the and for not with but are this that from when should must have has was its any all can get set use new
        self def class return none true false int str test tests value values data name file error type list dict"""
    )
)

FLOOR = 0.25
"""The least suspicion of an executed line, as a part of the highest one in its function."""


@dataclass(frozen=True)
class Places:
    """Suspicion (0 to 1) per path and line."""

    scores: Mapping[tuple[str, int], float]

    def of(self, path: str, first: int, last: int) -> float:
        """The highest suspicion of the lines from `first` to `last`."""
        return max((self.scores.get((path, line), 0.0) for line in range(first, last + 1)), default=0.0)

    def top(self, count: int) -> list[tuple[str, int, float]]:
        ranked = sorted(self.scores.items(), key=lambda item: (-item[1], item[0]))
        return [(path, line, score) for (path, line), score in ranked[:count]]


def rank(
    lines: Mapping[str, Sequence[Sequence[int]]],
    failing: int,
    frames: Sequence[Sequence[tuple[str, int]]],
    issue: str,
    sources: Mapping[str, str],
) -> Places:
    """Rank what failing tests executed.

    `lines` holds, per path, [line, failing tests that ran it, passing tests that ran it]; `frames` the product's
    frames of each failing test's traceback, innermost last.
    """
    trace: dict[tuple[str, int], float] = {}
    for stack in frames:
        for depth, (path, line) in enumerate(reversed(stack)):
            for near in range(line - 2, line + 3):
                weight = 0.7**depth * (1.0 if near == line else 0.4)
                trace[path, near] = max(trace.get((path, near), 0.0), weight)
    words = {w.lower() for w in _WORD.findall(issue)} - _COMMON
    literals = {m for m in re.findall(r"[\"']([^\"'\s]{1,20})[\"']", issue) if not m.isidentifier()}
    scores: dict[tuple[str, int], float] = {}
    homes: dict[tuple[str, int], tuple[str, int]] = {}
    for path, counts in lines.items():
        text = sources.get(path, "").split("\n")
        owners = _owners(text)
        for line, failed, passed in counts:
            if not failed:
                continue
            ochiai = failed / math.sqrt(max(failing, failed) * (failed + passed))
            own = text[line - 1] if 0 < line <= len(text) else ""
            told = len({w.lower() for w in _WORD.findall(own)} & words)
            quoted = any(f"'{text}'" in own or f'"{text}"' in own for text in literals)
            start, name = owners[line - 1] if 0 < line <= len(owners) else (0, "")
            named = name.lower().strip("_") in words
            homes[path, line] = path, start
            score = (
                ochiai
                + 0.4 * trace.get((path, line), 0.0)
                + 0.06 * min(told, 3)
                + 0.15 * named
                + 0.3 * quoted
            )
            scores[path, line] = score
    # A line that every test runs can still be where the guard is missing for a line below it.
    top: dict[tuple[str, int], float] = {}
    for place, score in scores.items():
        if homes[place][1]:
            top[homes[place]] = max(top.get(homes[place], 0.0), score)
    scores = {place: max(score, FLOOR * top.get(homes[place], 0.0)) for place, score in scores.items()}
    most = max(scores.values(), default=1.0)
    return Places({place: score / most for place, score in scores.items()})


def _owners(text: Sequence[str]) -> list[tuple[int, str]]:
    """For each line the line and the name of the nearest `def` above it that is indented less."""
    owners: list[tuple[int, str]] = []
    stack: list[tuple[int, int, str]] = []
    for number, line in enumerate(text, 1):
        stripped = line.lstrip()
        indent = len(line) - len(stripped)
        if stripped and not stripped.startswith(("#", ")", "]", "}")):
            while stack and stack[-1][0] >= indent:
                stack.pop()
        match = re.match(r"(?:async\s+)?def\s+(\w+)", stripped)
        if match:
            stack.append((indent, number, match[1]))
        owners.append(stack[-1][1:] if stack else (0, ""))
    return owners


def near_first(passing: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Passing tests in the wanted tests' classes first, then in their files, then in their folders."""
    scopes = {w.rpartition("::")[0] for w in wanted}
    modules = {w.partition("::")[0] for w in wanted}
    folders = {m.rpartition("/")[0] for m in modules}

    def distance(test: str) -> int:
        module = test.partition("::")[0]
        if test.rpartition("::")[0] in scopes:
            return 0
        return 1 if module in modules else 2 if module.rpartition("/")[0] in folders else 3

    return sorted(passing, key=distance)
