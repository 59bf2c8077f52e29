"""What every repair operator gets and gives."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import libcst as cst

from agent.models.repair.source import Function, SourceFile, Statement


@dataclass(frozen=True, slots=True)
class Fix:
    """One small edit. `prior` (0 to 1) is how often an edit of this kind at a faulty place is the repair."""

    start: int
    end: int
    new: str
    operator: str
    prior: float


@dataclass(frozen=True)
class Evidence:
    """Ingredients for repairs from outside of the product: what the failing tests expect and show."""

    expected: tuple[str, ...] = ()
    """Exceptions that the failing tests expect, as dotted names."""
    seen: tuple[str, ...] = ()
    """Exceptions that the failing tests end with."""
    messages: str = ""
    """What these exceptions say."""
    strings: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    @classmethod
    def gather(cls, sources: list[str], seen: list[str], messages: str = "") -> Evidence:
        """Read the source texts of failing tests (with "# parameters" as the lab gives them)."""
        expected: dict[str, None] = {}
        strings: dict[str, None] = {}
        numbers: dict[int, None] = {}
        for source in sources:
            for match in re.finditer(r"[rR]aises(?:Regex)?\(\s*\(?((?:[\w.]+\s*,?\s*)+)", source):
                for name in re.findall(r"[A-Za-z_][\w.]*", match[1]):
                    if name.split(".")[-1][:1].isupper():
                        expected[name.split(".")[-1]] = None
            for text in source.split("\n# parameters\n"):
                try:
                    tree = ast.parse(textwrap.dedent(text))
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    continue
                for node in ast.walk(tree):
                    if (
                        isinstance(node, ast.Constant)
                        and isinstance(node.value, str)
                        and len(node.value) < 60
                    ):
                        strings[node.value] = None
                    elif isinstance(node, ast.Constant) and type(node.value) is int:
                        numbers[node.value] = None
        kinds = tuple(dict.fromkeys(seen))
        return cls(tuple(expected), kinds, messages, tuple(strings)[:60], tuple(numbers)[:20])

    @cached_property
    def blamed(self) -> str:
        """The kind of value that the exceptions complain about: "zero", "none", "empty", "key" or ""."""
        text = " ".join((*self.seen, self.messages))
        if "ZeroDivision" in text or "zero" in text:
            return "zero"
        if "NoneType" in text:
            return "none"
        if "IndexError" in self.seen or "empty" in text or "StopIteration" in self.seen:
            return "empty"
        return "key" if "KeyError" in self.seen else ""

    @cached_property
    def rare_characters(self) -> list[str]:
        """Characters in the tests' strings that are neither letters, digits nor a blank."""
        found = {c for text in self.strings for c in text if not c.isalnum() and c != " "}
        return sorted(found, key=lambda c: (c.isascii(), c))[:6]


# Nodes whose child can be any expression without parentheses.
_ROOMY = (
    cst.Arg,
    cst.Assign,
    cst.AugAssign,
    cst.Element,
    cst.Expr,
    cst.If,
    cst.Index,
    cst.Param,
    cst.Return,
    cst.Slice,
    cst.While,
    cst.DictElement,
    cst.Assert,
)


MAX_ATTRIBUTES = 30
"""Attributes of self that are looked at; large classes have hundreds."""


