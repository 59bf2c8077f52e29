"""A ladder and routes from the figures of an evaluation, as TOML to adopt; reasons and doubts stand there as comments.

Of all ladders of up to three of the models, cheapest first, it is the one that had most cases accepted by any of its
rungs, of equal ones the cheapest. A ladder tries the next rung where the one before had nothing accepted, so what it
would have had accepted and paid is counted from the same cases. It is counted on the cases it was chosen by, so it
flatters a little.
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


@dataclass(frozen=True, slots=True)
class Rung:
    model: str
    reached: float
    """Cases that no rung before had accepted."""
    accepted: float
    """Of these, by it."""
    usd: float | None
    """Mean of a run."""


@dataclass(frozen=True, slots=True)
class Ladder:
    rungs: tuple[Rung, ...]
    cases: int

    @property
    def accepted(self) -> float:
        return sum(rung.accepted for rung in self.rungs)

    @property
    def usd(self) -> float | None:
        """By case; None at an unknown price."""
        paid = [rung.reached * rung.usd for rung in self.rungs if rung.usd is not None]
        return sum(paid) / self.cases if len(paid) == len(self.rungs) else None


def recommended(found: Sequence[Answer]) -> str:
    """The TOML file."""
    return "".join(f"{line}\n" for line in _lines(found))


def best_ladder(found: Sequence[Answer]) -> Ladder | None:
    """None where there is too little to recommend any."""
    by_model, cases = _by_model(found)
    if len(cases) < LEAST_CASES:
        return None
    prices = {model: _price(found, model) for model in by_model}
    useful = [model for model, accepted in by_model.items() if any(accepted[case] for case in cases)]
    # A model at an unknown price comes last.
    useful.sort(key=lambda model: (prices[model] is None, prices[model] or 0.0))
    ladders = [
        _ladder(models, by_model, cases, prices)
        for number in range(1, RUNGS + 1)
        for models in itertools.combinations(useful, number)
    ]
    # A rung that had nothing more accepted only costs.
    ladders = [ladder for ladder in ladders if all(rung.accepted for rung in ladder.rungs)]
    return min(
        ladders,
        key=lambda one: (-round(one.accepted, 6), one.usd is None, one.usd or 0.0, len(one.rungs)),
        default=None,
    )


def _by_model(found: Sequence[Answer]) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Accepted shares by model and case, and the cases that all models answered."""
    counted = [one for one in found if one.counts]
    models = dict.fromkeys(one.model for one in found)
    by_model = {
        model: scores([one for one in counted if one.model == model], lambda one: float(one.accepted))
        for model in models
    }
    cases = dict.fromkeys(one.case for one in counted)
    return by_model, [case for case in cases if all(case in mine for mine in by_model.values())]


def _price(found: Sequence[Answer], model: str) -> float | None:
    costs = [one.cost_usd for one in found if one.model == model and one.counts]
    known = [cost for cost in costs if cost is not None]
    return fmean(known) if known and len(known) == len(costs) else None


def _ladder(
    models: Sequence[str],
    by_model: Mapping[str, Mapping[str, float]],
    cases: Sequence[str],
    prices: Mapping[str, float | None],
) -> Ladder:
    left, rungs = dict.fromkeys(cases, 1.0), []
    for model in models:
        accepted = {case: left[case] * by_model[model][case] for case in cases}
        rungs.append(Rung(model, sum(left.values()), sum(accepted.values()), prices[model]))
        left = {case: left[case] - accepted[case] for case in cases}
    return Ladder(tuple(rungs), len(cases))


