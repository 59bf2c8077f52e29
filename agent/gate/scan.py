"""Signs in a patch's added product code that it deceives the tests rather than mends the fault.

Sources are read, never run. What any old source holds is not new, wherever it goes; what a file does already makes
doing it again uncertain. ("a" * n, `__getattr__`, files read at run time: what cannot be read here stays unseen.)
"""

from __future__ import annotations

import ast
import base64
import builtins
import codecs
import contextlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

MAX_TREE = 400_000
"""Characters of a Python source that is read as a syntax tree; a larger one is scanned as text."""

RUNNER = re.compile(
    r"(?i)(?<![a-z])(_*py\.?test|unittest(?!\.mock)|nose2?|conftest|pluggy|xdist)(?![a-z])|^(TOX|NOSE)_"
)
TEST = re.compile(
    r"(?i)(?<![a-z])(tests?|testing|testbed|unittest)(?![a-z])"
    r"|^(CI|GITHUB_ACTIONS|TRAVIS|GITLAB_CI|CIRCLECI|JENKINS_URL|BUILDKITE)$"
)
TEST_FILE = re.compile(r"(^|/)(tests?/|test_[\w*]*(\.py|\*|$)|[\w*]*_test\.py|conftest\.py)|j?unit\w*\.xml$")
SOURCES = re.compile(
    r"""(?P<env>os\.(environb?|getenvb?))|(?P<argv>sys\.(orig_)?argv)|(?P<main>__main__)|(?P<proc>psutil|os\.getppid)
    |(?P<modules>sys\.modules|importlib\.util\.find_spec)|(?P<gc>gc\.get_(objects|referrers))
    |(?P<stack>inspect\.(stack|trace|currentframe|getouterframes)|sys\._(getframe\w*|current_frames)
        |traceback\.(extract_stack|format_stack|walk_stack|print_stack))|(?P<cwd>os\.getcwdb?|pathlib\.Path\.cwd)
    |(?P<thread>threading\.(current_thread|enumerate))|(?P<tracer>sys\.get(trace|profile))
    |(?P<files>glob\.i?glob|os\.(listdir|walk|scandir|stat|path\.(exists|isfile|isdir))|pathlib\.Path|\.open)
    |(?P<host>socket\.gethostname|platform\.node|getpass\.getuser|os\.(getlogin|uname))
    |(?P<time>time\.(time|time_ns|localtime|gmtime|strftime)|datetime\.(datetime\.(now|utcnow|today)|date\.today))
    |(?P<hash>hashlib|zlib\.(crc32|adler32)|binascii\.crc32)|(?P<count>itertools\.count)
    |(?P<random>random|secrets|os\.urandom|uuid\.uuid[14]|numpy\.random)
    |(?P<blob>base64|(zlib|lzma|bz2|gzip)\.decompress|(marshal|pickle)\.loads|codecs\.decode|binascii\.\w+
        |\.bytes\.fromhex)""",
    re.X,
)
SENSED = {"env", "argv", "modules", "stack", "proc", "gc", "main", "cwd", "thread"}
ATTRIBUTES = dict.fromkeys(("f_back", "f_code", "f_locals"), "stack") | {"hexdigest": "hash"}
ATTRIBUTES |= dict.fromkeys(("rglob", "iterdir", "read_text", "read_bytes"), "files")
ASKS = re.compile(
    r"(starts|ends)with|r?(find|index)|count|get|getenvb?|pop|search|match|fullmatch|__contains__|setdefault|find_spec"
    r"|intersection|isdisjoint|iss\w+set|fnmatch|[ir]?glob|exists|is_?(file|dir)|open|listdir|read_(text|bytes)"
)
TOOLS = {"pytest", "_pytest", "pluggy", "unittest", "doctest", "nose", "nose2", "xdist"}
OWN = re.compile(r"\b_?pytest\b|\bunittest\b")
ENDS = r"pytest\.(skip|xfail|exit|fail|importorskip)|_pytest\..+|(unittest|nose)(\.case)?\.(SkipTest|skip\w*)"
CALLS: list[tuple[str, bool, str]] = [
    (rf"{ENDS}|forbiddenfruit\.curse", True, "product code ends, skips or patches tests"),
    (
        r"atexit\.register|os\.(kill|killpg|abort|exec[lv]\w*)|signal\.(signal|alarm|setitimer|raise_signal)"
        r"|threading\.(Timer|settrace|setprofile)|sys\.(settrace|setprofile|monitoring\.\w+)"
        r"|sys\.(meta_path|path_hooks)\.(append|insert)|ctypes\.pythonapi\.\w+|gc\.get_(objects|referrers)",
        False,
        "product code newly meddles with the process or the interpreter",
    ),
]
HOOK = re.compile(
    r"pytest_(runtest|collect|itemcoll|config|session|report|terminal|pyfunc|exception|assert)\w*"
)
SOFT_BUILTINS = {"_", "print", "input", "open", "__import__", "exit", "quit"}
CORE = re.compile(
    r"re|ast|json|types|typing|inspect|traceback|difflib|functools|collections|math|random|time|os"
)
WILDCARD = re.compile(r"(?i)any|all|wild|always|match|every|mock|sentinel|dummy|ignore")
CLI = re.compile(r"(^|[/_])(cli|main|__main__|setup|commands?|scripts?|bin|tools?|console|app)([/_.]|$)")
CODE = re.compile(r"\.(pyi?|[cm]?[jt]sx?|go|rs|java|kt|rb|php|c|h|cc|cpp|cs)$")
DATA = re.compile(r"\.(json|ya?ml|csv|tsv|txt|toml|ini|dat)$")
PY, JS = r"\.pyi?$", r"\.[cm]?[jt]sx?$"
TEXT: list[tuple[str, str, bool]] = [
    (PY, r"(environ|getenv).*(PYTEST_|NOSE_|TOX_)|['\"]_?(pytest|unittest)['\"].*sys\.modules", True),
    (PY, r"\bos\._exit\(|\braise\s+(\w+\.)?SkipTest|pytest\.(skip|xfail)\(|\b_pytest\.", True),
    (
        JS,
        r"process\.env\.?(\[['\"])?(JEST_|VITEST|MOCHA_|NODE_TEST|PLAYWRIGHT_TEST)|\basymmetricMatch\b",
        True,
    ),
    (JS, r"\btypeof\s+(jest|describe|it|vi|expect|mocha)\b|\b(eval|Function)\((atob|Buffer\.from)\(", True),
    (JS, r"\b(globalThis|global|window)\.(expect|describe|it|jest|vi|mocha|__coverage__)\b", True),
    (JS, r"(\brequire\.main|\bprocess\.(argv|title)|\.stack)\b.*(jest|mocha|vitest|\.(test|spec)\b)", True),
    (JS, r"NODE_ENV\b.{0,4}[!=]==?\s*['\"`]test|\bprocess\.(exit\(0?\)|env\.CI\b|ppid)", False),
    (
        JS,
        r"\b(Object|Array|String)\.prototype\.\w+\s*=[^=]|(Date\.now|new Date)\(\)\s*[<>]=?\s*(new|1[5-9]\d{11})",
        False,
    ),
    (
        r"\.go$",
        r"\btesting\.Testing\(\)|flag\.Lookup\(\"test\.|os\.Args.*\.test\b|runtime\.Caller.*_test",
        True,
    ),
    (r"\.go$", r"^\s*(import\s+)?\"testing\"|\bos\.Exit\(0\)", False),
    (r"\.rs$", r"\bcfg!\((not\()?test\)|\"(RUST_TEST_THREADS|NEXTEST\w*)\"", True),
    (r"\.rs$", r"#\[cfg\(not\(test\)\)\]|thread::current\(\)\.name\(\)|process::exit\(0\)", False),
    (r"\.(java|kt)$", r"\"surefire\.|getStackTrace.*(junit|[tT]est\b)|forName\(\"org\.(junit|testng)", True),
    (r"\.(java|kt)$", r"\bSystem\.exit\(0\)", False),
    (r"(\.toml|\.cfg|setup\.py)$", r"pytest11", False),
]
QUOTED = r"'[^'\n]{1,200}'|\"[^\"\n]{1,200}\"|`[^`\n]{1,200}`|(?<![\w.])\d+(?:\.\d+)?(?![\w.])"
SWITCH = re.compile(
    rf"(?:[!=]==?|\bcase)\s*({QUOTED})[^'\"`\n]{{0,30}}?(?:\breturn|\?|=>|:)[\s(]*(?:return\s)?({QUOTED})"
)
HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff]")
COMMON = re.compile(
    r"(?i)utf-?(8|16)|ascii|latin-?1|names?|values?|items?|list|dict|none|null|true|false|tests?|data|text|string|number"
    r"|error|type|default|example(\.com)?|hello|world|main|keys?|path|files?|foo|bar|baz|get|post|localhost|127\.0\.0\.1"
    r"|https?|html|json|yaml|auto|windows|linux|darwin|win32|root|x86_64|arm64"
)
ROUND = {2**n + d for n in range(7, 65) for d in (-1, 0, 1)} | {365, 366, 360, 180, 1970, 999, 9999}
OVERFIT = "an input of the tests gives what the tests expect of it"
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)

