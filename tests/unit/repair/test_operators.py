"""Each kind of mistake has an operator that mends it; the text around the mistake stays."""

from __future__ import annotations

import ast

import pytest

from agent.models.repair.candidates import generate
from agent.models.repair.localise import Places
from agent.models.repair.operators.base import Evidence
from agent.models.repair.source import apply_edits


def repairs(text, *, evidence=None, lines=None):
    """All texts that single candidates make of `text`, with their operators."""
    every = range(1, text.count("\n") + 2)
    places = Places({("m.py", line): 1.0 for line in lines or every})
    candidates = generate({"m.py": text}, places, evidence or Evidence())
    return {apply_edits(text, list(c.edits)): c.operator for c in candidates}


MISTAKES = [
    # a condition
    ("def f(a, b):\n    if a < b:  # keep\n        return a\n    return b\n", "a < b:", "a <= b:"),
    ("def f(a, b):\n    if a and b:\n        return 1\n", "a and b", "a or b"),
    ("def f(a):\n    if a:\n        return 1\n", "if a:", "if not a:"),
    ("def f(a):\n    if a:\n        return 1\n", "if a:", "if a is not None:"),
    ("def f(a):\n    while not a:\n        a = g()\n", "not a", "a is None"),
    ("def f(a, k):\n    if a.get(k):\n        return 1\n", "a.get(k)", "k in a"),
    ("def f(a, b):\n    return a or b\n", "a or b", "a if a is not None else b"),
    ("def f(a, mark):\n    if a > 1:\n        return 1\n", "a > 1", "a > 1 or mark"),
    # a value
    ("def f(a):\n    return a[1:]\n", "1:", "2:"),
    ("def f(a, i):\n    return a[i]\n", "a[i]", "a[i - 1]"),
    ("def f(a, b):\n    return a - b\n", "a - b", "b - a"),
    ("def f(a, b):\n    return a - b\n", "a - b", "a + b"),
    ("def f(low, high):\n    return high\n", "return high", "return low"),
    ("def f(a, n):\n    return a % n\n", "a % n", "(a - 1) % n + 1"),
    ("def f(s, n=None):\n    end = len(s) if n is None else n\n", "else n", "else min(n, len(s))"),
    ("def f(a, k):\n    return a[k]\n", "a[k]", "a.get(k)"),
    ("def f(s):\n    return s.isdigit()\n", "isdigit", "isdecimal"),
    ("class A:\n    def f(self):\n        self.a = self.b = 1\n        return self.a\n", "n self.a", "n self.b"),
    # a call
    ("def f(a, b):\n    return g(a, b)\n", "g(a, b)", "g(b, a)"),
    ("def f(a, b):\n    return g(a, b)\n", "g(a, b)", "g(a)"),
    ("def g(x, a=0):\n    return x\n\ndef f(x, a):\n    return g(x)\n", "return g(x)", "return g(x, a=a)"),
    ("def f(m):\n    return m\n", "return m", "return bool(m)"),
    ("def norm(x):\n    return x\n\ndef f(a):\n    return (1, a)\n", "(1, a)", "(1, tuple(norm(item) for item in a))"),
    ("def f(c):\n    return ord(c)\n", "ord(c)", "ord(c.upper())"),
    ("def f(x):\n    return isinstance(x, int)\n", "int)", "(int, float))"),
    # a text
    ("import re\ndef f(s):\n    return re.match(r'^a+$', s)\n", "a+$", "a+\\Z"),
    ("import re\ndef f(s):\n    return re.match(r'^a+$', s)\n", "re.match", "re.fullmatch"),
    ("import re\nP = re.compile(r'a.b')\ndef f(s):\n    return P.match(s)\n", "a.b", "a\\.b"),
    ("import re\ndef f(s):\n    return re.match('a', s)\n", "'a', s)", "'a', s, flags=re.IGNORECASE)"),
    ("import re\ndef f(s):\n    flags = 0\n    return re.match('a', s, flags)\n", "= 0", "= re.DOTALL"),
    ("def f(p):\n    return open(p, encoding='utf-8')\n", "'utf-8'", "'utf-8-sig'"),
    ("def f(s):\n    a = s.split(';')\n    return s.split('&')\n", "';'", "'&'"),
    # a statement
    ("def f(rows):\n    one = rows[0]\n    return one\n", "    one", "    if not rows:\n        return []\n    one"),
    ("def f(rows):\n    use(rows[0])\n", "    use(rows[0])", "    if rows:\n        use(rows[0])"),
    ("def f(a):\n    if a:\n        x(a)\n    else:\n        y(a)\n", "        x(a)\n", "        x(a)\n        y(a)\n"),
    ("def f(a):\n    x(a)\n    y(a)\n", "    x(a)\n    y(a)\n", "    y(a)\n    x(a)\n"),
    ("def f(a):\n    x(a)\n    y(a)\n", "    x(a)\n", ""),
    ("def f(a):\n    a.go()\n", "    a.go()", "    return a.go()"),
    ("def f(v):\n    return g(v)\n", "    return", "    v = v.strip()\n    return"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "old", "new"), MISTAKES)
