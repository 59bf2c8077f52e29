"""Mutants stand on changed lines, compile, differ in what counts, and leave every other byte as it was."""

from __future__ import annotations

import ast
import contextlib
import random
import textwrap
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.gate.mutants import Mutant, mutants

ROOT = Path(__file__).parents[3]
SOURCES = sorted(str(path) for path in (ROOT / "agent/gate").glob("*.py"))
quick = settings(
    deadline=None, derandomize=True, max_examples=25, suppress_health_check=list(HealthCheck), database=None
)


def of(before: str | None, after: str, limit: int = 100) -> list[Mutant]:
    return mutants({"a.py": (before, after)}, limit)


def body(text: str) -> str:
    return (
        "def f(a, b=None, *, c=None):\n" + textwrap.indent(textwrap.dedent(text).strip("\n"), "    ") + "\n"
    )


def lines_of(text: str, before: str = "pass") -> list[str]:
    """The changed lines of all mutants of a function body."""
    whole = body(text)
    found = []
    for mutant in of(body(before), whole):
        assert mutant.source != whole
        ours, theirs = whole.splitlines(), mutant.source.splitlines()
        found += [line.strip() for line in theirs if line not in ours] or ["(gone)"]
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if a >= 1:\n    return b\nreturn a", ["if a < 1:", "if a > 1:", "if a >= 2:", "return None"]),
        ("if a:\n    b()\nreturn c", ["if not (a):", "pass", "return None"]),
        (
            "if not (a or b):\n    b()\nreturn c",
            ["if (a or b):", "if not (a and b):", "if not (False or b):"],
        ),
        ("return a is not b", ["return a is b"]),
        ("return a not  in b", ["return a in b"]),
        ("return a and b", ["return a or b", "return True and b", "return a and True"]),
        ("return b or a", ["return b and a", "return False or a"]),
        ("a.b = c\nreturn a", ["pass"]),
        ("x = a\nreturn x", ["x = None"]),
        ("b = a\nreturn b", ["pass"]),
        ("for x in a:\n    b(x)", ["for x in ():", "pass"]),
        ("while a:\n    b()", ["while ():"]),
        ("try:\n    a()\nexcept ValueError:\n    return b", ["except ():"]),
        ("if b:\n    raise ValueError(a)", ["pass"]),
        ("return a(b, c, d=True)", ["return a(b, d=True)", "return a(b, c)", "return a(b, c, d=False)"]),
        ("return a['key']", ['return a["mutant"]']),
        ("return a.split('&')", ['return a.split("")']),
        ("return a.split(b'&')", ['return a.split(b"")']),
        ("return a + ''", ['return a + "mutant"', "return a - ''"]),
        ("return f'{a}-{b}'", ['return ""']),
        ("return a[1:]", ["return a[2:]"]),
        ("return {a: True}", ["return {a: False}"]),
        ("return [x for x in a if x < b]", ["return [x for x in a if x >= b]"]),
        ("return a if b else c", ["return a if not (b) else c"]),
        ("return[a]", ["return None"]),
    ],
)
def test_kinds(text: str, expected: list[str]) -> None:
    found = lines_of(text)
    assert not [line for line in expected if line not in found], found


def test_a_default_is_changed() -> None:
    found = of("def f(a, b=False):\n    return a, b\n", "def f(a, b=True, n=3):\n    return a, b\n")
    assert any("b=False, n=3" in mutant.source for mutant in found)
    assert any("b=True, n=4" in mutant.source for mutant in found)


@pytest.mark.parametrize(
    "text",
    [
        '"""A docstring."""',
        "# a comment",
        "log.debug('value %s', 1)",
        "self.logger.error(a or 'none')",
        "logging.getLogger(__name__).warning('x')",
        "raise_: int",
        "message = 'some text'",
        "...",
    ],
)
def test_what_no_test_need_notice_is_left_alone(text: str) -> None:
    assert of(body("return a"), body(f"{text}\nreturn a")) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("__version__ = '1.0'\n", "__version__ = '1.1'\n"),
        ("VERSION = '1.0'\n", "VERSION = '1.1'\n"),
        ("__all__ = ['a']\n", "__all__ = ['a', 'b']\n"),
        ("import a\n", "import a\nimport b\n"),
        ("if TYPE_CHECKING:\n    x = 1\n", "if TYPE_CHECKING:\n    x = 2\n"),
        ("def f(a): pass\n", "def f(a: 'int | None') -> 'int': pass\n"),
        ("@overload\ndef f(a): return 1\n", "@overload\ndef f(a): return 2\n"),
        ("x = cast('int', y)\n", "x = cast('str', y)\n"),
        ("assert x, 'a'\n", "assert x, 'b'\n"),
        ("warnings.warn('a', stacklevel=1)\n", "warnings.warn('b', stacklevel=2)\n"),
        ("", "x = 1\n# y = 2\n"[6:]),
    ],
)
def test_nothing_for_changes_that_do_not_count(before: str, after: str) -> None:
    """But for leaving the whole statement out, where it stands on the changed line."""
    assert all("left out" in mutant.what for mutant in of(before, after))


def test_the_text_of_an_error_is_left_alone_but_not_its_raising() -> None:
    found = lines_of("if a:\n    raise ValueError('no such thing: ' + str(a), b)")
    assert any("raise" not in line for line in found)
    assert not [line for line in found if 'ValueError("' in line or "' -" in line]


BEFORE = """\
def f(a):
    return a


def g(a):
    return a


def h(a):
    return a
"""


