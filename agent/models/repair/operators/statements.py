"""Repairs by whole statements: guards, statements copied, moved, deleted or made conditional, exceptions caught."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator

import libcst as cst

from agent.models.repair.operators.base import Context, Fix
from agent.models.repair.operators.conditions import atoms
from agent.models.repair.source import Statement

MAX_GUARDS = 300
"""Guards that are tried before one statement."""


def _text(context: Context, statement: Statement) -> tuple[int, int, list[str]]:
    """The whole lines of a statement: first byte, the byte after, and the lines without their common indent."""
    file = context.file
    first, last = file.lines(statement.node)
    if isinstance(statement.node, cst.FunctionDef | cst.ClassDef) and statement.node.decorators:
        first = min(first, file.lines(statement.node.decorators[0])[0])
    start, end = file.line_start(first), file.line_start(last + 1)
    indent = file.indent(first)
    lines = file.data[start:end].decode().splitlines()
    return start, end, [line.removeprefix(indent) for line in lines]


def _put(
    context: Context,
    statement: Statement,
    lines: list[str],
    operator: str,
    prior: float,
    *,
    after: bool = False,
) -> Iterator[Fix]:
    """New lines before (or after) a statement, at its indent."""
    start, end, _ = _text(context, statement)
    at = end if after else start
    indent = context.file.indent(context.file.line_of(start))
    newline = context.file.newline
    text = "".join(f"{indent}{line}{newline}" for line in lines)
    if after and end and context.file.data[end - 1 : end] != b"\n":
        text = newline + text
    yield Fix(at, at, text, operator, prior)


def _step(context: Context) -> str:
    return context.file.module.default_indent


def guard(context: Context, statement: Statement) -> Iterator[Fix]:
    """Before a statement: under some condition raise, return, or leave this turn of the loop."""
    if context.function is None or not _executable(statement):
        return
    text = "\n".join(_text(context, statement)[2][: statement.last - statement.first + 1])
    step = _step(context)
    conditions = _guard_conditions(context, statement, text)
    actions = list(_actions(context, statement))
    pairs = [
        (weight * prior, condition, action) for condition, weight in conditions for action, prior in actions
    ]
    for prior, condition, action in heapq.nlargest(MAX_GUARDS, pairs, key=lambda pair: pair[0]):
        yield from _put(context, statement, [f"if {condition}:", step + action], "guard", prior)


def _guard_conditions(context: Context, statement: Statement, text: str) -> Iterator[tuple[str, float]]:
    """Conditions about what the statement uses."""
    used = [n for n in context.names + context.attributes if re.search(rf"(?<![\w.]){re.escape(n)}\b", text)]
    for attribute in re.findall(r"\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?![\w(.])", text):
        if attribute not in used and len(attribute) < 40:
            used.append(attribute)
    known = dict.fromkeys(used, 1.0)
    # What was computed just before, and what the inside of a compound statement uses, may be wrong here already.
    for name in _assigned_before(context, statement):
        known.setdefault(name, 0.8)
    inside = context.code(statement.node)
    if not isinstance(statement.node, cst.SimpleStatementLine) and len(inside) < 3000:
        for name in context.names:
            if re.search(rf"(?<![\w.]){re.escape(name)}\b", inside):
                known.setdefault(name, 0.5)
    blamed = context.evidence.blamed
    for name, weight in known.items():
        yield f"not {name}", (1.5 if blamed == "empty" else 1.0) * weight
        yield f"{name} is None", (1.8 if blamed == "none" else 0.8) * weight
        yield f"{name} == 0", (2.0 if blamed == "zero" else 0.8) * weight
        yield f"{name} < 0", 0.5 * weight
        yield f"{name} <= 0", 0.4 * weight
        yield name, 0.4 * weight
    for name in used:
        yield f"len({name}) == 1", 0.2
        for kind in ("str", "int", "list", "tuple", "dict"):
            yield f"isinstance({name}, {kind})", 0.15
            yield f"not isinstance({name}, {kind})", 0.3
    for other in context.names[:8]:
        for name in used[:6]:
            if other != name:
                yield f"{name} >= len({other})", 0.15
                yield f"{name} not in {other}", 0.6 if blamed == "key" else 0.2
                yield f"{name} == {other}", 0.15
    for condition in context.conditions[:25]:
        yield condition, 0.25
        yield f"not ({condition})", 0.2


def _assigned_before(context: Context, statement: Statement) -> list[str]:
    """Names that the two statements before this one assign."""
    near = [
        s
        for s in context.statements
        if s.block is statement.block and statement.index - 2 <= s.index < statement.index
    ]
    smalls = [small for s in near if isinstance(s.node, cst.SimpleStatementLine) for small in s.node.body]
    targets = [target for small in smalls for target in _targets(context, small)]
    return [target.removeprefix("*") for target in targets if target.removeprefix("*").isidentifier()]


def _actions(context: Context, statement: Statement) -> Iterator[tuple[str, float]]:
    raises = [n for n in context.all_of(cst.Raise) if isinstance(n, cst.Raise) and n.exc is not None]
    raises.sort(key=lambda n: abs(context.file.lines(n)[0] - statement.first))
    raised = [context.code(n.exc) for n in raises if n.exc is not None]
    # Messages are often written over several lines; joined they mean the same where no comment is between.
    one_line = [
        r for r in dict.fromkeys(map(_joined, raised)) if "#" not in r and '"""' not in r and len(r) < 200
    ]
    known = set(context.file.globals) | {
        "ValueError",
        "TypeError",
        "KeyError",
        "IndexError",
        "AttributeError",
        "OSError",
    }
    crashed = any(kind not in ("AssertionError", "Failed", "failed") for kind in context.evidence.seen)
    for expected in context.evidence.expected:
        # A crash where another exception is expected asks for a check that raises it.
        boost = 1.6 if crashed and expected not in context.evidence.seen else 1.0
        same = [r for r in one_line if r.split("(")[0].split(".")[-1] == expected]
        for text in same[:3]:
            yield f"raise {text}", 0.45 * boost
        if expected in known or hasattr(__builtins__, expected) or expected in _BUILTIN_ERRORS:
            name = context.function.name if context.function else "this"
            subject = name.strip("_").replace("_", " ")
            yield f'raise {expected}("invalid value for {subject}")', 0.4 * boost
    if not context.evidence.expected:
        for text in one_line[:4]:
            yield f"raise {text}", 0.15
    if any(isinstance(above, cst.ExceptHandler) for above in context.file.parents(statement.node)):
        yield "raise", 0.35
    if context.in_loop(statement.node):
        yield "continue", 0.3
        yield "break", 0.25
    if context.all_of(cst.Yield):
        yield "return", 0.2
        return
    for value in context.returns[:8]:
        yield f"return {value}", 0.25
    for value in ("False", "None", "True", "''", "[]", "()", "0"):
        if value not in context.returns:
            yield f"return {value}", 0.12
    for name in context.names[:6]:
        if name not in context.returns:
            yield f"return {name}", 0.15
        yield f"return [{name}]", 0.05
        yield f"return [str({name})]", 0.05
        yield f"return (str({name}),)", 0.05


