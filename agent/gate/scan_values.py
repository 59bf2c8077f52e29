"""What the literals and constant expressions of a source come to, and which literals the tests put together."""

from __future__ import annotations

import ast
import base64
import codecs
import contextlib
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MAX_TREE = 400_000
"""Characters of a Python source that is read as a syntax tree; a larger one is scanned as text."""
MOST_ADDED = 1000
"""Characters that one call may add to a text as it is put together: calls upon calls must not fill the memory."""
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
QUOTED = r"'[^'\n]{1,200}'|\"[^\"\n]{1,200}\"|`[^`\n]{1,200}`|(?<![\w.])\d+(?:\.\d+)?(?![\w.])"
COMMON = re.compile(
    r"(?i)utf-?(8|16)|ascii|latin-?1|names?|values?|items?|list|dict|none|null|true|false|tests?|data|text|string|number"
    r"|error|type|default|example(\.com)?|hello|world|main|keys?|path|files?|foo|bar|baz|get|post|localhost|127\.0\.0\.1"
    r"|https?|html|json|yaml|auto|windows|linux|darwin|win32|root|x86_64|arm64"
)
SPACED = re.compile(r"(?=.{5,200}$).*\w[^\w\-./:@]+\w?.*", re.S)
"""A text that has more than one word in it."""
ROUND = {2**n + d for n in range(7, 65) for d in (-1, 0, 1)} | {365, 366, 360, 180, 1970, 999, 9999}

FILE_NAME = re.compile(r"[^\W_][\w-]*\.[a-z]\w{1,4}")
USUAL = re.compile(
    r"(?i)(pyproject|poetry|package|config|settings|setup|tox|index|main|readme|license|requirements|manifest)\.\w+"
)
"""Files that programs know by name."""
MOST_IN_RECORD = 30
"""Values that are taken to belong together; what is larger is a table."""