def test_each_of_several_changes_is_taken_back_alone() -> None:
    after = BEFORE.replace("return a", "return a + 1", 1)
    both = after[::-1].replace("a nruter", "2 - a nruter", 1)[::-1]
    found = [mutant for mutant in of(BEFORE, both) if "as before" in mutant.what]
    assert {mutant.source for mutant in found} == {
        after,
        BEFORE.replace("a\n" * 1, "a\n")[:-9] + "return a - 2\n",
    }
    assert [mutant.line for mutant in found] == [2, 10]
    assert found[0] == of(BEFORE, both)[0]


def test_the_only_change_is_not_taken_back() -> None:
    found = of(BEFORE, BEFORE.replace("return a", "return a + 1", 1))
    assert found
    assert not [mutant for mutant in found if mutant.source == BEFORE or "as before" in mutant.what]


def test_a_change_that_others_need_is_not_taken_back() -> None:
    """A test that only runs the line would notice the missing name."""
    after = "import re\nLIMIT = 3\n" + BEFORE.replace("return a\n\n\ndef h", "return a[:LIMIT]\n\n\ndef h")
    assert [mutant.line for mutant in of(BEFORE, after) if "as before" in mutant.what] == [8]


def test_a_moved_statement_counts() -> None:
    """Only the indentation changed: the tree is another."""
    before = "def f(a):\n    if a:\n        a += 1\n        a *= 2\n    return a\n\n\nLIMIT = 1\n"
    indented = before.replace("LIMIT = 1", "LIMIT = 2")
    after = indented.replace("        a *= 2", "    a *= 2")
    assert indented in [mutant.source for mutant in of(before, after)]


def test_mutants_are_spread_over_files_and_lines() -> None:
    changed = {
        f"{name}.py": (BEFORE, BEFORE.replace("return a", f"return a + {n} if a > {n} else not a"))
        for n, name in enumerate("xyz", 1)
    }
    found = mutants(changed, 9)
    assert {(mutant.path, mutant.line) for mutant in found} == {
        (f"{n}.py", i) for n in "xyz" for i in (2, 6, 10)
    }
    assert mutants(dict(reversed(changed.items())), 9) == found


def test_many_comments_do_not_use_up_the_tries() -> None:
    before = "".join(f"x{n} = f({n})\n# comment\n" for n in range(200))
    after = before.replace("comment", "remark") + "def g(a):\n    return a > 3\n"
    assert of(before, after, 3)


def test_no_more_than_asked_for() -> None:
    after = BEFORE.replace("return a", "return a + 1")
    assert [len(of(BEFORE, after, limit)) for limit in (0, 1, 5)] == [0, 1, 5]


@pytest.mark.parametrize(
    "after", ["def (", "x = '\x00'", "x = '\ud800'", "(" * 5000, "x = 1\n" * 60_000, "\x0c", ""]
)
def test_what_cannot_be_read_has_none(after: str) -> None:
    assert mutants({"a.py": ("x = 1\n", after), "b.md": ("a", "b"), "c.pyi": ("a = 1\n", "a = 2\n")}) == []


def test_one_bad_file_does_not_hide_the_others() -> None:
    assert mutants({"a.py": ("", "def ("), "b.py": ("def (", "def f(a):\n    return a > 1\n")})


def test_a_new_file() -> None:
    assert of(None, "def f(a):\n    return a > 1\n")


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_other_byte_stays(end: str, mark: str) -> None:
    text = [
        "# \u00fc\u20ac\x0c",
        "def f(a):",
        "    x = '\u00fc\u20ac', a  # \u00fc",
        "    return x, a > 1, '\u20ac' in a\t",
        "# end",
    ]
    before = mark + end.join(text).replace("> 1", "> 2")
    after = mark + end.join(text)
    found = of(before, after)
    assert len(found) > 3
    for mutant in found:
        assert mutant.line == 4
        assert mutant.source.startswith(mark + end.join(text[:3]) + end)
        assert mutant.source.endswith("\t" + end + "# end") or "pass" in mutant.source


@quick
@given(seed=st.integers(0, 10_000), path=st.sampled_from(SOURCES))
def test_on_real_code(seed: int, path: str) -> None:
    """Any lines of a file taken for changed ones."""
    after = Path(path).read_text("utf-8")
    lines = after.splitlines(keepends=True)
    chance = random.Random(seed)
    changed = sorted(chance.sample(range(len(lines)), min(12, len(lines))))
    before = "".join("" if n in changed else line for n, line in enumerate(lines))
    seen = set()
    for mutant in of(before, after, 6):
        tree = ast.dump(ast.parse(mutant.source))
        assert tree not in seen
        seen.add(tree)
        compile(mutant.source, "mutant", "exec")
        theirs = mutant.source.splitlines(True)
        first = next(n for n, (a, b) in enumerate(zip_longest(lines, theirs)) if a != b)
        # A literal may begin on a line before, and of equal lines any may count as the changed one.
        alike = lines[first].strip() in {"", *(lines[n].strip() for n in changed)}
        assert first in changed or alike or "text" in mutant.what, mutant.what
        assert mutant.what.isprintable()
    assert ast.dump(ast.parse(after)) not in seen
    with contextlib.suppress(SyntaxError):
        assert ast.dump(ast.parse(before)) not in seen


@quick
@given(data=st.data())
def test_never_raises(data: st.DataObject) -> None:
    text = Path(data.draw(st.sampled_from(SOURCES))).read_text("utf-8")
    start = data.draw(st.integers(0, len(text)))
    after = text[:start] + data.draw(st.text(max_size=5)) + text[start + data.draw(st.integers(0, 40)) :]
    for mutant in mutants({"a.py": (text, after)}, 3):
        compile(mutant.source, "mutant", "exec")
