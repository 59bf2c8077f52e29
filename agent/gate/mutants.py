"""Mutants of the lines that a fix changed: a test that proves the fix should notice some of them.

Text is replaced by positions of the syntax tree, so that the rest of a file stays byte for byte. What no test need
notice is left alone: documentation, annotations, messages, log calls, versions, imports for typing.
"""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import SequenceMatcher
from itertools import accumulate, chain, pairwise, zip_longest
from typing import Any, NamedTuple

from agent.gate.mutant import MAX_SOURCE, UNDONE, Mutant
from agent.gate.mutants_text import text_mutants

__all__ = ["MAX_SOURCE", "Mutant", "mutants"]

MAX_PARSED = 60  # mutants that are parsed in a call

_NEGATED = {"==": "!=", "<": ">=", ">": "<=", "is": "is not", "in": "not in"}
_NEGATED |= {other: one for one, other in _NEGATED.items()}
_SHIFTED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_OTHER = {"and": "or", "or": "and", "+": "-", "-": "+", "*": "+", "//": "*", "/": "*", "|": "&", "&": "|"}
_OPERATOR = re.compile(r"not\s+in\b|is\s+not\b|(is|in|and|or)\b|[=!<>]=|//|\*\*|<<|>>|[-<>+*/%|&^@]")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")  # as the syntax tree counts them
_TEXT = re.compile(r"[a-zA-Z]{0,2}['\"]")
_SAID = re.compile(r"(\w*_)?(err|error|msg|message|reason|help|description|metavar|version|stacklevel)", re.I)
_QUIET = re.compile(  # statements that no test need notice
    r"(?i)(typing\.)?overload\b|if .*(\bTYPE_CHECKING|version_info|__name__ ==)|__\w+__ *="
    r"|([\w.]*\.)?_?log(ger|ging)?\b.*\.(debug|info|warn|warning|error|exception|critical|log)\("
    rf"|{_SAID.pattern} *= *\(?{_TEXT.pattern}"
)
Above = tuple[ast.AST, ...]
_SPARED = {"annotation", "returns", "type_comment", "kind", "type_ignores", "ctx"}


class _Edit(NamedTuple):
    """Bytes to replace. Every kind of edit has a rank of its own: the higher, the more telling."""

    start: int
    end: int
    new: bytes
    what: str
    rank: int


def mutants(changed: Mapping[str, tuple[str | None, str]], limit: int = 8) -> list[Mutant]:
    """At most `limit` mutants of changed files (path -> source before and after), the most telling first.

    Those of Python files and of others take turns. Never raises.
    """
    turns = zip_longest(_python_mutants(changed, limit), text_mutants(changed, limit))
    return [mutant for mutant in chain.from_iterable(turns) if mutant][:limit]


def _python_mutants(changed: Mapping[str, tuple[str | None, str]], limit: int) -> list[Mutant]:
    """At most `limit` mutants of changed Python files (path -> source before and after), the most telling first.

    They are spread over the changed places, all compile, and none is what its file was before or after. Never raises.
    """
    waiting: list[tuple[_File, _Edit]] = []
    for path, (before, after) in sorted(changed.items()):
        if path.endswith((".py", ".pyw")) and max(len(after), len(before or "")) <= MAX_SOURCE:
            with suppress(Exception):
                waiting += [(file, edit) for file in [_File(path, before, after)] for edit in file.edits()]
    found: list[Mutant] = []
    uses: Counter[tuple[int, str, int]] = Counter()
    while waiting and len(found) < limit and uses.total() < 3 * MAX_PARSED:
        file, edit = max(waiting, key=lambda it: it[1].rank - sum(uses[m] * m[0] for m in it[0].marks(it[1])))
        waiting.remove((file, edit))
        uses.update(file.marks(edit))
        with suppress(Exception):
            if source := file.mutated(edit):
                found.append(Mutant(file.path, file.line(edit.start), edit.what, source))
    return found


