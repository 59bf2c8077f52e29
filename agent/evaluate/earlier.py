"""What changed since an earlier evaluation, beyond chance: the same models on the same cases, paired by case.

Shares that fell (accepted, right by hidden tests) are a model that got worse. Its dollars, tokens, turns and minutes
are told beside that: more of them is no worse patch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from agent.evaluate.answers import Answer
from agent.evaluate.figures import SHARES, scores
from agent.evaluate.statistics import ALPHA, holm, least_difference, paired, sign_test

AMOUNTS: dict[str, Callable[[Answer], float | None]] = {
    "usd": lambda one: one.cost_usd,
    "tokens": lambda one: one.tokens,
    "turns": lambda one: one.turns,
    "minutes": lambda one: one.minutes,
}


@dataclass(frozen=True, slots=True)
class Change:
    model: str
    figure: str
    cases: int
    before: float
    now: float
    """Shares: their means; amounts: medians by case."""
    low: float | None
    high: float | None
    """95 % interval of a share's change."""
    p: float
    """Adjusted for the number of shares, or amounts, that are compared (Holm)."""
    least_difference: float | None = None
    """The smallest change of a share that so many cases can show."""

    @property
    def beyond_chance(self) -> bool:
        return self.p < ALPHA

    @property
    def worse(self) -> bool:
        return self.figure in SHARES and self.beyond_chance and self.now < self.before


def changes(before: Sequence[Answer], now: Sequence[Answer]) -> list[Change]:
    """One of each model and figure that both evaluations have, over the cases whose task is the same in both."""
    found = []
    for model in dict.fromkeys(one.model for one in now):
        old, new = ([one for one in both if one.model == model and one.counts] for both in (before, now))
        same = {(one.case, one.digest) for one in old} & {(one.case, one.digest) for one in new}
        old, new = ([one for one in both if (one.case, one.digest) in same] for both in (old, new))
        found += [change for name in SHARES if (change := _share(model, name, old, new))]
        found += [change for name in AMOUNTS if (change := _amount(model, name, old, new))]
    return _adjusted(found, SHARES) + _adjusted(found, AMOUNTS)


def _share(model: str, name: str, old: Sequence[Answer], new: Sequence[Answer]) -> Change | None:
    one, two = scores(old, SHARES[name]), scores(new, SHARES[name])
    both = [case for case in one if case in two]
    told = paired([two[case] for case in both], [one[case] for case in both])
    if told is None:
        return None
    before, now = (sum(values[case] for case in both) / len(both) for values in (one, two))
    return Change(model, name, len(both), before, now, told.low, told.high, told.p)


def _amount(model: str, name: str, old: Sequence[Answer], new: Sequence[Answer]) -> Change | None:
    one, two = scores(old, AMOUNTS[name]), scores(new, AMOUNTS[name])
    both = [case for case in one if case in two]
    if not both:
        return None
    p = sign_test(sum(two[case] > one[case] for case in both), sum(two[case] < one[case] for case in both))
    before, now = (median(values[case] for case in both) for values in (one, two))
    return Change(model, name, len(both), before, now, None, None, p)


def _adjusted(found: Sequence[Change], family: Mapping[str, object]) -> list[Change]:
    mine = [change for change in found if change.figure in family]
    return [
        Change(
            **{
                **asdict(change),
                "p": p,
                "least_difference": least_difference(change.cases, len(mine))
                if change.figure in SHARES
                else None,
            }
        )
        for change, p in zip(mine, holm([change.p for change in mine]), strict=True)
    ]
