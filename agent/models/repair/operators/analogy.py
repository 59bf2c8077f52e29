"""Repairs by analogy: an expression taken from a sibling that does the same for another name."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from agent.models.repair.operators.base import Context, Fix, is_read, walk

_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+")


def analogous(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """The value of a return, an assignment or a condition, written as its siblings are, with one word adapted."""
    kind = _role(context, node)
    if kind is None or not isinstance(node, cst.BaseExpression):
        return
    own = context.code(node)
    if "\n" in own or len(own) > 160:
        return
    words = list(dict.fromkeys(_TOKEN.findall(own)))
    for other in _siblings(context, kind):
        if other == own:
            continue
        yield from context.swap(node, other, "analogy", 0.2)
        theirs = list(dict.fromkeys(_TOKEN.findall(other)))
        for word in theirs:
            if word in words:
                continue
            for mine in words:
                if mine not in theirs:
                    yield from context.swap(node, re.sub(rf"\b{word}\b", mine, other), "analogy", 0.45)


def same_call(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """What another place asks a function about its value, asked here about the value at hand."""
    if _role(context, node) is None or not isinstance(node, cst.BaseExpression):
        return
    own = context.code(node)
    kinds = (cst.Name, cst.Attribute, cst.Subscript)
    inner = [n for n in walk(node) if isinstance(n, kinds) and is_read(context, n)]
    subjects = [t for t in dict.fromkeys(map(context.code, inner)) if len(t) <= 30][:8]
    seen: set[str] = set()
    for call in context.all_of(cst.Call):
        text = context.code(call)
        if text in own or text in seen or "\n" in text or len(text) > 80 or len(seen) >= 12:
            continue
        seen.add(text)
        start = context.file.span(call)[0]
        for arg in call.args if isinstance(call, cst.Call) else ():
            first, last = (at - start for at in context.file.span(arg.value))
            for subject in subjects:
                new = text.encode()[:first] + subject.encode() + text.encode()[last:]
                yield from context.swap(node, new.decode(), "same-call", 0.2, atom=True)


def _role(context: Context, node: cst.CSTNode) -> type[cst.CSTNode] | None:
    parent = context.file.parent(node)
    if isinstance(parent, cst.Return | cst.Assign) and parent.value is node:
        return type(parent)
    return cst.If if isinstance(parent, cst.If) and parent.test is node else None


def _siblings(context: Context, kind: type[cst.CSTNode]) -> Iterator[str]:
    seen: set[str] = set()
    for node in context.all_of(kind):
        value = node.test if isinstance(node, cst.If) else getattr(node, "value", None)
        if isinstance(value, cst.BaseExpression):
            text = context.code(value)
            if text not in seen and "\n" not in text and len(text) <= 160 and len(seen) < 25:
                seen.add(text)
                yield text
