"""Repairs of strings, regular expressions and their flags, encodings."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from agent.models.repair.operators.base import Context, Fix

_REGEX_CALLS = {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
_FLAGS = ("re.DOTALL", "re.IGNORECASE", "re.MULTILINE", "re.ASCII", "re.VERBOSE")


def string(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """Another string at hand, another encoding, another case; in regular expressions see `pattern`."""
    if not isinstance(node, cst.SimpleString) or context.in_fstring(node):
        return
    text = context.code(node)
    if isinstance(context.file.parent(node), cst.Expr) or len(text) > 400:
        return
    for other in context.strings[:30]:
        yield from context.swap(node, other, "string", 0.2, atom=True)
    value = node.evaluated_value
    if not isinstance(value, str):
        return
    if value.lower().replace("_", "-") in ("utf-8", "utf8"):
        yield from context.swap(node, "'utf-8-sig'", "encoding", 0.5, atom=True)
    if value in ("ascii", "latin-1", "latin1", "iso-8859-1"):
        yield from context.swap(node, "'utf-8'", "encoding", 0.4, atom=True)
    if 1 <= len(value) <= 40 and "r" not in node.prefix:
        for new in (value.lower(), value.upper(), value.strip(), value + " ", value + "\\n"):
            if new != value and "'" not in new and "\\" not in value:
                yield from context.swap(node, f"'{new}'", "string", 0.1, atom=True)
        for wanted in context.evidence.strings:
            if len(wanted) <= 30 and wanted.isprintable() and "'" not in wanted and "\\" not in wanted:
                yield from context.swap(node, f"'{wanted}'", "test-string", 0.06, atom=True)


def pattern(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """Small changes of a regular expression: anchors, unescaped dots, repetition, classes."""
    if not isinstance(node, cst.SimpleString | cst.FormattedStringText):
        return
    text = context.code(node)
    raw = isinstance(node, cst.FormattedStringText) or "r" in node.prefix.lower()
    if not raw or not re.search(r"[\\^$*+?\[\]().|]", text) or len(text) > 600 or "\n" in text:
        return
    start, _ = context.file.span(node)
    seen: set[tuple[int, int, str]] = set()

    def change(at: int, length: int, new: str, prior: float) -> Iterator[Fix]:
        if (at, length, new) not in seen:
            seen.add((at, length, new))
            first = start + len(text[:at].encode())
            yield Fix(first, first + len(text[at : at + length].encode()), new, "regex", prior)

    for match in re.finditer(r"\\.|\[(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|.", text):
        piece, at = match[0], match.start()
        if piece == "$":
            yield from change(at, 1, "\\Z", 0.6)
        elif piece == ".":
            yield from change(at, 1, "\\.", 0.5)
            yield from change(at, 1, "[\\s\\S]", 0.3)
        elif piece in "+*":
            for new in {"+": ("*", "+?"), "*": ("+", "*?")}[piece]:
                yield from change(at, 1, new, 0.4)
        elif piece == "?":
            yield from change(at, 1, "", 0.3)
            yield from change(at, 1, "*", 0.2)
        elif piece.startswith("{") and len(piece) > 1:
            for number in re.finditer(r"\d+", piece):
                for new in (str(int(number[0]) + 1), str(max(0, int(number[0]) - 1))):
                    yield from change(at + number.start(), len(number[0]), new, 0.3)
        elif piece in ("\\d", "\\w", "\\s", "\\S", "\\W", "\\D"):
            for new in {
                "\\d": ("[0-9]", "\\w"),
                "\\w": ("[^\\W_]", "[A-Za-z0-9_]", "\\d"),
                "\\s": ("[ \\t]", "\\s*"),
            }.get(piece, ()):
                yield from change(at, 2, new, 0.25)
            yield from change(at, 2, piece + "*", 0.2)
            yield from change(at, 2, piece + "?", 0.2)
        elif piece.startswith("[") and len(piece) > 2:
            inner = piece[1:-1]
            for extra in ("_", "-", ".", "\\s", "\\\\", "a-z", "A-Z", "0-9"):
                if extra not in inner:
                    yield from change(at + len(piece) - 1, 0, extra, 0.12)
            for part in re.finditer(r"\\.|\w-\w|.", inner):
                if len(inner) > len(part[0]) and inner != "^" + part[0] and part[0] != "^":
                    yield from change(at + 1 + part.start(), len(part[0]), "", 0.12)
            yield from change(at + len(piece), 0, "?", 0.1)
            yield from change(at + len(piece), 0, "*", 0.1)
            yield from change(at + len(piece), 0, "+", 0.1)
        elif piece == "|":
            continue


def flags(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """Flags of a regular expression: added to a call, to a value that is called flags, or to a flag."""
    if (
        isinstance(node, cst.Call)
        and isinstance(node.func, cst.Attribute)
        and context.code(node.func.value) == "re"
    ):
        name = node.func.attr.value
        if name in _REGEX_CALLS and node.args:
            start, _ = context.file.span(node)
            text = context.code(node)
            given = len(node.args) > {"compile": 1, "sub": 3, "subn": 3, "split": 2}.get(name, 2)
            if not given and text.endswith(")"):
                tail = text[:-1].rstrip()
                comma = "" if tail.endswith(",") else ","
                at = start + len(tail.encode())
                for flag in _FLAGS[:4]:
                    yield Fix(at, at, f"{comma} flags={flag}", "regex-flag", 0.35)
    parent = context.file.parent(node)
    if isinstance(node, cst.Attribute) and context.code(node) in (
        "re.I",
        "re.IGNORECASE",
        "re.M",
        "re.MULTILINE",
        "re.S",
        "re.U",
        "re.X",
        "re.DOTALL",
        "re.VERBOSE",
    ):
        for flag in _FLAGS[:4]:
            yield from context.swap(node, f"{context.code(node)} | {flag}", "regex-flag", 0.3)
    if isinstance(node, cst.Integer) and node.value == "0" and _is_flags(context, node, parent):
        for flag in _FLAGS[:4]:
            yield from context.swap(node, flag, "regex-flag", 0.5, atom=True)


def _is_flags(context: Context, node: cst.Integer, parent: cst.CSTNode | None) -> bool:
    if isinstance(parent, cst.IfExp):
        return "re." in context.code(parent)
    if isinstance(parent, cst.Assign):
        return any("flag" in context.code(target).lower() for target in parent.targets)
    return isinstance(parent, cst.Arg) and parent.keyword is not None and "flag" in parent.keyword.value