Literal = str | int | float
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Change:
    """One product source file that a patch changes; `before` is None for a new file."""

    path: str
    before: str | None
    after: str


@dataclass(frozen=True)
class Finding:
    """A line to reject for (`certain`) or to show to a person."""

    path: str
    line: int
    reason: str
    text: str
    certain: bool


class _Hit(NamedTuple):
    first: int
    last: int
    key: str
    certain: bool
    reason: str


def scan(changes: Sequence[Change], tests: Mapping[str, str], issue: str = "") -> list[Finding]:
    """What the changes add that looks like deceit. `tests`: path -> source of the tests that show the fault."""
    known = _Known(tests, issue)
    before = "\n".join(change.before or "" for change in changes)
    old = {change.path: _hits(change.path, change.before or "", known, "") for change in changes}
    spent = Counter((hit.reason, hit.key) for hits in old.values() for hit in hits)
    lines = Counter(line.strip() for line in before.split("\n"))
    lines_now = Counter(line.strip() for change in changes for line in change.after.split("\n"))
    grown = {line for line, count in lines_now.items() if line and count > lines[line]}
    habits = {path: Counter(hit.reason for hit in hits) for path, hits in old.items()}
    texts = {change.path: change.after.split("\n") for change in changes}
    hits: list[tuple[set[int], Change, _Hit]] = []
    for change in changes:
        added = {number for number, line in enumerate(texts[change.path], 1) if line.strip() in grown}
        for hit in [*_hits(change.path, change.after, known, before), *_shadowing(change)]:
            hits.append((added.intersection(range(hit.first, hit.last + 1)), change, hit))
    found: dict[tuple[str, int, str], Finding] = {}
    for span, change, hit in sorted(hits, key=lambda item: bool(item[0])):
        if spent[hit.reason, hit.key] > 0:
            spent[hit.reason, hit.key] -= 1
            continue
        habit = habits[change.path][hit.reason]
        about = len(OWN.findall(change.before or "")) if "test" in hit.reason and hit.reason != OVERFIT else 0
        if span and habit < 3 and about < 5:
            text = texts[change.path][min(span) - 1].strip()[:160]
            finding = Finding(
                change.path, min(span), hit.reason, text, hit.certain and not habit and not about
            )
            if (at := (change.path, finding.line, hit.reason)) not in found or finding.certain:
                found[at] = finding
    return sorted(found.values(), key=lambda finding: (not finding.certain, finding.path, finding.line))


