"""The figures that the README gives for the cost of context hold, under Anthropic's rules."""

from __future__ import annotations

from statistics import mean

import pytest

from agent.conversation import messages
from agent.events import ContextMasked, ToolReturned
from agent.models.provider import check_pairs
from tests.benchmarks.context_cost import WAYS, providers, ratios, sent, sessions


@pytest.mark.parametrize(("turns", "most"), [(15, 0.25), (30, 0.15)])
def test_input_costs_less_than_by_a_cache_or_by_masking_alone(turns: int, most: float) -> None:
    found = {way: mean(shares) for way, shares in ratios(providers()[0], turns).items()}
    assert found["ours"] <= most
    assert found["ours"] < found["cached"] < found["rolling"] < found["plain"] == 1
    assert set(found) == set(WAYS)


def test_fifteen_turns_cost_no_more_than_fifteen_times_the_first() -> None:
    from agent.context import growth

    factors = [
        growth(sent(s, "ours", providers()[0]).log, [1]) for s in sessions() if len(s["replies"]) == 15
    ]
    assert len(factors) >= 10 and all(factor is not None and factor <= 1.0 for factor in factors)


def test_the_sessions_as_they_are_sent_lose_no_call_and_no_fact() -> None:
    masked = 0
    for session in sessions():
        log = sent(session, "ours", providers()[0]).log
        said = messages(log, 1)[:-1]  # the last reply submits
        check_pairs([*said, *messages(log, 1)[-1:]])
        text = "\n".join(m.text + "".join(r.text for r in m.tool_results) for m in messages(log, 1))
        assert session["issue"].strip() in text
        runs = [e for e in log if isinstance(e, ToolReturned) and e.name == "run_tests"]
        failed = [e for e in runs if "failed" in (e.data or {}).get("outcomes", {}).values()]
        assert all(e.text in text for e in (runs[-1], failed[-1]))
        masked += sum(isinstance(e, ContextMasked) for e in log)
    assert masked, "some of them are long enough"
