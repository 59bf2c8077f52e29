"""Put edited functions into a running process. Runs in the sandbox, on Python 3.8 and later.

Swapping the code object of live functions costs milliseconds where a fresh import costs a second. It can't do
what happens at import (constants, decorators, defaults); such edits need `mutated_imports`.
"""
# ruff: noqa: PTH118, PTH123

from __future__ import annotations
import __future__

import ast
import bisect
import gc
import os
from importlib.machinery import SourceFileLoader
from types import CodeType, FunctionType
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

FUTURES = 0
for _name in __future__.all_feature_names:
    FUTURES |= getattr(__future__, _name).compiler_flag

Edit = Tuple[str, int, int, str]
"""Path within the workspace, first and last byte (exclusive) of what is replaced, the new text."""
CodePath = Tuple[Tuple[str, int], ...]


class NeedsImport(Exception):
    """The edit can't be put into live functions."""


class Outer:
    """A function that is in no other function: where it stands and what is alive of it."""

    def __init__(self, node: Any, around: List[str], indents: List[int], start: int, end: int) -> None:
        self.name: str = node.name
        self.first = min([node.lineno] + [d.lineno for d in node.decorator_list])
        self.line: int = node.lineno
        self.last: int = node.end_lineno or node.lineno
        self.around = around
        self.indents = indents
        self.start = start
        self.end = end
        self.body = node.body[0]
        self.live: List[Tuple[FunctionType, CodePath]] = []

    def skeleton(self, text: bytes) -> str:
        """`text` of the function inside mere headers of what encloses it, at its own line."""
        headers = ["%s%s" % (" " * indent, head) for indent, head in zip(self.indents, self.around)]  # noqa: B905
        return (
            "\n" * (self.line - 1 - len(headers)) + "".join(h + "\n" for h in headers) + text.decode("utf-8")
        )


def _units(tree: ast.AST) -> Dict[int, Tuple[int, int]]:
    """For each line the first and last line of the statement, or of the compound statement's header, that it is in."""
    units: Dict[int, Tuple[int, int]] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.excepthandler)):
            first, last = node.lineno, node.end_lineno or node.lineno
            body = getattr(node, "body", None)
            if isinstance(body, list) and body:
                last = max(first, body[0].lineno - 1)
            for line in range(first, last + 1):
                known = units.get(line)
                if known is None or known[1] - known[0] >= last - first:
                    units[line] = (first, last)
    return units


