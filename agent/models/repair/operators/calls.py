"""Repairs of calls: arguments swapped, missing, extra or keyed; values passed through a function or a method."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from agent.models.repair.operators.base import Context, Fix, in_arithmetic, is_condition, is_read
from agent.models.repair.source import Function


def arguments(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """Arguments swapped, dropped, added."""
    if not isinstance(node, cst.Call):
        return
    func = context.code(node.func)
    texts = [context.code(arg).rstrip().rstrip(",").rstrip() for arg in node.args]
    if any("\n" in text for text in texts):
        texts = [" ".join(text.split()) if "#" not in text and '"""' not in text else text for text in texts]

    def call(args: list[str]) -> str:
        return f"{func}({', '.join(args)})"

    for i in range(len(texts) - 1):
        if node.args[i].keyword is None and node.args[i + 1].keyword is None:
            yield from context.swap(
                node,
                call([*texts[:i], texts[i + 1], texts[i], *texts[i + 2 :]]),
                "swap-arguments",
                0.35,
                atom=True,
            )
    for i in range(len(texts)):
        yield from context.swap(node, call(texts[:i] + texts[i + 1 :]), "drop-argument", 0.2, atom=True)
    callee = _callee(context, node)
    if callee is not None:
        given = {arg.keyword.value for arg in node.args if arg.keyword is not None}
        placed = sum(arg.keyword is None for arg in node.args)
        params = [p for p in callee.params if p not in ("self", "cls")]
        for param in params[placed:]:
            if param in given:
                continue
            values = [
                n
                for n in (param, f"self.{param}", f"self._{param}")
                if n in context.names or n in context.attributes
            ]
            for value in values:
                yield from context.swap(
                    node, call([*texts, f"{param}={value}"]), "pass-argument", 0.6, atom=True
                )
            for value in ("True", "False", "None", *context.names[:10]):
                yield from context.swap(
                    node, call([*texts, f"{param}={value}"]), "pass-argument", 0.2, atom=True
                )
    elif len(texts) < 3:
        for name in context.names[:10]:
            yield from context.swap(node, call([*texts, name]), "add-argument", 0.12, atom=True)


def _callee(context: Context, node: cst.Call) -> Function | None:
    """The function of this file that is called, as far as its name tells."""
    name = node.func.attr.value if isinstance(node.func, cst.Attribute) else context.code(node.func)
    methods = isinstance(node.func, cst.Attribute)
    for function in context.file.functions:
        if function.name == name and (function.class_name is not None) == methods:
            return function
        if function.name == "__init__" and function.class_name == name:
            return function
    return None


_NUMERIC = ("int", "abs", "len", "float", "str")
_CASTS = (
    "bool",
    "str",
    "int",
    "list",
    "tuple",
    "set",
    "sorted",
    "len",
    "abs",
    "repr",
    "float",
    "dict",
    "bytes",
)


