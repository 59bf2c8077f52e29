"""A product file as a libcst tree whose nodes know their bytes, so that an edit keeps all other text."""

from __future__ import annotations

import bisect
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper, ParentNodeProvider


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the bytes from `start` to `end` (exclusive) of a file's UTF-8 text."""

    path: str
    start: int
    end: int
    new: str

    def overlaps(self, other: Edit) -> bool:
        if self.path != other.path:
            return False
        return (self.start < other.end and other.start < self.end) or (self.start, self.end) == (
            other.start,
            other.end,
        )


def apply_edits(text: str, edits: list[Edit]) -> str:
    """`text` with `edits` made, which must not overlap."""
    data = text.encode()
    for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        data = data[: edit.start] + edit.new.encode() + data[edit.end :]
    return data.decode()


@dataclass
class Function:
    """A function with the names that can be used in it."""

    node: cst.FunctionDef
    name: str
    class_name: str | None
    outer: Function | None
    params: list[str]
    locals: list[str] = field(default_factory=list)
    """Names assigned in it, in order of first assignment, without its parameters."""

    @property
    def names(self) -> list[str]:
        return self.params + [name for name in self.locals if name not in self.params]


@dataclass(frozen=True)
class Statement:
    """A simple statement line, or a compound statement."""

    node: cst.BaseStatement
    function: Function | None
    first: int
    """The first line, from 1, and the last one of the statement, or of a compound statement's header."""
    last: int
    block: cst.BaseSuite | cst.Module
    """What it stands in, and its position there."""
    index: int


class Unreadable(ValueError):
    """A text that is no Python, or one that would overflow the parser's stack and with it end this process."""


MAX_DEPTH = 100
"""Brackets or blocks in each other."""
MAX_CHAIN = 1500
"""Tokens of one expression without a comma or a bracket, such as 1 + 1 + ..., and `elif`s of a file."""


def check_depth(text: str) -> None:
    """Raises Unreadable."""
    counts = [0]
    blocks = elifs = 0
    for token in _tokens(text):
        blocks += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
        elifs += token.string == "elif"
        counts[-1] += 1
        if token.type == tokenize.NEWLINE or token.string in (",", ";"):
            counts[-1] = 0
        elif token.type == tokenize.OP and token.string in "([{":
            counts.append(0)
        elif token.type == tokenize.OP and token.string in ")]}" and len(counts) > 1:
            counts.pop()
        elif token.type == tokenize.STRING and "f" in token.string[:2].lower():
            inside = sum(token.string.count(bracket) for bracket in "([{")
            if inside > 3 * MAX_DEPTH or len(token.string) > 20 * MAX_CHAIN:
                raise Unreadable("a long f-string")
        if max(len(counts), blocks) > MAX_DEPTH or counts[-1] > MAX_CHAIN or elifs > MAX_CHAIN:
            raise Unreadable(f"line {token.start[0]}")


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(text).readline)
    except (tokenize.TokenError, SyntaxError) as error:
        raise Unreadable(str(error)) from error


