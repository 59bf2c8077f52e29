"""Signs that a patch's own red tests ask for too little, or bring along the answer that they ask for.

Sources are read, never run. Every sign is one for a person to judge: honest tests also stub things, and now and then
only ask that nothing is raised. So what makes a test ask for little is told only when all red tests are like that.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agent.gate.additive import find_tests, parsed
from agent.gate.scan import Change, Finding
from agent.gate.scan_values import Function, fold

MAX_FINDINGS = 10
MAX_DATA = 20
"""Data files of the tests that are read."""
DATA_NAME = re.compile(r"[\w./-]+\.(?:json|csv|tsv|txt)\b")
REPLACES = "the test replaces what the patch changes, or what it asks itself"
SETS = "the test sets a name that the patch adds to what it then expects"
SENSES = "the test asks whether a name that the patch adds is there"
SWALLOWS = "the test catches its own failed assertions"
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
KINDS = {"isinstance", "issubclass", "hasattr", "callable"}
PLAIN = {*dir(builtins), "get", "keys", "values", "items", "index", "count"}
"""Calls that run no code of the product."""
PATCHERS = {"patch", "object", "setattr", "setitem", "dict", "multiple"}


def scan_tests(tests: Mapping[str, str], ids: Sequence[str], changes: Sequence[Change]) -> list[Finding]:
    """What is odd about the red tests `ids`. `tests`: path as in test ids -> source, with the conftest.py files."""
    product = _Product(changes)
    modules = {path: _Module(path, source) for path, source in tests.items()}
    shared = [module for path, module in modules.items() if path.rpartition("/")[2] == "conftest.py"]
    told: list[Finding] = []
    little: list[Finding | None] = []
    for name in dict.fromkeys(test.partition("[")[0] for test in ids):
        path, _, function = name.partition("::")
        module = modules.get(path)
        if module is None or function not in module.tests:
            little.append(None)  # a doctest, or made at run time
            continue
        test = _Test(function, module, shared, product)
        told += [module.finding(node, reason) for node, reason in test.tricks()]
        claim = test.little()
        little.append(module.finding(*claim) if claim else None)
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


class _Product:
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
            self.new |= _bound(now) - _bound(old)

    def is_foreign(self, root: str) -> bool:
        """Whether a module is certainly no part of the product's packages that the patch changes."""
        return root in sys.stdlib_module_names or root not in self.roots

    def gives_truth(self, name: str) -> bool:
        """Whether a function may be one that gives True or False; what is not known may be."""
        made = self.functions.get(name, [])
        return not made or any(isinstance(one, Function) and _is_predicate(one) for one in made)


def _bound(nodes: Sequence[Any]) -> set[str]:
    names = {node.name for node in nodes if isinstance(node, Function | ast.ClassDef)}
    for node in nodes:
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


def _is_predicate(function: Any) -> bool:
    if function.returns is not None:
        return "bool" in ast.unparse(function.returns)
    results = [part.value for part in ast.walk(function) if isinstance(part, ast.Return) and part.value]
    return any(
        isinstance(part, ast.Compare | ast.BoolOp)
        or (isinstance(part, ast.Constant) and isinstance(part.value, bool))
        or (isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not))
        or (isinstance(part, ast.Call) and bool(PREDICATE.fullmatch(_last(part.func))))
        for part in results
    )


