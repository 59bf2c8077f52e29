"""The figures of an evaluation, as summary.json holds them.

By model, over the runs that are its word on a case (a broken environment or a provider that is down is none):

    accepted            share of cases that it had accepted, with its 95 % interval; of a case's repeats, their mean
    right               the same of cases with hidden tests: the gate takes what was delivered, with them as proof,
                        with a review if need be; `accepted_wrong` counts runs that were accepted, yet fail that
    usd_per_accepted    all dollars, those of failures included, by accepted runs; None at an unknown price
    output_per_turn     verbosity: tokens of the answer, thinking included
    right_first_time    share of tool calls that succeeded as made, and were not the repeat of a failed one
    adherence           share of tool calls that the runtime ran as they were made: neither refused (no JSON, product
                        code before a root cause, a cause that does not hold, a submission that no run speaks for) nor
                        mended
    turn_15             stability: attempts that reach turn 15 and, of these, the accepted ones

`usd`, `tokens`, `turns`, `minutes` and `output_per_turn` are medians by run, since few long runs would rule a mean.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from agent.evaluate.answers import Answer
from agent.evaluate.statistics import ALPHA, Interval, holm, least_difference, paired, wilson

SCHEMA = 1
LONG = 15
"""Turns after which models that lose the thread begin to."""
SHOWN_UNANSWERED = 5


def summary(found: Sequence[Answer]) -> dict[str, Any]:
    """All figures of an evaluation; plain data."""
    by_model: dict[str, list[Answer]] = {}
    for one in found:
        by_model.setdefault(one.model, []).append(one)
    counted = {model: [one for one in mine if one.counts] for model, mine in by_model.items()}
    return {
        "schema": SCHEMA,
        "cases": len({one.case for one in found}),
        "runs": len(found),
        "models": {model: figures(mine) for model, mine in counted.items()},
        "pairs": pairs(counted),
        "classes": _by_class(counted),
        "unanswered": {model: _unanswered(mine) for model, mine in by_model.items()},
    }


def figures(mine: Sequence[Answer]) -> dict[str, Any]:
    """Of one model."""
    attempts = [attempt for one in mine for attempt in one.attempts]
    long = [attempt for attempt in attempts if attempt.turns >= LONG]
    calls = sum(one.calls for one in mine)
    costs = [one.cost_usd for one in mine]
    known = [cost for cost in costs if cost is not None]
    runs = sum(one.accepted for one in mine)
    total = sum(known) if len(known) == len(costs) else None
    kept = calls - sum(one.refused + one.mended for one in mine)
    return {
        "cases": len({one.case for one in mine}),
        "runs": len(mine),
        "statuses": dict(Counter(one.status for one in mine)),
        "accepted": share(mine, accepted),
        "accepted_runs": runs,
        "right": share(mine, right),
        "accepted_wrong": sum(one.accepted and one.right is False for one in mine),
        "usd": _median(known) if total is not None else None,
        "usd_total": total,
        "usd_per_accepted": total / runs if total is not None and runs else None,
        "tokens": _median(one.tokens for one in mine),
        "output_per_turn": _median(one.output / one.turns for one in mine if one.turns),
        "calls": calls,
        "right_first_time": sum(one.first_time for one in mine) / calls if calls else None,
        "adherence": kept / calls if calls else None,
        "refused": sum(one.refused for one in mine),
        "mended": sum(one.mended for one in mine),
        "turn_15": {
            "attempts": len(attempts),
            "reached": len(long),
            "accepted": sum(attempt.accepted for attempt in long),
        },
        "first_token_seconds": _median(_known(one.first_token_seconds for one in mine)),
        "tokens_per_second": _median(_known(one.tokens_per_second for one in mine)),
        "turns": _median(one.turns for one in mine),
        "minutes": _median(one.minutes for one in mine),
        "survival": _survival([attempt.turns for attempt in attempts]),
    }


def right(one: Answer) -> float | None:
    return None if one.right is None else float(one.right)


def accepted(one: Answer) -> float:
    return float(one.accepted)


SHARES: Mapping[str, Callable[[Answer], float | None]] = {"accepted": accepted, "right": right}


def scores(mine: Iterable[Answer], score: Callable[[Answer], float | None]) -> dict[str, float]:
    """A figure by case: the mean of its runs that have one."""
    by_case: dict[str, list[float]] = {}
    for one in mine:
        if (value := score(one)) is not None:
            by_case.setdefault(one.case, []).append(value)
    return {case: sum(values) / len(values) for case, values in by_case.items()}


def share(mine: Iterable[Answer], score: Callable[[Answer], float | None]) -> dict[str, float] | None:
    by_case = scores(mine, score)
    interval = wilson(sum(by_case.values()), len(by_case))
    return None if interval is None else _rounded(interval, len(by_case))


def pairs(counted: Mapping[str, Sequence[Answer]]) -> list[dict[str, Any]]:
    """Each two models on the cases that both answered, by what was accepted and by what is right. `p` is adjusted for
    the number of pairs (Holm)."""
    told = []
    for name, score in SHARES.items():
        mine = []
        for first, second in itertools.combinations(counted, 2):
            one, two = (scores(counted[model], score) for model in (first, second))
            both = [case for case in one if case in two]
            if (found := paired([one[case] for case in both], [two[case] for case in both])) is not None:
                mine.append({"figure": name, "first": first, "second": second, **asdict(found)})
        for pair, p in zip(mine, holm([pair["p"] for pair in mine]), strict=True):
            least = least_difference(pair["cases"], len(mine))
            told.append({**pair, "p": p, "beyond_chance": p < ALPHA, "least_difference": least})
    return told


def _by_class(counted: Mapping[str, Sequence[Answer]]) -> dict[str, dict[str, Any]]:
    """Accepted shares by the class that the cases name, else by that of the routing."""
    told: dict[str, dict[str, Any]] = {}
    for model, mine in counted.items():
        for name in sorted({class_of(one) for one in mine}):
            of_class = [one for one in mine if class_of(one) == name]
            told.setdefault(name, {})[model] = share(of_class, accepted)
    return dict(sorted(told.items()))


def class_of(one: Answer) -> str:
    return one.task_class or one.route or "not known"


def _unanswered(mine: Sequence[Answer]) -> dict[str, Any]:
    """Runs that say nothing of the model, and why."""
    lost = [one for one in mine if not one.counts]
    unjudged = sum(one.counts and one.right is None for one in mine)
    why = [f"{one.case}: {one.status}: {one.error[:300]}" for one in lost[:SHOWN_UNANSWERED]]
    return {"runs": len(lost), "without_hidden_tests": unjudged, "why": why}


def _survival(turns: Sequence[int]) -> list[float]:
    """Share of attempts that were still at work at turn 1, 2, 3 and so on."""
    return [
        round(sum(one >= turn for one in turns) / len(turns), 4)
        for turn in range(1, max(turns, default=0) + 1)
    ]


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


def _rounded(interval: Interval, cases: int) -> dict[str, float]:
    told = {name: round(value, 4) for name, value in asdict(interval).items()}
    return {**told, "cases": cases}
