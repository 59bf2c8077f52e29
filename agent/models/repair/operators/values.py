"""Repairs of values: numbers, arithmetic, names, attributes, subscripts, defaults."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import libcst as cst

from agent.models.repair.operators.base import Context, Fix, is_condition, is_read

_ARITHMETIC: dict[type[cst.BaseBinaryOp], tuple[str, tuple[str, ...]]] = {
    cst.Add: ("+", ("-", "*")),
    cst.Subtract: ("-", ("+", "%")),
    cst.Multiply: ("*", ("/", "//", "+", "**")),
    cst.Divide: ("/", ("//", "*")),
    cst.FloorDivide: ("//", ("/", "%", "*")),
    cst.Modulo: ("%", ("//",)),
    cst.BitAnd: ("&", ("|", "^")),
    cst.BitOr: ("|", ("&", "^")),
    cst.BitXor: ("^", ("|", "&")),
    cst.LeftShift: ("<<", (">>",)),
    cst.RightShift: (">>", ("<<",)),
    cst.Power: ("**", ("*",)),
}

_FAMILIES = (
    "match fullmatch search",
    "isdigit isdecimal isnumeric isalnum isalpha",
    "lower upper casefold title capitalize swapcase",
    "strip lstrip rstrip",
    "split rsplit partition rpartition splitlines",
    "find rfind index rindex",
    "startswith endswith",
    "append extend insert add",
    "pop popitem popleft",
    "keys values items",
    "remove discard",
    "weekday isoweekday",
    "date datetime",
    "encode decode",
    "read readline readlines",
    "min max",
    "any all",
    "floor ceil trunc round",
    "sorted reversed list set tuple frozenset",
    "int float str",
    "isinstance issubclass",
    "dict OrderedDict defaultdict",
    "removeprefix removesuffix",
    "exists isfile isdir lexists",
    "abspath realpath normpath",
    "basename dirname",
    "ljust rjust center",
    "total_seconds seconds",
    "gather wait",
    "quote quote_plus",
    "unquote unquote_plus",
)
_RELATIVES: dict[str, list[str]] = {}
for _family in _FAMILIES:
    for _member in _family.split():
        _RELATIVES.setdefault(_member, []).extend(m for m in _family.split() if m != _member)


def constant(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """Numbers off by one, other numbers at hand; True, False and None for each other."""
    if isinstance(node, cst.Integer):
        value = node.evaluated_value
        for new, prior in ((value + 1, 0.6), (value - 1, 0.6), (-value, 0.2), (0, 0.3), (1, 0.3)):
            if new != value:
                yield from context.swap(node, str(new), "constant", prior, atom=new >= 0)
        for written in context.ints[:30]:
            yield from context.swap(node, written, "constant", 0.2, atom=True)
        for number in context.evidence.numbers:
            yield from context.swap(node, str(number), "constant", 0.1)
    elif isinstance(node, cst.Name) and node.value in ("True", "False", "None") and is_read(context, node):
        for other in ("True", "False", "None"):
            yield from context.swap(node, other, "constant", 0.4, atom=True)
        if node.value == "None":
            for empty in ("''", "[]", "{}", "()", "0"):
                yield from context.swap(node, empty, "constant", 0.2, atom=True)


def arithmetic(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """Another operator, swapped or single operands; counting from one under a modulus."""
    if not isinstance(node, cst.BinaryOperation):
        return
    left, right = context.wrapped(node.left), context.wrapped(node.right)
    symbol, others = _ARITHMETIC.get(type(node.operator), ("", ()))
    between = context.file.span(node.left)[1], context.file.span(node.right)[0]
    place = context.file.data[between[0] : between[1]].decode().find(symbol) if symbol else -1
    if place >= 0:
        at = between[0] + len(context.file.data[between[0] : between[1]].decode()[:place].encode())
        for other in others:
            yield Fix(at, at + len(symbol), other, "arithmetic", 0.4)
    if not isinstance(node.operator, cst.Add | cst.Multiply | cst.BitAnd | cst.BitOr):
        yield from context.swap(node, f"{right} {symbol} {left}", "swap-operands", 0.25)
    yield from context.swap(node, left, "drop-operand", 0.3, atom=True)
    yield from context.swap(node, right, "drop-operand", 0.2, atom=True)
    if isinstance(node.operator, cst.Modulo) and not isinstance(
        node.left, cst.SimpleString | cst.FormattedString
    ):
        yield from context.swap(node, f"({left} - 1) % {right} + 1", "one-based", 0.3)
        yield from context.swap(node, f"({left} + 1) % {right}", "one-based", 0.3)
        yield from context.swap(node, f"({left} - 1) % {right}", "one-based", 0.3)
        for number in context.ints:
            if number not in ("0", "1"):
                yield from context.swap(node, f"{left} % {number} % {right}", "modulus", 0.15)


def off_by_one(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """One more or one less, where numbers are likely: bounds, indices, comparisons, arithmetic."""
    if not isinstance(node, cst.Name | cst.Attribute | cst.Call | cst.Subscript | cst.BinaryOperation):
        return
    if not is_read(context, node) or (
        isinstance(node, cst.Name) and node.value in ("True", "False", "None", "self")
    ):
        return
    parent = context.file.parent(node)
    near = isinstance(
        parent, cst.Index | cst.Slice | cst.Comparison | cst.ComparisonTarget | cst.BinaryOperation
    )
    if near or isinstance(parent, cst.Arg | cst.Return | cst.Assign):
        prior = 0.3 if near else 0.15
        text = context.wrapped(node)
        yield from context.swap(node, f"{text} + 1", "off-by-one", prior)
        yield from context.swap(node, f"{text} - 1", "off-by-one", prior)


def modulus(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """An amount taken modulo a small number: wrap-around that was forgotten."""
    parent = context.file.parent(node)
    if isinstance(node, cst.BinaryOperation | cst.Call) and isinstance(parent, cst.BinaryOperation):
        for number in dict.fromkeys([*context.ints, "7", "10", "12", "24", "26", "60", "100"]):
            if number not in ("0", "1"):
                yield from context.swap(node, f"{context.wrapped(node)} % {number}", "modulus", 0.12)


def other_name(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """Another variable, attribute, method or function in place of a name."""
    if not isinstance(node, cst.Name | cst.Attribute) or not is_read(context, node):
        return
    text = context.code(node)
    parent = context.file.parent(node)
    called = isinstance(parent, cst.Call) and parent.func is node
    last = node.attr if isinstance(node, cst.Attribute) else node
    for relative in _RELATIVES.get(last.value, []):
        prior = 0.55 if called else 0.2
        yield from context.swap(last, relative, "method", prior, atom=True)
    if text in ("self", "cls", "True", "False", "None"):
        return
    if called or text in context.file.globals:
        pool = [n for n in context.file.globals if n != text]
        if isinstance(node, cst.Attribute) and text.startswith("self."):
            pool = context.attributes
        for name in difflib.get_close_matches(text, pool, n=6, cutoff=0.5):
            yield from context.swap(node, name, "name", 0.4, atom=True)
        return
    if isinstance(node, cst.Attribute) and text.startswith("self."):
        for name in context.attributes:
            yield from context.swap(node, name, "name", 0.25, atom=True)
    if isinstance(node, cst.Attribute):
        others = [a.attr.value for a in context.all_of(cst.Attribute) if isinstance(a, cst.Attribute)]
        for name in dict.fromkeys(others):
            yield from context.swap(node.attr, name, "attribute", 0.15, atom=True)
        return
    for name in context.names:
        yield from context.swap(node, name, "name", 0.3, atom=True)
    for name in context.attributes:
        if name.rsplit(".", 1)[-1].strip("_") == text.strip("_"):
            yield from context.swap(node, name, "name", 0.4, atom=True)


def subscript(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """`d[k]` and `d.get(k)`; bounds of slices left out, first and last element."""
    if isinstance(node, cst.Subscript) and len(node.slice) == 1 and is_read(context, node):
        value, piece = context.wrapped(node.value), node.slice[0].slice
        if isinstance(piece, cst.Index):
            key = context.code(piece)
            yield from context.swap(node, f"{value}.get({key})", "get", 0.3, atom=True)
            if key in ("0", "-1"):
                yield from context.swap(
                    node, f"{value}[{'-1' if key == '0' else '0'}]", "index", 0.3, atom=True
                )
        elif isinstance(piece, cst.Slice):
            lower = context.code(piece.lower) if piece.lower else ""
            upper = context.code(piece.upper) if piece.upper else ""
            if lower:
                yield from context.swap(node, f"{value}[:{upper}]", "slice", 0.25, atom=True)
            if upper:
                yield from context.swap(node, f"{value}[{lower}:]", "slice", 0.25, atom=True)
            for new in ("1", *context.names[:8]):
                if not lower:
                    yield from context.swap(node, f"{value}[{new}:{upper}]", "slice", 0.2, atom=True)
                if not upper:
                    yield from context.swap(node, f"{value}[{lower}:{new}]", "slice", 0.2, atom=True)
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value == "get":
        if node.args:
            value, key = context.wrapped(node.func.value), context.code(node.args[0].value)
            yield from context.swap(node, f"{value}[{key}]", "get", 0.25, atom=True)
        if len(node.args) == 1:
            for default in ("''", "0", "[]", "{}", "()", "False", "True"):
                yield from context.swap(
                    node, f"{value}.get({key}, {default})", "get-default", 0.25, atom=True
                )


def fallback(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """A default where a value may be empty or None, and a bound where it may be too large or small."""
    parent = context.file.parent(node)
    if not isinstance(node, cst.Name | cst.Attribute | cst.Call | cst.Subscript | cst.BinaryOperation):
        return
    if not isinstance(
        parent,
        cst.Assign
        | cst.Return
        | cst.Arg
        | cst.For
        | cst.CompFor
        | cst.IfExp
        | cst.Comparison
        | cst.ComparisonTarget,
    ):
        return
    if not is_read(context, node) or is_condition(context, node):
        return
    text = context.wrapped(node)
    if not isinstance(parent, cst.Comparison | cst.ComparisonTarget | cst.IfExp):
        for empty in ("[]", "()", "''", "{}", "0"):
            yield from context.swap(node, f"{text} or {empty}", "default", 0.15)
        for name in context.names[:12]:
            for new in (name, f"[{name}]", f"({name},)", f"[str({name})]", f"(str({name}),)"):
                yield from context.swap(node, f"{text} or {new}", "default", 0.08)
    limits = list(context.names[:12])
    limits += [f"len({name})" for name in context.names[:12]]
    if isinstance(parent, cst.IfExp):
        limits = [context.code(parent.body), context.code(parent.orelse), *limits]
    for position, limit in enumerate(dict.fromkeys(limits)):
        if limit != text and not isinstance(parent, cst.For | cst.CompFor):
            prior = 0.45 if isinstance(parent, cst.IfExp) and position < 2 else 0.1
            yield from context.swap(node, f"min({text}, {limit})", "bound", prior, atom=True)
            yield from context.swap(node, f"max({text}, {limit})", "bound", prior, atom=True)


def branch(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """A conditional expression's branches swapped, or one of them alone; a comprehension's source alone."""
    if isinstance(node, cst.IfExp):
        test, body, orelse = (context.code(n) for n in (node.test, node.body, node.orelse))
        yield from context.swap(node, f"{orelse} if {test} else {body}", "swap-branches", 0.25)
        yield from context.swap(node, f"({body})", "branch", 0.2, atom=True)
        yield from context.swap(node, f"({orelse})", "branch", 0.2, atom=True)
    if isinstance(node, cst.ListComp | cst.GeneratorExp | cst.SetComp):
        yield from context.swap(node, context.wrapped(node.for_in.iter), "comprehension", 0.15, atom=True)
