"""The drawings of the page, as SVG: axes, a mark for each model, and the figure in words where a pointer rests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from agent.evaluate.table import percent, usd
from agent.text import printable

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 200, 16, 40
"""Margins of the field, with room for the axes' numbers and models' names."""
COLOURS = 8
ROW = 20


def cost(models: Mapping[str, Any], short: Mapping[str, str]) -> Iterator[str]:
    """Dollars by run, all of them by their number, against the accepted share with its interval."""
    points = {
        model: (one["usd_total"] / one["runs"], one["accepted"])
        for model, one in models.items()
        if one["usd_total"] is not None and one["accepted"] is not None
    }
    most = max((x for x, _ in points.values()), default=0.0) or 1.0
    free = not any(x for x, _ in points.values())
    yield from _opened(
        "USD a run", [f"{most * part / 4:.3g}" if not free or not part else "" for part in range(5)]
    )
    for place, model in enumerate(models):
        if model not in points:
            continue
        dollars, one = points[model]
        x, y = _x(dollars / most), _y(one["share"])
        said = f"{short[model]}: {usd(dollars)} USD a run, {percent(one['share'])} accepted"
        yield f'<g class="m{place % COLOURS}"><title>{_text(said)}</title>'
        yield f'<line x1="{x}" y1="{_y(one["low"])}" x2="{x}" y2="{_y(one["high"])}"/>'
        yield f'<circle cx="{x}" cy="{y}" r="6"/></g>'
        yield f'<text x="{x + 10}" y="{y + 4 + 13 * (place % 3 - 1)}">{_text(short[model])}</text>'
    yield "</svg>"
    if missing := [short[model] for model in models if model not in points]:
        yield f'<p class="quiet">Not drawn, without a price or an answer: {_text(", ".join(missing))}.</p>'


def survival(models: Mapping[str, Any], short: Mapping[str, str]) -> Iterator[str]:
    """Share of attempts that are still at work at each turn."""
    turns = max((len(one["survival"]) for one in models.values()), default=0)
    if not turns:
        yield '<p class="quiet">No attempt had a turn.</p>'
        return
    yield from _opened("turn", [f"{turns * part / 4:.3g}" for part in range(5)])
    for place, (model, one) in enumerate(models.items()):
        steps = [*one["survival"], 0.0]
        corners = [(0, steps[0])]
        for turn, share in enumerate(steps[1:], 1):
            corners += [(turn, steps[turn - 1]), (turn, share)]
        drawn = " ".join(f"{_x(turn / turns)},{_y(share)}" for turn, share in corners)
        yield f'<polyline class="m{place % COLOURS}" points="{drawn}"><title>{_text(short[model])}</title></polyline>'
        y = TOP + 8 + ROW * place
        right = WIDTH - RIGHT + 10
        yield f'<line class="m{place % COLOURS}" x1="{right}" y1="{y}" x2="{right + 14}" y2="{y}"/>'
        yield f'<text x="{right + 18}" y="{y + 4}">{_text(short[model])}</text>'
    yield "</svg>"


def by_class(classes: Mapping[str, Mapping[str, Any]], short: Mapping[str, str]) -> Iterator[str]:
    """A bar with its interval for each class and model."""
    bars = [(name, model, one) for name, mine in classes.items() for model, one in mine.items() if one]
    left, height = 330, ROW * len(bars) + BOTTOM + TOP
    width = WIDTH - left - 40
    yield f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="accepted share by class">'
    for part in range(5):
        x = left + width * part / 4
        yield f'<line class="grid" x1="{x}" y1="{TOP}" x2="{x}" y2="{height - BOTTOM}"/>'
        yield f'<text class="soft" x="{x - 12}" y="{height - 20}">{25 * part} %</text>'
    places, seen = {model: place for place, model in enumerate(short)}, ""
    for number, (name, model, one) in enumerate(bars):
        y = TOP + ROW * number
        if name != seen:
            yield f'<text x="4" y="{y + 14}">{_text(_cut(name))}</text>'
            seen = name
        low, high = (left + width * one[bound] for bound in ("low", "high"))
        said = f"{name}, {short[model]}: {percent(one['share'])} of {one['cases']} cases accepted"
        yield f'<g class="m{places[model] % COLOURS}"><title>{_text(said)}</title>'
        yield f'<line x1="{low:.1f}" y1="{y + 10}" x2="{high:.1f}" y2="{y + 10}"/>'
        yield f'<circle cx="{left + width * one["share"]:.1f}" cy="{y + 10}" r="5"/></g>'
        yield f'<text class="soft" x="180" y="{y + 14}">{_text(short[model])}</text>'
    yield "</svg>"


def _opened(across: str, ticks: Sequence[str]) -> Iterator[str]:
    """The axes; upwards it is a share."""
    yield f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="share by {_text(across)}">'
    for part in range(5):
        y, x = _y(part / 4), _x(part / 4)
        yield f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>'
        yield f'<text class="soft" x="{LEFT - 44}" y="{y + 4}">{25 * part} %</text>'
        yield f'<text class="soft" x="{x - 8}" y="{HEIGHT - BOTTOM + 18}">{_text(ticks[part])}</text>'
    yield f'<text class="soft" x="{(LEFT + WIDTH - RIGHT) // 2}" y="{HEIGHT - 6}">{_text(across)}</text>'


def _x(share: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)


def _y(share: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)


def _cut(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:25]}…"


def _text(value: str) -> str:
    return escape(printable(value))
