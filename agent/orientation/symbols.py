"""The symbols of a source file, by tree-sitter: what is defined where, and which names each definition uses.

Runs in the process of `indexer.py`, since the grammars are C code that reads hostile text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Parser

MAX_SIGNATURE = 120
"""Characters of a signature."""
MAX_SYMBOLS = 5_000
"""In one file; the ones after them count as text of their file."""

FILE_SECONDS = 3.0
"""Of CPU for one file. 512 KB of honest code take a tenth of it; text that is made to be slow takes minutes."""

LANGUAGES = {
    ".py": "python",
    ".pyi": "python",
    ".js": "javascript",
    ".jsx": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".ts": "typescript",
    ".mts": "typescript",
    ".cts": "typescript",
    ".tsx": "tsx",
    ".go": "go",
    ".rs": "rust",
    ".java": "java",
}
"""By the ending of a file's name."""

_FUNCTIONS = frozenset({"arrow_function", "function_expression", "generator_function", "class"})
_ECMASCRIPT = {
    "class_declaration": "class",
    "function_declaration": "function",
    "generator_function_declaration": "function",
    "method_definition": "function",
    "abstract_class_declaration": "class",
    "interface_declaration": "class",
    "enum_declaration": "class",
    "type_alias_declaration": "class",
    "internal_module": "class",
    "function_signature": "function",
    "method_signature": "function",
    "abstract_method_signature": "function",
}
_KINDS: Mapping[str, Mapping[str, str]] = {
    "python": {"class_definition": "class", "function_definition": "function"},
    "javascript": _ECMASCRIPT,
    "typescript": _ECMASCRIPT,
    "tsx": _ECMASCRIPT,
    "go": {
        "function_declaration": "function",
        "method_declaration": "function",
        "type_spec": "class",
        "var_spec": "value",
        "const_spec": "value",
    },
    "rust": {
        "struct_item": "class",
        "enum_item": "class",
        "union_item": "class",
        "trait_item": "class",
        "type_item": "class",
        "impl_item": "class",
        "mod_item": "class",
        "function_item": "function",
        "function_signature_item": "function",
        "macro_definition": "function",
        "const_item": "value",
        "static_item": "value",
    },
    "java": {
        "class_declaration": "class",
        "interface_declaration": "class",
        "enum_declaration": "class",
        "record_declaration": "class",
        "annotation_type_declaration": "class",
        "method_declaration": "function",
        "constructor_declaration": "function",
    },
}
"""Nodes that define something, by the grammar's names for them."""
_PYTHON_HOLDERS = (
    "module block decorated_definition class_definition function_definition if_statement elif_clause else_clause "
    "try_statement except_clause finally_clause with_statement for_statement while_statement expression_statement"
)
_JAVA_HOLDERS = (
    "program class_declaration interface_declaration enum_declaration record_declaration class_body interface_body "
    "enum_body enum_body_declarations annotation_type_declaration annotation_type_body"
)
_HOLDERS: Mapping[str, frozenset[str]] = {
    "python": frozenset(_PYTHON_HOLDERS.split()),
    "go": frozenset(
        {"source_file", "type_declaration", "var_declaration", "var_spec_list", "const_declaration"}
    ),
    "rust": frozenset({"source_file", "mod_item", "impl_item", "trait_item", "declaration_list"}),
    "java": frozenset(_JAVA_HOLDERS.split()),
}
"""Nodes in which definitions are looked for; in JavaScript and TypeScript they may be in any."""
_ASSIGNED = {
    "variable_declarator": ("name", "value"),
    "assignment_expression": ("left", "right"),
    "pair": ("key", "value"),
    "field_definition": ("property", "value"),
    "public_field_definition": ("name", "value"),
}
"""Fields of the name and the value, in JavaScript and TypeScript."""
CHUNK = 1 << 16
"""Bytes that the parser takes at once."""
MAX_DEPTH = 80
"""Of nodes in nodes."""
_STRINGS = rb'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
_PYTHON_PROSE = re.compile(rb'#[^\n]*|"""(?s:.*?)"""|\'\'\'(?s:.*?)\'\'\'|' + _STRINGS)
_OTHER_PROSE = re.compile(rb"//[^\n]*|/\*(?s:.*?)\*/|" + _STRINGS)
"""What is text in a program, not code: words of it are no references."""
_NAME = re.compile(rb"[A-Za-z_$\x80-\xff][\w$\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class Symbol:
    """One definition."""

    name: str
    kind: str
    """class (whatever holds others: interfaces, modules, impl blocks), function or value."""
    line: int
    end: int
    """Lines, from 1, the last included."""
    signature: str
    """One line, at most MAX_SIGNATURE characters."""
    parent: int
    """The place of the definition that holds this one; -1 at the top."""
    start: int
    stop: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Parsed:
    symbols: Sequence[Symbol]
    """In the order of their lines."""
    own: Sequence[Sequence[bytes]]
    """All names in the text of each symbol that lies in no other, comments and strings included; the file's own text
    comes last."""
    used: Sequence[Sequence[bytes]]
    """The same without comments and strings."""


class TooSlow(Exception):
    """A file takes longer to parse than FILE_SECONDS."""


def language_of(path: str) -> str | None:
    """The language of a file that can be read here, by its name."""
    return LANGUAGES.get("." + path.rpartition(".")[2].lower())


def symbols(language: str, source: bytes) -> list[Symbol]:
    """The definitions in `source`, also where not all of it can be parsed. Raises TooSlow."""
    return _symbols(language, source, _Limit())


def parsed(language: str, source: bytes) -> Parsed:
    """The definitions in `source`, with the names in each. Raises TooSlow."""
    found = symbols(language, source)
    prose = _PYTHON_PROSE if language == "python" else _OTHER_PROSE
    code = prose.sub(lambda match: b" " * len(match[0]), source)
    return Parsed(found, _names(found, source), _names(found, code))


class _Limit:
    """The time that is left for one file."""

    def __init__(self) -> None:
        self._end = time.process_time() + FILE_SECONDS
        self._asked = 0

    def over(self, *_: object) -> bool:
        self._asked += 1
        return self._asked % 16 == 0 and time.process_time() > self._end  # looking at that clock is slow

    def root(self, language: str, source: bytes) -> Node:
        parser = _parser(language)
        try:
            tree = parser.parse(lambda at, _: source[at : at + CHUNK], progress_callback=self.over)
        except ValueError:
            parser.reset()
            raise TooSlow from None
        return tree.root_node


def _definitions(language: str, root: Node, limit: _Limit) -> Iterator[tuple[Node, Node, str]]:
    """(node, node of its name, kind) of each definition, outer ones before those in them.

    Walked by a cursor, not asked for by a query: tree-sitter's queries take minutes for deep nesting, and can't be
    ended then (0.26.1 crashes).
    """
    kinds, holders = _KINDS[language], _HOLDERS.get(language)
    cursor = root.walk()
    depth = steps = 0
    while True:
        node = cursor.node
        assert node is not None
        steps += 1
        if steps % 100 == 0 and limit.over():
            raise TooSlow
        kind = kinds.get(node.type)
        name = node.child_by_field_name("name" if node.type != "impl_item" else "type") if kind else None
        if kind and name is not None:
            yield node, name, kind
        elif kind is None and (other := _assigned(language, node, depth)):
            yield other
        inside = depth < MAX_DEPTH and (holders is None or node.type in holders)
        if inside and cursor.goto_first_child():
            depth += 1
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return
            depth -= 1


def _assigned(language: str, node: Node, depth: int) -> tuple[Node, Node, str] | None:
    """A definition by assignment: a value of a module, or a function that is given a name."""
    if language == "python":
        left = node.child_by_field_name("left") if node.type == "assignment" and depth == 2 else None
        return (node, left, "value") if left is not None and left.type == "identifier" else None
    fields = _ASSIGNED.get(node.type) if language not in _HOLDERS else None
    if fields is None:
        return None
    name, value = node.child_by_field_name(fields[0]), node.child_by_field_name(fields[1])
    if name is not None and name.type == "member_expression":
        name = name.child_by_field_name("property")
    if name is None or value is None:
        return None
    if value.type in _FUNCTIONS:
        return node, name, "function"
    top = node.type == "variable_declarator" and depth <= 3 and name.type == "identifier"
    return (node, name, "value") if top and _at_top(node) else None


def _at_top(node: Node) -> bool:
    outer = node.parent and node.parent.parent
    return outer is not None and outer.type in ("program", "export_statement")


def _symbols(language: str, source: bytes, limit: _Limit) -> list[Symbol]:
    found: list[Symbol] = []
    open_ones: list[int] = []
    for node, name, kind in _definitions(language, limit.root(language, source), limit):
        if len(found) == MAX_SYMBOLS:
            break
        start, stop = node.start_byte, node.end_byte
        while open_ones and found[open_ones[-1]].stop <= start:
            open_ones.pop()
        parent = open_ones[-1] if open_ones else -1
        open_ones.append(len(found))
        first, last = node.start_point[0] + 1, node.end_point[0] + 1
        text = source[name.start_byte : name.end_byte][:MAX_SIGNATURE].decode("utf-8", "replace")
        found.append(Symbol(text, kind, first, last, _signature(node, source), parent, start, stop))
    return found


def _signature(node: Node, source: bytes) -> str:
    """The text of a definition up to its body, on one line."""
    inner = node.child_by_field_name("value") or node.child_by_field_name("right") or node
    body = node.child_by_field_name("body") or inner.child_by_field_name("body")
    stop = body.start_byte if body is not None else node.end_byte
    head = source[node.start_byte : min(stop, node.start_byte + 4 * MAX_SIGNATURE)]
    if body is None and node.child_by_field_name("right") is None and b"\n" in head:
        head = head.split(b"\n")[0]
    text = " ".join(head.decode("utf-8", "replace").split()).removesuffix("=>").rstrip(" {:=;")
    return text if len(text) <= MAX_SIGNATURE else text[: MAX_SIGNATURE - 1] + "…"


def _names(found: Sequence[Symbol], text: bytes) -> list[list[bytes]]:
    """The names in the text that is each symbol's own, and last those outside of all."""
    own: list[list[bytes]] = [[] for _ in range(len(found) + 1)]
    for owner, start, stop in _stretches(found, len(text)):
        own[owner] += _NAME.findall(text, start, stop)
    return own


def _stretches(found: Sequence[Symbol], size: int) -> Iterator[tuple[int, int, int]]:
    """(symbol, start, stop) of each stretch of text by the innermost symbol around it; -1 is none."""
    at, open_ones = 0, [-1]
    for index, symbol in enumerate(found):
        while open_ones[-1] >= 0 and found[open_ones[-1]].stop <= symbol.start:
            ended = open_ones.pop()
            yield ended, at, found[ended].stop
            at = max(at, found[ended].stop)
        yield open_ones[-1], at, symbol.start
        at = symbol.start
        open_ones.append(index)
    while open_ones[-1] >= 0:
        ended = open_ones.pop()
        yield ended, at, found[ended].stop
        at = max(at, found[ended].stop)
    yield -1, at, size


@cache
def _parser(language: str) -> Parser:
    from tree_sitter import Parser

    return Parser(_language(language))


@cache
def _language(language: str) -> Language:
    from tree_sitter import Language

    package = "typescript" if language == "tsx" else language
    grammar = import_module(f"tree_sitter_{package}")
    makes = {"typescript": "language_typescript", "tsx": "language_tsx"}.get(language, "language")
    return Language(getattr(grammar, makes)())
