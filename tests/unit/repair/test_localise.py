"""Lines that failing tests run and passing ones do not come first."""

from __future__ import annotations

from agent.models.repair.localise import rank

SOURCE = {
    "m.py": "def f(a):\n    x = a\n    if a:\n        x = a - 1\n    return x\n\ndef g(a):\n    return a\n"
}


def order(lines, *, failing=1, frames=(), issue=""):
    places = rank({"m.py": lines}, failing, frames, issue, SOURCE)
    return [line for _, line, _ in places.top(10)]


def test_lines_of_failing_tests_alone_come_first():
    assert order([[2, 1, 9], [4, 1, 0], [5, 1, 9]])[0] == 4


def test_lines_that_no_failing_test_ran_are_not_suspicious():
    assert order([[2, 1, 0], [4, 0, 5]]) == [2]


def test_the_traceback_decides_between_equals():
    assert order([[2, 1, 3], [4, 1, 3], [5, 1, 3]], frames=[[("m.py", 5)]])[0] == 5


def test_a_function_that_the_issue_names_is_more_suspicious():
    assert order([[2, 1, 3], [8, 1, 3]], issue="the result of `g` is wrong; g() must …gggg")[0] == 2
    named = {"m.py": SOURCE["m.py"].replace("def g", "def gather")}
    places = rank({"m.py": [[2, 1, 3], [8, 1, 3]]}, 1, (), "gather() is wrong", named)
    assert places.top(1)[0][1] == 8


def test_scores_are_at_most_one():
    places = rank({"m.py": [[2, 3, 0], [4, 1, 7]]}, 3, [[("m.py", 2)]], "x a", SOURCE)
    assert max(places.scores.values()) == 1.0
    assert min(places.scores.values()) > 0.0
