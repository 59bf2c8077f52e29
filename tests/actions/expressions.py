"""GitHub's expressions, as far as our workflows use them: contexts, comparisons, and a few functions.

What is not known raises ValueError: a workflow that needs more than this is not understood by half.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<sign>&&|\|\||==|!=|[!().,\[\]]))"
)
_WORDS = {"true": True, "false": False, "null": None}


def expand(text: str, contexts: Mapping[str, Any]) -> Any:
    """A value of a workflow with its `${{ }}` put in; one that is nothing but an expression keeps its type."""
    if whole := re.fullmatch(r"\s*\$\{\{((?:(?!\}\}).)*)\}\}\s*", text, re.S):
        return evaluate(whole[1], contexts)
    return re.sub(r"\$\{\{(.*?)\}\}", lambda m: shown(evaluate(m[1], contexts)), text, flags=re.S)


def condition(text: str | bool | None, contexts: Mapping[str, Any]) -> bool:
    """Whether an `if:` holds: with success() before it, unless it names a status itself."""
    said = "success()" if text is None else str(text).strip()
    if match := re.fullmatch(r"\$\{\{(.*)\}\}", said, re.S):
        said = match[1]
    if not re.search(r"\b(success|failure|always|cancelled)\s*\(", said):
        said = f"success() && ({said})"
    return truth(evaluate(said, contexts))


def shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def truth(value: Any) -> bool:
    return value not in (None, False, 0, "")


def evaluate(text: str, contexts: Mapping[str, Any]) -> Any:
    return _Parser(text, contexts).whole()


class _Parser:
    def __init__(self, text: str, contexts: Mapping[str, Any]) -> None:
        self._tokens: list[tuple[str, str]] = []
        self._contexts = contexts
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise ValueError(f"no expression that is known here: {text!r}")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()

    def whole(self) -> Any:
        value = self._either()
        if self._tokens:
            raise ValueError(f"left over: {self._tokens}")
        return value

    def _next(self, *signs: str) -> str | None:
        if self._tokens and self._tokens[0][0] == "sign" and self._tokens[0][1] in signs:
            return self._tokens.pop(0)[1]
        return None

    def _either(self) -> Any:
        value = self._both()
        while self._next("||"):
            other = self._both()
            value = value if truth(value) else other
        return value

    def _both(self) -> Any:
        value = self._compared()
        while self._next("&&"):
            other = self._compared()
            value = other if truth(value) else value
        return value

    def _compared(self) -> Any:
        value = self._single()
        if sign := self._next("==", "!="):
            same = _same(value, self._single())
            return same if sign == "==" else not same
        return value

    def _single(self) -> Any:
        if self._next("!"):
            return not truth(self._single())
        if self._next("("):
            value = self._either()
            self._expect(")")
            return value
        kind, text = self._tokens.pop(0)
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return float(text) if "." in text else int(text)
        if kind != "name":
            raise ValueError(f"{text!r} is out of place")
        if self._next("("):
            return self._called(text)
        if text in _WORDS:
            return _WORDS[text]
        value = self._contexts[text]  # an unknown context is a fault, as it is to GitHub
        while self._next("."):
            key = self._tokens.pop(0)[1]
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def _called(self, name: str) -> Any:
        given: list[Any] = []
        while not self._next(")"):
            given.append(self._either())
            self._next(",")
        functions: dict[str, Callable[..., Any]] = {
            "fromJSON": json.loads,
            "toJSON": json.dumps,
            "contains": lambda where, what: what in where,
            "always": lambda: True,
            "cancelled": lambda: False,
            "success": lambda: not self._contexts["failed"],
            "failure": lambda: self._contexts["failed"],
        }
        return functions[name](*given)

    def _expect(self, sign: str) -> None:
        if not self._next(sign):
            raise ValueError(f"{sign} is missing")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold() == other.casefold()
    return ("" if one is None else one) == ("" if other is None else other)