class _File:
    """A changed file and what can be done to it; blanks and brackets count as changed with what is around them."""

    def __init__(self, path: str, before: str | None, after: str) -> None:
        self.path, self.mark = path, after[: after.startswith("\ufeff")]
        self.data = after.removeprefix("\ufeff").encode()
        lines: list[bytes] = _LINE.findall(self.data)
        self.old: list[bytes] = _LINE.findall((before or "").removeprefix("\ufeff").encode())
        self.starts = [0, *accumulate(map(len, lines))]
        self.meaning = _Meaning(self.data)
        self.known = {self.meaning.text}
        with suppress(Exception):
            self.known.add(_Meaning(b"".join(self.old)).text)
        compared = SequenceMatcher(None, self.old, lines).get_opcodes()
        self.hunks = [places for kind, *places in compared if kind != "equal"]
        self.changed = {n for _, _, first, last in self.hunks for n in range(first + 1, last + 1)}
        self.empty = {n for n, line in enumerate(lines, 1) if not re.match(rb"[^#\n]*\w", line)}

    def line(self, start: int) -> int:
        return max(min(bisect_right(self.starts, start), len(self.starts) - 1), 1)

    def marks(self, edit: _Edit) -> list[tuple[int, str, int]]:
        """Its place, its line and its kind, and by how much less others are wanted then."""
        place = bisect_right(self.hunks, self.line(edit.start) - 1, key=lambda hunk: hunk[2])
        return [(25, self.path, place), (20, self.path, self.line(edit.start)), (12, "", edit.rank)]

    def edits(self) -> Iterator[_Edit]:
        for was, until, first, last in self.hunks if self.old else []:
            old, start, end = b"".join(self.old[was:until]), self.starts[first], self.starts[last]
            what = f"lines {first + 1} to {last} were" if last - first > 1 else f"line {first + 1} was"
            yield _Edit(start, end, old, f"{what} as before the fix", UNDONE)
        for node, above in self.meaning.nodes:
            if self.changed.isdisjoint(range(getattr(node, "lineno", 1), getattr(node, "end_lineno", 0) + 1)):
                continue
            for edit in self._of(node, above):
                lines = set(range(self.line(edit.start), self.line(edit.end - 1) + 1))
                inside = isinstance(node, ast.Constant) or not lines - self.changed - self.empty
                if inside and lines & self.changed:
                    yield edit

    def mutated(self, edit: _Edit) -> str | None:
        """The file with an edit, if that compiles and means something else than all that was seen so far."""
        meaning = _Meaning(data := self.data[: edit.start] + edit.new + self.data[edit.end :])
        lost = self.meaning.bound.keys() - meaning.bound.keys()
        if meaning.text in self.known or (edit.rank == UNDONE and lost & meaning.read.keys()):
            return None
        self.known.add(meaning.text)
        return self.mark + data.decode()

    def _put(self, node: Any, new: str, what: str, rank: int) -> _Edit:
        """Replace a node; "\\0" in `new` stands for its text."""
        start = self.starts[node.lineno - 1] + node.col_offset
        end = self.starts[node.end_lineno - 1] + node.end_col_offset
        apart = b" " * bool(re.match(rb"\w\w", self.data[start - 1 : start] + new[:1].encode()))
        return _Edit(start, end, apart + new.encode().replace(b"\0", self.data[start:end]), what, rank)

    def _operators(self, left: ast.expr, right: ast.expr) -> Iterator[_Edit]:
        """Other operators between two operands."""
        start, end = self._put(left, "", "", 0).end, self._put(right, "", "", 0).start
        match = _OPERATOR.search(between := self.data[start:end].decode())
        name = " ".join(match[0].split()) if match and "#" not in between else ""
        for others, rank in ((_NEGATED, 87), (_OTHER, 61), (_SHIFTED, 60)):
            if match and name in others:
                at, what = start + match.start(), f"`{name}` became `{others[name]}`"
                yield _Edit(at, at + len(match[0]), others[name].encode(), what, rank)

    def _of(self, node: ast.AST, above: Above) -> Iterator[_Edit]:
        """What can be done to a node; `above` are the nodes around it, the nearest first."""
        put, parent, kinds = self._put, (*above, node)[0], {type(each) for each in above}
        in_test = any(isinstance(up, ast.While) and up.test is down for down, up in pairwise((node, *above)))
        endless, local = ast.While in kinds, kinds & {ast.FunctionDef, ast.AsyncFunctionDef}
        match node:
            case _ if ast.JoinedStr in kinds or in_test:  # where positions are wrong in Python 3.11
                return
            case ast.If(test=test) | ast.IfExp(test=test):
                if not isinstance(test, ast.Compare | ast.BoolOp | ast.Constant | ast.UnaryOp):
                    yield put(test, "not (\0)", "the condition was negated", 88)
                if isinstance(node, ast.If) and not node.orelse:
                    yield put(node, "pass", "the `if` was left out with its body", 84)
            case ast.While(test=looped) | ast.For(iter=looped):
                yield put(looped, "()", "the loop was skipped", 80)
            case ast.ExceptHandler(type=ast.expr() as caught) if isinstance(parent, ast.Try):
                yield put(caught, "()", "the `except` catches nothing", 82)
            case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
                yield put(value, "None", "the value returned became None", 83)
            case ast.Raise() | ast.Return() | ast.Delete() | ast.AugAssign() | ast.Continue() | ast.Expr():
                if not endless or isinstance(node, ast.Expr):
                    yield put(node, "pass", "the statement was left out", 86)
            case ast.Assign(targets=[target], value=value) if local and not endless:
                if isinstance(target, ast.Name) and self.meaning.bound[target.id] < 2:
                    yield put(value, "None", "the value assigned became None", 55)
                else:
                    yield put(node, "pass", "the assignment was left out", 79)
            case ast.Compare(left=left, comparators=[right]) | ast.BinOp(left=left, right=right):
                yield from self._operators(left, right)
            case ast.BoolOp(op=op, values=[left, right, *more]):
                for part in (left, right, *more):
                    yield put(part, str(isinstance(op, ast.And)), "a part of the condition was left out", 78)
                yield from self._operators(left, right)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                edit = put(node, "", "a `not` was taken out", 89)
                yield edit._replace(new=b"(%s)" % self.data[slice(*put(operand, "", "", 0)[:2])])
            case ast.Call(args=args, keywords=keywords):
                for given in [*keywords, *args[1:][-1:]]:
                    edit = put(given, "", "an argument was left out", 57)
                    if before := re.search(rb",\s*$", self.data[max(edit.start - 200, 0) : edit.start]):
                        yield edit._replace(start=edit.start - len(before[0]))
                    elif after := re.match(rb"\s*,[ \t]*", self.data[edit.end :]):
                        yield edit._replace(end=edit.end + after.end())
            case ast.Constant(value=bool() | int() | float() as value):
                other, rank = (not value, 68) if isinstance(value, bool) else (value + 1, 65)
                yield put(node, repr(other), f"{value} became {other}", rank)
            case ast.JoinedStr() | ast.Constant(value=str() | bytes()):
                text = getattr(node, "value", "f")
                keyed = not text or isinstance(parent, ast.Dict | ast.Subscript | ast.Compare)
                new = '"mutant"' if keyed else '""'
                yield put(node, "b" * isinstance(text, bytes) + new, f"a text became {new}", 63)


