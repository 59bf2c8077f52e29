"""The ladder: which model is asked next, by what was asked before and how that ended. No clock, no network.

The rules: models are asked in their order, one rung an attempt. Where there are attempts to spare, a model without a
level of its own is asked once more at its highest thinking level before the next one; what is left after the last
model goes to it again. A rung that gave up is not asked again. Who cannot answer is passed over, as if it were not on
the ladder, and takes no attempt. Nor does local/repair where it stands beside other models: it costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.models.catalogue import LEVELS
from agent.models.registry import model_info, parse_spec

Whom = Literal["model", "provider"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One attempt, or several side by side."""

    spec: str
    why: str = ""
    """Why it stands here; empty for the first one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A rung that was asked, and what it came to."""

    spec: str
    gave_up: bool = False
    out: Whom | None = None
    """Who can't answer: this model, or all of its provider's."""


def rungs_ahead(
    models: Sequence[str], attempts: int, asked: Sequence[Asked] = (), *, start: int = 0
) -> list[Rung]:
    """The rungs from here on, the next one first; none when the ladder is at its end.

    `attempts` is how many there are in all; `start` the place in `models` where the ladder begins: those before it
    are asked only when nobody from there on can answer.
    """
    out = {_name(one.spec, one.out) for one in asked if one.out}

    def able(specs: Sequence[str]) -> list[str]:
        return [spec for spec in specs if not out & {_name(spec, "model"), _name(spec, "provider")}]

    done = [one.spec for one in asked if not one.out]
    paid = [spec for spec in done if not is_free(spec)] if not all(map(is_free, models)) else done
    ladder = able(models[start:]) or able(models[:start])
    if not ladder or len(paid) >= attempts:
        return []
    names = {_name(spec, "model") for spec in ladder}
    elsewhere = sum(_name(spec, "model") not in names for spec in paid)
    given_up = {one.spec for one in asked if one.gave_up}
    plan = _without(_plan(ladder, attempts - elsewhere), done)
    return [rung for rung in plan if rung.spec not in given_up]


def is_free(spec: str) -> bool:
    """Whether an attempt by this model costs nothing."""
    return parse_spec(spec).provider == "local"


def deeper(spec: str) -> str | None:
    """The same model at its highest level, when the user left the level open and its levels are known."""
    parsed = parse_spec(spec)
    if parsed.thinking or parsed.provider in ("local", "scripted"):
        return None
    info = model_info(parsed)
    levels = [level for level in LEVELS if level in info.thinking and level != "off"]
    # What an unknown model takes is a guess, and a level that its server refuses would cost the rung.
    return f"{spec.strip()}:{levels[-1]}" if levels and info.known else None


def _plan(ladder: Sequence[str], attempts: int) -> list[Rung]:
    """A rung for each attempt, besides free ones."""
    paid = [spec for spec in ladder if not is_free(spec)] or ladder
    attempts += len(ladder) - len(paid)
    spare = attempts - len(ladder)
    plan: list[Rung] = []
    for spec in ladder:
        plan.append(Rung(spec, "the next model" if plan else ""))
        alone = [_name(other, "model") for other in ladder].count(_name(spec, "model")) == 1
        level = deeper(spec) if spare > 0 and alone else None  # else the levels are the user's own
        if level is not None:
            plan.append(Rung(level, "deeper thinking"))
            spare -= 1
    plan += [Rung(plan[-1].spec, "once more")] * (attempts - len(plan))
    return plan[:attempts]


def _without(plan: Sequence[Rung], done: Sequence[str]) -> list[Rung]:
    asked = list(done)
    rest = []
    for rung in plan:
        if rung.spec in asked:
            asked.remove(rung.spec)
        else:
            rest.append(rung)
    return rest


def _name(spec: str, whom: Whom | None) -> str:
    parsed = parse_spec(spec)
    return parsed.provider if whom == "provider" else f"{parsed.provider}/{parsed.name}"
