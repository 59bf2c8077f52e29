"""Whether a change to a Python test file only adds: what stood in the base still stands, unchanged and in effect.

Everything here looks at syntax trees; nothing is imported or run. A file that Python 3.11 cannot parse counts as
changed. "Additive" means that every statement of the base is still there in its order, where a class may have
gained methods, a test statements at its end, an import names and a literal list elements at its end; and that
nothing new rebinds a name that the base uses, hooks into the runner or applies itself to other tests.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator, Sequence, Set

MAX_SOURCE = 2 * 1024 * 1024
"""Bytes of a source that is parsed."""

HOOKS = frozenset(
    f"{moment}{where}"
    for moment in ("setup", "teardown")
    for where in ("", "_module", "_function", "_method", "_class")
) | {
    *("setUp", "tearDown", "setUpClass", "tearDownClass", "setUpModule", "tearDownModule", "asyncSetUp"),
    *("asyncTearDown", "load_tests", "pytestmark", "collect_ignore", "collect_ignore_glob"),
}
"""Names that a runner looks for and that act on tests which do not mention them."""

SKIPPING = frozenset({"skip", "skipif", "skipIf", "skipUnless", "xfail", "expectedFailure"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parsed(source: bytes) -> ast.Module | None:
    """The syntax tree, or None for what Python cannot parse (or what is too large or too deep to be code)."""
    if len(source) > MAX_SOURCE:
        return None
    try:
        tree = ast.parse(source)
        ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree


def same_code(base: bytes, new: bytes) -> bool:
    """Whether two Python sources differ in comments and layout at most."""
    base_tree, new_tree = parsed(base), parsed(new)
    return base_tree is not None and new_tree is not None and _same(base_tree, new_tree)


def find_tests(source: bytes) -> dict[str, Function]:
    """The test functions of a file, by name as in a test id ("Class::test_x"); empty when it does not parse."""
    tree = parsed(source)
    return dict(_tests(tree.body, "")) if tree else {}


def newly_skipped(base: bytes, new: bytes) -> list[str]:
    """Names of tests of the base that carry a skip or xfail mark in the new version alone."""
    after = find_tests(new)
    return [
        name
        for name, test in find_tests(base).items()
        if name in after and _marks(after[name]) & SKIPPING - _marks(test)
    ]


def requested(source: bytes) -> frozenset[str]:
    """Every name by which a test file may ask for a fixture: its parameters and its strings."""
    tree = parsed(source)
    return frozenset() if tree is None else _arguments(tree) | _strings(tree)


def obstacle(base: bytes, new: bytes, *, everywhere: Set[str] | None = None) -> str | None:
    """What makes the change from `base` to `new` more than an addition; None when it only adds.

    `everywhere` is given for files that act on other test files (conftest.py, a package's __init__.py): the names
    that those ask for. Such a file may gain definitions and literals only.
    """
    base_tree, new_tree = parsed(base), parsed(new)
    if base_tree is None or new_tree is None:
        return "it cannot be parsed"
    scope = _Scope(base, base_tree, everywhere)
    return _grown(base_tree.body, new_tree.body, scope)


class _Scope:
    """What the base's file uses by name, so that an addition can be kept from changing its meaning."""

    def __init__(self, source: bytes, tree: ast.Module, everywhere: Set[str] | None) -> None:
        self.strict = everywhere is not None
        self.globals = frozenset(_globals(symtable.symtable(source, "base", "exec")))  # type: ignore[arg-type]
        self.attributes = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        self.requested = _arguments(tree) | _strings(tree) | (everywhere or frozenset())
        self.imports = {key for statement in tree.body for key in _imported(statement)}


def _grown(
    base: list[ast.stmt], new: list[ast.stmt], scope: _Scope, owner: ast.ClassDef | None = None
) -> str | None:
    """Why `new` is not `base` with additions; None when it is."""
    waiting = list(base)
    added: list[ast.stmt] = []
    for statement in new:
        if waiting and _covers(waiting[0], statement, scope):
            before = waiting.pop(0)
            if isinstance(before, ast.Import | ast.ImportFrom):
                added.append(_new_names(before, statement))
        else:
            added.append(statement)
    if waiting:
        gone = waiting[0]
        inner = _inside(gone, new, scope) if isinstance(gone, ast.ClassDef) else None
        return inner or f"{_called(gone)} (line {gone.lineno} of the base) is changed or gone"
    bound = {name for statement in base for name in _bound(statement)}
    for statement in added:
        if reason := _intrusion(statement, scope, bound, owner):
            return f"line {statement.lineno}: {reason}"
    return None


def _inside(base: ast.ClassDef, new: list[ast.stmt], scope: _Scope) -> str | None:
    """Where in a class the change is, if the class is still there."""
    for statement in new:
        if isinstance(statement, ast.ClassDef) and _same(_head(base), _head(statement)):
            return _grown(base.body, statement.body, scope, owner=base)
    return None


def _covers(base: ast.stmt, new: ast.stmt, scope: _Scope) -> bool:
    """Whether `new` says all that `base` says, and perhaps more."""
    if _same(base, new):
        return True
    if isinstance(base, ast.ClassDef) and isinstance(new, ast.ClassDef):
        return _same(_head(base), _head(new)) and _grown(base.body, new.body, scope, owner=base) is None
    if isinstance(base, Function) and isinstance(new, Function):
        return type(base) is type(new) and _covers_test(base, new)
    if isinstance(base, ast.ImportFrom) and isinstance(new, ast.ImportFrom):
        return _origin(base) == _origin(new) and _aliases(base) <= _aliases(new)
    if isinstance(base, ast.Import) and isinstance(new, ast.Import):
        return _aliases(base) <= _aliases(new)
    if isinstance(base, ast.Assign) and isinstance(new, ast.Assign):
        return _same_all(base.targets, new.targets) and _longer(base.value, new.value)
    return False


def _covers_test(base: Function, new: Function) -> bool:
    """A test may gain parameter sets and statements at its end. What is no test must stay as it is."""
    if not base.name.startswith("test") or not _same(_head(base), _head(new)):
        return False
    body, more = new.body[: len(base.body)], new.body[len(base.body) :]
    if not _same_all(base.body, body) or len(base.decorator_list) != len(new.decorator_list):
        return False
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for statement in more for node in ast.walk(statement)):
        return False  # a generator's body is never run
    return all(
        _same(old, decorator) or _more_parameters(old, decorator)
        for old, decorator in zip(base.decorator_list, new.decorator_list, strict=True)
    )