class SourceFile:
    """Raises Unreadable."""

    def __init__(self, path: str, text: str) -> None:
        check_depth(text)
        self.path = path
        self.text = text
        self.data = text.encode()
        try:
            wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
            self._spans = wrapper.resolve(ByteSpanPositionProvider)
            self._parents = wrapper.resolve(ParentNodeProvider)
        except (cst.ParserSyntaxError, RecursionError) as error:
            raise Unreadable(str(error)) from error
        self.module = wrapper.module
        self._newlines = [i for i, byte in enumerate(self.data) if byte == 10]
        self.functions: list[Function] = []
        self.statements: list[Statement] = []
        self.globals: list[str] = []
        """Names bound at the module's level, in order."""
        self.methods: dict[str, list[str]] = {}
        """Class name to the names of its methods, then the attributes set on self."""
        try:
            self._survey(self.module, None, None)
        except RecursionError as error:
            raise Unreadable(str(error)) from error

    # Nodes and text

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        return self._parents.get(node)

    def parents(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        above = self.parent(node)
        while above is not None:
            yield above
            above = self.parent(above)

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """First byte and the one after the last, without own parentheses."""
        span = self._spans[node]
        return span.start, span.start + span.length

    def code(self, node: cst.CSTNode) -> str:
        """The text of an expression or small statement, without its own outer parentheses."""
        start, end = self.span(node)
        return self.data[start:end].decode()

    def line_of(self, byte: int) -> int:
        return bisect.bisect_left(self._newlines, byte) + 1

    def line_start(self, line: int) -> int:
        """The first byte of a line, counted from 1."""
        return (
            0
            if line == 1
            else self._newlines[line - 2] + 1
            if line - 2 < len(self._newlines)
            else len(self.data)
        )

    def lines(self, node: cst.CSTNode) -> tuple[int, int]:
        start, end = self.span(node)
        return self.line_of(start), self.line_of(max(start, end - 1))

    def indent(self, line: int) -> str:
        text = self.data[self.line_start(line) : self.line_start(line + 1)].decode()
        return text[: len(text) - len(text.lstrip(" \t"))]

    @property
    def newline(self) -> str:
        return self.module.default_newline

    # Survey

    def _survey(self, node: cst.CSTNode, function: Function | None, class_name: str | None) -> None:
        for child in node.children:
            if isinstance(child, cst.FunctionDef):
                if function is None and class_name is not None:
                    self.methods.setdefault(class_name, []).append(child.name.value)
                elif function is None:
                    self.globals.append(child.name.value)
                params = [p.name.value for p in _params(child.params)]
                inner = Function(child, child.name.value, class_name, function, params)
                self.functions.append(inner)
                self._note_statement(child, function)
                self._survey(child.body, inner, class_name)
                continue
            if isinstance(child, cst.ClassDef):
                if function is None:
                    self.globals.append(child.name.value)
                    self.methods.setdefault(child.name.value, [])
                self._note_statement(child, function)
                self._survey(child.body, function, child.name.value)
                continue
            if isinstance(child, cst.BaseStatement):
                self._note_statement(child, function)
            self._note_names(child, function, class_name)
            self._survey(child, function, class_name)

    def _note_statement(self, node: cst.BaseStatement, function: Function | None) -> None:
        block = self.parent(node)
        if not isinstance(block, cst.IndentedBlock | cst.Module):
            return
        first, last = self.lines(node)
        body = getattr(node, "body", None)
        if not isinstance(node, cst.SimpleStatementLine) and isinstance(body, cst.BaseSuite):
            last = max(first, self.lines(body)[0] - 1) if isinstance(body, cst.IndentedBlock) else first
        self.statements.append(Statement(node, function, first, last, block, list(block.body).index(node)))

    def _note_names(self, node: cst.CSTNode, function: Function | None, class_name: str | None) -> None:
        bound: list[cst.BaseExpression] = []
        if isinstance(
            node, cst.AssignTarget | cst.AnnAssign | cst.AugAssign | cst.For | cst.CompFor | cst.NamedExpr
        ):
            bound.append(node.target)
        elif isinstance(node, cst.AsName) or (
            isinstance(node, cst.ImportAlias) and node.asname is None and isinstance(node.name, cst.Name)
        ):
            bound.append(node.name)
        while bound:
            target = bound.pop(0)
            if isinstance(target, cst.Tuple | cst.List):
                bound += [element.value for element in target.elements]
            elif isinstance(target, cst.Name) and not (class_name and function is None):
                names = function.locals if function else self.globals
                if target.value not in names:
                    names.append(target.value)
            elif isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name) and class_name:
                attributes = self.methods.setdefault(class_name, [])
                if target.value.value == "self" and target.attr.value not in attributes:
                    attributes.append(target.attr.value)


def _params(params: cst.Parameters) -> list[cst.Param]:
    found = [*params.posonly_params, *params.params, *params.kwonly_params]
    if isinstance(params.star_arg, cst.Param):
        found.append(params.star_arg)
    if params.star_kwarg is not None:
        found.append(params.star_kwarg)
    return found