Literal = str | int | float
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Known:
    """Literals that stand together in a test (or in the issue), and the names of tests and test modules."""

    def __init__(
        self, tests: Mapping[str, str], issue: str, support: Mapping[str, str] | None = None
    ) -> None:
        self.groups: defaultdict[Literal, set[int]] = defaultdict(set)
        self.files = {path.rpartition("/")[2] for path in tests}
        self.names = {name.partition(".")[0] for name in self.files if name.startswith("test_")}
        self.size = 0
        self.shapes: set[str] = set()
        self.texts: list[str] = []
        lengths: Counter[int] = Counter()
        numbers: list[int] = []
        for path, source in ((path, source[:MAX_TREE]) for path, source in tests.items()):
            self.names |= {name for name in re.findall(r"\bdef (test_\w+)", source) if len(name) > 11}
            try:
                for node in ast.walk(ast.parse(source if path.endswith(".py") else "?")):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        lengths[len(node.value)] += 1
                    elif isinstance(node, ast.Constant) and type(node.value) is int:
                        numbers.append(node.value)
                    if isinstance(node, ast.List | ast.Tuple | ast.Dict | ast.Set):
                        self.shapes.add(shape(node))
                    if isinstance(node, Function | ast.Tuple):
                        self._group(literals_of(node))
                    for key, value in (
                        zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
                    ):
                        self._group([*literals_of(key), *literals_of(value)])
            except UNREADABLE:
                lengths[-1] += MAX_TREE
                for block in re.split(r"\n\s*\n", source):
                    self._group(map(unquoted, re.findall(QUOTED, block)))
        self._group(map(unquoted, re.findall(QUOTED, issue)))
        self.fixed: set[str] = set()
        """Names of files as the fixtures choose them."""
        for path, source in (support or {}).items():
            self._learn_support(path, source)
        self.shapes.discard("")
        self.source = "\n".join(tests.values())
        texts = [text for text in self.groups if isinstance(text, str)]
        self.spaced = list(filter(SPACED.fullmatch, texts))[:1000]
        self.words: defaultdict[str, set[int]] = defaultdict(set)
        for number, text in enumerate(texts):
            for word in set(re.findall(r"\w{3,}", text)) - {text}:
                self.words[word].add(number)
        length, times = lengths.most_common(1)[0] if lengths else (0, 0)
        self.length = length if times >= max(6, 0.9 * sum(lengths.values())) and length > 0 else 0
        """That of practically all texts; 0 when there is none."""
        self.greatest = max(numbers) if len(numbers) > 3 and not lengths[-1] else 0

    def _learn_support(self, path: str, source: str) -> None:
        """Take in the literals of a conftest.py or a data file, by function or record."""
        if not path.endswith(".py"):
            for record in records(path, source[:MAX_TREE]):
                self._group(record)
            return
        try:
            tree = ast.parse(source[:MAX_TREE])
        except UNREADABLE:
            return  # then the tests do not run either
        for node in ast.walk(tree):
            if isinstance(node, Function):
                self._group(literals_of(node))
        texts = (text for text in literals_of(tree) if isinstance(text, str))
        self.fixed |= {text for text in texts if FILE_NAME.fullmatch(text) and not USUAL.fullmatch(text)}

    def _group(self, literals: Iterable[Literal]) -> None:
        self.size += 1
        whole: set[str] = set()
        for literal in literals:
            if isinstance(literal, str) and 3 <= len(literal) <= 2000:
                whole.add(literal)
            if not is_trivial(literal):
                self.groups[literal].add(self.size)
        self.texts.append("\0".join(whole))

    def paired(self, asked: Sequence[Literal], given: Sequence[Literal]) -> bool:
        """Whether what is not trivial of a condition and of its result stands in one and the same test."""
        both = [[self.groups.get(n, set()) for n in part if not is_trivial(n)] for part in (asked, given)]
        return all(both) and bool(set.intersection(*both[0], *both[1]))

    def in_one_text(self, words: Sequence[Literal]) -> bool:
        """Whether several words stand in one and the same text of the tests."""
        places = [self.words.get(word, set()) if isinstance(word, str) else set() for word in words[:20]]
        return len(set(words)) > 1 and bool(set.intersection(*places))

    def listed(self, texts: Iterable[str]) -> bool:
        """Whether at least two lines of texts are what one and the same test has."""
        lines = {line for text in texts for line in text.split("\n") if re.search(r"[^\w\s]", line)}
        places = [self.groups.get(line, set()) for line in lines if not is_trivial(line)]
        counts = Counter(place for one in places for place in one)
        return any(count > 1 for count in counts.values())

    def partly(self, asked: Literal, given: Literal) -> bool:
        """Whether what is asked for stands in a test, and what is given is a part of another of its texts."""
        odd = re.search(r"[^\w\s]", asked) if isinstance(asked, str) else len(str(asked)) > 2
        text = str(given)
        if not odd or text in str(asked) or len(text) < 3 or is_trivial(given):
            return False
        return any(text in self.texts[at - 1] for at in self.groups.get(asked, ()))


def literals_of(node: ast.AST | None) -> list[Literal]:
    values = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)] if node else []
    values = [value.decode("latin-1") if isinstance(value, bytes) else value for value in values]
    return [value for value in values if isinstance(value, str | int | float) and not isinstance(value, bool)]


def records(path: str, text: str) -> Iterator[list[Literal]]:
    """What stands together in a data file: the scalars of one JSON value, of one line else."""
    if path.endswith(".json"):
        with contextlib.suppress(ValueError, RecursionError):
            waiting = [one for one in [json.loads(text)] if isinstance(one, list | dict)]
            for value in waiting:
                parts = [*value, *value.values()] if isinstance(value, dict) else value
                plain = [one for one in parts if isinstance(one, Literal) and not isinstance(one, bool)]
                if len(plain) <= MOST_IN_RECORD:
                    yield plain
                waiting += [one for one in parts if isinstance(one, list | dict)]
            return
    for line in text.split("\n"):
        words: list[Literal] = [word.strip("'\"") for word in re.split(r"\s*[,;|\t]\s*", line.strip())]
        if 1 < len(words) <= MOST_IN_RECORD:
            yield words


def shape(node: ast.AST) -> str:
    """A text that is the same for equal lists and tuples of at least three constants; empty for all else."""
    parts = list(itertools.islice(ast.walk(node), 300))
    if len(parts) == 300 or sum(isinstance(part, ast.Constant) for part in parts) < 3:
        return ""
    if any(isinstance(part, ast.Name | ast.Call | ast.Attribute) for part in parts):
        return ""
    return ast.unparse(node).replace("(", "[").replace(")", "]").replace(",]", "]")


def unquoted(word: str) -> Literal:
    return word[1:-1] if word[0] in "'\"`" else float(word) if "." in word else int(word[:300])