def _lines(found: Sequence[Answer]) -> Iterator[str]:
    by_model, cases = _by_model(found)
    yield "# From `agent eval`. To adopt it, put what follows into the repository's agent.toml."
    ladder = best_ladder(found)
    if ladder is None:
        yield from _nothing(by_model, cases)
        return
    n = ladder.cases
    cost = "an unknown price" if ladder.usd is None else f"{ladder.usd:.4f} USD"
    yield f"# It would have had {ladder.accepted:g} of {n} cases accepted, at {cost} a case, by these same cases."
    for number, rung in enumerate(ladder.rungs, 1):
        yield f"#   {number}. {_rung(rung, first=number == 1)}"
    for model in by_model:
        if model not in [rung.model for rung in ladder.rungs]:
            had = sum(by_model[model][case] for case in cases)
            yield f"#   left out: {_name(model)}, {had:g} of {n} accepted: it adds nothing to these, or for more money"
    yield ""
    yield "[models]"
    yield f"ladder = [{', '.join(json.dumps(rung.model, ensure_ascii=False) for rung in ladder.rungs)}]"
    yield ""
    if len(ladder.rungs) == 1:
        yield "# No routes: there is one rung."
        return
    yield from _routes(ladder, by_model, cases, found)


def _nothing(by_model: Mapping[str, Mapping[str, float]], cases: Sequence[str]) -> Iterator[str]:
    if len(cases) < LEAST_CASES:
        yield f"# Too little to recommend: {len(cases)} cases that all models answered. {LEAST_CASES} are needed:"
        yield "# with fewer, not even a difference of a half is beyond chance. `agent cases from-git` makes more."
    else:
        yield f"# Nothing to recommend: no model had any of {len(cases)} cases accepted."


def _rung(rung: Rung, *, first: bool) -> str:
    interval = wilson(rung.accepted, rung.reached)
    assert interval is not None
    price = "an unknown price" if rung.usd is None else f"{rung.usd:.4f} USD a run"
    what = "cases" if first else "cases that are left"
    shares = f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"
    said = f"{_name(rung.model)}: {rung.accepted:g} of {rung.reached:g} {what} accepted ({shares}), {price}"
    doubt = "" if first or rung.accepted >= least_cases() else "; so few may be chance: more cases would tell"
    return said + doubt


def _routes(
    ladder: Ladder, by_model: Mapping[str, Mapping[str, float]], cases: Sequence[str], found: Sequence[Answer]
) -> Iterator[str]:
    """Where classes of the routing begin, if not all of them at the first rung."""
    of_class: dict[str, list[str]] = {}
    for case, route in {one.case: one.route for one in found if one.route}.items():
        if case in cases:
            of_class.setdefault(route, []).append(case)
    places = {name: _start(ladder, by_model, mine) for name, mine in of_class.items()}
    for name in sorted(of_class.keys() - {rule.task_class for rule in packaged()}):
        yield f"# class {_name(name)}: a rule of your own, left as it is"
        del places[name]
    if not any(places.values()):
        counts = ", ".join(f"{_name(name)}: {len(mine)} cases" for name, mine in of_class.items())
        yield "# No routes: in no class is it sure that trying the first rung costs more than it saves"
        yield f"# ({counts or 'no class seen'})."
        return
    for rule in packaged():  # all of them: a rule without conditions would else hide those after it
        mine, place = of_class.get(rule.task_class, []), places.get(rule.task_class, 0)
        yield f"# {len(mine)} cases" + (
            f": {sum(by_model[ladder.rungs[0].model][case] for case in mine):g} accepted by the first rung, too few to "
            f"pay for trying it, even at the upper end of the interval"
            if place
            else ""
        )
        yield "[[models.routes]]"
        yield from _route(rule, place + 1)
        yield ""


def _start(ladder: Ladder, by_model: Mapping[str, Mapping[str, float]], mine: Sequence[str]) -> int:
    """The place of the rung, from 0, that tasks of a class begin at. One before it is passed over if it costs more than
    it saves: its price is above that of all rungs after it times the upper end of the share that it has accepted."""
    for place, rung in enumerate(ladder.rungs[:-1]):
        left, rest = dict.fromkeys(mine, 1.0), 0.0
        for later in ladder.rungs[place + 1 :]:
            rest += sum(left.values()) / len(mine) * (later.usd or 0.0)
            left = {case: left[case] * (1 - by_model[later.model][case]) for case in mine}
        share = wilson(sum(by_model[rung.model][case] for case in mine), len(mine))
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