def test_mistake_has_a_repair(text, old, new):
    assert text.count(old) == 1, "the case itself is ambiguous"
    assert text.replace(old, new) in repairs(text)


def test_guard_raises_what_the_test_expects():
    text = "def pop_last(stack):\n    return stack.pop()\n"
    evidence = Evidence.gather(
        ["def test():\n    with pytest.raises(ValueError):\n        pop_last([])\n"], ["IndexError"]
    )
    made = repairs(text, evidence=evidence)
    assert any("if not stack:\n        raise ValueError(" in repaired for repaired in made)
    assert any("except IndexError as error:\n        raise ValueError(" in repaired for repaired in made)


def test_raise_is_copied_in_one_line():
    text = (
        "def f(a, b):\n    if b < 0:\n        raise ValueError(\n            'b is '\n            'negative'\n"
        "        )\n    return a / b\n"
    )
    evidence = Evidence.gather(["with pytest.raises(ValueError): f(1, 0)"], ["ZeroDivisionError"])
    guard = "    if b == 0:\n        raise ValueError('b is ' 'negative')\n    return a / b\n"
    assert text.replace("    return a / b\n", guard) in repairs(text, evidence=evidence)


def test_sibling_expression_is_adapted():
    text = (
        "def f(d, s, kind):\n    if kind == 1:\n        return (d.day - 1) % s + 1\n    return d.month % s\n"
    )
    assert text.replace("return d.month % s", "return (d.month - 1) % s + 1") in repairs(text)


def test_sibling_call_is_made_with_the_value_at_hand():
    text = "def ok(part, low):\n    if '/' in part:\n        parts = part.split('/')\n        return parts[0] > low\n    for p in part:\n        if not ok(p, low):\n            return False\n"  # noqa: E501
    assert text.replace("parts[0] > low", "ok(parts[0], low)") in repairs(text)


def test_same_mistake_is_mended_at_every_place():
    text = "def f(s):\n    return s.find('a')\n\ndef g(s):\n    return s.find('a')\n"
    assert text.replace("find", "rfind") in repairs(text)


def test_only_suspicious_lines_are_edited():
    text = "def f(a):\n    return a + 1\n\ndef g(a):\n    return a + 2\n"
    made = repairs(text, lines=[5])
    assert made
    assert all(repaired.startswith("def f(a):\n    return a + 1\n") for repaired in made)


def test_constant_of_the_module_is_as_suspicious_as_its_use():
    text = "LIMIT = 3\nOTHER = 7\ndef f(a):\n    return a < LIMIT\n"
    made = repairs(text, lines=[4])
    assert text.replace("3", "4") in made
    assert text.replace("7", "8") not in made


def test_most_candidates_parse():
    text = "import re\nclass A:\n    def f(self, x, *rest, k=None):\n        for a, b in x:\n            if a and not b or k:\n                y = [i + 1 for i in a if i]\n                self.z = f'{a!r:>{b}} {y[0]}'\n        return lambda q: (yield q)\n"  # noqa: E501
    made = repairs(text)
    broken = [repaired for repaired in made if not _parses(repaired)]
    assert len(broken) < 0.05 * len(made), broken[:3]


def test_order_is_the_same_with_the_same_seed():
    text = "def f(a, b):\n    return a + b\n"
    places = Places({("m.py", 2): 1.0})
    first, again = (generate({"m.py": text}, places, Evidence(), seed=7) for _ in range(2))
    assert [c.edits for c in first] == [c.edits for c in again]


def _parses(text):
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
