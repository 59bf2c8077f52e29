"""What the names in a Python source stand for, and what its expressions know of their surroundings."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from typing import Any

from agent.gate.scan_values import Function, fold

SOURCES = re.compile(
    r"""(?P<env>os\.(environb?|getenvb?))|(?P<argv>sys\.(orig_)?argv)|(?P<main>__main__)|(?P<proc>psutil|os\.getppid)
    |(?P<modules>sys\.modules|importlib\.util\.find_spec)|(?P<gc>gc\.get_(objects|referrers))
    |(?P<stack>inspect\.(stack|trace|currentframe|getouterframes)|sys\._(getframe\w*|current_frames)
        |linecache|traceback\.(extract_stack|format_stack|walk_stack|print_stack))|(?P<cwd>os\.getcwdb?|pathlib\.Path\.cwd)
    |(?P<thread>threading\.(current_thread|enumerate))|(?P<tracer>sys\.get(trace|profile))
    |(?P<files>glob\.i?glob|os\.(listdir|walk|scandir|stat|path\.(exists|isfile|isdir))|pathlib\.Path|\.open)
    |(?P<home>os\.path\.expanduser|pathlib\.Path\.home)|(?P<std>sys\.(stdout|stderr|stdin))
    |(?P<host>socket\.gethostname|platform\.node|getpass\.getuser|os\.(getlogin|uname))
    |(?P<time>time\.(time|time_ns|localtime|gmtime|strftime)|datetime\.(datetime\.(now|utcnow|today)|date\.today))
    |(?P<hash>hashlib|zlib\.(crc32|adler32)|binascii\.crc32)|(?P<count>itertools\.count)
    |(?P<random>random|secrets|os\.urandom|uuid\.uuid[14]|numpy\.random)
    |(?P<blob>base64|(zlib|lzma|bz2|gzip)\.decompress|(marshal|pickle)\.loads|codecs\.decode|binascii\.\w+
        |\.bytes\.fromhex)""",
    re.X,
)
ATTRIBUTES = dict.fromkeys(("f_back", "f_code", "f_locals"), "stack") | {"hexdigest": "hash"}
ATTRIBUTES |= dict.fromkeys(("rglob", "iterdir", "read_text", "read_bytes"), "files")
MOST_WORDS = 500
"""Texts that are kept of what one name stands for."""


class Names:
    """The nodes of one syntax tree, what they are part of, and what its names stand for."""

    def __init__(self, tree: ast.Module) -> None:
        self.alias = {"__builtins__": "builtins"}
        self.consts: dict[str, list[str]] = {}
        self.names: dict[ast.AST, str | None] = {}
        self.taint: defaultdict[tuple[ast.AST | None, str], set[str]] = defaultdict(set)
        self.parent: dict[ast.AST, ast.AST] = {}
        self.scope: dict[ast.AST, Function | None] = {tree: None}
        self.nodes: list[Any] = list(ast.walk(tree))
        for node in self.nodes:
            for child in ast.iter_child_nodes(node):
                self.parent[child] = node
                self.scope[child] = node if isinstance(node, Function) else self.scope[node]
        for step in (self._learn, self._learn, self._spread, self._spread):
            self.names.clear()
            for node in self.nodes:
                step(node)

    def _learn(self, node: Any) -> None:
        """What names stand for: imported modules and their parts, and constant texts."""
        if isinstance(node, ast.Import):
            for one in node.names:
                root = one.name.split(".")[0]
                self.alias[one.asname or root] = one.name if one.asname else root
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                self.alias[one.asname or one.name] = "." * node.level + f"{node.module}.{one.name}"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = self.dotted(node.value)
            table = isinstance(node.value, ast.Tuple | ast.List | ast.Set)
            if value and not value.startswith("."):
                self.alias.setdefault(node.targets[0].id, value)
            elif table or fold(node.value):
                self.consts[node.targets[0].id] = self.words(node.value)[:MOST_WORDS]
        elif isinstance(node, ast.For | ast.comprehension) and isinstance(
            node.iter, ast.Tuple | ast.List | ast.Name
        ):
            self.consts[getattr(node.target, "id", "")] = self.words(node.iter)[:MOST_WORDS]

    def _spread(self, node: Any) -> None:
        """Let names take on the sources of what they are bound to, and functions those of what they return."""
        values = (getattr(node, name, None) for name in ("value", "iter", "context_expr"))
        value = next(filter(None, values), None)
        single = [getattr(node, name, None) for name in ("target", "optional_vars")]
        targets = getattr(node, "targets", None) or list(filter(None, single))
        scope = self.scope[node]
        if isinstance(node, ast.Return) and scope:
            self.taint[self.scope[scope], "." + scope.name] |= self.kinds(value)
        for part in (part for target in targets if value for part in ast.walk(target)):
            if isinstance(part, ast.Name):
                self.taint[scope, "." + part.id] |= self.kinds(value)

    def dotted(self, node: Any) -> str | None:
        """The full name of what an expression is; with a dot before it when it is not imported."""
        if node not in self.names:
            self.names[node] = self._dotted(node)
        return self.names[node]

    def _dotted(self, node: Any) -> str | None:
        if isinstance(node, ast.Name):
            return self.alias.get(node.id, "." + node.id)
        if isinstance(node, ast.Attribute):
            return f"{owner}.{node.attr}" if (owner := self.dotted(node.value)) else None
        if isinstance(node, ast.Call) and node.args:
            name, key = self.dotted(node.func) or "", fold(node.args[-1])
            if name.endswith("__import__") or name == "importlib.import_module":
                return fold(node.args[0])
            if name == ".getattr" and len(node.args) == 2 and key:
                return f"{self.dotted(node.args[0])}.{key}"
            return f"{self.dotted(node.args[0])}.__dict__" if name == ".vars" else None
        if isinstance(node, ast.Subscript) and (key := fold(node.slice)):
            owner = self.dotted(node.value) or ""
            if owner.endswith(".__dict__") or owner == "builtins":
                return f"{owner.removesuffix('.__dict__')}.{key}"
            return key if owner == "sys.modules" else None
        return None

    def words(self, node: ast.AST) -> list[str]:
        """The constant texts in an expression, put together where they are spelt out in pieces."""
        found = [text for part in ast.walk(node) if (text := fold(part))]
        names = {part.id: None for part in ast.walk(node) if isinstance(part, ast.Name)}
        found += [text for name in names for text in self.consts.get(name, ())]
        return list(dict.fromkeys(found))

    def kinds(self, node: ast.AST | None) -> set[str]:
        """Which sources of knowledge about the surroundings an expression draws from."""
        found: set[str] = set()
        for part in ast.walk(node) if node else ():
            if isinstance(part, ast.Constant) and str(part.value)[:6] == "/proc/":
                found.add("proc")
            elif isinstance(part, ast.Call) and self.dotted(part.func) == ".hash":
                found.add("hash")
            elif isinstance(part, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
                name = self.dotted(part) or ""
                if (source := SOURCES.match(name)) and not name[source.end() :][:1].isalnum():
                    found.add(source.lastgroup or "")
                if isinstance(part, ast.Attribute) and part.attr in ATTRIBUTES:
                    found.add(ATTRIBUTES[part.attr])
                scope: ast.AST | None = part
                while scope and isinstance(part, ast.Name):
                    scope = self.scope[scope]
                    found |= self.taint.get((scope, "." + part.id), set())
        return found
