"""The drawings of the page as numbers: bars and stretches, in units of their SVG's view box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.report.story import AttemptTold, Segment, Story

WIDTH = 1000.0
"""Of a lane: the whole run."""
HEIGHT = 100.0
"""Of a chart: its highest bar."""
STEP = 10
"""From one turn's bar to the next."""
PARTS = ("cache_read", "cache_write", "new", "output")


@dataclass(frozen=True, slots=True)
class Rect:
    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One turn."""

    turn: int
    tokens: Sequence[Rect]
    dollars: Rect
    said: str
    masked: bool


@dataclass(frozen=True, slots=True)
class Chart:
    bars: Sequence[Bar]
    width: int
    most_tokens: int
    most_usd: float | None


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    rects: Sequence[tuple[Rect, str]]


def lanes(story: Story) -> list[Lane]:
    """The timeline: the run's own work and then each attempt's, over the same time. Empty where a log has no times."""
    rows = [("set-up", story.segments), *((f"attempt {one.number}", one.segments) for one in story.attempts)]
    end = max((segment.end for _, segments in rows for segment in segments), default=0.0)
    if end <= 0:
        return []
    return [Lane(name, [_stretch(one, end) for one in segments]) for name, segments in rows if segments]


def _stretch(segment: Segment, end: float) -> tuple[Rect, str]:
    x = WIDTH * segment.start / end
    width = max(1.0, WIDTH * (segment.end - segment.start) / end)
    said = f"{segment.label}, {segment.end - segment.start:.1f} s, from {clock(segment.start)}"
    return Rect(segment.kind, round(min(x, WIDTH - width), 2), 0, round(width, 2), HEIGHT), said


def chart(attempt: AttemptTold) -> Chart | None:
    """Tokens and dollars by turn; None for a model that counts no tokens."""
    context = attempt.told["context"]
    if not context or not context["turns"]:
        return None
    turns: Sequence[Mapping[str, Any]] = context["turns"]
    most = max(sum(turn[part] for part in PARTS) for turn in turns) or 1
    costs = [turn["cost_usd"] for turn in turns if turn["cost_usd"] is not None]
    dearest = max(costs, default=None)
    bars = [_bar(place, turn, most, dearest, attempt.masked_after) for place, turn in enumerate(turns)]
    return Chart(bars, STEP * len(bars), most, dearest)


def _bar(
    place: int, turn: Mapping[str, Any], most: int, dearest: float | None, masked_after: Sequence[int]
) -> Bar:
    x, top, rects = STEP * place + 1, HEIGHT, []
    for part in PARTS:
        height = HEIGHT * turn[part] / most
        top -= height
        if turn[part]:
            rects.append(Rect(part, x, round(top, 2), STEP - 2, round(height, 2)))
    cost = turn["cost_usd"]
    height = HEIGHT * cost / dearest if cost and dearest else 0.0
    said = (
        f"turn {turn['turn']}: {turn['cache_read']:,} tokens from the cache, {turn['cache_write']:,} written to it, "
        f"{turn['new']:,} new, {turn['output']:,} answered, {'? USD' if cost is None else f'{cost:.4f} USD'}"
    )
    dollars = Rect("usd", x, round(HEIGHT - height, 2), STEP - 2, round(height, 2))
    return Bar(turn["turn"], rects, dollars, said, turn["turn"] in masked_after)


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