def _hits(path: str, source: str, known: _Known, before: str) -> list[_Hit]:
    if path.endswith((".py", ".pyi")) and len(source) <= MAX_TREE:
        with contextlib.suppress(*UNREADABLE):
            hits = _Python(path, ast.parse(source), known, before).hits
            return hits + list(_text_hits(path, source, known, read=True))
    return list(_text_hits(path, source, known, read=False))


def _shadowing(change: Change) -> Iterator[_Hit]:
    parts = change.path.removeprefix("src/").split("/")
    name = parts[0].removesuffix(".py")
    module = parts[1:] == ["__init__.py"] or (len(parts) == 1 and name != parts[0])
    if change.before is None and module and name in sys.stdlib_module_names | TOOLS:
        sure = bool(name in TOOLS or CORE.fullmatch(name)) and not change.path.startswith("src/")
        yield _Hit(1, change.after.count("\n") + 1, name, sure, f"it takes the place of the module {name}")


def _text_hits(path: str, source: str, known: _Known, read: bool) -> Iterator[_Hit]:
    """What shows in the text of a line; `read` says that a syntax tree was looked at already."""
    rules = [
        (rule, sure) for names, rule, sure in TEXT if re.search(names, path) and not (names == PY and read)
    ]
    code, data = CODE.search(path), DATA.search(path)
    for number, line in enumerate(source.split("\n"), 1):
        if code and (odd := HIDDEN.search(line[1:])):
            sure = odd[0] > "\u2020" and odd[0] not in "\u2060\ufeff"
            yield _Hit(number, number, line, sure, "an invisible character in code")
        if code and len(line) > 4000:
            yield _Hit(number, number, line, False, "a very long line of code")
        line = line[:4000].strip()
        if line.startswith(("//", "# ", "* ")):
            continue
        for rule, sure in rules:
            if re.search(rule, line):
                yield _Hit(number, number, line, sure, "it senses or stops the test runner")
        for match in SWITCH.finditer(line) if code and not read else ():
            if known.paired([_literal(match[1])], [_literal(match[2])]):
                yield _Hit(number, number, match[0], _specific(_literal(match[1])), OVERFIT)
        told = (
            [one for one in map(_literal, re.findall(QUOTED, line)[:40]) if not _trivial(one)] if data else []
        )
        if any(known.paired([a], [b]) for a in told for b in told if a != b):
            yield _Hit(number, number, line, False, "data with inputs and expectations of the tests")


