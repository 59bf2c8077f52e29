"""Which symbols of a repository matter most for an issue: by words, and by the graph of who uses whom.

The method is the field's own: a graph from each definition to those whose names stand in it, and PageRank on it that
starts over at what the issue speaks of (Page, Brin and others, 1999, for the personalised form). Aider's repository
map made it known in this use, with files as its nodes. Here the nodes are definitions, the start is BM25 over the words
of each, and most of the final score is BM25 again: PageRank alone favours what everything uses.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.orientation.outline import place
from agent.orientation.symbols import Symbol, TooSlow, language_of, parsed
from agent.text import printable

BYTES_A_TOKEN = 4
"""An estimate: no tokenizer is asked. Code has 3 to 4.5 bytes a token."""

K1, B = 1.2, 0.75
"""BM25's usual ones."""
TITLE, CODE, SAID = 2.0, 3.0, 0.5
"""Weights of a word of the title, of code in the issue, and of what failing tests print; of any other 1."""
NAMED = 3
"""Times that a word of a definition's name counts in it."""

DAMPING = 0.3
"""Share that goes on to what is near: low, so that a score stays near where it began."""
BACK, UP, FAME = 0.5, 0.2, 0.5
"""Weight of the way back to a user, and up to the definition around; what n others name counts n ** -FAME."""
MIX = 0.3
"""Share of the graph in the final score."""
MAX_SHARED, MAX_USERS = 40, 200
"""Definitions of one name, and users of one, beyond which the name tells nothing."""
LEAST, MAX_PUSHES = 1e-4, 100_000
"""Where spreading ends."""
MAX_OUTPUT = 20_000
"""Characters of what failing tests printed: its end."""

_CODE = re.compile(r"```.*?```|`[^`\n]+`|[\w.]*\w\([^)\n]*\)|\b\w+_\w+\b|\b[a-z]+[A-Z]\w*\b", re.S)
"""What looks like code in an issue."""
_NAME = re.compile(r"[^\W\d]\w*")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\da-zA-Z_]+")
_FRAME = re.compile(r'File "([^"\n]+)", line (\d+)|([\w./\\-]+\.\w{1,4}):(\d+)')
_SAYS_NOTHING = (
    "a an and are as at be been but by can could do does e for from g had has have i if in into is it its may must no "
    "not of on or should so than that the then there these this those to too was were when where which while will "
    "with would"
)
_COMMON = frozenset(_SAYS_NOTHING.split())


@dataclass(frozen=True, slots=True)
class Question:
    """What a map is asked for."""

    issue: str
    tests: Sequence[str] = ()
    """Ids of tests that are known to fail."""
    output: str = ""
    """What they printed: messages and traces."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A definition, or what lies in none of its file."""

    path: str
    symbol: Symbol | None
    holder: str
    """Names of the definitions around it, with dots."""
    words: Mapping[str, int]
    size: int
    """Words."""
    used: frozenset[str]
    """Names in its code."""
    product: bool
    parent: int
    """The place of the definition around it, or of its file's own text; -1 for that."""


class Index(ABC):
    """All definitions of a repository, as a question is answered from them."""

    files: Mapping[str, range]
    """By path, the places of its units."""

    @abstractmethod
    def unit(self, index: int) -> Unit:
        """Raises IndexError."""

    @abstractmethod
    def scores(self, weights: Mapping[str, float]) -> Mapping[int, float]:
        """BM25 of the units that have one of the words, in their order."""

    @abstractmethod
    def named(self, name: str) -> Sequence[int]:
        """The definitions of this name."""

    @abstractmethod
    def users(self, name: str) -> Sequence[int]:
        """The units in whose code the name stands."""

    @abstractmethod
    def is_shown(self, index: int) -> bool:
        """Whether a unit is a definition of the product."""

    def near(self, index: int) -> list[tuple[int, float]]:
        """The units next to one: those that it uses, that use it, and that it is in. Their shares add up to 1."""
        unit = self.unit(index)
        here = self.files[unit.path]
        near: dict[int, float] = {}
        for name in sorted(unit.used):
            everywhere = self.named(name)
            targets = [target for target in everywhere if target in here] or everywhere
            if targets and len(targets) <= MAX_SHARED:
                weight = len(self.users(name)) ** -FAME / len(targets)
                near |= {t: near.get(t, 0.0) + weight for t in targets if t != index}
        users = self.users(unit.symbol.name) if unit.symbol is not None else []
        if unit.symbol is not None and len(users) <= MAX_USERS:
            weight = BACK * max(1, len(users)) ** -FAME / len(self.named(unit.symbol.name))
            near |= {user: near.get(user, 0.0) + weight for user in users if user != index}
        if unit.parent >= 0:
            near[unit.parent] = near.get(unit.parent, 0.0) + UP
        whole = sum(near.values())
        return [(target, weight / whole) for target, weight in near.items()]

    def at(self, path: str, line: int) -> int | None:
        """The innermost definition around a line of the file that a trace names, perhaps by a longer path."""
        known = path if path in self.files else next((p for p in self.files if path.endswith("/" + p)), "")
        best = None
        for index in self.files.get(known, ()):
            symbol = self.unit(index).symbol
            if symbol is not None and symbol.line <= line <= symbol.end:
                best = index
        return best

    def test(self, test_id: str) -> list[int]:
        """The definitions that a test's id names: `path::Class::name[parameters]`."""
        path, _, rest = test_id.partition("::")
        names = rest.partition("[")[0].split("::")
        return [i for i in self.files.get(path, ()) if (s := self.unit(i).symbol) and s.name == names[-1]]


