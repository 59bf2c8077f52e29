"""Where a task begins on its ladder, and the reason that is told."""

from __future__ import annotations

import pytest

from agent.config import Settings, from_toml
from agent.errors import UsageError
from agent.routing import Facts, choose, named_files, parse_routes, task_facts

FACTS = Facts(files=120, named=14, failing=1, test=True, language="python")
PATHS = (
    "README.md",
    "setup.py",
    "src/pkg/core.py",
    "src/pkg/__init__.py",
    "src/other/__init__.py",
    "go/a.go",
)


def rule(**keys):
    return parse_routes([{"class": "mine", "start": 2, **keys}], "agent.toml: models.routes")


@pytest.mark.parametrize("facts", [FACTS, Facts(0, 0, 0, False, ""), Facts(1_000_000, 500, 9, False, "rust")])
def test_without_rules_of_the_user_every_task_begins_at_the_first_rung(facts):
    place, why = choose((), facts, 3)
    assert place == 0
    assert why


@pytest.mark.parametrize(
    ("when", "place", "why"),
    [
        ({"min_named": 5}, 1, "mine (14 files are named)"),
        (
            {"min_named": 5, "max_files": 1000},
            1,
            "mine (14 files are named, 120 files in the repository)",
        ),
        ({"min_failing": 1, "max_failing": 1}, 1, "mine (1 test fails on the base commit)"),
        ({"test": True}, 1, "mine (a failing test is named)"),
        ({"language": "python"}, 1, "mine (mostly python)"),
        ({}, 1, "mine"),
        ({"min_named": 15}, 0, "change of many files (14 files are named)"),
        ({"language": "go"}, 0, "change of many files (14 files are named)"),
        ({"min_named": 5, "test": False}, 0, "change of many files (14 files are named)"),
    ],
)
def test_a_rule_of_the_user_comes_first_and_needs_all_its_conditions(when, place, why):
    assert choose(rule(when=when), FACTS, 3) == (place, why)


def test_a_start_beyond_the_ladder_is_its_last_rung():
    assert choose(rule(start=9), FACTS, 2)[0] == 1
    assert choose(rule(start="last"), FACTS, 4)[0] == 3
    assert choose(rule(start="last"), FACTS, 1)[0] == 0


def test_the_first_rule_that_holds_decides():
    two = rule(when={"min_named": 100}, start=3) + rule(start=2) + rule(start="last")
    assert choose(two, FACTS, 3)[0] == 1


def test_files_that_an_issue_names():
    trace = 'File "/usr/lib/python3/site-packages/src/pkg/core.py", line 3'
    assert named_files(trace, PATHS) == {"src/pkg/core.py"}
    assert named_files("see pkg/core.py, and `./README.md`.", PATHS) == {"src/pkg/core.py", "README.md"}
    assert named_files("core.py:7 fails; so does go\\a.go", PATHS) == {"src/pkg/core.py", "go/a.go"}
    # no file, two that it could be, one elsewhere that is only called the same, and plain words
    assert named_files("nothing.py __init__.py /usr/lib/x/setup.py README core", PATHS) == set()


def test_a_long_hostile_text_is_read_in_a_moment():
    assert named_files("a." * 400_000 + "/" * 400_000 + "x" * 400_000, PATHS) == set()


def test_the_facts_of_a_task():
    outcomes = {"t::a": "failed", "t::b": "passed", "t::c": "error", "t::d": "skipped"}
    facts = task_facts("src/pkg/core.py is wrong", PATHS, outcomes, ())
    assert facts == Facts(files=6, named=1, failing=2, test=False, language="python")
    assert task_facts("", ("LICENSE",), {}, ("t::a",)) == Facts(1, 0, 0, True, "")


def test_rules_are_read_from_a_file():
    text = '[[models.routes]]\nclass = "big"\nstart = "last"\nwhen = { min_files = 9, test = false }\n'
    (route,) = from_toml(text, "agent.toml").routes
    assert (route.task_class, route.start, route.when) == ("big", "last", {"min_files": 9, "test": False})
    assert Settings().routes == ()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "`class` is missing"),
        ({"class": "x"}, "`start` must be a rung"),
        ({"class": "x", "start": 0}, "`start` must be a rung"),
        ({"class": "x", "start": True}, "`start` must be a rung"),
        ({"class": "x", "start": "first"}, "`start` must be a rung"),
        ({"class": "x", "start": 1, "then": 2}, "unknown key then"),
        ({"class": "x", "start": 1, "wen": {}}, "did you mean when"),
        ({"class": "x", "start": 1, "when": 3}, "table of conditions"),
        ({"class": "x", "start": 1, "when": {"min_file": 3}}, "did you mean min_files"),
        ({"class": "x", "start": 1, "when": {"min_files": "3"}}, "min_files must be a number"),
        ({"class": "x", "start": 1, "when": {"min_files": True}}, "min_files must be a number"),
        ({"class": "x", "start": 1, "when": {"test": 1}}, "test must be true or false"),
        ({"class": "x", "start": 1, "when": {"language": "pyton"}}, "python"),
    ],
)
def test_a_fault_in_a_rule_is_named_with_its_place(table, says):
    with pytest.raises(UsageError, match=says) as caught:
        parse_routes([table], "agent.toml: models.routes")
    assert "agent.toml: models.routes, rule 1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_that_are_no_tables_are_refused():
    for text in ("routes = [1]", "routes = ['x']"):
        with pytest.raises(UsageError, match="must be tables"):
            from_toml(f"[models]\n{text}\n", "agent.toml")
    with pytest.raises(UsageError, match="wrong type"):
        from_toml("[models.routes]\nbig = 2\n", "agent.toml")
