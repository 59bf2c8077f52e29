"""Copies of tests with other words in them: what an answer table knows is none of them.

A word in a test's texts that means nothing to the product ("alpha", "b") may as well be another one, in what the test
puts in and in what it expects, all through its file. The new words are as long, sort as the old ones do, and have the
same letters in common. A word that the product, its data or the tests' support know by name stays, and so does one that
Python or everybody knows.
"""

from __future__ import annotations

import ast
import builtins
import calendar
import codecs
import keyword
import random
import re
import string
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.gate.poison import functions
from agent.gate.scan_values import COMMON, UNREADABLE

TRIES = 60
MAX_LETTERS = 16
"""Different letters in the words that change: with more of them, few other letters are left to change into."""

_WORD = re.compile(r"(?<![\w\\%&<@#~.])[A-Za-z]+(?![\w(])")
"""A word in a text, alone: next to a digit, a backslash or the like it may be a number, an escape or a tag."""
_ANY = re.compile(r"[A-Za-z]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_TEST = re.compile(r"(?:^|::)test\w*$")
_FIELD = re.compile(r"\{[^{}]*\}")
_DOTTED = re.compile(r"\w+(\.\w+)+(:\w+)?")
_HEXADECIMAL = re.compile(r"[a-f]{2,}")
_EVERYBODYS = """
am pm utc gmt est cet z t com org net edu gov www ftp mailto tmp usr bin etc var home dev null opt lib user pwd lang
term shell yes no on off nan inf infinity bold red green blue black white yellow cyan magenta div span body head
"""
_KNOWN = frozenset(
    word.casefold()
    for word in (
        *sys.stdlib_module_names, *dir(builtins), *keyword.kwlist, *keyword.softkwlist, *_EVERYBODYS.split(),
        *calendar.month_name, *calendar.month_abbr, *calendar.day_name, *calendar.day_abbr,
    )
)  # fmt: skip


@dataclass(frozen=True)
class Copy:
    """A test module with other words in it."""

    source: str
    words: Mapping[str, str]
    """Old to new, in lower case."""
    changed: frozenset[str]
    """The tests (`test_x`, `TestA::test_y`) that are written otherwise."""


def words_of(path: str, source: str) -> set[str]:
    """The words, in lower case, that a file knows: names and texts of Python without comments, else all that it has."""
    try:
        tree = ast.parse(source) if path.endswith(".py") else None
    except UNREADABLE:
        tree = None
    if tree is None:
        return {word.casefold() for word in _ANY.findall(source)}
    return _names(tree) | set(_all_words(tree))


def copied(source: str, tests: Collection[str] | None, avoid: Collection[str], seed: int) -> Copy | None:
    """A copy of a test module in which words of `tests` (of all if None) are others; None where none can be.

    `avoid` are words in lower case that must stay, besides those that are names in the module itself.
    """
    try:
        tree = ast.parse(source)
        found = dict(functions(tree))
        stay = {*avoid, *_names(tree), *_told(tree)}
        asked = [node for name, node in found.items() if tests is None or name in tests]
        words = {
            word
            for function in asked
            for _, text in _texts(function)
            for word in _folded(_WORD, text)
            if word not in stay and not _is_known(word)
        }
        # What also stands next to something that keeps it from being changed would no longer be the same everywhere.
        words -= {word for _, text in _texts(tree) for word in _folded(_ANY, _WORD.sub(" ", text))}
        # Letters beyond ASCII: it is about letters, most likely. Helpers and constants may be a part of any test.
        tests_own = {
            id(node) for name, function in found.items() if _TEST.search(name) for node in ast.walk(function)
        }
        if any(not text.isascii() and id(node) not in tests_own for node, text in _texts(tree)):
            return None
        for function in asked:
            if not all(text.isascii() for _, text in _texts(function)):
                words -= set(_all_words(function))
        together = [set(_all_words(function)) for function in found.values()]
        mapping = _mapping(_apart(words, together), {*stay, *_all_words(tree)}, random.Random(seed))  # noqa: S311
        left = _apart(set(mapping), together)
        mapping = {word: new for word, new in mapping.items() if word in left}
        if not mapping:
            return None
        before = {name: ast.unparse(node) for name, node in found.items()}
        for node, text in _texts(tree):
            node.value = _WORD.sub(lambda match: _like(match[0], mapping), text)
        changed = {name for name, node in found.items() if ast.unparse(node) != before[name]}
        return Copy(ast.unparse(tree) + "\n", mapping, frozenset(changed)) if changed else None
    except UNREADABLE:
        return None


def _apart(words: set[str], together: Sequence[set[str]]) -> set[str]:
    """Without words that share pieces with one that stays: tests put texts together, and take them apart."""
    while True:
        mixed = {
            word
            for there in together
            for word in there & words
            if any(word in other or other in word for other in there - words)
        }
        if not mixed:
            return words
        words = words - mixed


def _mapping(words: Collection[str], taken: Collection[str], chance: random.Random) -> dict[str, str]:
    """Other words for as many of `words` as can be, none of them `taken`."""
    chosen = sorted(words)
    chance.shuffle(chosen)
    letters: set[str] = set()
    left = []
    for word in chosen:
        if len(letters | set(word)) <= MAX_LETTERS:
            letters |= set(word)
            left.append(word)
    best: dict[str, str] = {}
    for _ in range(TRIES if left else 0):
        others = sorted(chance.sample(string.ascii_lowercase, len(letters)))
        table = dict(zip(sorted(letters), others, strict=True))
        made = {word: "".join(table[letter] for letter in word) for word in left}
        good = {
            word: new for word, new in made.items() if new != word and new not in taken and not _is_known(new)
        }
        if len(good) > len(best):
            best = good
    return best


def _is_known(word: str) -> bool:
    if word in _KNOWN or COMMON.fullmatch(word) or _HEXADECIMAL.fullmatch(word):
        return True
    try:
        codecs.lookup(word)
    except LookupError:
        return False
    return True


def _like(word: str, mapping: Mapping[str, str]) -> str:
    new = mapping.get(word.casefold(), word)
    return (
        "".join(b.upper() if a.isupper() else b for a, b in zip(word, new, strict=True))
        if new != word
        else word
    )


def _folded(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    return (word.casefold() for word in pattern.findall(text))


def _all_words(tree: ast.AST) -> Iterator[str]:
    return (word for _, text in _texts(tree) for word in _folded(_ANY, text))


def _texts(tree: ast.AST) -> Iterator[tuple[ast.Constant, str]]:
    """The texts in a tree but for docstrings and formats."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    others: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr):
            others.add(id(node.body[0].value))
        elif isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            others |= set(map(id, ast.walk(node.format_spec)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in others:
            yield node, node.value


def _names(tree: ast.AST) -> set[str]:
    """Names and their parts, in lower case. A name of one letter counts where it can be asked for from outside."""
    found: set[str] = set()
    for node in ast.walk(tree):
        for name in _named(node):
            found |= {name.casefold(), *(part.casefold() for part in _PARTS.findall(name))}
    return found


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and len(node.id) > 1:
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.arg | ast.keyword) and node.arg:
        yield node.arg
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.alias):
        yield from node.name.split(".")


def _told(tree: ast.AST) -> set[str]:
    """The words of texts that name things, and of patterns and fields in them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "match":
            found |= set(_all_words(node))
    for _, text in _texts(tree):
        for part in [text] if _DOTTED.fullmatch(text) else _FIELD.findall(text):
            found |= set(_folded(_ANY, part))
    return found