class Units(Index):
    """The definitions of files that are taken in one by one."""

    def __init__(self) -> None:
        self.all: list[Unit] = []
        self.files: dict[str, range] = {}
        self.by_name: dict[str, list[int]] = defaultdict(list)
        self.by_use: dict[str, list[int]] = defaultdict(list)
        self._parts: dict[bytes, tuple[str, tuple[str, ...]]] = {}

    def add(self, path: str, source: bytes, *, product: bool) -> None:
        """Take a file in. One that can't be parsed in time is left out."""
        language = language_of(path)
        if language is None:
            return
        try:
            found = parsed(language, source)
        except TooSlow:
            return
        first, last = len(self.all), len(self.all) + len(found.symbols)
        for index, symbol in enumerate((*found.symbols, None)):
            words: Counter[str] = Counter()
            for name, times in Counter(found.own[index]).items():
                for part in self._split(name)[1]:
                    words[part] += times
            used = frozenset(self._split(name)[0] for name in set(found.used[index]))
            holder, parent = "", -1
            if symbol is not None:
                parent = first + symbol.parent if symbol.parent >= 0 else last
                if symbol.parent >= 0 and (around := self.all[parent]).symbol is not None:
                    holder = ".".join(filter(None, (around.holder, around.symbol.name)))
                words.update(dict.fromkeys(split(symbol.name), NAMED))
                self.by_name[symbol.name].append(first + index)
            for user_of in used:
                self.by_use[user_of].append(first + index)
            size = sum(words.values())
            self.all.append(Unit(path, symbol, holder, words, size, used, product, parent))
        self.files[path] = range(first, last + 1)

    def unit(self, index: int) -> Unit:
        return self.all[index]

    def scores(self, weights: Mapping[str, float]) -> Mapping[int, float]:
        return {index: score for index, score in enumerate(bm25(self.all, weights)) if score > 0}

    def named(self, name: str) -> Sequence[int]:
        return self.by_name.get(name, ())

    def users(self, name: str) -> Sequence[int]:
        return self.by_use.get(name, ())

    def is_shown(self, index: int) -> bool:
        return self.all[index].product and self.all[index].symbol is not None

    def _split(self, name: bytes) -> tuple[str, tuple[str, ...]]:
        if name not in self._parts:
            text = name.decode("utf-8", "replace")
            self._parts[name] = (text, split(text))
        return self._parts[name]


def split(name: str) -> tuple[str, ...]:
    """The words of a name or of prose, without their endings and without those that say nothing."""
    parts = [part.lower() for part in _PART.findall(name)]
    return tuple(_stem(part) for part in parts if part not in _COMMON and len(part) > 1)


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def words_of(question: Question) -> dict[str, float]:
    """The words that are looked for, with their weights."""
    title, _, body = question.issue.partition("\n")
    names = "\n".join(test.partition("::")[2].partition("[")[0] for test in question.tests)
    code = " ".join(_CODE.findall(question.issue))
    weights: dict[str, float] = {}
    for text, weight in (
        (question.output[-MAX_OUTPUT:], SAID),
        (names, 1.0),
        (body, 1.0),
        (title, TITLE),
        (code, CODE),
    ):
        for name in _NAME.findall(text):
            for part in split(name):
                weights[part] = max(weights.get(part, 0.0), weight)
    return weights


