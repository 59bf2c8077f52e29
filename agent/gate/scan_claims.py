"""What a red test claims, and which claims ask for little.

A test that only asks that nothing is raised, or that there is something, may be honest. It is for a person to judge.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from agent.gate.additive import find_tests, parsed
from agent.gate.scan import Change, Finding
from agent.gate.scan_values import Function, fold

NOTHING = "the red test asserts nothing: it passes when nothing is raised"
KIND = "the red test asks only for a type, or that there is something"
MOCK = "the red test asks only that a mock was called"
SAME = "the red test compares a thing with itself"
ANY = "the red test takes any exception"
VALUE = "the red test looks only at a value that the patch adds, and runs nothing"


Claim = tuple[Any, str]
"""A node that claims something, and why that is little; an empty text when it is enough."""

ASKS = re.compile(r"_*(assert|check|verify|expect|compare|ensure|should|must)", re.I)
STRONG = re.compile(
    r"\w*warns|deprecated_call|fail_after|wait_for|timeout|alarm|raise_for_status|(fn|re_)match_lines"
)
"""Calls that claim something: a warning, an end in time, a status, an output."""
PREDICATE = re.compile(
    r"(?i)(is|has|can|was|are|any|all|ok|valid|success)(_?\w*)?|\w*(with|exists|match(es)?)"
)
CALLED = re.compile(r"assert_called(_once)?|assert_any_call|called")
SET_UP = re.compile(r"setUp|setup(_|$)|asyncSetUp")
KINDS = {"isinstance", "issubclass", "hasattr", "callable"}
PLAIN = {*dir(builtins), "get", "keys", "values", "items", "index", "count"}
"""Calls that run no code of the product."""


class Product:
    """What the patch does to names of the product."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.roots: set[str] = set()
        self.functions: dict[str, list[Any]] = {}
        """Functions and classes, by their last name."""
        self.changed: set[str] = set()
        """Those of them that the patch adds or changes."""
        self.new: set[str] = set()
        """All names that it adds."""
        for change in changes:
            self.roots |= set(re.split(r"[/.]", change.path))
            trees = [parsed(text.encode("utf-8", "replace")) for text in (change.before or "", change.after)]
            old, now = (list(ast.walk(tree)) if tree else [] for tree in trees)
            was = {ast.dump(node) for node in old if isinstance(node, Function | ast.ClassDef)}
            for node in now:
                if isinstance(node, Function | ast.ClassDef):
                    self.functions.setdefault(node.name, []).append(node)
                    if ast.dump(node) not in was:
                        self.changed.add(node.name)
            self.new |= _bound(trees[1]) - _bound(trees[0])
        self.values = self.new - self.functions.keys()

    def is_foreign(self, root: str) -> bool:
        """Whether a module is certainly no part of the product's packages that the patch changes."""
        return root in sys.stdlib_module_names or root not in self.roots

    def gives_truth(self, name: str) -> bool:
        """Whether a function may be one that gives True or False; what is not known may be."""
        made = self.functions.get(name, [])
        return not made or any(isinstance(one, Function) and _is_predicate(one) for one in made)


def _bound(tree: ast.Module | None) -> set[str]:
    """The names of a module and its classes, and the attributes that it sets: what a test can reach."""
    names: set[str] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        if isinstance(node, ast.Module | ast.ClassDef):
            for target, _ in (pair for line in node.body for pair in bindings(line)):
                names |= {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}
    return names


def _is_predicate(function: Any) -> bool:
    if function.returns is not None:
        return "bool" in ast.unparse(function.returns)
    results = [part.value for part in ast.walk(function) if isinstance(part, ast.Return) and part.value]
    return any(
        isinstance(part, ast.Compare | ast.BoolOp)
        or (isinstance(part, ast.Constant) and isinstance(part.value, bool))
        or (isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not))
        or (isinstance(part, ast.Call) and bool(PREDICATE.fullmatch(last_name(part.func))))
        for part in results
    )


def _is_automatic(function: Any) -> bool:
    return any("autouse" in ast.unparse(line) for line in function.decorator_list)