class _Meaning:
    """What of a source a test may notice, and its names. Raises for what does not compile."""

    def __init__(self, source: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree := ast.parse(source.decode()), "mutant", "exec", dont_inherit=True)
        self.lines: list[bytes] = _LINE.findall(source)
        self.nodes: list[tuple[ast.AST, Above]] = []
        self.bound, self.read, self.dump = Counter[str](), Counter[str](), list[str]()
        self._walk(tree, ())
        self.text = " ".join(self.dump)

    def _walk(self, node: ast.AST, above: Above) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):  # for typing, for others, or else missed at once
            self.bound.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
            return
        self.nodes.append((node, above))
        self.dump.append(f"({type(node).__name__}")
        reads = isinstance(getattr(node, "ctx", None), ast.Load) or isinstance(node, ast.keyword)
        for field, value in ast.iter_fields(node):
            if field in ("id", "attr", "arg", "name") and isinstance(value, str):
                (self.read if reads else self.bound)[value] += 1
            self.dump.append(field)
            for part in [] if field in _SPARED else value if isinstance(value, list) else [value]:
                if not isinstance(part, ast.AST):
                    self.dump.append(repr(part))
                elif not self._is_muted(part, field, (node, *above)):
                    self._walk(part, (node, *above))
        self.dump.append(")")

    def _is_muted(self, part: Any, field: str, above: Above) -> bool:
        """Whether no test need notice a node, which is in that field of the nearest node above."""
        first = (getattr(part, "decorator_list", None) or [part])[0]
        source = self.lines[first.lineno - 1][first.col_offset :].decode() if hasattr(first, "lineno") else ""
        if isinstance(part, ast.stmt):
            docs = isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
            return docs or bool(_QUIET.match(source))
        if isinstance(above[0], ast.Call) and field == "args" and _TEXT.match(source):
            typing = r"warnings\.warn|(typing\.)?(cast|TypeVar|NewType)\b"
            return isinstance(above[1], ast.Raise) or bool(re.match(typing, ast.unparse(above[0].func)))
        said = isinstance(above[0], ast.keyword) and _SAID.fullmatch(above[0].arg or "")
        return field == "msg" or bool(said)