_BUILTIN_ERRORS = {n for n in dir(__import__("builtins")) if n.endswith(("Error", "Exception"))}


def _joined(text: str) -> str:
    first, *rest = (line.strip() for line in text.splitlines())
    for line in rest:
        first += ("" if first.endswith("(") or line.startswith(")") else " ") + line
    return first


def _executable(statement: Statement) -> bool:
    node = statement.node
    if isinstance(node, cst.FunctionDef | cst.ClassDef):
        return False
    if isinstance(node, cst.SimpleStatementLine):
        first = node.body[0]
        if isinstance(first, cst.Expr) and isinstance(first.value, cst.SimpleString | cst.ConcatenatedString):
            return False  # a docstring
        return not isinstance(first, cst.Global | cst.Nonlocal | cst.Import | cst.ImportFrom)
    return True


def conditional(context: Context, statement: Statement) -> Iterator[Fix]:
    """Run a statement only under a condition about what it uses."""
    if not isinstance(statement.node, cst.SimpleStatementLine | cst.For | cst.While) or not _executable(
        statement
    ):
        return
    start, end, lines = _text(context, statement)
    text = "\n".join(lines)
    if len(lines) > 12 or '"""' in text or "'''" in text or "\\\n" in text:
        return
    indent, step, newline = context.file.indent(statement.first), _step(context), context.file.newline
    body = "".join(f"{indent}{step}{line}{newline}" for line in lines)
    returning = isinstance(statement.node, cst.SimpleStatementLine) and isinstance(
        statement.node.body[0], cst.Return
    )
    for condition, weight in _conditions_for(context, statement, text):
        yield Fix(
            start,
            end,
            f"{indent}if {condition}:{newline}{body}",
            "conditional",
            (0.15 if returning else 0.35) * weight,
        )