class _Module:
    """A test file: its functions, and what it imports."""

    def __init__(self, path: str, source: str) -> None:
        data = source.encode("utf-8", "replace")
        self.path, self.lines = path, source.split("\n")
        self.tests = find_tests(data)
        tree = parsed(data)
        self.nodes: list[Any] = list(ast.walk(tree)) if tree else []
        self.functions = {node.name: node for node in self.nodes if isinstance(node, Function)}
        self.imported: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                self.imported |= {(one.asname or one.name).split(".")[0]: one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                root = "." * node.level + (node.module or "")
                self.imported |= {one.asname or one.name: root for one in node.names}

    def finding(self, node: Any, reason: str) -> Finding:
        text = self.lines[node.lineno - 1].strip()[:160]
        return Finding(self.path, node.lineno, reason, text, certain=False)


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


class _Test:
    """A red test with the helpers and fixtures that it uses."""

    def __init__(self, name: str, module: _Module, shared: Sequence[_Module], product: _Product) -> None:
        self.module, self.product = module, product
        self.function: Any = module.tests[name]
        self.made = {name: node for other in (*shared, module) for name, node in other.functions.items()}
        self.parts = self._reached()
        self.nodes: list[Any] = [node for part in self.parts for node in ast.walk(part)]
        self.above = {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}
        given = [node.arg for node in ast.walk(self.function) if isinstance(node, ast.arg)]
        self.given = set(given) - {"self"}
        self.values: dict[str, list[Any]] = {}
        self.mocks: set[str] = set()
        for node in self.nodes:
            for target, value in _bindings(node):
                if isinstance(target, ast.Name):
                    self.values.setdefault(target.id, []).append(value)
                    if re.search(r"\bpatch\b|\w*Mock\(|autospec", ast.unparse(value)):
                        self.mocks.add(target.id)

    def _reached(self) -> list[Any]:
        """The test, and what it reaches of its own file and the conftest.py files."""
        found: list[Any] = [self.function]
        for part in found:
            for node in ast.walk(part):
                name = node.arg if isinstance(node, ast.arg) else ""
                if isinstance(node, ast.Call) and (
                    isinstance(node.func, ast.Name)
                    or (isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "self")
                ):
                    name = _last(node.func)
                made = self.made.get(name)
                if made is not None and made not in found:
                    found.append(made)
        return found

    # ---- tricks, each told by itself

    def tricks(self) -> Iterator[Claim]:
        expected = self._expected()
        asked = {_last(node.func) for node in self.nodes if isinstance(node, ast.Call)}
        for node in self.nodes:
            yield from (
                (one.node, reason) for one in _sets(node) if (reason := self._fault(one, asked, expected))
            )
            if isinstance(node, ast.If | ast.IfExp | ast.While):
                if any(self._senses(part) for part in ast.walk(node.test)):
                    yield node.test, SENSES
            elif isinstance(node, ast.Try):
                caught = next(filter(_catches, node.handlers), None)
                if caught and any(self._asserts(part) for one in node.body for part in ast.walk(one)):
                    yield caught, SWALLOWS
            elif isinstance(node, ast.Call) and _last(node.func) == "suppress" and _takes(node):
                yield node, SWALLOWS

    def _senses(self, node: Any) -> bool:
        asks = (
            isinstance(node, ast.Call) and _last(node.func) in ("getattr", "hasattr") and len(node.args) > 1
        )
        return asks and fold(node.args[1]) in self.product.new

    def _fault(self, one: _Set, asked: set[str], expected: list[tuple[str, str]]) -> str:
        """What is wrong with setting a name, if anything."""
        owner = _root(one.owner) if one.owner is not None else ""
        root = one.root or self.module.imported.get(owner, "")
        in_modules = one.owner is not None and "sys.modules" in ast.unparse(one.owner)
        if root and self.product.is_foreign(root.lstrip(".").split(".")[0]) and not in_modules:
            return ""
        made = self.product.functions.get(one.name, [])
        settable = any("setter" in ast.unparse(line) for node in made for line in node.decorator_list)
        if made and not (one.plain and (settable or owner == "self")):
            # Who calls the stub by the name of what it stands for asks the stub, not the product.
            return REPLACES if one.name in self.product.changed or one.name in asked else ""
        if one.name in self.product.new and one.value is not None:
            value = ast.unparse(one.value)
            if any(value == side and not re.search(rf"\b{one.name}\b", claim) for side, claim in expected):
                return SETS
        return ""

    def _expected(self) -> list[tuple[str, str]]:
        """The sides of the comparisons, each with its whole comparison."""
        found: list[tuple[str, str]] = []
        for node in self.nodes:
            sides: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and _last(node.func).startswith("assert"):
                sides = node.args[:2]
            found += [(ast.unparse(side), ast.unparse(node)) for side in sides]
        return found

    # ---- how much it asks

    def little(self) -> Claim | None:
        """Why the test asks for little, or None when one of its claims is enough."""
        if any("timeout" in ast.unparse(line) for line in self.function.decorator_list):
            return None
        claims = [claim for node in self.nodes for claim in self._claims(node)]
        names = {getattr(node, "attr", getattr(node, "id", fold(node))) for node in self.nodes}
        asked = {_last(node.func) for node in self.nodes if isinstance(node, ast.Call)}
        if claims and asked <= PLAIN and names & self.product.new and self.parts == [self.function]:
            return claims[0][0], VALUE
        if not claims:
            return self.function, NOTHING
        return None if any(not why for _, why in claims) else claims[0]

    def _asserts(self, node: Any) -> bool:
        called = isinstance(node, ast.Call) and _last(node.func).startswith("assert")
        return isinstance(node, ast.Assert) or (called and isinstance(node.func, ast.Attribute))

    def _claims(self, node: Any) -> Iterator[Claim]:
        if isinstance(node, ast.Assert):
            yield node, self._why(node.test)
        elif isinstance(node, ast.Raise) and node.exc:
            yield node, self._failing(node)
        elif isinstance(node, ast.With | ast.AsyncWith):
            # What is to be raised may be a parameter.
            given = [item for item in node.items if _root(item.context_expr) in self.given]
            if any(isinstance(item.context_expr, ast.Name) for item in given):
                yield node, ""
        elif isinstance(node, ast.Call):
            yield from self._called(node)

    def _called(self, node: ast.Call) -> Iterator[Claim]:
        name, args = _last(node.func), node.args
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
        root = self.module.imported.get(_root(called), "")
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
                return why if isinstance(inner, ast.Constant | ast.Call) and _last(inner) in KINDS else ""
            case ast.Constant() | ast.Tuple() | ast.JoinedStr():
                return NOTHING
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return self._compared(left, operator, right)
            case ast.Call(func=called, args=args):
                return self._truth_of(called, args)
            case ast.Attribute(attr=name):
                if name == "called" and (_root(node) in self.mocks or "mock" in ast.unparse(node).lower()):
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
        name = _last(called)
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
            makes = isinstance(one, ast.Call) and _last(one.func)[:1].isupper()
            return "" if makes or {"__eq__", "__hash__"} & self.product.changed else SAME
        return ""


def _last(node: Any) -> str:
    """The last name of what is called."""
    if isinstance(node, ast.Call):
        return _last(node.func)
    return str(getattr(node, "attr", None) or getattr(node, "id", ""))


def _root(node: Any) -> str:
    """The name that an expression begins with."""
    while not isinstance(node, ast.Name):
        node = getattr(node, "value", None) or getattr(node, "func", None)
        if not isinstance(node, ast.AST):
            return ""
    return node.id


def _bindings(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value:
        yield node.target, node.value
    elif isinstance(node, ast.withitem) and node.optional_vars:
        yield node.optional_vars, node.context_expr
    elif isinstance(node, ast.For | ast.comprehension):
        # Bound more than once, to what is not known.
        yield from ((node.target, node.iter), (node.target, node.iter))


def _takes(node: ast.AST) -> bool:
    """Whether failed assertions are among the exceptions that an expression names."""
    return bool(re.search(r"\b(AssertionError|Exception|BaseException)\b", ast.unparse(node)))


def _catches(handler: ast.ExceptHandler) -> bool:
    """Whether it takes failed assertions and may let the test go on."""
    waits = any(isinstance(part, ast.Call) and _last(part.func) == "sleep" for part in ast.walk(handler))
    again = isinstance(handler.body[-1], ast.Raise) or "fail(" in ast.unparse(handler.body[-1])
    return (handler.type is None or _takes(handler.type)) and not again and not waits


def _sets(node: Any) -> Iterator[_Set]:
    """What a node binds in a thing that is there: by assignment, setattr, monkeypatch or mock.patch."""
    for target, value in _bindings(node) if isinstance(node, ast.Assign | ast.AugAssign) else ():
        if isinstance(target, ast.Attribute):
            yield _Set(node, target.value, "", target.attr, value, plain=True)
        elif isinstance(target, ast.Subscript) and (key := fold(target.slice)):
            yield _Set(node, target.value, "", key.rpartition(".")[2], value, plain=True)
    if not (isinstance(node, ast.Call) and _last(node.func) in PATCHERS and node.args):
        return
    if any(one.arg == "wraps" for one in node.keywords):
        return  # what stands behind it is called
    words = [fold(argument) for argument in node.args[:2]]
    shown = [one.value for one in node.keywords if one.arg in ("new", "return_value", "value")]
    if words[0]:
        root, _, name = words[0].rpartition(".")
        value = node.args[1] if len(node.args) > 1 else next(iter(shown), None)
        yield _Set(node, None, root, name, value, plain=False)
    elif len(words) == 2 and words[1]:
        value = node.args[2] if len(node.args) > 2 else next(iter(shown), None)
        plain = _last(node.func) == "setattr" and isinstance(node.func, ast.Name)
        yield _Set(node, node.args[0], "", words[1].rpartition(".")[2], value, plain=plain)