class Source:
    """A product file as it stands on disk."""

    def __init__(self, root: str, path: str) -> None:
        self.full = os.path.join(root, path)
        with open(self.full, "rb") as file:
            self.data = file.read()
        self.lines = [0]
        for line in self.data.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))
        self.outers: List[Outer] = []
        tree = ast.parse(self.data)
        self._units = _units(tree)
        self._collect(tree, [], [])

    def _collect(self, node: ast.AST, around: List[str], indents: List[int]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                start, end = self.lines[child.lineno - 1], self.lines[child.end_lineno or child.lineno]
                self.outers.append(Outer(child, around, indents, start, end))
            elif isinstance(child, (ast.stmt, ast.excepthandler)):
                head = "class %s:" % child.name if isinstance(child, ast.ClassDef) else "if 1:"
                column = getattr(child, "col_offset", 0)
                self._collect(child, [*around, head], [*indents, column])

    def lines_of(self, start: int, end: int) -> Set[int]:
        """The lines that a test must run for an edit of these bytes to matter to it."""
        first = bisect.bisect_right(self.lines, start)
        last = max(first, bisect.bisect_right(self.lines, end - 1))
        if start == end:
            # What leads to an inserted line is any line of its function, not always its neighbours.
            outer = self.outer_of(start, end)
            return set(range(outer.line, outer.last + 1)) if outer else {first}
        lines: Set[int] = set()
        for line in range(first, last + 1):
            unit = self._units.get(line, (line, line))
            lines.update(range(unit[0], unit[1] + 1))
        return lines

    def outer_of(self, start: int, end: int) -> Optional[Outer]:
        return next((o for o in self.outers if o.start <= start and end <= o.end), None)

    def edited(self, edits: Sequence[Edit]) -> bytes:
        return apply(self.data, 0, edits)


def apply(data: bytes, offset: int, edits: Sequence[Edit]) -> bytes:
    """`data`, which begins at byte `offset` of its file, with `edits` made."""
    for _, start, end, new in sorted(edits, key=lambda e: (e[1], e[2]), reverse=True):
        data = data[: start - offset] + new.encode("utf-8") + data[end - offset :]
    return data


class Patcher:
    """Knows the product's sources and the live functions that came from them."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.sources: Dict[str, Source] = {}
        # Now, not when first asked: `gc.freeze` hides all objects later.
        self._functions: Dict[str, List[FunctionType]] = {}
        real: Dict[str, str] = {}
        for thing in gc.get_objects():
            if type(thing) is FunctionType:
                name = thing.__code__.co_filename
                if name not in real:
                    real[name] = os.path.realpath(name)
                self._functions.setdefault(real[name], []).append(thing)

    def source(self, path: str) -> Source:
        """Raises SyntaxError or ValueError when the file is not Python that can be parsed here."""
        if path not in self.sources:
            source = self.sources[path] = Source(self.root, path)
            self._find_live(source)
        return self.sources[path]

    def _find_live(self, source: Source) -> None:
        functions = self._functions.get(os.path.realpath(source.full), [])
        for outer in source.outers:
            known: Dict[CodeType, CodePath] = {}
            for function in functions:
                code = function.__code__
                if code.co_name == outer.name and outer.first <= code.co_firstlineno <= outer.line:
                    known.update(_paths(code))
            outer.live = [(f, known[f.__code__]) for f in functions if f.__code__ in known]

    def prepare(self, edits: Sequence[Edit]) -> List[Tuple[FunctionType, CodeType]]:
        """The functions that change and their new code. Raises SyntaxError, or NeedsImport."""
        groups: Dict[Tuple[str, int], Tuple[Source, Outer, List[Edit]]] = {}
        for edit in edits:
            source = self.source(edit[0])
            outer = source.outer_of(edit[1], edit[2])
            if outer is None:
                raise NeedsImport("outside of functions")
            groups.setdefault((edit[0], outer.start), (source, outer, []))[2].append(edit)
        changes: List[Tuple[FunctionType, CodeType]] = []
        for source, outer, own in groups.values():
            if not outer.live:
                raise NeedsImport("no live function %s" % outer.name)
            text = apply(source.data[outer.start : outer.end], outer.start, own)
            flags = outer.live[0][0].__code__.co_flags & FUTURES
            module = compile(outer.skeleton(text), source.full, "exec", flags, True)
            root = _named(module, outer.name)
            if root is None:
                raise NeedsImport("function %s is gone" % outer.name)
            new = {path: code for code, path in _paths(root).items()}
            for function, path in outer.live:
                if path in new:
                    if len(function.__code__.co_freevars) != len(new[path].co_freevars):
                        raise NeedsImport("other free variables")
                    changes.append((function, new[path]))
        return changes


def _paths(root: CodeType) -> Dict[CodeType, CodePath]:
    """Each code object in `root` with the way to it: names, numbered among equal names."""
    found: Dict[CodeType, CodePath] = {root: ()}
    waiting = [root]
    while waiting:
        code = waiting.pop()
        count: Dict[str, int] = {}
        for const in code.co_consts:
            if isinstance(const, CodeType):
                number = count[const.co_name] = count.get(const.co_name, -1) + 1
                found[const] = found[code] + ((const.co_name, number),)
                waiting.append(const)
    return found


def _named(code: CodeType, name: str) -> Optional[CodeType]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_name == name:
                return const
            inner = _named(const, name)
            if inner is not None:
                return inner
    return None


def mutated_imports(root: str, texts: Dict[str, bytes]) -> None:
    """From now on, imports of these workspace files run `texts` instead of what is on disk."""
    real = {os.path.realpath(os.path.join(root, path)): text for path, text in texts.items()}
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> Optional[CodeType]:
        path = os.path.realpath(self.get_filename(fullname))
        if path in real:
            return compile(real[path], path, "exec", dont_inherit=True)
        return original(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[assignment, method-assign]
