"""Tests made to fail: a run in which they pass all the same is forged.

The code under test shares a process with the runner, so nothing that this process writes proves anything by itself.
But code that turns failures into passes, whatever way it does so, turns these into passes too: the same files and
names, each test's body run to its end and then failed with a word that nobody could know.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from agent.gate.poison_other import poisoned_text
from agent.gate.source_text import language


def poisoned_file(path: str, source: str, tests: Collection[str], word: str) -> tuple[str, frozenset[str]]:
    """As `poisoned`, for a test file in any language that its name tells; with none of `tests` in others."""
    lang = language(path)
    if lang is not None:
        return poisoned_text(source, lang, tests, word)
    return poisoned(source, tests, word) if path.endswith(".py") else (source, frozenset())


def poisoned(source: str, tests: Collection[str], word: str) -> tuple[str, frozenset[str]]:
    """A test module in which each of `tests` (`test_x`, `TestA::test_y`) fails with `word` after its body ran.

    Returns its source and those of `tests` that are written in it as functions. Comments are lost; a module that does
    not parse comes back as it is, with none.
    """
    try:
        tree = ast.parse(source)
        found = set()
        for name, function in functions(tree):
            if name in tests:
                found.add(name)
                body = function.body
                first = 1 if ast.get_docstring(function, clean=False) is not None and len(body) > 1 else 0
                raising = ast.parse(f"raise AssertionError({word!r})").body
                # `finally` overrides whatever the body does: return, skip, exit, another exception.
                function.body = [*body[:first], ast.Try(body[first:], [], [], raising)]
        text = ast.unparse(ast.fix_missing_locations(tree)) if found else source
    except (SyntaxError, ValueError, RecursionError):
        return source, frozenset()
    return text + "\n", frozenset(found)


def functions(
    tree: ast.Module | ast.ClassDef, above: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Functions by the name that a test id has, also those under `if` and `try`."""
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield above + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{above}{node.name}::")
        else:
            todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