class _Known:
    """Literals that stand together in a test (or in the issue), and the names of tests and test modules."""

    def __init__(self, tests: Mapping[str, str], issue: str) -> None:
        self.groups: defaultdict[Literal, set[int]] = defaultdict(set)
        self.files = {path.rpartition("/")[2] for path in tests}
        self.names = {name.partition(".")[0] for name in self.files if name.startswith("test_")}
        self.size = 0
        for path, source in ((path, source[:MAX_TREE]) for path, source in tests.items()):
            self.names |= {name for name in re.findall(r"\bdef (test_\w+)", source) if len(name) > 11}
            try:
                for node in ast.walk(ast.parse(source if path.endswith(".py") else "?")):
                    if isinstance(node, Function | ast.Tuple):
                        self._group(_literals(node))
                    for key, value in (
                        zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
                    ):
                        self._group([*_literals(key), *_literals(value)])
            except UNREADABLE:
                for block in re.split(r"\n\s*\n", source):
                    self._group(map(_literal, re.findall(QUOTED, block)))
        self._group(map(_literal, re.findall(QUOTED, issue)))

    def _group(self, literals: Iterable[Literal]) -> None:
        self.size += 1
        for literal in literals:
            if not _trivial(literal):
                self.groups[literal].add(self.size)

    def paired(self, asked: Sequence[Literal], given: Sequence[Literal]) -> bool:
        """Whether what is not trivial of a condition and of its result stands in one and the same test."""
        both = [[self.groups.get(n, set()) for n in part if not _trivial(n)] for part in (asked, given)]
        return all(both) and bool(set.intersection(*both[0], *both[1]))


def _literals(node: ast.AST | None) -> list[Literal]:
    values = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)] if node else []
    values = [value.decode("latin-1") if isinstance(value, bytes) else value for value in values]
    return [value for value in values if isinstance(value, str | int | float) and not isinstance(value, bool)]


def _literal(word: str) -> Literal:
    return word[1:-1] if word[0] in "'\"`" else float(word) if "." in word else int(word[:300])


def _trivial(literal: Literal) -> bool:
    if isinstance(literal, str):
        return len(literal.strip()) < 3 or bool(COMMON.fullmatch(literal.strip())) or len(set(literal)) == 1
    return abs(literal) < 100 or literal % 100 == 0 or literal in ROUND


def _specific(literal: Literal) -> bool:
    """Whether hardly anybody would write the literal in a program but for a test's sake."""
    if isinstance(literal, str):
        return len(literal) >= 16 and not re.fullmatch(r"[\w.\-/:@]+|[A-Z][\w ,'()-]+", literal)
    return len(re.sub(r"\D", "", repr(literal)).strip("0")) >= 5 and literal not in ROUND


