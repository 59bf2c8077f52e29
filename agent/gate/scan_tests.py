"""Signs that a patch's own red tests ask for too little, or bring along the answer that they ask for.

Sources are read, never run. Every sign is one for a person to judge: honest tests also stub things, and now and then
only ask that nothing is raised. So what makes a test ask for little is told only when all red tests are like that.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agent.gate.scan import Change, Finding
from agent.gate.scan_claims import Claim, Module, Product, RedTest, asserts, bindings, last_name, root_name
from agent.gate.scan_values import fold

MAX_FINDINGS = 10
MAX_DATA = 20
"""Data files of the tests that are read."""
DATA_NAME = re.compile(r"[\w./-]+\.(?:json|csv|tsv|txt)\b")
REPLACES = "the test replaces what the patch changes, or what it asks itself"
SETS = "the test sets a name that the patch adds to what it then expects"
SENSES = "the test asks whether a name that the patch adds is there"
DEEP = "the red test is nested too deeply to be read"
SWALLOWS = "the test catches its own failed assertions"
PATCHERS = {"patch", "object", "setattr", "setitem"}


def scan_tests(tests: Mapping[str, str], ids: Sequence[str], changes: Sequence[Change]) -> list[Finding]:
    """What is odd about the red tests `ids`. `tests`: path as in test ids -> source, with the conftest.py files."""
    product = Product(changes)
    modules = {path: Module(path, source) for path, source in tests.items()}
    shared = [module for path, module in modules.items() if path.rpartition("/")[2] == "conftest.py"]
    told: list[Finding] = []
    little: list[Finding | None] = []
    for name in dict.fromkeys(test.partition("[")[0] for test in ids):
        path, _, function = name.partition("::")
        module = modules.get(path)
        if module is None or function not in module.tests:
            little.append(None)  # a doctest, or made at run time
            continue
        try:
            test = RedTest(function, module, shared, product)
            told += [test.finding(node, reason) for node, reason in _tricks(test)]
            claim = test.little()
            little.append(test.finding(*claim) if claim else None)
        except RecursionError:
            little.append(Finding(path, module.tests[function].lineno, DEEP, name, certain=False))
    if None not in little:
        told += [finding for finding in little if finding]
    return list(dict.fromkeys(told))[:MAX_FINDINGS]


def beside(tests: Mapping[str, str], files: Iterable[str]) -> list[str]:
    """The conftest.py files that act on `tests` (path -> source), and the data files that the tests name."""
    folders = {path[: slash.start() + 1] for path in tests for slash in re.finditer("/", path)} | {""}
    files = set(files)
    found = [path for folder in sorted(folders) if (path := f"{folder}conftest.py") in files]
    named = {name.rpartition("/")[2] for text in tests.values() for name in DATA_NAME.findall(text)}
    near = {path.rpartition("/")[0] for path in tests} - {""}
    data = [path for path in sorted(files) if path.rpartition("/")[2] in named]
    return found + [path for path in data if any(path.startswith(f"{folder}/") for folder in near)][:MAX_DATA]


def _tricks(test: RedTest) -> Iterator[Claim]:
    expected = _expected(test)
    asked = {last_name(node.func) for node in test.nodes if isinstance(node, ast.Call)}
    for node in (*test.nodes, *test.top):
        yield from (
            (one.node, reason) for one in _sets(node) if (reason := _fault(test, one, asked, expected))
        )
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            if any(_senses(test, part) for part in ast.walk(node.test)):
                yield node.test, SENSES
        elif isinstance(node, ast.Try | ast.With) and any(
            asserts(part) for line in node.body for part in ast.walk(line)
        ):
            catchers: list[Any] = node.handlers if isinstance(node, ast.Try) else node.items
            yield from ((node, SWALLOWS) for catcher in filter(_catches, catchers))


def _senses(test: RedTest, node: Any) -> bool:
    asks = (
        isinstance(node, ast.Call) and last_name(node.func) in ("getattr", "hasattr") and len(node.args) > 1
    )
    return asks and fold(node.args[1]) in test.product.new


def _fault(test: RedTest, one: _Set, asked: set[str], expected: list[tuple[str, str]]) -> str:
    """What is wrong with setting a name, if anything."""
    owner = root_name(one.owner) if one.owner is not None else ""
    in_modules = one.owner is not None and "sys.modules" in ast.unparse(one.owner)
    root = one.root or test.module.imported.get(owner, "")
    if in_modules and one.name in test.product.roots:
        return REPLACES
    if root and test.product.is_foreign(root.lstrip(".").split(".")[0]) and not in_modules:
        return ""
    if one.plain and owner == "self":
        return ""
    made = test.product.functions.get(one.name, [])
    settable = any("setter" in ast.unparse(line) for node in made for line in node.decorator_list)
    if made and not (one.plain and settable):
        # Who calls the stub by the name of what it stands for asks the stub, not the product.
        return REPLACES if one.name in test.product.changed or one.name in asked else ""
    if one.name in test.product.new and one.value is not None:
        value = ast.unparse(one.value)
        if any(value == side and not re.search(rf"\b{one.name}\b", claim) for side, claim in expected):
            return SETS
    return ""


def _expected(test: RedTest) -> list[tuple[str, str]]:
    """The sides of the comparisons, each with its whole comparison."""
    found: list[tuple[str, str]] = []
    for node in test.nodes:
        sides: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and last_name(node.func).startswith("assert"):
            sides = node.args[:2]
        found += [(ast.unparse(side), ast.unparse(node)) for side in sides]
    return found


def _takes(node: ast.AST) -> bool:
    """Whether failed assertions are among the exceptions that an expression names."""
    return bool(re.search(r"\b(AssertionError|Exception|BaseException)\b", ast.unparse(node)))


def _catches(catcher: ast.ExceptHandler | ast.withitem) -> bool:
    """Whether it takes failed assertions and may let the test go on."""
    if isinstance(catcher, ast.withitem):
        return last_name(catcher.context_expr) == "suppress" and _takes(catcher.context_expr)
    waits = any(isinstance(part, ast.Call) and last_name(part.func) == "sleep" for part in ast.walk(catcher))
    again = isinstance(catcher.body[-1], ast.Raise) or "fail(" in ast.unparse(catcher.body[-1])
    return (catcher.type is None or _takes(catcher.type)) and not again and not waits


class _Set(NamedTuple):
    """A name that a test binds to something else in a thing that is there already."""

    node: Any
    owner: Any
    """None where it is a part of a dotted text."""
    root: str
    name: str
    value: Any
    plain: bool
    """By an assignment, not by a tool for stubs."""


def _sets(node: Any) -> Iterator[_Set]:
    """What a node binds in a thing that is there: by assignment, setattr, monkeypatch or mock.patch."""
    for target, value in bindings(node) if isinstance(node, ast.Assign | ast.AugAssign) else ():
        if isinstance(target, ast.Attribute):
            yield _Set(node, target.value, "", target.attr, value, plain=True)
        elif isinstance(target, ast.Subscript) and _is_space(target.value) and (key := fold(target.slice)):
            yield _Set(node, target.value, "", key.rpartition(".")[2], value, plain=False)
    if not (isinstance(node, ast.Call) and last_name(node.func) in PATCHERS and node.args):
        return
    if any(one.arg == "wraps" for one in node.keywords):
        return  # what stands behind it is called
    words = [fold(argument) or "" for argument in node.args[:2]]
    shown = [one.value for one in node.keywords if one.arg in ("new", "return_value", "value")]
    if re.fullmatch(r"[\w.]+", words[0]):
        root, _, name = words[0].rpartition(".")
        value = node.args[1] if len(node.args) > 1 else next(iter(shown), None)
        yield _Set(node, None, root, name, value, plain=False)
    elif len(words) == 2 and words[1] and (last_name(node.func) != "setitem" or _is_space(node.args[0])):
        value = node.args[2] if len(node.args) > 2 else next(iter(shown), None)
        plain = last_name(node.func) == "setattr" and isinstance(node.func, ast.Name)
        yield _Set(node, node.args[0], "", words[1].rpartition(".")[2], value, plain=plain)


def _is_space(node: ast.expr) -> bool:
    """Whether a mapping is one of names rather than of data."""
    return bool(re.search(r"sys\.modules|__dict__|\b(vars|globals)\(", ast.unparse(node)))
