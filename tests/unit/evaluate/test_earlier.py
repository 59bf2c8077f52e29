"""Drift is told where it is beyond chance, and only then."""

from __future__ import annotations

from agent.evaluate.earlier import changes
from agent.evaluate.table import changed
from tests.unit.evaluate.lines import evaluation, line, told


def test_a_model_that_lost_many_cases_got_worse_and_one_that_lost_few_did_not():
    before = evaluation(a="x" * 20, b="x" * 20)
    now = evaluation(a="x" * 8 + "." * 12, b="x" * 17 + "...")
    worse = {(one.model, one.figure): one.worse for one in changes(before, now)}
    assert worse["a", "accepted"] and not worse["b", "accepted"]
    lines = list(changed(changes(before, now), {}))
    assert any(
        "a, accepted: 100 % before, 40 % now" in text and "WORSE beyond chance" in text for text in lines
    )
    better = [one for one in changes(now, before) if one.model == "a" and one.figure == "accepted"]
    assert better[0].beyond_chance and not better[0].worse


def test_patches_that_are_accepted_but_no_longer_right_are_worse():
    before = told([line(f"c{n}", "m", right=True) for n in range(12)])
    now = told([line(f"c{n}", "m", right=n < 2) for n in range(12)])
    assert [one.figure for one in changes(before, now) if one.worse] == ["right"]


def test_what_got_dearer_is_told_but_is_no_worse_patch():
    before = told([line(f"c{n}", "m", usd=0.1) for n in range(12)])
    now = told([line(f"c{n}", "m", usd=0.3) for n in range(12)])
    [cost] = [one for one in changes(before, now) if one.figure == "usd"]
    assert cost.beyond_chance and not cost.worse and (cost.before, cost.now) == (0.1, 0.3)


def test_a_case_that_became_another_task_is_not_compared():
    before = told([line(f"c{n}", "m", digest="old" if n < 10 else "d") for n in range(12)])
    now = told([line(f"c{n}", "m", "rejected") for n in range(12)])
    [accepted] = [one for one in changes(before, now) if one.figure == "accepted"]
    assert accepted.cases == 2 and not accepted.worse
    assert "too few cases to show any change" in next(changed([accepted], {}))


def test_evaluations_without_a_common_case_say_so():
    assert list(changed(changes(evaluation(a="x"), evaluation(b="x")), {})) == [
        "compared with the earlier evaluation: no model has a case in both"
    ]