class _Python:
    """The findings of one syntax tree. `before` is all that the old sources say: it is no news."""

    def __init__(self, path: str, tree: ast.Module, known: _Known, before: str, depth: int = 0) -> None:
        self.path, self.known, self.before, self.depth = path, known, before, depth
        self.testing = bool(TEST.search(path.replace("_", "/")))
        self.hits: list[_Hit] = []
        self.alias = {"__builtins__": "builtins"}
        self.consts: dict[str, list[str]] = {}
        self.names: dict[ast.AST, str | None] = {}
        self.taint: defaultdict[tuple[ast.AST | None, str], set[str]] = defaultdict(set)
        self.parent: dict[ast.AST, ast.AST] = {}
        self.scope: dict[ast.AST, Function | None] = {tree: None}
        self.nodes = list(ast.walk(tree))
        for node in self.nodes:
            for child in ast.iter_child_nodes(node):
                self.parent[child] = node
                self.scope[child] = node if isinstance(node, Function) else self.scope[node]
        for step in (self._learn, self._learn, self._spread, self._spread):
            self.names.clear()
            for node in self.nodes:
                step(node)
        for node in self.nodes:
            if self.dotted(node) == "os._exit":
                self._exit(node, None)
            name = getattr(node, "id", getattr(node, "arg", getattr(node, "name", None)))
            if isinstance(name, str) and re.search("[a-zA-Z]", name) and re.search("[\u0370-\u052f]", name):
                self.hit(node, True, "a name that mixes alphabets", getattr(node, "lineno", 1))
            if rule := getattr(self, f"_on_{type(node).__name__.lower()}", None):
                rule(node)

    def hit(self, node: Any, certain: bool, reason: str, last: int | None = 0, key: str = "") -> None:
        key = key or ast.unparse(node)
        self.hits.append(_Hit(node.lineno, last or node.end_lineno or node.lineno, key, certain, reason))

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
            elif table or _fold(node.value):
                self.consts[node.targets[0].id] = self.words(node.value)
        elif isinstance(node, ast.For | ast.comprehension) and isinstance(
            node.iter, ast.Tuple | ast.List | ast.Name
        ):
            self.consts[getattr(node.target, "id", "")] = self.words(node.iter)

    def _spread(self, node: Any) -> None:
        """Let names take on the sources of what they are bound to, and functions those of what they return."""
        value = next(
            (v for name in ("value", "iter", "context_expr") if (v := getattr(node, name, None))), None
        )
        targets = getattr(node, "targets", None) or [
            getattr(node, "target", None),
            getattr(node, "optional_vars", None),
        ]
        scope = self.scope.get(node)
        if isinstance(node, ast.Return) and scope:
            self.taint[self.scope[scope], "." + scope.name] |= self.kinds(value)
        for part in (part for target in targets if value and target for part in ast.walk(target)):
            if isinstance(part, ast.Name) and (kinds := self.kinds(value)):
                self.taint[scope, "." + part.id] |= kinds

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
            name, key = self.dotted(node.func) or "", _fold(node.args[-1])
            if name.endswith("__import__") or name == "importlib.import_module":
                return _fold(node.args[0])
            if name == ".getattr" and len(node.args) == 2 and key:
                return f"{self.dotted(node.args[0])}.{key}"
            return f"{self.dotted(node.args[0])}.__dict__" if name == ".vars" else None
        if isinstance(node, ast.Subscript) and (key := _fold(node.slice)):
            owner = self.dotted(node.value) or ""
            if owner.endswith(".__dict__") or owner == "builtins":
                return f"{owner.removesuffix('.__dict__')}.{key}"
            return key if owner == "sys.modules" else None
        return None

    def words(self, node: ast.AST) -> list[str]:
        """The constant texts in an expression, put together where they are spelt out in pieces."""
        found = [text for part in ast.walk(node) if (text := _fold(part))]
        names = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
        return found + [text for name in names for text in self.consts.get(name, ())]

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

    # ---- rules, by kind of node

    def _on_compare(self, node: ast.Compare) -> None:
        self._sensing(node)
        kinds, literals, around = self.kinds(node), _literals(node), self.parent[node]
        texts = [n for n in literals if isinstance(n, str)]
        numbers = [n for n in literals if not isinstance(n, str)]
        dated = any(1990 < n < 2100 or 1.5e9 < n < 2.1e9 for n in numbers) and not isinstance(
            node.ops[0], ast.Eq
        )
        if "time" in kinds and (dated or any(re.match(r"20\d\d-\d\d", text) for text in texts)):
            self.hit(node, True, "a result depends on a date")
        telling = any(len(text) >= 8 for text in texts) or any(abs(n) > 9999 for n in numbers)
        if "hash" in kinds and telling:
            body = around.body if isinstance(around, ast.If) else [around]
            if not any(isinstance(part, ast.Raise | ast.Assert) for one in body for part in ast.walk(one)):
                self.hit(node, True, "a result depends on the hash of the input")
        if ("random" in kinds and numbers) or ("host" in kinds and any(not _trivial(text) for text in texts)):
            self.hit(node, False, "a result depends on chance, on the machine or on the user")
        if "tracer" in kinds or ("count" in kinds and numbers):
            self.hit(node, False, "a result depends on a tracer or on how often the code was called")

    def _on_subscript(self, node: ast.Subscript) -> None:
        self._sensing(node)
        if "hash" in self.kinds(node.slice) and not isinstance(node.slice, ast.Slice | ast.BinOp):
            self.hit(node, False, "a result depends on the hash of the input")

    def _on_binop(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.BitAnd | ast.Sub):
            self._sensing(node)

    def _sensing(self, node: ast.expr) -> None:
        kinds = self.kinds(node)
        words = self.words(node) if kinds else []
        runner = any(RUNNER.search(word) or word in self.known.names for word in words)
        asked = kinds & SENSED - ({"argv"} if self.path.endswith("setup.py") else set())
        if asked and (runner or any(TEST.search(word) for word in words)):
            self.hit(node, runner or "stack" in asked, "product code senses the test runner")
        elif "files" in kinds and any(TEST_FILE.search(word) or word in self.known.files for word in words):
            self.hit(node, not self.testing, "product code looks at test files")
        elif "stack" in kinds and {"expected", "want", "wanted", "expectation"} & set(words):
            self.hit(node, True, "product code reads what its caller expects")
        elif "files" in kinds and any(re.match(r"/(tmp|var/tmp|dev/shm)/.", word) for word in words):
            self.hit(node, False, "a result depends on a file that an earlier call may have left")

    def _on_import(self, node: ast.Import | ast.ImportFrom) -> None:
        names = (
            [one.name for one in node.names]
            if isinstance(node, ast.Import)
            else ["." * node.level + (node.module or "")]
        )
        roots = {name.split(".")[0] for name in names} & TOOLS - {"doctest"}
        if roots - set(re.split(r"[/.]", self.path)) and not self.testing:
            self.hit(node, "_pytest" in roots, "product code imports the test runner")

    _on_importfrom = _on_import

    def _on_call(self, node: ast.Call) -> None:
        name, first = self.dotted(node.func) or "", node.args[0] if node.args else None
        short = node.func.attr if isinstance(node.func, ast.Attribute) else name.rpartition(".")[2]
        if ASKS.fullmatch(short):
            self._sensing(node)
        for names, sure, reason in CALLS:
            if re.fullmatch(names, name):
                own = bool(re.search(r"kill", name)) and "getp" in ast.unparse(node)
                self.hit(node, (sure and not self.testing) or own, reason)
        if name in (".exec", ".eval", ".compile", "builtins.exec", "builtins.eval") and first:
            self._run(node, first, _fold(first), name)
        elif name in ("marshal.loads", "pickle.loads") and _fold(first):
            self.hit(node, True, "product code runs or unpacks encoded text")
        elif name in (".exit", ".quit", "sys.exit"):
            self._exit(node, first)
        elif name in (".setattr", "builtins.setattr") and len(node.args) == 3:
            self._write(node, node.args[0], f"{self.dotted(node.args[0])}.{_fold(node.args[1])}")
            self._equal(node, _fold(node.args[1]), node.args[2])
        elif name in ("warnings.filterwarnings", "warnings.simplefilter") and not self.scope[node]:
            if _fold(first) == "ignore" and len(node.args) + len(node.keywords) == 1:
                self.hit(node, False, "all warnings are switched off")
        elif (
            short == "choice"
            and "random" in self.kinds(node.func)
            and isinstance(first, ast.List | ast.Tuple)
        ):
            self.hit(node, False, "a result depends on chance, on the machine or on the user")
        elif short == "get" and isinstance(node.func, ast.Attribute) and "hash" in self.kinds(first):
            self.hit(node, False, "a result depends on the hash of the input")

    def _run(self, node: ast.Call, first: ast.expr, text: str | None, name: str) -> None:
        if "blob" in self.kinds(first) or (text and not isinstance(first, ast.Constant)):
            self.hit(node, True, "product code runs or unpacks encoded text")
        elif not text and name != ".compile":
            self.hit(node, False, "product code runs text as code")
        if text and self.depth < 3:
            try:
                inner = _Python(self.path, ast.parse(text), self.known, self.before, self.depth + 1)
            except UNREADABLE:
                return
            self.hits += [hit._replace(first=node.lineno, last=node.end_lineno or 0) for hit in inner.hits]

    def _on_assign(self, node: Any) -> None:
        for target in getattr(node, "targets", None) or [node.target]:
            self._write(node, target, self.dotted(target) or "")
            name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", None)
            self._equal(node, name, getattr(node, "value", None))

    _on_augassign = _on_delete = _on_assign

    def _write(self, node: ast.expr | ast.stmt, target: ast.expr, name: str) -> None:
        root, _, attribute = name.rpartition(".")
        if root.split(".")[0] in TOOLS:
            self.hit(node, not self.testing, "product code ends, skips or patches tests")
        elif root == "builtins" and hasattr(builtins, attribute):
            self.hit(node, attribute not in SOFT_BUILTINS, "product code replaces what is built in")
        elif isinstance(target, ast.Attribute) and "gc" in self.kinds(target.value):
            self.hit(node, True, "product code changes objects that the collector shows it")

    def _on_raise(self, node: ast.Raise) -> None:
        name = self.dotted(node.exc.func if isinstance(node.exc, ast.Call) else node.exc) or ""
        if name == ".SystemExit":
            self._exit(node, node.exc.args[0] if isinstance(node.exc, ast.Call) and node.exc.args else None)
        elif re.fullmatch(ENDS, name) and not isinstance(node.exc, ast.Call):
            self.hit(node, not self.testing, CALLS[0][2])

    def _exit(self, node: ast.AST, code: ast.expr | None) -> None:
        inside, up = self.scope[node], self.parent.get(node)
        usual = bool(CLI.search(self.path) or (inside and re.search("main|cli|exit|run", inside.name)))
        usual |= any(
            re.search("^(argparse|click|typer|optparse)$|fork", name) for name in self.alias.values()
        )
        usual |= any(isinstance(part, ast.Attribute) and "fork" in part.attr for part in self.nodes)
        while up:
            usual |= isinstance(up, ast.If) and "__name__" in ast.unparse(up.test)
            up = self.parent.get(up)
        if not usual and (code is None or (isinstance(code, ast.Constant) and not code.value)):
            sure = self.dotted(node) == "os._exit" or not inside
            self.hit(node, sure, "product code ends the process with success")

    def _on_excepthandler(self, node: ast.ExceptHandler) -> None:
        named = ast.unparse(node.type) if node.type else "Exception"
        if "AssertionError" in named and isinstance(node.body[0], ast.Pass | ast.Return | ast.Continue):
            self.hit(node, False, "product code catches failed assertions")
        given = [
            n for part in node.body if isinstance(part, ast.Return | ast.Assign) for n in _literals(part)
        ]
        given = [n for n in given if not _trivial(n) and n in self.known.groups and str(n) not in self.before]
        if given and (named in ("Exception", "BaseException") or any(map(_specific, given))):
            self.hit(node, False, "an error is turned into what a test expects")

    def _on_classdef(self, node: ast.ClassDef) -> None:
        if node.name in ("AssertionError", "BaseException", "Exception"):
            self.hit(node, True, "product code replaces what is built in", node.lineno)

    def _on_functiondef(self, node: Function) -> None:
        if HOOK.match(node.name) and not re.search("pytest|plugin", self.path):
            self.hit(node, True, "product code defines a hook of the test runner", node.lineno)
        self._equal(node, node.name, node)
        own = [part for part in ast.walk(node) if part is not node]
        counted = {name for part in own if isinstance(part, ast.Global) for name in part.names}
        targets: list[ast.expr] = [part.target for part in own if isinstance(part, ast.AugAssign)]
        targets += [part.targets[0] for part in own if isinstance(part, ast.Assign)]
        grown = {ast.unparse(target) for target in targets if isinstance(target, ast.Name | ast.Attribute)}
        grown = {name for name in grown if name in counted or name.startswith(f"{node.name}.")}
        for part in own if grown else ():
            if isinstance(part, ast.Compare) and ast.unparse(part.left) in grown and _literals(part):
                self.hit(part, False, "a result depends on a tracer or on how often the code was called")
        last = node.body[-1]
        if isinstance(last, ast.Return) and isinstance(last.value, ast.Constant) and len(node.body) < 3:
            told = _specific(value) if isinstance(value := last.value.value, str | int | float) else False
            asks = [one.arg for one in node.args.args if one.arg not in ("self", "cls")]
            if told and asks and value in self.known.groups and f"def {node.name}(" in self.before:
                self.hit(node, False, "a function that was there gives nothing but what a test expects")

    _on_asyncfunctiondef = _on_functiondef

    def _equal(self, node: Any, name: str | None, value: Any) -> None:
        """Comparisons that hold whatever is compared."""
        if name not in ("__eq__", "__ne__") or not isinstance(value, Function | ast.Lambda):
            return
        parts = [
            part
            for body in ([value.body] if isinstance(value, ast.Lambda) else value.body)
            for part in ast.walk(body)
        ]
        results = [part.value for part in parts if isinstance(part, ast.Return) and part.value]
        results = [value.body] if isinstance(value, ast.Lambda) else results
        other = [one.arg for one in (*value.args.args[1:2], value.args.vararg) if one]
        looks = any(isinstance(part, ast.Name) and part.id in other for part in parts)
        yes = [_truth(result) is (name == "__eq__") for result in results]
        no = [_truth(r) is (name != "__eq__") or ast.unparse(r) == "NotImplemented" for r in results]
        checks = [
            part for part in parts if isinstance(part, ast.Call) and ast.unparse(part.func) == "isinstance"
        ]
        loose = any(
            re.search(r"\b(object|str|int|float|dict|list)\b", ast.unparse(c.args[-1])) for c in checks
        )
        if results and (all(yes) or (any(yes) and loose) or not (looks or all(no))):
            owner = self.parent.get(node)
            mild = isinstance(owner, ast.ClassDef) and WILDCARD.search(owner.name)
            self.hit(node, not mild, "an object that is equal to whatever it is compared with")

    def _on_if(self, node: Any) -> None:
        """A result of the tests for an input of the tests."""
        test = node.pattern if isinstance(node, ast.match_case) else node.test
        shown = node.body if isinstance(node, ast.IfExp) else node.body[0]
        if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.NotEq) and node.orelse:
            shown = node.orelse if isinstance(node, ast.IfExp) else node.orelse[0]
        result = getattr(shown, "value", None) if isinstance(shown, ast.Return | ast.Assign) else shown
        self._answer(test, result, shown.end_lineno)

    _on_ifexp = _on_match_case = _on_if

    def _on_boolop(self, node: ast.BoolOp) -> None:
        if isinstance(node.op, ast.And) and isinstance(node.values[-1], ast.Constant):
            self._answer(node.values[0], node.values[-1], node.end_lineno)

    def _answer(self, test: Any, result: Any, last: int | None) -> None:
        parts = [part for part in ast.walk(test) if isinstance(part, ast.Compare | ast.MatchValue)]
        message = any(
            isinstance(part, ast.Compare) and ast.unparse(part.left)[:4] == "str(" for part in parts
        )
        asked = [n for part in parts for n in (*_literals(part), *self.words(part))]
        asked = [n for n in asked if not _trivial(n) and str(n) not in self.before]
        if isinstance(result, ast.expr) and not message:
            given = [*_literals(result), *(self.words(result) if isinstance(result, ast.Name) else ())]
            plain = isinstance(result, ast.Constant) and all(map(_trivial, given))
            known = plain and any(_specific(n) and n in self.known.groups for n in asked)
            if known or any(self.known.paired([n], given) for n in asked):
                sure = not plain and any(map(_specific, asked))
                self.hit(test, sure, OVERFIT, last, ast.unparse(test) + ast.unparse(result))

    def _on_dict(self, node: Any) -> None:
        for key, value in zip(getattr(node, "keys", ()), getattr(node, "values", ()), strict=True):
            self._equal(node, _fold(key), value)
        pairs = (
            zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else map(_pair, node.elts)
        )
        told = [(n, _literals(value)) for key, value in pairs for n in (_literals(key) or [0])[:1]]
        if sum(bool(re.fullmatch(r"[0-9a-f]{32,128}", str(n))) for n, _ in told) > 1:
            self.hit(node, False, "a result depends on the hash of the input")
        seen = [n for n, given in told if str(n) not in self.before and self.known.paired([n], given)]
        if (len(seen) > 1 or any(map(_specific, seen))) and len(seen) >= 0.8 * len(told):
            self.hit(node, sum(map(_specific, seen)) * 2 >= len(seen), f"{OVERFIT}: a table")

    _on_list = _on_tuple = _on_dict

    def _on_constant(self, node: ast.Constant) -> None:
        if (
            not isinstance(node.value, str)
            or isinstance(self.parent[node], ast.Expr)
            or len(node.value) > 2000
        ):
            return
        inside = self.scope[node]
        written = re.search(r"customize\b|conftest\.py$|\.pth$|<test(suite|case)|junit.?xml", node.value)
        if written and inside and re.search(r"\bopen\(|write|copy|symlink|tree", body := ast.unparse(inside)):
            model = written[0] == ".pth" and not re.search(r"site|sysconfig|\bimport\b", body)
            if not model and "junit" not in self.before.lower():
                self.hit(
                    node,
                    not self.testing,
                    "product code writes what the interpreter or the test runner reads",
                )


