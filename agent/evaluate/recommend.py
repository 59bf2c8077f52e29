"""A ladder and routes from the figures of an evaluation, as TOML to adopt; reasons and doubts stand there as comments.

Of all ladders of up to three of the models, cheapest first, it is the one that would have mended most cases, of equal
ones the cheapest. A ladder tries the next rung where the one before had nothing accepted, so what it would have mended
and paid is counted from the same cases; an accepted patch that hidden tests refute ends the climb and mends nothing.
It is counted on the cases it was chosen by, so it flatters a little.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from agent.evaluate.answers import Answer
from agent.evaluate.figures import scores
from agent.evaluate.statistics import least_cases, wilson
from agent.routing import Route, packaged
from agent.text import printable

RUNGS = 3
LEAST_CASES = 12
"""Of fewer, not even a difference of a half is beyond chance."""


Scores = Mapping[str, Mapping[str, float]]
"""Shares of its runs by model and case."""


@dataclass(frozen=True, slots=True)
class Known:
    accepted: Scores
    mended: Scores
    """Accepted, and not refuted by hidden tests."""
    prices: Mapping[str, float | None]
    """Mean USD of a run."""
    cases: Sequence[str]
    """That all models answered."""


@dataclass(frozen=True, slots=True)
class Rung:
    model: str
    reached: float
    """Cases that no rung before had accepted."""
    mended: float
    """Of these, by it."""
    usd: float | None
    """Mean of a run."""


@dataclass(frozen=True, slots=True)
class Ladder:
    rungs: tuple[Rung, ...]
    cases: int

    @property
    def mended(self) -> float:
        return sum(rung.mended for rung in self.rungs)

    @property
    def usd(self) -> float | None:
        """By case; None at an unknown price."""
        paid = [rung.reached * rung.usd for rung in self.rungs if rung.usd is not None]
        return sum(paid) / self.cases if len(paid) == len(self.rungs) else None


def recommended(found: Sequence[Answer]) -> str:
    """The TOML file."""
    return "".join(f"{line}\n" for line in _lines(found))


def best_ladder(known: Known) -> Ladder | None:
    """None where there is too little to recommend any."""
    if len(known.cases) < LEAST_CASES:
        return None
    # A model at an unknown price comes last.
    models = sorted(known.prices, key=lambda one: (known.prices[one] is None, known.prices[one] or 0.0))
    ladders = [
        _ladder(rungs, known)
        for number in range(1, RUNGS + 1)
        for rungs in itertools.combinations(models, number)
    ]
    # A rung that mends nothing more only costs.
    ladders = [ladder for ladder in ladders if all(rung.mended for rung in ladder.rungs)]
    return min(
        ladders,
        key=lambda one: (-round(one.mended, 6), one.usd is None, one.usd or 0.0, len(one.rungs)),
        default=None,
    )


def known(found: Sequence[Answer]) -> Known:
    counted = [one for one in found if one.counts]
    mine = {
        model: [one for one in counted if one.model == model]
        for model in dict.fromkeys(o.model for o in found)
    }
    accepted = {model: scores(of_it, lambda one: float(one.accepted)) for model, of_it in mine.items()}
    mended = {
        model: scores(of_it, lambda one: float(one.accepted and one.right is not False))
        for model, of_it in mine.items()
    }
    cases = dict.fromkeys(one.case for one in counted)
    both = [case for case in cases if all(case in of_it for of_it in accepted.values())]
    return Known(accepted, mended, {model: _price(of_it) for model, of_it in mine.items()}, both)


def _price(mine: Sequence[Answer]) -> float | None:
    costs = [one.cost_usd for one in mine]
    priced = [cost for cost in costs if cost is not None]
    return fmean(priced) if priced and len(priced) == len(costs) else None


def _ladder(models: Sequence[str], known: Known) -> Ladder:
    left, rungs = dict.fromkeys(known.cases, 1.0), []
    for model in models:
        mended = sum(left[case] * known.mended[model][case] for case in known.cases)
        rungs.append(Rung(model, sum(left.values()), mended, known.prices[model]))
        left = {case: left[case] * (1 - known.accepted[model][case]) for case in known.cases}
    return Ladder(tuple(rungs), len(known.cases))


def _lines(found: Sequence[Answer]) -> Iterator[str]:
    told = known(found)
    yield "# From `agent eval`. To adopt it, put what follows into the repository's agent.toml."
    ladder = best_ladder(told)
    if ladder is None:
        yield from _nothing(told.cases)
        return
    n = ladder.cases
    cost = "an unknown price" if ladder.usd is None else f"{ladder.usd:.4f} USD"
    yield f"# It would have mended {ladder.mended:g} of {n} cases, at {cost} a case, by these same cases."
    if any(one.right is False for one in found):
        yield "# Mended is what was accepted and passes the hidden tests; where a case has none, what was accepted."
    for number, rung in enumerate(ladder.rungs, 1):
        yield f"#   {number}. {_rung(rung, first=number == 1)}"
    for model, mine in told.mended.items():
        if model not in [rung.model for rung in ladder.rungs]:
            had = sum(mine[case] for case in told.cases)
            yield f"#   left out: {_name(model)}, {had:g} of {n} mended: with it, a ladder mends no more, or costs more"
    yield ""
    yield "[models]"
    yield f"ladder = [{', '.join(json.dumps(rung.model, ensure_ascii=False) for rung in ladder.rungs)}]"
    yield ""
    if len(ladder.rungs) == 1:
        yield "# No routes: there is one rung."
        return
    yield from _routes(ladder, told, found)


def _nothing(cases: Sequence[str]) -> Iterator[str]:
    if len(cases) < LEAST_CASES:
        yield f"# Too little to recommend: {len(cases)} cases that all models answered. {LEAST_CASES} are needed:"
        yield "# with fewer, not even a difference of a half is beyond chance. `agent cases from-git` makes more."
    else:
        yield f"# Nothing to recommend: no model mended any of {len(cases)} cases."


def _rung(rung: Rung, *, first: bool) -> str:
    interval = wilson(rung.mended, rung.reached)
    assert interval is not None
    price = "an unknown price" if rung.usd is None else f"{rung.usd:.4f} USD a run"
    what = "cases" if first else "cases that are left"
    shares = f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"
    said = f"{_name(rung.model)}: mended {rung.mended:g} of {rung.reached:g} {what} ({shares}), {price}"
    doubt = "" if first or rung.mended >= least_cases() else "; so few may be chance: more cases would tell"
    return said + doubt


def _routes(ladder: Ladder, told: Known, found: Sequence[Answer]) -> Iterator[str]:
    """Where classes of the routing begin, if not all of them at the first rung."""
    of_class: dict[str, list[str]] = {}
    for case, route in {one.case: one.route for one in found if one.route}.items():
        if case in told.cases:
            of_class.setdefault(route, []).append(case)
    own = of_class.keys() - {rule.task_class for rule in packaged()}
    for name in sorted(own):
        yield f"# class {_name(name)}: a rule of your own, left as it is"
    places = {name: _start(ladder, told, mine) for name, mine in of_class.items() if name not in own}
    if not any(places.values()):
        counts = ", ".join(f"{_name(name)}: {len(mine)} cases" for name, mine in of_class.items())
        yield "# No routes: in no class is it sure that trying the first rung costs more than it saves"
        yield f"# ({counts or 'no class seen'})."
        return
    for rule in packaged():  # all of them: a rule without conditions would else hide those after it
        mine, place = of_class.get(rule.task_class, []), places.get(rule.task_class, 0)
        yield f"# {len(mine)} cases"
        if place:
            had = sum(told.accepted[ladder.rungs[0].model][case] for case in mine)
            yield f"# The first rung had {had:g} of them accepted: too few to pay for trying it, even at the upper end"
            yield "# of the interval."
        yield "[[models.routes]]"
        yield from _route(rule, place + 1)
        yield ""


def _start(ladder: Ladder, told: Known, mine: Sequence[str]) -> int:
    """The place of the rung, from 0, that tasks of a class begin at. One before it is passed over if it costs more than
    it saves: its price is above that of all rungs after it times the upper end of the share that it has accepted."""
    for place, rung in enumerate(ladder.rungs[:-1]):
        left, rest = dict.fromkeys(mine, 1.0), 0.0
        for later in ladder.rungs[place + 1 :]:
            rest += sum(left.values()) / len(mine) * (later.usd or 0.0)
            left = {case: left[case] * (1 - told.accepted[later.model][case]) for case in mine}
        share = wilson(sum(told.accepted[rung.model][case] for case in mine), len(mine))
        if ladder.usd is None or share is None or not (rung.usd or 0.0) > share.high * rest:
            return place
    return len(ladder.rungs) - 1


def _route(route: Route, start: int) -> Iterator[str]:
    yield f"class = {json.dumps(route.task_class, ensure_ascii=False)}"
    yield f"start = {start}"
    if route.when:
        yield f"when = {{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in route.when.items())} }}"


def _name(text: str) -> str:
    """In a comment: one line, whatever stands in it."""
    return printable(text).replace("\n", "\\n")