@dataclass
class Context:
    """A file, a function in it, and helpers to write fixes."""

    file: SourceFile
    function: Function | None
    evidence: Evidence
    statements: list[Statement] = field(default_factory=list)
    """The function's statements (of the module where there is no function)."""
    _in_fstring: dict[cst.CSTNode, bool] = field(default_factory=dict)

    def code(self, node: cst.CSTNode) -> str:
        return self.file.code(node)

    def swap(
        self, node: cst.CSTNode, new: str, operator: str, prior: float, *, atom: bool = False
    ) -> Iterator[Fix]:
        """Replace an expression; in parentheses where it needs them, unless it is an `atom` such as a name."""
        old = self.code(node)
        if new == old:
            return
        if self.in_fstring(node) and ("'" in new or '"' in new or "\\" in new):
            return
        if not atom and not getattr(node, "lpar", ()) and not isinstance(self.file.parent(node), _ROOMY):
            new = f"({new})"
        start, end = self.file.span(node)
        yield Fix(start, end, new, operator, prior)

    def in_fstring(self, node: cst.CSTNode) -> bool:
        if node not in self._in_fstring:
            inside = any(isinstance(above, cst.FormattedString) for above in self.file.parents(node))
            self._in_fstring[node] = inside
        return self._in_fstring[node]

    def wrapped(self, node: cst.BaseExpression) -> str:
        """The text of an expression so that an operator or a dot can follow it."""
        text = self.code(node)
        tight = (
            cst.Name,
            cst.Attribute,
            cst.Call,
            cst.Subscript,
            cst.List,
            cst.Dict,
            cst.SimpleString,
            cst.Integer,
        )
        return text if isinstance(node, tight) else f"({text})"

    @cached_property
    def names(self) -> list[str]:
        """Names that can be read in the function, its own first."""
        found: list[str] = []
        function = self.function
        while function is not None:
            found += [n for n in function.names if n not in found and n not in ("self", "cls")]
            function = function.outer
        return found

    @cached_property
    def attributes(self) -> list[str]:
        """`self.x` for what is set on self or is a method; those that the function uses already come first."""
        if self.function is None or "self" not in self.function.params or not self.function.class_name:
            return []
        known = self.file.methods.get(self.function.class_name, [])
        names = [f"self.{name}" for name in known if not name.startswith("__")]
        used = {self.code(node) for node in self.all_of(cst.Attribute)}
        return sorted(names, key=lambda name: name not in used)[:MAX_ATTRIBUTES]

    def all_of(self, kind: type[cst.CSTNode]) -> list[cst.CSTNode]:
        """Nodes of a kind within the function, in order."""
        return [n for n in self._nodes if isinstance(n, kind)]

    @cached_property
    def _nodes(self) -> list[cst.CSTNode]:
        return list(walk(self.function.node.body if self.function else self.file.module))

    @cached_property
    def conditions(self) -> list[str]:
        """Conditions that stand in the function already, whole ones and their parts."""
        found: dict[str, None] = {}
        for node in self._nodes:
            if isinstance(node, cst.If | cst.While | cst.IfExp):
                waiting: list[cst.BaseExpression] = [node.test]
                while waiting:
                    test = waiting.pop(0)
                    text = self.wrapped(test) if isinstance(test, cst.BooleanOperation) else self.code(test)
                    if len(text) <= 80 and "\n" not in text and ":=" not in text:
                        found[text] = None
                    if isinstance(test, cst.BooleanOperation):
                        waiting += [test.left, test.right]
                    elif isinstance(test, cst.UnaryOperation):
                        waiting.append(test.expression)
        return list(found)

    @cached_property
    def ints(self) -> list[str]:
        return list(dict.fromkeys(self.code(n) for n in self.all_of(cst.Integer)))

    @cached_property
    def strings(self) -> list[str]:
        """Short string literals of the function, as written, without f-strings and docstrings."""
        texts = [self.code(n) for n in self.all_of(cst.SimpleString)]
        return list(dict.fromkeys(t for t in texts if len(t) <= 30 and "\n" not in t))

    @cached_property
    def returns(self) -> list[str]:
        """Values that the function returns elsewhere."""
        found = [self.code(n.value) for n in self.all_of(cst.Return) if isinstance(n, cst.Return) and n.value]
        return list(dict.fromkeys(t for t in found if len(t) <= 60 and "\n" not in t))

    def in_loop(self, node: cst.CSTNode) -> bool:
        for above in self.file.parents(node):
            if isinstance(above, cst.For | cst.While):
                return True
            if isinstance(above, cst.FunctionDef | cst.ClassDef):
                return False
        return False


Operator = Callable[[Context, cst.CSTNode], Iterator[Fix]]
StatementOperator = Callable[[Context, Statement], Iterator[Fix]]


def walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """`node` and all nodes in it, but not inner functions' and classes' bodies."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        yield here
        if here is not node and isinstance(here, cst.FunctionDef | cst.ClassDef):
            continue
        waiting += [
            c for c in reversed(here.children) if not isinstance(c, cst.BaseParenthesizableWhitespace)
        ]


def in_arithmetic(context: Context, node: cst.CSTNode) -> bool:
    """Is this a part of a sum or product that only numbers can have?"""
    parent = context.file.parent(node)
    return isinstance(parent, cst.BinaryOperation) and not isinstance(parent.operator, cst.Add | cst.Modulo)


def is_condition(context: Context, node: cst.CSTNode) -> bool:
    """Is only the truth of this expression asked?"""
    parent = context.file.parent(node)
    if isinstance(parent, cst.If | cst.While | cst.IfExp | cst.Assert):
        return parent.test is node
    if isinstance(parent, cst.CompIf):
        return True
    if isinstance(parent, cst.UnaryOperation):
        return isinstance(parent.operator, cst.Not)
    return isinstance(parent, cst.BooleanOperation) and (
        is_condition(context, parent)
        or (parent.left is node and not isinstance(context.file.parent(parent), cst.Assign))
    )


def is_read(context: Context, node: cst.CSTNode) -> bool:
    """Is this name, attribute or subscript read as a value, not assigned, defined, or the name of a keyword?"""
    parent = context.file.parent(node)
    if isinstance(
        parent, cst.AssignTarget | cst.Param | cst.FunctionDef | cst.ClassDef | cst.AsName | cst.ImportAlias
    ):
        return False
    if isinstance(parent, cst.Annotation | cst.NameItem | cst.Del | cst.ExceptHandler | cst.Decorator):
        return False
    if isinstance(parent, cst.AugAssign | cst.AnnAssign | cst.For | cst.CompFor | cst.NamedExpr):
        return parent.target is not node
    if isinstance(parent, cst.Attribute):
        return parent.value is node
    if isinstance(parent, cst.Arg):
        return parent.value is node
    if isinstance(parent, cst.Element | cst.Tuple | cst.List):
        above = context.file.parent(parent)
        while isinstance(above, cst.Element | cst.Tuple | cst.List):
            above = context.file.parent(above)
        return not isinstance(above, cst.AssignTarget | cst.For | cst.CompFor)
    return not isinstance(parent, cst.ImportFrom | cst.Global | cst.Nonlocal)