def _conditions_for(context: Context, statement: Statement, text: str) -> Iterator[tuple[str, float]]:
    used = [n for n in context.names + context.attributes if re.search(rf"(?<![\w.]){re.escape(n)}\b", text)]
    for name in used:
        yield name, 1.0
        yield f"{name} is not None", 0.9
        yield f"not {name}", 0.4
        yield f"{name} is None", 0.4
        yield f"{name} > 0", 0.3
    for condition, weight in atoms(context, statement.node):
        yield condition, 0.3 * weight


def delete(context: Context, statement: Statement) -> Iterator[Fix]:
    """Delete a statement, or an `if` but not its body."""
    if not _executable(statement):
        return
    start, end, lines = _text(context, statement)
    indent, newline = context.file.indent(statement.first), context.file.newline
    node = statement.node
    if isinstance(node, cst.SimpleStatementLine):
        alone = len(statement.block.body) == 1
        yield Fix(start, end, f"{indent}pass{newline}" if alone else "", "delete", 0.12)
    elif isinstance(node, cst.If) and node.orelse is None:
        yield Fix(
            start, end, f"{indent}pass{newline}" if len(statement.block.body) == 1 else "", "delete", 0.06
        )
        if isinstance(node.body, cst.IndentedBlock):
            step = len(_step(context))
            head = context.file.lines(node.body)[0] - statement.first
            inner = [line[step:] if line[:step].isspace() else line for line in lines[head:]]
            yield Fix(
                start,
                end,
                "".join(f"{indent}{line}{newline}" if line else newline for line in inner),
                "unconditional",
                0.15,
            )


def copy(context: Context, statement: Statement) -> Iterator[Fix]:
    """Copy a short statement of the function here: a sibling branch may do what is forgotten in this one."""
    if context.function is None or not _executable(statement):
        return
    own = "\n".join(_text(context, statement)[2])
    for other in context.statements:
        if not isinstance(other.node, cst.SimpleStatementLine) or not _executable(other):
            continue
        lines = _text(context, other)[2]
        text = "\n".join(lines)
        if text == own or len(lines) > 5 or len(text) > 240:
            continue
        small = other.node.body[0]
        leaving = isinstance(small, cst.Return | cst.Raise | cst.Break | cst.Continue)
        if isinstance(small, cst.Break | cst.Continue) and not context.in_loop(statement.node):
            continue
        near = other.block is not statement.block
        prior = 0.06 if leaving else 0.3 if near else 0.12
        if not leaving:
            yield from _put(context, statement, lines, "copy-statement", prior)
        if not _leaves(statement):
            yield from _put(context, statement, lines, "copy-statement", prior, after=True)


def _leaves(statement: Statement) -> bool:
    node = statement.node
    return isinstance(node, cst.SimpleStatementLine) and isinstance(
        node.body[-1], cst.Return | cst.Raise | cst.Break | cst.Continue
    )


def move(context: Context, statement: Statement) -> Iterator[Fix]:
    """Change places with the next statement."""
    siblings = [s for s in context.statements if s.block is statement.block]
    following = next((s for s in siblings if s.index == statement.index + 1), None)
    if following is None or not _executable(statement) or not _executable(following) or _leaves(statement):
        return
    start, middle, _ = _text(context, statement)
    begin, end, _ = _text(context, following)
    data = context.file.data
    if end - start > 2000 or data[end - 1 : end] != b"\n":
        return
    new = data[begin:end] + data[middle:begin] + data[start:middle]
    yield Fix(start, end, new.decode(), "move", 0.2)