def ranked(units: Index, question: Question) -> list[int]:
    """The product's definitions, the one that matters most first: the same order for the same input."""
    by_words = units.scores(words_of(question))
    start = {index: score**2 for index, score in by_words.items()}
    whole = sum(start.values()) or 1.0
    start = {index: score / whole for index, score in start.items()}
    for index, share in _evidence(units, question):
        start[index] = start.get(index, 0.0) + share
    by_graph = spread(units, start)
    most_words = max(by_words.values(), default=0.0) or 1.0
    most_graph = max(by_graph.values(), default=0.0) or 1.0

    def score(index: int) -> float:
        return (1 - MIX) * by_words.get(index, 0.0) / most_words + MIX * by_graph.get(index, 0.0) / most_graph

    found = {index: score(index) for index in by_words.keys() | by_graph.keys()}
    shown = [index for index, score in found.items() if score > 0 and units.is_shown(index)]
    return sorted(shown, key=lambda index: (-found[index], index))


def _evidence(units: Index, question: Question) -> Iterator[tuple[int, float]]:
    """Where failing tests lead to, with shares: the tests themselves, and the frames of their traces."""
    tests = [index for test in question.tests for index in units.test(test)]
    yield from ((index, 0.5 / len(tests)) for index in tests)
    frames = [match.groups() for match in _FRAME.finditer(question.output[-MAX_OUTPUT:])]
    places = [units.at(a or b, int(c or d)) for a, c, b, d in frames]
    inner = [index for index in places if index is not None and units.unit(index).product]
    yield from ((index, 0.5 / len(inner)) for index in inner)


def bm25(units: Sequence[Unit], weights: Mapping[str, float]) -> list[float]:
    """BM25 of each unit, the words weighted."""
    has = [sorted(unit.words.keys() & weights.keys()) for unit in units]
    frequency = Counter(word for words in has for word in words)
    mean = sum(unit.size for unit in units) / max(1, len(units)) or 1.0
    rare = rarity(len(units), frequency, weights)
    scores = []
    for unit, words in zip(units, has, strict=True):
        norm = K1 * (1 - B + B * unit.size / mean)
        scores.append(sum(rare[w] * unit.words[w] * (K1 + 1) / (unit.words[w] + norm) for w in words))
    return scores


def rarity(count: int, frequency: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, float]:
    """The weight of each word by how many of `count` units have it."""
    return {w: weights[w] * math.log(1 + (count - n + 0.5) / (n + 0.5)) for w, n in frequency.items()}


def spread(units: Index, start: Mapping[int, float]) -> dict[int, float]:
    """Personalised PageRank, by pushing on what is left over until little is (Andersen, Chung, Lang, 2006): only what
    lies near the start is looked at, however large the repository."""
    left = dict(start)
    rank: dict[int, float] = {}
    near: dict[int, list[tuple[int, float]]] = {}
    waiting = deque(sorted((i for i in left if left[i] > LEAST), key=lambda index: (-left[index], index)))
    queued = set(waiting)
    for _ in range(MAX_PUSHES):
        if not waiting:
            break
        index = waiting.popleft()
        queued.discard(index)
        value = left.pop(index, 0.0)
        rank[index] = rank.get(index, 0.0) + (1 - DAMPING) * value
        if index not in near:
            near[index] = units.near(index)
        for target, share in near[index]:
            left[target] = left.get(target, 0.0) + DAMPING * value * share
            if left[target] > LEAST and target not in queued:
                queued.add(target)
                waiting.append(target)
    return rank


def shown(units: Index, order: Sequence[int], tokens: int) -> dict[str, list[int]]:
    """Of the ranked definitions as many as go into so many tokens, by file: the most relevant first in both."""
    left = tokens * BYTES_A_TOKEN
    files: dict[str, list[int]] = {}
    for index in order:
        path = units.unit(index).path
        left -= len(_line(units.unit(index)).encode()) + (0 if path in files else len(_head(path).encode()))
        if left < 0:
            break
        files.setdefault(path, []).append(index)
    return files


def rendered(units: Index, question: Question, tokens: int) -> str:
    """The map: paths, and below each `lines: holder: signature`. Empty when nothing in the repository has to do with
    the question."""
    files = shown(units, ranked(units, question), tokens)
    return "".join(
        _head(path) + "".join(_line(units.unit(i)) for i in found) for path, found in files.items()
    )


def _head(path: str) -> str:
    return f"{_safe(path)}\n"


def _line(unit: Unit) -> str:
    assert unit.symbol is not None
    holder = f"{unit.holder}: " if unit.holder else ""
    return f"  {place(unit.symbol)}: {_safe(holder + unit.symbol.signature)}\n"


def _safe(text: str) -> str:
    """Repository text on one line that can't close the block that it stands in."""
    return printable(text).replace("\n", "\\n").replace("</", "<\\/")
