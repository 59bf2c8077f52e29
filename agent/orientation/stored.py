"""The definitions of a repository in a file, of which the next question about the same tree reads what it needs.

It is an SQLite database, made and read by the process of `indexer.py`, which the host gives what it has opened.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from agent.orientation.ranking import K1, B, Index, Unit, Units, rarity
from agent.orientation.symbols import Symbol

_SCHEMA = """
CREATE TABLE whole (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE word (word TEXT PRIMARY KEY, units BLOB, times BLOB);
CREATE TABLE name (name TEXT PRIMARY KEY, named BLOB, users BLOB);
CREATE TABLE unit (
    id INTEGER PRIMARY KEY, path TEXT, symbol TEXT, holder TEXT, used TEXT, product INTEGER, parent INTEGER
);
"""
_SHOWN = 1
"""In `flags`: what Index.is_shown says."""


def stored(units: Units) -> bytes:
    """A database of all units."""
    words: dict[str, tuple[array[int], array[int]]] = defaultdict(lambda: (array("I"), array("I")))
    for index, unit in enumerate(units.all):
        for word, times in unit.words.items():
            of, counts = words[word]
            of.append(index)
            counts.append(times)
    made = sqlite3.connect(":memory:", isolation_level=None)
    made.executescript(_SCHEMA)
    made.execute("BEGIN")
    whole = {
        "files": json.dumps(
            [[path, place.start, place.stop] for path, place in units.files.items()]
        ).encode(),
        "sizes": array("I", (unit.size for unit in units.all)).tobytes(),
        "flags": bytes(units.is_shown(index) * _SHOWN for index in range(len(units.all))),
    }
    made.executemany("INSERT INTO whole VALUES (?, ?)", whole.items())
    made.executemany(
        "INSERT INTO word VALUES (?, ?, ?)",
        ((word, of.tobytes(), counts.tobytes()) for word, (of, counts) in sorted(words.items())),
    )
    made.executemany(
        "INSERT INTO name VALUES (?, ?, ?)",
        ((name, _packed(of), _packed(units.users(name))) for name, of in sorted(units.by_name.items())),
    )
    made.executemany(
        "INSERT INTO unit VALUES (?, ?, ?, ?, ?, ?, ?)",
        (_row(index, units) for index in range(len(units.all))),
    )
    made.execute("COMMIT")
    return made.serialize()


def _row(index: int, units: Units) -> tuple[object, ...]:
    unit, one = units.all[index], units.all[index].symbol
    symbol = one and [one.name, one.kind, one.line, one.end, one.signature, one.parent, one.start, one.stop]
    used = [name for name in unit.used if name in units.by_name]  # no other leads anywhere
    return index, unit.path, json.dumps(symbol), unit.holder, json.dumps(used), unit.product, unit.parent


def _packed(numbers: Iterable[int]) -> bytes:
    return array("I", numbers).tobytes()


def _unpacked(data: bytes) -> array[int]:
    found = array("I")
    found.frombytes(data)
    return found


class Stored(Index):
    """Units as they were stored: every answer is the one that they would give. Raises sqlite3.Error, and ValueError or
    TypeError, for a file that is none."""

    def __init__(self, descriptor: int) -> None:
        """Of a file that nobody writes to any more."""
        self._db = sqlite3.connect(f"file:/dev/fd/{descriptor}?mode=ro&immutable=1", uri=True)
        self.files = {path: range(start, stop) for path, start, stop in json.loads(self._whole("files"))}
        self._sizes = _unpacked(self._whole("sizes"))
        self._flags = self._whole("flags")
        self.unit = lru_cache(maxsize=None)(self.unit)  # type: ignore[method-assign]
        self.named = lru_cache(maxsize=None)(self.named)  # type: ignore[method-assign]
        self.users = lru_cache(maxsize=None)(self.users)  # type: ignore[method-assign]

    def unit(self, index: int) -> Unit:
        row = self._db.execute("SELECT * FROM unit WHERE id = ?", (index,)).fetchone()
        if row is None:
            raise IndexError(index)
        _, path, symbol, holder, used, product, parent = row
        told = json.loads(symbol)
        one = Symbol(*told) if told else None
        return Unit(
            path, one, holder, {}, self._sizes[index], frozenset(json.loads(used)), bool(product), parent
        )

    def scores(self, weights: Mapping[str, float]) -> Mapping[int, float]:
        postings: dict[str, tuple[array[int], array[int]]] = {}
        for word in sorted(weights):
            if found := self._db.execute("SELECT units, times FROM word WHERE word = ?", (word,)).fetchone():
                postings[word] = (_unpacked(found[0]), _unpacked(found[1]))
        count = len(self._sizes)
        rare = rarity(count, {word: len(of) for word, (of, _) in postings.items()}, weights)
        mean = sum(self._sizes) / max(1, count) or 1.0
        scores: dict[int, float] = {}
        for word, (of, times) in postings.items():
            for index, number in zip(of, times, strict=True):
                norm = K1 * (1 - B + B * self._sizes[index] / mean)
                scores[index] = scores.get(index, 0) + rare[word] * number * (K1 + 1) / (number + norm)
        return {index: scores[index] for index in sorted(scores) if scores[index] > 0}

    def named(self, name: str) -> Sequence[int]:
        return self._of_name("named", name)

    def users(self, name: str) -> Sequence[int]:
        return self._of_name("users", name)

    def is_shown(self, index: int) -> bool:
        return self._flags[index] == _SHOWN

    def _of_name(self, column: str, name: str) -> Sequence[int]:
        found = self._db.execute(f"SELECT {column} FROM name WHERE name = ?", (name,)).fetchone()  # noqa: S608
        return _unpacked(found[0]) if found else ()

    def _whole(self, name: str) -> bytes:
        found: bytes = self._db.execute("SELECT value FROM whole WHERE name = ?", (name,)).fetchone()[0]
        return found