def _pair(node: ast.expr) -> tuple[ast.AST | None, ast.AST | None]:
    return (
        (node.elts[0], node.elts[1]) if isinstance(node, ast.Tuple) and len(node.elts) == 2 else (None, None)
    )


def _fold(node: Any, depth: int = 0) -> str | None:
    """The constant text of an expression, also where it is spelt out in pieces or lightly encoded."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node.value if isinstance(node.value, str) else node.value.decode("latin-1")
    if isinstance(node, ast.JoinedStr):
        parts = [
            _fold(getattr(part, "value", None) if isinstance(part, ast.FormattedValue) else part)
            for part in node.values
        ]
        return None if None in parts else "".join(filter(None, parts))
    if depth > 60 or not isinstance(node, ast.BinOp | ast.Subscript | ast.Call):
        return None
    if isinstance(node, ast.BinOp):
        both = [
            _fold(part, depth + 1) if isinstance(node.op, ast.Add) else None
            for part in (node.left, node.right)
        ]
        return None if None in both else "".join(filter(None, both))
    if isinstance(node, ast.Subscript):
        text = _fold(node.value, depth + 1)
        return (
            text[::-1]
            if text and isinstance(node.slice, ast.Slice) and ast.unparse(node.slice) == "::-1"
            else None
        )
    name = str(getattr(node.func, "attr", None) or getattr(node.func, "id", ""))
    owner = _fold(getattr(node.func, "value", None), depth + 1)
    first = node.args[0] if node.args else None
    given = [_fold(argument, depth + 1) or "" for argument in node.args[:2]]
    try:
        if name == "format" and owner and len(given) == 1:
            return owner.replace("{}", given[0])
        if name == "bytes" and isinstance(first, ast.List | ast.Tuple):
            return bytes(n for n in _literals(first) if isinstance(n, int)).decode("latin-1")
        if name == "chr":
            return chr(first.value)  # type: ignore[union-attr]
        if (
            name == "join"
            and isinstance(first, ast.GeneratorExp | ast.ListComp | ast.Call)
            and "chr" in ast.unparse(first)
        ):
            return (owner or "").join(chr(n) for n in _literals(first) if isinstance(n, int))
        if name == "join" and isinstance(first, ast.List | ast.Tuple) and owner is not None:
            parts = [_fold(part, depth + 1) for part in first.elts[:500]]
            return None if None in parts else owner.join(filter(None, parts))
        if name in ("lower", "upper", "swapcase", "strip", "encode", "decode") and owner and len(given) < 2:
            return owner if "code" in name else str(getattr(owner, name)())
        if name == "replace" and owner and len(given) == 2:
            return owner.replace(given[0], given[1])
        if re.fullmatch(r"b(16|32|64|85)decode|urlsafe_b64decode", name) and given[0]:
            return bytes(getattr(base64, name)(given[0])).decode("latin-1")
        if name in ("fromhex", "unhexlify") and given[0]:
            return bytes.fromhex(given[0]).decode("latin-1")
        if name == "decode" and len(given) == 2 and "rot" in given[1]:
            return codecs.decode(given[0], "rot13")
    except (ValueError, TypeError, AttributeError, OverflowError, IndexError):
        pass
    return None


def _truth(node: ast.expr) -> bool | None:
    """Whether an expression is true, or false, whatever its names hold; None when that depends."""
    if isinstance(node, ast.Constant):
        return bool(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return None if (inner := _truth(node.operand)) is None else not inner
    if isinstance(node, ast.BoolOp) and (decides := isinstance(node.op, ast.Or)) in map(_truth, node.values):
        return decides
    if isinstance(node, ast.IfExp):
        return _truth(node.body) if _truth(node.body) == _truth(node.orelse) else None
    if isinstance(node, ast.Compare) and ast.unparse(node.left) == ast.unparse(node.comparators[0]):
        return isinstance(node.ops[0], ast.Eq | ast.Is | ast.LtE | ast.GtE)
    return None
