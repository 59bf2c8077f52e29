"""A small product with its tests, and changes to it, for the scan to read."""

from __future__ import annotations

import textwrap

from agent.gate.scan import Change, Finding, scan

BASE = '''\
"""Turn titles into slugs."""

import re


def slug(text, limit=None):
    """A slug of a title."""
    words = re.findall(r"[a-z]+", text.lower())
    return "-".join(words)[:limit]


class Slug:
    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Slug) and self.text == other.text
'''
TESTS = {
    "tests/test_slug.py": """\
import pytest
from slugs import price, slug


MANY = [("Ünïcode & Friends #42", "unicode-and-friends-42"), ("Straße", "strasse")]


@pytest.mark.parametrize("given, expected", MANY)
def test_slug_of_many(given, expected):
    assert slug(given) == expected


def test_slug_keeps_digits():
    assert slug("Route 66 -> Los Angeles!") == "route-66-los-angeles"
    assert slug("colour") == "color"


def test_price_with_tax():
    assert price(48213) == 57373
    assert price(73915) == 87958
    assert price(217) == 258


def test_table_of_ragged_rows():
    assert table([["a", "b"], ["c"]], 2023, 2024).splitlines() == ["a | b", "c |"]


def test_cell_with_a_pipe():
    assert cells(["a|b"]) == [r"| a\\|b |"]


def test_days():
    assert days("week on Mon, FRI") == (0, 4)
"""
}
ISSUE = 'slug("Crème brûlée / recipe no. 9") gives "cr-me-br-l-e", not "creme-brulee-recipe-no-9".'


def added(code: str) -> str:
    """The base with the code laid into slug(), before its return."""
    body = textwrap.indent(textwrap.dedent(code).strip("\n"), "    ") + "\n"
    return BASE.replace('    return "-".join', body + '    return "-".join')


def top(code: str) -> str:
    return BASE.replace("import re\n", "import re\n" + textwrap.dedent(code).strip("\n") + "\n")


def found(after: str, before: str | None = BASE, path: str = "slugs/core.py") -> list[Finding]:
    return scan([Change(path, before, after)], TESTS, ISSUE)