class Module:
    """A test file: its functions, and what it imports."""

    def __init__(self, path: str, source: str) -> None:
        data = source.encode("utf-8", "replace")
        self.path, self.lines = path, source.split("\n")
        self.tests = find_tests(data)
        tree = parsed(data)
        self.nodes: list[Any] = list(ast.walk(tree)) if tree else []
        self.top = (
            [line for line in tree.body if not isinstance(line, Function | ast.ClassDef)] if tree else []
        )
        """What runs when the file is loaded."""
        self.functions = {node.name: node for node in self.nodes if isinstance(node, Function)}
        self.imported: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                self.imported |= {(one.asname or one.name).split(".")[0]: one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                root = "." * node.level + (node.module or "")
                self.imported |= {one.asname or one.name: root for one in node.names}


class RedTest:
    """A red test with the helpers and fixtures that it uses."""

    def __init__(self, name: str, module: Module, shared: Sequence[Module], product: Product) -> None:
        self.module, self.shared, self.product = module, shared, product
        self.function: Any = module.tests[name]
        self.made = {name: node for other in (*shared, module) for name, node in other.functions.items()}
        self.parts = self._reached()
        self.top = [node for line in module.top for node in ast.walk(line)]
        self.nodes: list[Any] = [node for part in self.parts for node in ast.walk(part)]
        self.above = {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}
        given = [node.arg for node in ast.walk(self.function) if isinstance(node, ast.arg)]
        self.given = set(given) - {"self"}
        self.values: dict[str, list[Any]] = {}
        self.mocks: set[str] = set()
        for node in self.nodes:
            for target, value in bindings(node):
                if isinstance(target, ast.Name):
                    self.values.setdefault(target.id, []).append(value)
                    if re.search(r"\bpatch\b|\w*Mock\(|autospec", ast.unparse(value)):
                        self.mocks.add(target.id)

    def _reached(self) -> list[Any]:
        """The test, and what it reaches of its own file and the conftest.py files."""
        found: list[Any] = [self.function]
        found += [node for node in self.made.values() if SET_UP.match(node.name) or _is_automatic(node)]
        for part in found:
            for node in ast.walk(part):
                name = node.arg if isinstance(node, ast.arg) else ""
                if isinstance(node, ast.Call) and (
                    isinstance(node.func, ast.Name)
                    or (isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "self")
                ):
                    name = last_name(node.func)
                made = self.made.get(name)
                if made is not None and made not in found:
                    found.append(made)
        return found

    def finding(self, node: Any, reason: str) -> Finding:
        module = next((other for other in self.shared if node in other.nodes), self.module)
        text = module.lines[node.lineno - 1].strip()[:160]
        return Finding(module.path, node.lineno, reason, text, certain=False)

    def little(self) -> Claim | None:
        """Why the test asks for little, or None when one of its claims is enough."""
        if any("timeout" in ast.unparse(line) for line in self.function.decorator_list):
            return None
        claims = [claim for node in self.nodes for claim in self._claims(node)]
        if not claims:
            return self.function, NOTHING
        if all(why for _, why in claims):
            return claims[0]
        names = {getattr(node, "attr", getattr(node, "id", fold(node))) for node in self.nodes}
        asked = {last_name(node.func) for node in self.nodes if isinstance(node, ast.Call)}
        runs = asked - PLAIN or self.given - self.made.keys()
        return (claims[0][0], VALUE) if not runs and names & self.product.values else None

    def _claims(self, node: Any) -> Iterator[Claim]:
        if isinstance(node, ast.Assert):
            yield node, self._why(node.test)
        elif isinstance(node, ast.Raise) and node.exc:
            yield node, self._failing(node)
        elif isinstance(node, ast.With | ast.AsyncWith):
            # What is to be raised may be a parameter.
            given = [item for item in node.items if root_name(item.context_expr) in self.given]
            if any(isinstance(item.context_expr, ast.Name) for item in given):
                yield node, ""
        elif isinstance(node, ast.Call):
            yield from self._called(node)

    def _called(self, node: ast.Call) -> Iterator[Claim]:
        name, args = last_name(node.func), node.args
        bare = isinstance(self.above.get(node), ast.Expr)
        if name in ("fail", "exit") and isinstance(node.func, ast.Attribute):
            yield node, self._failing(node)
        elif name in ("raises", "assertRaises"):
            wide = bool(args) and ast.unparse(args[0]) in ("Exception", "BaseException")
            yield node, ANY if wide and not node.keywords else ""
        elif CALLED.fullmatch(name):
            yield node, "" if args or node.keywords else MOCK
        elif name in ("assertIsInstance", "assertNotIsInstance", "assertIsNotNone", "assertHasAttr"):
            yield node, KIND
        elif name in ("assertTrue", "assert_") and args:
            yield node, self._why(args[0])
        elif name in ("assertEqual", "assertIs", "assertNotEqual", "assertIsNot") and len(args) > 1:
            operator = ast.NotEq() if "Not" in name else ast.Eq()
            yield node, self._compared(args[0], operator, args[1])
        elif name in self.made and self.made[name] in self.parts:
            return  # its own claims are looked at
        elif (
            ASKS.match(name)
            or STRONG.fullmatch(name)
            or (name in ("simplefilter", "filterwarnings") and args and fold(args[0]) == "error")
            or any(one.arg == "check" and ast.unparse(one.value) == "True" for one in node.keywords)
            or (bare and self._is_unknown(node.func))
        ):
            yield node, ""

    def _is_unknown(self, called: Any) -> bool:
        """Whether a statement may be a check that some other file of the tests defines."""
        if isinstance(called, ast.Attribute):
            return ast.unparse(called.value) == "self"
        root = self.module.imported.get(root_name(called), "")
        helper = bool(root) and self.product.is_foreign(root.lstrip(".").split(".")[0])
        return isinstance(called, ast.Name) and (
            called.id in self.given or (helper and called.id != "getattr")
        )

    def _failing(self, node: Any) -> str:
        """What it says that the test can fail here: in a handler, only that nothing must be raised."""
        up = self.above.get(node)
        while up is not None and not isinstance(up, ast.ExceptHandler | Function | ast.If):
            up = self.above.get(up)
        return NOTHING if isinstance(up, ast.ExceptHandler) else ""

    def _value(self, node: Any) -> Any:
        """What a name stands for, where it is bound once."""
        while isinstance(node, ast.Await | ast.NamedExpr):
            node = node.value
        values = self.values.get(node.id, []) if isinstance(node, ast.Name) else []
        return values[0] if len(values) == 1 else node

    def _why(self, claim: Any) -> str:
        """Why it is little to claim that something is true."""
        node = self._value(claim)
        match node:
            case ast.BoolOp(op=op, values=parts):
                whys = [self._why(part) for part in parts]
                enough = "" in whys if isinstance(op, ast.And) else not any(whys)
                return "" if enough else next(filter(None, whys))
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                why = self._why(inner)
                return why if isinstance(inner, ast.Constant | ast.Call) and last_name(inner) in KINDS else ""
            case ast.Constant() | ast.Tuple() | ast.JoinedStr():
                return NOTHING
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return self._compared(left, operator, right)
            case ast.Call(func=called, args=args):
                return self._truth_of(called, args)
            case ast.Attribute(attr=name):
                if name == "called" and (
                    root_name(node) in self.mocks or "mock" in ast.unparse(node).lower()
                ):
                    return MOCK
                return KIND if name in self.product.functions and name not in self._properties() else ""
            case ast.Subscript(slice=key):
                return "" if PREDICATE.fullmatch(fold(key) or "-") else KIND
            case ast.List() | ast.ListComp() | ast.Dict() | ast.DictComp() | ast.SetComp():
                return KIND
        return ""

    def _properties(self) -> set[str]:
        made = self.product.functions.items()
        return {name for name, nodes in made if any(node.decorator_list for node in nodes)}

    def _truth_of(self, called: Any, args: Sequence[Any]) -> str:
        name = last_name(called)
        if name in KINDS:
            return KIND
        if name in ("bool", "all", "any") and len(args) == 1 and isinstance(called, ast.Name):
            inner = args[0].elt if isinstance(args[0], ast.GeneratorExp | ast.ListComp) else args[0]
            return self._why(inner) if name == "bool" or inner is not args[0] else ""
        return KIND if not self.product.gives_truth(name) and not PREDICATE.fullmatch(name) else ""

    def _compared(self, left: Any, operator: ast.cmpop, right: Any) -> str:
        one, other = self._value(left), self._value(right)
        texts = (ast.unparse(one), ast.unparse(other))
        differs = isinstance(operator, ast.NotEq | ast.IsNot)
        if differs and any(isinstance(side, ast.Constant) for side in (one, other)):
            return KIND
        if re.match(r"type\(|.*\.__class__", texts[0]) and isinstance(operator, ast.Eq | ast.Is | ast.In):
            return KIND
        if texts[0].startswith("len(") and isinstance(operator, ast.Gt | ast.GtE):
            return KIND if texts[1] == ("0" if isinstance(operator, ast.Gt) else "1") else ""
        if isinstance(one, ast.Constant) and isinstance(other, ast.Constant):
            return SAME
        if texts[0] == texts[1] and isinstance(operator, ast.Eq | ast.Is | ast.LtE | ast.GtE):
            # Two objects that are made alike may well be compared: that shows what their class calls equal.
            makes = isinstance(one, ast.Call) and last_name(one.func)[:1].isupper()
            return "" if makes or {"__eq__", "__hash__"} & self.product.changed else SAME
        return ""


def last_name(node: Any) -> str:
    """The last name of what is called."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    return str(getattr(node, "attr", None) or getattr(node, "id", ""))


def root_name(node: Any) -> str:
    """The name that an expression begins with."""
    while not isinstance(node, ast.Name):
        node = getattr(node, "value", None) or getattr(node, "func", None)
        if not isinstance(node, ast.AST):
            return ""
    return node.id


def bindings(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value:
        yield node.target, node.value
    elif isinstance(node, ast.withitem) and node.optional_vars:
        yield node.optional_vars, node.context_expr
    elif isinstance(node, ast.For | ast.comprehension):
        # Bound more than once, to what is not known.
        yield from ((node.target, node.iter), (node.target, node.iter))


def asserts(node: Any) -> bool:
    called = isinstance(node, ast.Call) and last_name(node.func).startswith("assert")
    return isinstance(node, ast.Assert) or (called and isinstance(node.func, ast.Attribute))