def catch(context: Context, statement: Statement) -> Iterator[Fix]:
    """Catch the exception that the failing test ends with, or turn it into the expected one."""
    if not isinstance(statement.node, cst.SimpleStatementLine) or not _executable(statement):
        return
    seen = [e for e in context.evidence.seen if e in _BUILTIN_ERRORS and e != "AssertionError"]
    if not seen:
        return
    start, end, lines = _text(context, statement)
    if '"""' in "\n".join(lines) or "'''" in "\n".join(lines):
        return
    indent, step, newline = context.file.indent(statement.first), _step(context), context.file.newline
    small = statement.node.body[0]
    handlers: list[tuple[str, float]] = []
    for action, prior in _actions(context, statement):
        cause = " from error" if action.startswith("raise ") and " from " not in action else ""
        handlers.append((action + cause, prior * (1.0 if cause else 0.6)))
    handlers.append(("pass", 0.08))
    targets = _targets(context, small)
    for target in targets[:1]:
        for value in (
            "None",
            "False",
            "''",
            "[]",
            "0",
            *(f"{n}" for n in context.names[:6]),
            *(f"[{n}]" for n in context.names[:4]),
        ):
            handlers.append((f"{target} = {value}", 0.15))
    if len(targets) > 1:
        for name in context.names[:4]:
            for last in (name, f"str({name})"):
                handlers.append(
                    (f"{', '.join(targets)} = {', '.join(['[]'] * (len(targets) - 1))}, {last}", 0.15)
                )
    for error in seen[:2]:
        for action, prior in handlers:
            head = f"except {error} as error:" if action.endswith(" from error") else f"except {error}:"
            new = ["try:", *(step + line for line in lines), head, step + action]
            yield Fix(start, end, "".join(f"{indent}{line}{newline}" for line in new), "catch", prior)


def _targets(context: Context, small: cst.BaseSmallStatement) -> list[str]:
    """The plain names that an assignment binds, `*rest` among them."""
    if not isinstance(small, cst.Assign) or len(small.targets) != 1:
        return []
    target = small.targets[0].target
    if isinstance(target, cst.Tuple | cst.List):
        return [context.code(element.value) for element in target.elements]
    return [context.code(target)]


def give_back(context: Context, statement: Statement) -> Iterator[Fix]:
    """A result that is computed but not returned, or a bare return."""
    if context.function is None or not isinstance(statement.node, cst.SimpleStatementLine):
        return
    small = statement.node.body[0]
    start, _ = context.file.span(small)
    if isinstance(small, cst.Expr) and isinstance(small.value, cst.Call):
        yield Fix(start, start, "return ", "return", 0.3)
    if isinstance(small, cst.Return) and small.value is None:
        for value in ("False", "True", "self", *context.names[:8]):
            yield Fix(start + 6, start + 6, f" {value}", "return", 0.2)
    last = statement.block is context.function.node.body and statement.index == len(statement.block.body) - 1
    if last and not _leaves(statement):
        for value in ("False", "True", *context.names[:10]):
            yield from _put(context, statement, [f"return {value}"], "return", 0.25, after=True)
    if isinstance(small, cst.Break | cst.Continue):
        end = context.file.span(small)[1]
        other = "continue" if isinstance(small, cst.Break) else "break"
        yield Fix(start, end, other, "loop", 0.3)
        for value in context.returns[:4]:
            yield Fix(start, end, f"return {value}", "loop", 0.2)


def normalise(context: Context, statement: Statement) -> Iterator[Fix]:
    """At the start of a function: bring a parameter into the form that the rest expects."""
    if (
        context.function is None
        or statement.block is not context.function.node.body
        or not _executable(statement)
    ):
        return
    earlier = [s for s in context.statements if s.block is statement.block and s.index < statement.index]
    if any(_executable(s) for s in earlier):
        return
    for name in context.function.params:
        if name in ("self", "cls"):
            continue
        for method in ("strip", "lower", "upper", "rstrip"):
            yield from _put(context, statement, [f"{name} = {name}.{method}()"], "normalise", 0.15)
        for cast in ("str", "list", "int", "tuple"):
            yield from _put(context, statement, [f"{name} = {cast}({name})"], "normalise", 0.1)
        for empty in ("[]", "{}", "''", "0"):
            yield from _put(
                context,
                statement,
                [f"if {name} is None:", f"{_step(context)}{name} = {empty}"],
                "normalise",
                0.12,
            )
