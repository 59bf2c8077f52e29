"""Edits keep every byte that they don't replace."""

from __future__ import annotations

import libcst as cst
import pytest

from agent.models.repair.hand_in import changed_files, replacements
from agent.models.repair.source import Edit, SourceFile, Unreadable, apply_edits

TEXT = '# naïve — comment\nclass A:\n\tdef f(self, x = 1):\n\t\treturn x  # "é"\r\n\nlast = A()'


def test_spans_are_bytes_of_the_text():
    file = SourceFile("a.py", TEXT)
    found = {file.code(node) for node in _all(file.module) if isinstance(node, cst.Name | cst.Call)}
    assert {"x", "A()", "last", "self"} <= found


def test_an_edit_leaves_all_other_text_as_it_was():
    file = SourceFile("a.py", TEXT)
    call = next(node for node in _all(file.module) if isinstance(node, cst.Call))
    start, end = file.span(call)
    assert apply_edits(TEXT, [Edit("a.py", start, end, "A(é)")]) == TEXT.replace("A()", "A(é)")


def test_edits_are_made_together_whatever_their_order():
    edits = [Edit("a", 0, 1, "XX"), Edit("a", 2, 3, ""), Edit("a", 1, 1, "-")]
    assert apply_edits("abcd", edits) == apply_edits("abcd", edits[::-1]) == "XX-bd"


def test_text_that_is_no_python_is_refused():
    for text in ("def f(:\n", "x = (\n", "if 1:\n        a\n    b\n", "x = 'a\n", "\0"):
        with pytest.raises(Unreadable):
            SourceFile("a.py", text)


@pytest.mark.parametrize("count", [3_000, 100_000])
@pytest.mark.parametrize(
    "text",
    [
        "x = {open}1{close}\n",
        "x = {plus}1\n",
        "x = a{dots}\n",
        "x = {nots}1\n",
        "x = f'{{ {open}1{close} }}'\n",
        "{elifs}",
    ],
    ids=["brackets", "sum", "attributes", "not", "f-string", "elif"],
)
def test_text_that_would_overflow_the_parser_is_refused(text, count):
    full = text.format(
        open="(" * count,
        close=")" * count,
        plus="1+" * count,
        dots=".a" * count,
        nots="not " * count,
        elifs="if a:\n  b\n" + "elif a:\n  b\n" * count,
    )
    with pytest.raises(Unreadable):
        SourceFile("a.py", full)


def test_long_flat_texts_are_read():
    text = "x = [" + "1, " * 20_000 + "]\n" + "y = (" + "'a'\n" * 100 + ")\n"
    assert SourceFile("a.py", text).globals == ["x", "y"]


def test_replacements_are_unique_when_their_turn_comes():
    text = "def f():\n    return 1\n\ndef g():\n    return 1\n"
    at = text.rindex("1")
    edits = [Edit("a", text.index("1"), text.index("1") + 1, "2"), Edit("a", at, at + 1, "3")]
    current = text
    for old, new in replacements(text, edits):
        assert current.count(old) == 1
        current = current.replace(old, new)
    assert current == text.replace("1", "2", 1)[:-2] + "3\n"


def test_replacement_of_an_insertion_at_the_end():
    text = "x = 1\n"
    ((old, new),) = replacements(text, [Edit("a", len(text), len(text), "y = 2\n")])
    assert text.replace(old, new) == "x = 1\ny = 2\n"


def test_changed_files_of_a_patch():
    patch = (
        "diff --git a/x y.py b/x y.py\nindex 1..2 100644\n--- a/x y.py\n+++ b/x y.py\n@@ -1 +1 @@\n-a\n+b\n"
        "diff --git a/out.txt b/out.txt\nnew file mode 100644\nindex 0..1\n--- /dev/null\n+++ b/out.txt\n"
        "@@ -0,0 +1 @@\n+new file mode of a text\n"
    )
    assert changed_files(patch) == {"x y.py": False, "out.txt": True}


def _all(node):
    yield node
    for child in node.children:
        yield from _all(child)