def _more_parameters(base: ast.expr, new: ast.expr) -> bool:
    if not (isinstance(base, ast.Call) and isinstance(new, ast.Call)):
        return False
    if not (isinstance(base.func, ast.Attribute) and base.func.attr == "parametrize"):
        return False
    return (
        _same(base.func, new.func)
        and len(base.args) == len(new.args) == 2
        and _same(base.args[0], new.args[0])
        and _longer(base.args[1], new.args[1])
        and _same_all(base.keywords, new.keywords)
        and not any(keyword.arg == "ids" for keyword in base.keywords)
    )


def _longer(base: ast.expr, new: ast.expr) -> bool:
    """A literal list or tuple with elements added at its end, so that the positions of the old ones stay."""
    return (
        isinstance(base, ast.List | ast.Tuple)
        and type(base) is type(new)
        and isinstance(new, ast.List | ast.Tuple)
        and _same_all(base.elts, new.elts[: len(base.elts)])
    )


def _intrusion(statement: ast.stmt, scope: _Scope, bound: Set[str], owner: ast.ClassDef | None) -> str | None:
    """Why an added statement may act on what was there before; None when it may not."""
    if isinstance(statement, ast.Pass):
        return None
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return None
    if isinstance(statement, ast.Import | ast.ImportFrom):
        keys = zip(_bound(statement), _imported(statement), strict=True)
        names = [name for name, key in keys if key not in scope.imports]
    elif isinstance(statement, Function | ast.ClassDef | ast.Assign | ast.AnnAssign):
        names = list(_bound(statement))
        if not names:
            return "it assigns to something that is not a plain name"
        if (
            scope.strict
            and isinstance(statement, ast.Assign | ast.AnnAssign)
            and not _literal(statement.value)
        ):
            return "it runs code when the file is loaded"
    else:
        return "it runs code when the file is loaded"
    for name in names:
        if name in HOOKS or name == "*" or name.startswith(("pytest_", "__")):
            return f"{name} acts on other tests"
        used = scope.globals if owner is None else scope.attributes
        if name in bound or name in used:
            return f"{name} takes the place of a name that the base uses"
        if owner is not None and owner.bases and not name.startswith("test"):
            return f"{name} may take the place of what {owner.name} inherits"
    return _fixture_intrusion(statement, scope) if isinstance(statement, Function) else None


