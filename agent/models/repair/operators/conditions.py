"""Repairs of conditions: comparisons, and/or/not, truth against None, missing and needless parts."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from agent.models.repair.operators.base import Context, Fix, is_condition

_COMPARISONS: dict[type[cst.BaseCompOp], tuple[str, list[tuple[str, float]]]] = {
    cst.LessThan: ("<", [("<=", 0.9), (">", 0.3), ("!=", 0.3), (">=", 0.3)]),
    cst.LessThanEqual: ("<=", [("<", 0.9), (">=", 0.3), ("==", 0.3), (">", 0.3)]),
    cst.GreaterThan: (">", [(">=", 0.9), ("<", 0.3), ("!=", 0.3), ("<=", 0.3)]),
    cst.GreaterThanEqual: (">=", [(">", 0.9), ("<=", 0.3), ("==", 0.3), ("<", 0.3)]),
    cst.Equal: ("==", [("!=", 0.5), ("<=", 0.4), (">=", 0.4), ("in", 0.3), ("is", 0.1)]),
    cst.NotEqual: ("!=", [("==", 0.5), ("<", 0.35), (">", 0.35), ("not in", 0.25)]),
    cst.Is: ("is", [("is not", 0.5), ("==", 0.4)]),
    cst.IsNot: ("is not", [("is", 0.5), ("!=", 0.4)]),
    cst.In: ("in", [("not in", 0.5), ("==", 0.3)]),
    cst.NotIn: ("not in", [("in", 0.5), ("!=", 0.3)]),
}


def comparison(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """Another comparison operator."""
    if not isinstance(node, cst.Comparison):
        return
    for target in node.comparisons:
        _, others = _COMPARISONS.get(type(target.operator), ("", []))
        start = context.file.span(target)[0]
        text = context.code(target)
        symbol = _COMPARISONS.get(type(target.operator), ("", []))[0]
        place = text.find(symbol) if symbol else -1
        if place < 0:
            continue
        at = start + len(text[:place].encode())
        for other, prior in others:
            yield Fix(at, at + len(symbol), other, "comparison", prior)


def boolean(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """`and` for `or` and back; one side alone."""
    if not isinstance(node, cst.BooleanOperation):
        return
    left, right = context.file.span(node.left), context.file.span(node.right)
    between = context.file.data[left[1] : right[0]].decode()
    word, other = ("and", "or") if isinstance(node.operator, cst.And) else ("or", "and")
    place = between.find(word)
    if place >= 0:
        at = left[1] + len(between[:place].encode())
        yield Fix(at, at + len(word), other, "and-or", 0.4)
    for side in (node.left, node.right):
        yield from context.swap(node, context.wrapped(side), "drop-condition", 0.3, atom=True)


def negation(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """Negate a condition, or take `not` away."""
    if not isinstance(node, cst.BaseExpression) or not is_condition(context, node):
        return
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Not):
        yield from context.swap(node, context.wrapped(node.expression), "negation", 0.4, atom=True)
    elif not isinstance(node, cst.BooleanOperation | cst.Comparison):
        yield from context.swap(node, f"not {context.wrapped(node)}", "negation", 0.35)
    elif isinstance(node, cst.BooleanOperation):
        yield from context.swap(node, f"not ({context.code(node)})", "negation", 0.3)


def none_check(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """Truth against `is None` and membership, both ways: empty and zero values are where they differ."""
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Not):
        inner = node.expression
        if is_condition(context, node) and isinstance(
            inner, cst.Name | cst.Attribute | cst.Call | cst.Subscript
        ):
            text = context.code(inner)
            yield from context.swap(node, f"{text} is None", "none-check", 0.85)
            for key, where in _lookup(context, inner):
                yield from context.swap(node, f"{key} not in {where}", "membership", 0.75)
        return
    if isinstance(node, cst.Name | cst.Attribute | cst.Call | cst.Subscript) and is_condition(context, node):
        parent = context.file.parent(node)
        if not (isinstance(parent, cst.UnaryOperation) and isinstance(parent.operator, cst.Not)):
            text = context.code(node)
            yield from context.swap(node, f"{text} is not None", "none-check", 0.9)
            for key, where in _lookup(context, node):
                yield from context.swap(node, f"{key} in {where}", "membership", 0.85)
    if isinstance(node, cst.Comparison) and len(node.comparisons) == 1:
        target = node.comparisons[0]
        if isinstance(target.comparator, cst.Name) and target.comparator.value == "None":
            text = context.wrapped(node.left)
            if isinstance(target.operator, cst.Is | cst.Equal):
                yield from context.swap(node, f"not {text}", "truth-check", 0.6)
            elif isinstance(target.operator, cst.IsNot | cst.NotEqual):
                yield from context.swap(node, text, "truth-check", 0.6, atom=True)
    if (
        isinstance(node, cst.BooleanOperation)
        and isinstance(node.operator, cst.Or)
        and not is_condition(context, node)
    ):
        left, right = context.wrapped(node.left), context.wrapped(node.right)
        yield from context.swap(node, f"{left} if {left} is not None else {right}", "none-default", 0.6)


def _lookup(context: Context, node: cst.BaseExpression) -> Iterator[tuple[str, str]]:
    """The key and the mapping of `mapping.get(key)`."""
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute):
        return
    if node.func.attr.value == "get" and node.args:
        yield context.wrapped(node.args[0].value), context.code(node.func.value)


def extend(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """A condition with one more part: from conditions and names at hand."""
    if not isinstance(node, cst.BaseExpression):
        return
    parent = context.file.parent(node)
    whole = isinstance(parent, cst.If | cst.While | cst.CompIf | cst.IfExp) and parent.test is node
    returned = isinstance(parent, cst.Return) and isinstance(
        node, cst.Comparison | cst.BooleanOperation | cst.UnaryOperation
    )
    if not whole and not returned:
        return
    text = context.code(node)
    loose = isinstance(node, cst.BooleanOperation | cst.IfExp | cst.Lambda | cst.NamedExpr)
    chain = type(node.operator) if isinstance(node, cst.BooleanOperation) else None
    for_and = f"({text})" if loose and chain is not cst.And else text
    for_or = f"({text})" if loose and chain is None else text
    for atom, weight in atoms(context, node):
        if atom in text:
            continue
        yield from context.swap(node, f"{for_and} and {atom}", "narrow", 0.3 * weight)
        yield from context.swap(node, f"{for_or} or {atom}", "widen", 0.3 * weight)
        if isinstance(parent, cst.If):
            # A second part stands first where it protects the first from an exception.
            yield from context.swap(node, f"{atom} and {for_and}", "narrow", 0.2 * weight)


def atoms(context: Context, near: cst.CSTNode) -> Iterator[tuple[str, float]]:
    """Simple conditions that could matter at a place, with a weight; names used near the place come first."""
    text = context.code(near) if not isinstance(near, cst.BaseCompoundStatement) else ""
    for condition in context.conditions:
        yield condition, 0.9
        yield f"not {condition}" if condition.isidentifier() else f"not ({condition})", 0.5
    for name in context.names + context.attributes:
        weight = 1.0 if name in text else 0.6
        yield name, weight
        yield f"not {name}", weight
        yield f"{name} is None", weight
        yield f"{name} is not None", weight
        for number in ("0", "1", "-1"):
            yield f"{name} == {number}", weight * 0.6
            yield f"{name} > {number}", weight * 0.4
        for test in ("isdigit", "isalpha", "isspace"):
            for part in ("", "[0]", "[-1]"):
                yield f"{name}{part}.{test}()", weight * (0.25 if part else 0.15)
                yield f"not {name}{part}.{test}()", weight * (0.25 if part else 0.15)
    for container in context.names[:6]:
        for name in context.names[:6]:
            if name != container:
                yield f"{name} in {container}", 0.2
                yield f"{name} < len({container})", 0.25
                yield f"{name} == {container}", 0.2
