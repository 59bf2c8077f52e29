"""JSON of requests of which each is the last one with something added: what was encoded then is not encoded again.

A conversation is sent whole with each request, so to encode it takes longer with each turn, while almost all of it
stands as it did. It is known again by identity: what goes into a request must not change after.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Kept(Generic[T, U]):
    """What was made of each of some objects, for as long as they are asked for again."""

    def __init__(self, make: Callable[[T], U]) -> None:
        self._make = make
        self._known: dict[int, tuple[T, U]] = {}

    def of(self, objects: list[T]) -> list[U]:
        """What is made of each; of those that were here the last time, it is what was made then."""
        known, self._known = self._known, {}
        made = []
        for one in objects:
            found = known.get(id(one))  # of one that is kept, and so the same one
            if found is None:
                found = one, self._make(one)
            self._known[id(one)] = found
            made.append(found[1])
        return made


class Encoder:
    """For the requests of one conversation."""

    def __init__(self) -> None:
        self._lists: dict[str, Kept[Any, bytes]] = {}

    def encode(self, request: Mapping[str, Any]) -> bytes:
        parts = [_json(key) + b":" + self._value(key, value) for key, value in request.items()]
        return b"{" + b",".join(parts) + b"}"

    def _value(self, key: str, value: Any) -> bytes:
        if not isinstance(value, list):
            return _json(value)
        return b"[" + b",".join(self._lists.setdefault(key, Kept(_json)).of(value)) + b"]"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