def _fixture_intrusion(function: Function, scope: _Scope) -> str | None:
    name = function.name
    for decorator in function.decorator_list:
        for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if keyword.arg == "autouse" and value is not False:
                return f"the fixture {name} applies itself to other tests"
            if keyword.arg == "name":
                if not isinstance(value, str):
                    return f"the fixture {name} takes a name that cannot be read"
                name = value
            if keyword.arg is None:
                return f"the decorator of {name} takes options that cannot be read"
        if "fixture" in _words(decorator) and name in scope.requested:
            return f"the fixture {name} takes the place of one that the base uses"
    return None


# ---- reading syntax trees


def _same(a: ast.AST, b: ast.AST) -> bool:
    return ast.dump(a) == ast.dump(b)


def _same_all(a: Sequence[ast.AST], b: Sequence[ast.AST]) -> bool:
    return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))


def _head(node: ast.ClassDef | Function) -> ast.stmt:
    """The definition without its body (and, for functions, without decorators)."""
    body: list[ast.stmt] = [ast.Pass()]
    if isinstance(node, ast.ClassDef):
        return ast.ClassDef(node.name, node.bases, node.keywords, body, node.decorator_list)
    return ast.FunctionDef(node.name, node.args, body, [], node.returns)


def _tests(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Function]]:
    for node in body:
        if isinstance(node, Function) and node.name.startswith("test"):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _tests(node.body, f"{prefix}{node.name}::")


def _marks(function: Function) -> set[str]:
    return {word for decorator in function.decorator_list for word in _words(decorator)}


def _words(node: ast.AST) -> set[str]:
    nodes = list(ast.walk(node))
    return {n.attr for n in nodes if isinstance(n, ast.Attribute)} | {
        n.id for n in nodes if isinstance(n, ast.Name)
    }


def _arguments(tree: ast.AST) -> frozenset[str]:
    return frozenset(node.arg for node in ast.walk(tree) if isinstance(node, ast.arg))


def _strings(tree: ast.AST) -> frozenset[str]:
    return frozenset(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _literal(node: ast.expr | None) -> bool:
    allowed = ast.Constant | ast.List | ast.Tuple | ast.Set | ast.Dict | ast.UnaryOp | ast.USub | ast.Load
    return node is not None and all(isinstance(part, allowed) for part in ast.walk(node))


def _origin(node: ast.Import | ast.ImportFrom) -> str | None:
    """Where an import takes from: "..package", or None for a plain `import`."""
    return "." * node.level + (node.module or "") if isinstance(node, ast.ImportFrom) else None


def _imported(statement: ast.stmt) -> list[tuple[str | None, str, str | None]]:
    """What an import binds to its names, one key an alias: `import a.b` binds what `import a` does."""
    if not isinstance(statement, ast.Import | ast.ImportFrom):
        return []
    origin = _origin(statement)
    return [
        (origin, alias.name.split(".")[0] if origin is alias.asname is None else alias.name, alias.asname)
        for alias in statement.names
    ]


def _aliases(node: ast.Import | ast.ImportFrom) -> set[tuple[str, str | None]]:
    return {(alias.name, alias.asname) for alias in node.names}


def _new_names(base: ast.Import | ast.ImportFrom, new: ast.stmt) -> ast.stmt:
    """The part of a grown import that the base had not."""
    assert isinstance(new, ast.Import | ast.ImportFrom)
    names = [alias for alias in new.names if (alias.name, alias.asname) not in _aliases(base)]
    rest = ast.Import(names) if isinstance(new, ast.Import) else ast.ImportFrom(new.module, names, new.level)
    return ast.copy_location(rest, new)


def _bound(statement: ast.stmt) -> list[str]:
    """The names that a statement binds where it stands; one for each alias of an import."""
    if isinstance(statement, Function | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign):
        targets = [part for target in statement.targets for part in getattr(target, "elts", [target])]
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        nodes = list(ast.walk(statement))
        return [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return (
        [target.id for target in targets if isinstance(target, ast.Name)]
        if all(isinstance(target, ast.Name) for target in targets)
        else []
    )


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """The names that code looks up in its module or among the built-in ones."""
    for symbol in table.get_symbols():
        if symbol.is_global() or table.get_type() == "module":
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


def _called(statement: ast.stmt) -> str:
    names = _bound(statement)
    return names[0] if names else "a statement"
