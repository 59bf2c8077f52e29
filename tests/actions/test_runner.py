"""The runner of these tests reads what a step says as GitHub's own does (src/Runner.Common/ActionCommand.cs and
src/Runner.Worker/FileCommandManager.cs of actions/runner): else what it does not obey would prove nothing."""

import pytest

from tests.actions.expressions import condition, expand
from tests.actions.runner import _commands, _pairs


@pytest.mark.parametrize(
    ("log", "obeyed"),
    [
        ("::set-output name=verdict::accepted", [("set-output", {"name": "verdict"}, "accepted")]),
        ("  ::error file=a.py,line=1::it%0Afails", [("error", {"file": "a.py", "line": "1"}, "it\nfails")]),
        ("said ::add-mask::x", []),
        ("said ##[add-mask]x and more", [("add-mask", {}, "x and more")]),
        ("##[set-output name=a;x=y]b", [("set-output", {"name": "a", "x": "y"}, "b")]),
        ("::unknown::x\n:: ::x\n::add-mask:x", []),
        ("::stop-commands::t0ken\n::add-mask::a\n::T0KEN::\n::add-mask::b", [("add-mask", {}, "b")]),
        ("::stop-commands::t0ken\n##[add-mask]a\n ::other::\nx\n", []),
    ],
)
def test_log_lines(log, obeyed):
    assert list(_commands(log)) == obeyed


def test_files():
    assert list(_pairs("a=1\n\nb<<END\nx=2\nEND \nEND\nc=d<<e\n")) == [
        ("a", "1"),
        ("b", "x=2\nEND "),
        ("c", "d<<e"),
    ]
    for broken in ("alone", "a<<END\nx\n"):
        with pytest.raises(ValueError):
            list(_pairs(broken))


CONTEXTS = {
    "needs": {"a": {"outputs": {"issues": "[]"}}},
    "inputs": {"n": ""},
    "failed": False,
    "matrix": {"i": {"n": 3}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x-${{ matrix.i.n }}", "x-3"),
        ("${{ fromJSON(needs.a.outputs.issues) }}", []),
        ("${{ inputs.n || 'other' }}", "other"),
        ("${{ needs.b.outputs.c }}", None),
        ("${{ 'It''s' == 'IT''S' && !(1 == 2) }}", True),
    ],
)
def test_expressions(text, value):
    assert expand(text, CONTEXTS) == value


@pytest.mark.parametrize(
    ("text", "failed", "holds"),
    [
        (None, False, True),
        (None, True, False),
        ("needs.a.outputs.issues != '[]'", False, False),
        ("needs.a.outputs.issues == '[]'", True, False),
        ("${{ !cancelled() && needs.a.outputs.issues == '[]' }}", True, True),
        ("always()", True, True),
    ],
)
def test_conditions(text, failed, holds):
    assert condition(text, {**CONTEXTS, "failed": failed}) is holds


def test_what_is_not_known_is_not_understood_by_half():
    for text in ("${{ secrets['X'] }}", "${{ nowhere.x }}", "${{ a > b }}"):
        with pytest.raises((ValueError, KeyError)):
            expand(text, CONTEXTS)
