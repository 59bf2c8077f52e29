"""The figures for a terminal: a row for each figure, a column for each model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agent.evaluate.earlier import Change
from agent.progress import clean

COLUMN = 24
"""Columns of the terminal for a model."""
NAME = 26


def names(models: Sequence[str]) -> dict[str, str]:
    """What a model is called where there is little room: its number and the end of its name."""
    told = {}
    for number, model in enumerate(models, 1):
        text = clean(model)
        room = COLUMN - 5
        told[model] = f"{number}: {text if len(text) <= room else '…' + text[1 - room :]}"
    return told


def rows(models: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Each figure's name, and what it is for each model, in words."""
    return [(name, [said(figures) for figures in models.values()]) for name, said in ROWS]


def table(told: Mapping[str, Any]) -> str:
    """The whole summary."""
    short = names(list(told["models"]))
    lines = [" " * NAME + "".join(f"{short[model]:<{COLUMN}}" for model in told["models"])]
    lines += [
        f"{name:<{NAME}}" + "".join(f"{value:<{COLUMN}}" for value in values)
        for name, values in rows(told["models"])
    ]
    lines += ["", *compared(told, short), *lost(told, short)]
    return "\n".join(line.rstrip() for line in lines)


def compared(told: Mapping[str, Any], short: Mapping[str, str]) -> Iterator[str]:
    """Each two models on the same cases, in a sentence."""
    for pair in told["pairs"]:
        n, first, second = pair["cases"], short[pair["first"]], short[pair["second"]]
        interval = f"{percent(pair['low'])} to {percent(pair['high'])}"
        if pair["beyond_chance"]:
            word = "better" if pair["difference"] > 0 else "worse"
            verdict = f"{word} beyond chance"
        elif pair["least_difference"] is None:
            verdict = "too few cases to show any difference"
        else:
            verdict = f"not told apart: {n} cases show {percent(pair['least_difference'])} at the least"
        difference = percent(pair["difference"], sign=True)
        yield (
            f"{first} against {second}: {difference} {pair['figure']} ({interval}), better on "
            f"{pair['first_better']}, worse on {pair['second_better']} of {n} cases, p = {pair['p']:.3g}: {verdict}"
        )


def lost(told: Mapping[str, Any], short: Mapping[str, str]) -> Iterator[str]:
    """What is in no figure, and why."""
    for model, mine in told["unanswered"].items():
        if mine["runs"]:
            yield f"{short[model]}: {mine['runs']} runs say nothing of the model and are in no figure:"
            yield from (f"  {clean(why)}" for why in mine["why"])


def changed(changes: Sequence[Change], short: Mapping[str, str]) -> Iterator[str]:
    """What is not as in an earlier evaluation, in a line for each figure."""
    if not changes:
        yield "compared with the earlier evaluation: no model has a case in both"
    for one in changes:
        share = one.low is not None and one.high is not None
        shown: Callable[[float], str] = percent if share else number
        verdict = "no change beyond chance"
        if one.beyond_chance:
            verdict = "WORSE beyond chance" if one.worse else "changed beyond chance"
        elif share and one.least_difference is None:
            verdict = "too few cases to show any change"
        elif share and one.least_difference is not None:
            verdict += f"; {one.cases} cases show {percent(one.least_difference)} at the least"
        interval = f" ({percent(one.low)} to {percent(one.high)})" if share else ""
        yield (
            f"{short.get(one.model, clean(one.model))}, {one.figure}: {shown(one.before)} before, {shown(one.now)} "
            f"now{interval}, {one.cases} cases, p = {one.p:.3g}: {verdict}"
        )


def percent(value: float | None, *, sign: bool = False) -> str:
    return "-" if value is None else f"{100 * value:{'+' if sign else ''}.0f} %"


def number(value: float | None, digits: int = 4) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.{digits}g}"


def usd(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _share(figures: Mapping[str, Any], name: str) -> str:
    one = figures[name]
    if one is None:
        return "-"
    return f"{percent(one['share'])} ({100 * one['low']:.0f}-{100 * one['high']:.0f}) of {one['cases']}"


def _long(figures: Mapping[str, Any]) -> str:
    one = figures["turn_15"]
    return f"{one['reached']} of {one['attempts']}, {one['accepted']} accepted"


ROWS: Sequence[tuple[str, Callable[[Mapping[str, Any]], str]]] = (
    ("cases, runs", lambda one: f"{one['cases']}, {one['runs']}"),
    ("accepted (95 %)", lambda one: _share(one, "accepted")),
    ("right by hidden tests", lambda one: _share(one, "right")),
    ("accepted, yet wrong", lambda one: str(one["accepted_wrong"]) if one["right"] else "-"),
    ("USD per accepted", lambda one: usd(one["usd_per_accepted"])),
    ("USD a run", lambda one: usd(one["usd"])),
    ("tokens a run", lambda one: number(one["tokens"])),
    ("output tokens a turn", lambda one: number(one["output_per_turn"])),
    ("calls right first time", lambda one: percent(one["right_first_time"])),
    ("adherence", lambda one: percent(one["adherence"])),
    ("attempts at turn 15", _long),
    ("first token, s", lambda one: number(one["first_token_seconds"], 3)),
    ("tokens a second", lambda one: number(one["tokens_per_second"], 3)),
    ("turns a run", lambda one: number(one["turns"])),
    ("minutes a run", lambda one: number(one["minutes"], 3)),
)
