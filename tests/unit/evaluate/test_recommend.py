"""What is recommended can be adopted as it is, and says what it rests on."""

from __future__ import annotations

import dataclasses
import tomllib

from agent.evaluate.recommend import best_ladder, known, recommended
from agent.routing import parse_routes
from tests.unit.evaluate.lines import evaluation, line, told


def run_of(marks: str, model: str, usd: float | None, route: str = "ordinary", start: int = 0):
    return [
        line(f"c{n}", model, "accepted" if mark == "x" else "rejected", usd=usd, route=route)
        for n, mark in enumerate(marks, start)
    ]


def test_the_cheap_model_comes_first_and_the_dear_one_takes_what_is_left():
    found = told([*run_of("x" * 12 + "." * 8, "cheap", 0.1), *run_of("x" * 20, "dear", 1.0)])
    ladder = best_ladder(known(found))
    assert ladder is not None and ladder.mended == 20
    assert [(rung.model, rung.reached, rung.mended) for rung in ladder.rungs] == [
        ("cheap", 20, 12),
        ("dear", 8, 8),
    ]
    assert ladder.usd is not None and round(ladder.usd, 6) == (20 * 0.1 + 8 * 1.0) / 20
    text = recommended(found)
    assert tomllib.loads(text)["models"] == {"ladder": ["cheap", "dear"]}
    assert "mended 20 of 20 cases, at 0.5000 USD a case" in text
    assert "may be chance" not in text


def test_a_model_that_adds_nothing_is_left_out_and_an_unsure_rung_is_called_so():
    found = told(
        [
            *run_of("x" * 18 + "..", "cheap", 0.1),
            *run_of("x" * 20, "dear", 1.0),
            *run_of("x" * 10 + "." * 10, "weak", 0.5),
        ]
    )
    text = recommended(found)
    assert tomllib.loads(text)["models"]["ladder"] == ["cheap", "dear"]
    assert "mended 2 of 2 cases that are left" in text and "so few may be chance" in text
    assert "left out: weak, 10 of 20 mended" in text


def test_a_class_begins_later_where_the_first_rung_surely_costs_more_than_it_saves():
    lines = []
    for model, usd, large in (("cheap", 0.5, "." * 20), ("dear", 1.0, "x" * 20)):
        lines += [*run_of("x" * 30, model, usd), *run_of(large, model, usd, "large repository", 30)]
    text = recommended(told(lines))
    models = tomllib.loads(text)["models"]
    starts = {route.task_class: route.start for route in parse_routes(models["routes"], "here")}
    assert starts["large repository"] == 2 and starts["ordinary"] == 1
    assert list(starts)[-1] == "ordinary"  # it holds for everything that comes to it
    assert "The first rung had 0 of them accepted" in text
    # 0 of 20 may in truth be 16 %, and so be worth a try that costs a twentieth.
    lines = [replace_usd(one, 0.05) if one.id.split(" | ")[1] == "cheap" else one for one in lines]
    assert "routes" not in tomllib.loads(recommended(told(lines)))["models"]


def replace_usd(one, usd):
    return dataclasses.replace(one, run={**one.run, "cost_usd": usd})


def test_too_little_is_said_and_nothing_recommended():
    few = recommended(evaluation(a="xxxx", b="...."))
    assert tomllib.loads(few) == {} and "Too little to recommend: 4 cases" in few
    none = recommended(evaluation(a="." * 20))
    assert tomllib.loads(none) == {} and "no model mended any of 20 cases" in none


def test_a_name_with_a_line_break_stays_in_its_comment():
    found = told([*run_of("x" * 12, "scripted/a\nb = 1", 0.1), *run_of("." * 12, "other\nc = 2", None)])
    assert tomllib.loads(recommended(found)) == {"models": {"ladder": ["scripted/a\nb = 1"]}}


def test_a_model_whose_accepted_patches_are_wrong_is_not_taken_for_a_good_one():
    wrong = [line(f"c{n}", "bold", right=n < 8, usd=0.1) for n in range(20)]
    sound = [
        line(f"c{n}", "careful", "accepted" if n < 12 else "rejected", right=n < 12, usd=1.0)
        for n in range(20)
    ]
    # bold would end the climb with a wrong patch
    assert tomllib.loads(recommended(told([*wrong, *sound])))["models"]["ladder"] == ["careful"]
