"""Edits keep every byte that they don't replace."""

from __future__ import annotations

import libcst as cst
import pytest

from agent.models.repair.hand_in import changed_files, replacements
from agent.models.repair.source import Edit, SourceFile, apply_edits

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
    with pytest.raises(cst.ParserSyntaxError):
        SourceFile("a.py", "def f(:\n")


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