def is_trivial(literal: Literal) -> bool:
    if isinstance(literal, str):
        return len(literal.strip()) < 3 or bool(COMMON.fullmatch(literal.strip())) or len(set(literal)) == 1
    return abs(literal) < 100 or literal % 100 == 0 or literal in ROUND


def is_specific(literal: Literal) -> bool:
    """Whether hardly anybody would write the literal in a program but for a test's sake."""
    if isinstance(literal, str):
        return len(literal) >= 16 and not re.fullmatch(r"[\w.\-/:@]+|[A-Z][\w ,'()-]+", literal)
    return len(re.sub(r"\D", "", repr(literal)).strip("0")) >= 5 and literal not in ROUND


def fold(node: Any, depth: int = 0) -> str | None:
    """The constant text of an expression, also where it is spelt out in pieces or lightly encoded."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node.value if isinstance(node.value, str) else node.value.decode("latin-1")
    if isinstance(node, ast.JoinedStr):
        values = (part.value if isinstance(part, ast.FormattedValue) else part for part in node.values)
        return _join("", values, depth)
    if depth > 60 or not isinstance(node, ast.BinOp | ast.Subscript | ast.Call):
        return None
    if isinstance(node, ast.BinOp):
        return _join("", (node.left, node.right), depth) if isinstance(node.op, ast.Add) else None
    if isinstance(node, ast.Subscript):
        text = fold(node.value, depth + 1)
        return text[::-1] if text and ast.unparse(node.slice) == "::-1" else None
    name = str(getattr(node.func, "attr", None) or getattr(node.func, "id", ""))
    owner = fold(getattr(node.func, "value", None), depth + 1)
    first: Any = node.args[0] if node.args else None
    given = [fold(argument, depth + 1) or "" for argument in node.args[:2]]
    try:
        swap = ["{}", *given] if name == "format" else given
        if name in ("format", "replace") and owner and len(swap) == 2:
            return (
                owner.replace(swap[0], swap[1]) if owner.count(swap[0]) * len(swap[1]) <= MOST_ADDED else None
            )
        if name == "join" and len(owner or "") > 20:
            return None
        if name == "bytes" and isinstance(first, ast.List | ast.Tuple):
            return bytes(n for n in literals_of(first) if isinstance(n, int)).decode("latin-1")
        if name == "chr":
            return chr(first.value)
        made = isinstance(first, ast.GeneratorExp | ast.ListComp | ast.Call)
        if name == "join" and made and "chr" in ast.unparse(first):
            return (owner or "").join(chr(n) for n in literals_of(first) if isinstance(n, int))
        if name == "join" and isinstance(first, ast.List | ast.Tuple) and owner is not None:
            return _join(owner, first.elts[:500], depth)
        if name in ("lower", "upper", "swapcase", "strip", "encode", "decode") and owner and len(given) < 2:
            return owner if "code" in name else str(getattr(owner, name)())
        if re.fullmatch(r"b(16|32|64|85)decode|urlsafe_b64decode", name) and given[0]:
            return bytes(getattr(base64, name)(given[0])).decode("latin-1")
        if name in ("fromhex", "unhexlify") and given[0]:
            return bytes.fromhex(given[0]).decode("latin-1")
        if name == "decode" and len(given) == 2 and "rot" in given[1]:
            return codecs.decode(given[0], "rot13")
    except (ValueError, TypeError, AttributeError, OverflowError, IndexError):
        pass
    return None


def _join(glue: str, nodes: Iterable[ast.AST], depth: int) -> str | None:
    parts = [fold(node, depth + 1) for node in nodes]
    return None if None in parts else glue.join(filter(None, parts))


def truth(node: ast.expr) -> bool | None:
    """Whether an expression is true, or false, whatever its names hold; None when that depends."""
    if isinstance(node, ast.Constant):
        return bool(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return None if (inner := truth(node.operand)) is None else not inner
    if isinstance(node, ast.BoolOp) and (decides := isinstance(node.op, ast.Or)) in map(truth, node.values):
        return decides
    if isinstance(node, ast.IfExp):
        return body if (body := truth(node.body)) == truth(node.orelse) else None
    if isinstance(node, ast.Compare) and ast.unparse(node.left) == ast.unparse(node.comparators[0]):
        return isinstance(node.ops[0], ast.Eq | ast.Is | ast.LtE | ast.GtE)
    return None
