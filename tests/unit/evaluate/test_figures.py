"""Every figure of an evaluation is what the lines say, and nothing that is no answer is in one."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from agent.batch.drive import Result
from agent.batch.tasks import TaskLine
from agent.budget import Account, Amount, BudgetSpent, Limit
from agent.errors import UsageError
from agent.evaluate.arms import digest, task_lines
from agent.evaluate.figures import summary
from agent.evaluate.table import table
from tests.unit.evaluate.lines import evaluation, line, told


def test_the_figures_of_a_model_are_those_of_its_lines():
    lines = [
        line("a", "m", right=True, usd=0.2, turns=4, output=40, calls=10, first_time=0.9, seconds=90),
        line(
            "b",
            "m",
            right=False,
            usd=0.4,
            turns=20,
            output=400,
            calls=30,
            first_time=0.5,
            refused=3,
            seconds=150,
        ),
        line("c", "m", "rejected", right=False, usd=1.4, turns=16, output=80, calls=0, mended=1, seconds=630),
        line("d", "m", "environment"),
        line("e", "m", "model_error"),
    ]
    mine = summary(told(lines))["models"]["m"]
    assert (mine["cases"], mine["runs"], mine["accepted_runs"]) == (3, 3, 2)
    assert mine["accepted"] == {"share": 0.6667, "low": 0.2077, "high": 0.9385, "cases": 3}
    assert mine["right"]["share"] == 0.3333 and mine["accepted_wrong"] == 1
    assert mine["usd_per_accepted"] == pytest.approx(1.0)  # failures are paid for
    assert mine["usd"] == 0.4 and mine["tokens"] == 1480
    assert mine["output_per_turn"] == 10.0
    assert mine["right_first_time"] == (9 + 15) / 40
    assert mine["adherence"] == (40 - 3 - 1) / 40
    assert mine["turn_15"] == {"attempts": 3, "reached": 2, "accepted": 1}
    assert (mine["turns"], mine["minutes"]) == (16, 2.0)  # without the 30 s of the hidden tests
    assert mine["survival"][:5] == [1.0, 1.0, 1.0, 1.0, 0.6667] and mine["survival"][-1] == 0.3333
    assert summary(told(lines))["unanswered"]["m"]["runs"] == 2


def test_an_unknown_price_is_told_as_such_and_not_as_nothing():
    lines = [line("a", "m", usd=None), line("b", "m", usd=1.0)]
    mine = summary(told(lines))["models"]["m"]
    assert mine["usd_per_accepted"] is None and mine["usd"] is None
    assert "USD per accepted          -" in table(summary(told(lines)))


def test_models_are_compared_on_the_cases_that_both_answered():
    [pair] = summary(evaluation(a="xxxxxxxxxx?x", b="..........x?"))["pairs"]
    assert (pair["cases"], pair["first_better"], pair["second_better"]) == (10, 10, 0)
    assert pair["p"] == 2 / 2**10 and pair["beyond_chance"] and pair["low"] > 0
    assert pair["least_difference"] == 0.6


def test_it_says_when_cases_are_too_few_to_tell():
    few, more = evaluation(a="xxxx", b="...."), evaluation(a="xxxxxxx", b="xx.....")
    assert "too few cases to show any difference" in table(summary(few))
    assert "not told apart: 7 cases show 86 % at the least" in table(summary(more))
    assert "better beyond chance" in table(summary(evaluation(a="xxxxxxx", b=".......")))


def test_repeats_of_a_case_make_no_interval_shorter():
    once = told([line(f"c{n}", "m", "accepted" if n % 2 else "rejected") for n in range(10)])
    thrice = told(
        [
            line(f"c{n}", "m", "accepted" if n % 2 else "rejected", repeat)
            for n in range(10)
            for repeat in (1, 2, 3)
        ]
    )
    assert summary(once)["models"]["m"]["accepted"] == summary(thrice)["models"]["m"]["accepted"]


def test_cases_are_sorted_by_their_class_else_by_that_of_the_routing():
    lines = [line("a", "m", name="dates"), line("b", "m", "rejected", route="large repository")]
    classes = summary(told(lines))["classes"]
    assert {name: mine["m"]["share"] for name, mine in classes.items()} == {
        "dates": 1.0,
        "large repository": 0.0,
    }


def test_results_of_something_else_are_refused_in_one_line():
    with pytest.raises(UsageError, match=r"none of `agent eval`"):
        told([Result("t", "/r", "accepted", None, 1, 2.0)])


def test_each_model_has_each_case_as_often_as_was_asked():
    cases = [TaskLine("a", "/r", issue="x", case={"class": "k"}), TaskLine("b", "/r", issue="y")]
    lines = task_lines(cases, ["m", "n"], 2)
    assert len({one.id for one in lines}) == 8
    assert [one.models for one in lines[:2]] == [("m",), ("n",)]
    assert lines[0].case["evaluation"]["class"] == "k" and lines[0].case["class"] == "k"
    moved, other = TaskLine("a", "/elsewhere", issue="x"), TaskLine("a", "/r", issue="other")
    assert digest(cases[0]) == digest(moved) != digest(other)


def test_a_run_that_was_killed_or_not_paid_for_is_not_reckoned_as_free_or_as_a_failure():
    late = dataclasses.replace(
        line("a", "m", "limit"), run=None, error="the task took longer than 120 minutes"
    )
    mine = summary(told([late, line("b", "m", usd=0.1)]))["models"]["m"]
    assert mine["runs"] == 2 and mine["usd_per_accepted"] is None
    day = Limit(Decimal(1), None)
    spent = BudgetSpent(
        "day:2026-01-01", Account(day, Amount(10**9, 0), Amount(0, 0)), Amount(1, 1), 1, later=False
    )
    broke = dataclasses.replace(line("c", "m", "limit"), error=str(spent))
    assert summary(told([broke]))["models"]["m"]["runs"] == 0