def through(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """A value passed through a built-in function or one of this module, whole or element by element."""
    if not isinstance(
        node, cst.Name | cst.Attribute | cst.Call | cst.Subscript | cst.BinaryOperation | cst.Tuple | cst.List
    ):
        return
    parent = context.file.parent(node)
    if not is_read(context, node) or isinstance(parent, cst.Attribute) or is_condition(context, node):
        return
    if isinstance(parent, cst.Call) and parent.func is node:
        return
    if isinstance(node, cst.Name) and node.value in ("self", "cls", "True", "False", "None"):
        return
    text = context.code(node)
    if len(text) > 200:
        return
    starred = isinstance(parent, cst.Arg) and parent.star != ""
    if isinstance(parent, cst.Return) and not isinstance(node, cst.BinaryOperation | cst.Tuple | cst.List):
        yield from context.swap(node, f"bool({text})", "bool", 0.8, atom=True)
    numeric = isinstance(node, cst.BinaryOperation) or in_arithmetic(context, node)
    for cast in _NUMERIC if numeric else _CASTS:
        if not text.startswith(f"{cast}("):
            yield from context.swap(node, f"{cast}({text})", "cast", 0.15, atom=True)
    for function in _one_argument(context):
        if context.function is None or function != context.function.name:
            yield from context.swap(node, f"{function}({text})", "through-function", 0.2, atom=True)
            if not starred:
                many = f"tuple({function}(item) for item in {text})"
                yield from context.swap(node, many, "through-function", 0.15, atom=True)
                yield from context.swap(
                    node, f"[{function}(item) for item in {text}]", "through-function", 0.1, atom=True
                )


def _one_argument(context: Context) -> list[str]:
    """Functions of this file that take one argument, and what is imported by name in lower case."""
    own = [
        f.name
        for f in context.file.functions
        if f.class_name is None and f.outer is None and f.params and len(f.params) - _defaults(f.node) <= 1
    ]
    imported: list[str] = []
    for statement in context.file.module.body:
        if isinstance(statement, cst.SimpleStatementLine):
            for small in statement.body:
                if (
                    isinstance(small, cst.ImportFrom)
                    and not isinstance(small.names, cst.ImportStar)
                    and small.relative
                ):
                    for alias in small.names:
                        name = alias.evaluated_alias or alias.evaluated_name
                        if name.islower():
                            imported.append(name)
    return [*own, *imported]


def _defaults(node: cst.FunctionDef) -> int:
    params = [*node.params.posonly_params, *node.params.params, *node.params.kwonly_params]
    return (
        sum(p.default is not None for p in params)
        + isinstance(node.params.star_arg, cst.Param)
        + (node.params.star_kwarg is not None)
    )


def bare(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """A value without the call around it."""
    if not isinstance(node, cst.Call):
        return
    if len(node.args) == 1 and not node.args[0].star and node.args[0].keyword is None:
        yield from context.swap(node, context.wrapped(node.args[0].value), "drop-call", 0.25, atom=True)
    if isinstance(node.func, cst.Attribute):
        yield from context.swap(node, context.code(node.func.value), "drop-call", 0.25, atom=True)


_METHODS = (
    ".lower()",
    ".upper()",
    ".strip()",
    ".rstrip()",
    ".lstrip()",
    ".casefold()",
    ".copy()",
    ".items()",
    ".encode()",
    ".decode()",
)


def method(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """A string or a collection normalised: case, blanks, characters that the tests show."""
    if not isinstance(node, cst.Name | cst.Attribute | cst.Call | cst.Subscript) or not is_read(
        context, node
    ):
        return
    parent = context.file.parent(node)
    if isinstance(parent, cst.Call) and parent.func is node:
        return
    if isinstance(node, cst.Name) and (
        node.value in ("self", "cls", "True", "False", "None") or node.value[:1].isupper()
    ):
        return
    if in_arithmetic(context, node):
        return
    text = context.wrapped(node)
    for new in _METHODS:
        yield from context.swap(
            node, text + new, "method-call", 0.25 if new in _METHODS[:3] else 0.15, atom=True
        )
    for character in context.evidence.rare_characters:
        shown = ascii(character)
        prior = 0.15 if character.isascii() else 0.3
        for name in ("lstrip", "rstrip", "strip"):
            yield from context.swap(node, f"{text}.{name}({shown})", "strip-character", prior, atom=True)
        yield from context.swap(
            node, f"{text}.replace({shown}, '')", "strip-character", prior * 0.6, atom=True
        )


def isinstance_types(context: Context, node: cst.CSTNode) -> Iterator[Fix]:
    """More types in an isinstance check."""
    if not isinstance(node, cst.Call) or context.code(node.func) != "isinstance" or len(node.args) != 2:
        return
    kinds = node.args[1].value
    inner = context.code(kinds).strip("()").rstrip(", ")
    for extra in ("int", "str", "float", "bool", "bytes", "list", "tuple", "dict", "set", "type(None)"):
        if extra not in inner.split(", "):
            yield from context.swap(kinds, f"({inner}, {extra})", "types", 0.25, atom=True)
