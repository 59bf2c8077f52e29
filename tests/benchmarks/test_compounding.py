"""The benchmark of mistakes that compound: its projects are as it says, and the comparison can fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent.events import UserSaid
from tests.benchmarks.compounding import Bench, Case, Outcome
from tests.benchmarks.compounding_cases import TEMPLATES, Template

NAMES = [template.entry for template in TEMPLATES]
SITES = range(len(TEMPLATES[0].sites))


def loaded(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def fails(what: Callable[[], None]) -> bool:
    try:
        what()
    except Exception:
        return True
    return False


def wrong_answers(template: Template, *sites: int) -> int:
    """How many of the assertions of the failing test do not hold with those places wrong."""
    entry = loaded(template.spoilt(*sites))[template.entry]

    def right(given: object, wanted: object) -> None:
        assert entry(given) == wanted

    return sum(fails(partial(right, *pair)) for pair in template.calls)


@pytest.mark.parametrize("template", TEMPLATES, ids=NAMES)
def test_no_single_place_can_be_told_by_the_failure(template: Template) -> None:
    assert wrong_answers(template) == 0
    for site in SITES:
        # With a second place wrong too, what special-cases two of the three assertions is still rejected.
        assert {wrong_answers(template, *{site, other}) for other in SITES} == {3}
        files = template.files(site)
        test = files[f"tests/test_{template.entry}.py"].partition("\n")[2]
        names = loaded(files[template.path] + test)
        red = {name for name, test in names.items() if name.startswith("test_") and fails(test)}
        assert red == {f"test_{template.entry}"}


@pytest.mark.docker
def test_only_the_one_conversation_builds_on_what_was_rejected(tmp_path: Path) -> None:
    case = Case(TEMPLATES[NAMES.index("slug")], 3, 10)

    async def outcomes() -> list[Outcome]:
        bench = Bench(tmp_path)
        return [
            await bench.outcome(arm, case, p) for p in (0.0, 1.0) for arm in ("one conversation", "Assay")
        ]

    naive, clean, compounding, unmoved = anyio.run(outcomes)
    assert (naive.accepted, clean.accepted, unmoved.accepted) == (3, 3, 3)
    assert compounding.accepted is None
    assert (len(compounding.drawn), unmoved.drawn) == (2, ())


@pytest.mark.docker
def test_the_gates_evidence_quotes_rejected_code_and_the_next_attempt_does_not_see_it(tmp_path: Path) -> None:
    template, bench = TEMPLATES[NAMES.index("settle")], Bench(tmp_path)
    outcome = anyio.run(bench.outcome, "Assay", Case(template, 3, 4), 1.0)
    assert (outcome.accepted, outcome.drawn) == (2, ())
    quoted = [
        wrong
        for verdict in bench.verdicts.values()
        for trace in verdict.traces.values()
        for _, wrong in template.sites[:3]
        if wrong in trace
    ]
    told = [event.text for event in outcome.log if isinstance(event, UserSaid)]
    assert quoted and not any(wrong in text for wrong in quoted for text in told)
