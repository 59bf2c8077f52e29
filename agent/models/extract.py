"""JSON in a model's text: the one value that fits a schema, or a refusal. Nothing is guessed.

- A value is an object or an array in the text, or a scalar that is the whole text or all of a fenced block.
- A part of a value is no value, also where the whole is broken or does not fit. Brackets around a single value
  (no key, no comma in them) are no more than brackets, unless the schema wants them.
- Strict JSON goes before JSON that must be mended. Several different values that fit are refused, except that
  one which is all that a fence holds wins over those before it.
- Mended are: trailing commas, comments, single and curly quotes, Python's words, control characters and
  unknown escapes in strings, closing brackets that are missing at the end. Refused is what had to be made up:
  a string, number, key or item that is cut off, anything after a last comma, an escape with two readings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.text import printable

MAX_DEPTH = 100
MAX_VALUES = 5000
"""Brackets that may open a value, in one text."""

_BLANK = re.compile(r"[ \t\r\n]*")
_BLANK_OR_COMMENT = re.compile(
    r"(?:[\s\ufeff\u200b]+|//[^\n]{0,2000}(?![^\n])|#[^\n]{0,2000}(?![^\n])|/\*[\s\S]{0,2000}?\*/)*"
)
_OPENING = re.compile(r"""\{(?=\s*["}])|\[(?=\s*["\[{\]\-0-9tfnNI])""")
_LENIENT_OPENING = re.compile(
    r"""\{(?=[\s\ufeff\u200b]*["'“”‘}/#])|\[(?=[\s\ufeff\u200b]*["'“”‘\[{\]\-0-9tfnNITF/#])"""
)
_SCALAR = re.compile(
    r"(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    r"|(?:true|false|null|True|False|None|NaN|-?Infinity)(?!\w)"
)
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_STRINGS = {
    begin: re.compile(rf"{begin}[^{end}\\]*+(?:\\.[^{end}\\]*+)*+{end}", re.DOTALL)
    for begin, end in ('""', "''", "“”", "‘’", "””")
}
_ESCAPE = re.compile(r'\\(?:u[0-9a-fA-F]{4}|.)|"', re.DOTALL)
_END = re.compile(r"(?:[`~]{3,}+\s*+)*+\Z")
_SKIPPED = re.compile(r'"(?:[^"\\\n]|\\[^\n])*+"?|[\[{]|(?P<close>[\]}])|(?P<fence>`{3,}|~{3,})')
_FENCED = re.compile(r"(`{3,}|~{3,})(?:[\w.+#-]+(?=\s)|[^\n{\[`]{0,80}\n)?(.*?)(?:\1|\Z)", re.DOTALL)
_as_text = json.JSONEncoder(sort_keys=True).encode
_AROUND = "\ufeff\u200b \t\r\n"


class NoValue(Exception):
    """The text holds no value that fits, or several different ones: one line that says which, and why."""


def find_value(text: str, schema: Mapping[str, Any]) -> Any:
    """The one JSON value in a text (a model's prose) that validates against `schema`. Raises NoValue."""
    return _find(text, _Schema(schema))


def repaired_arguments(raw: str, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """A tool call's arguments that are no JSON object as they came: the object, or None.

    Stricter than find_value, because they are acted upon: all other JSON in `raw` must be the same value again.
    """
    fits = _Schema(schema)
    try:
        whole = _scalar(raw)
        values = _Scan(raw if whole is None else _inside(raw, whole[0]), lenient=True)
        found = _different(fits.unwrapped(region) for region in values.regions)
    except NoValue:
        return None
    value = found[0].value if len(found) == 1 and not values.broken else None
    return value if isinstance(value, dict) else None


def _find(text: str, fits: _Schema, *, nested: bool = False) -> Any:
    if whole := _scalar(text):
        if not (fault := fits.fault(whole[0])):
            return whole[0]
        if nested or not isinstance(whole[0], str):
            raise NoValue(f"the value does not fit the schema: {fault}")
        return _find(_inside(text, whole[0]), fits, nested=True)
    strict = _Scan(text, lenient=False)
    alone = [(region.start, region.end) for region in strict.regions] == [_stripped(text, 0, len(text))]
    lenient = strict if alone else _Scan(text, lenient=True)
    larger = [region.core for region in lenient.regions if region.core.begun]
    problems = list(lenient.broken)
    seen = [*strict.regions, *strict.broken, *lenient.regions, *lenient.broken]
    for regions in (_outside(strict.regions, larger), lenient.regions):
        found: list[_Region] = []
        for region in regions:
            try:
                found.append(fits.unwrapped(region))
            except NoValue as fault:
                problems.append(_Region(region.start, region.end, fault=str(fault)))
        if found:
            return _chosen(text, found, _fences(text, seen)).value
    scalars = (_scalar(text[start:end]) for start, end in _fences(text, seen))
    fitting = _different(
        _Region(0, 0, scalar[0]) for scalar in scalars if scalar and not fits.fault(scalar[0])
    )
    if len(fitting) == 1:
        return fitting[0].value
    if fitting:
        raise NoValue(f"{len(fitting)} different values fit the schema (all in fences); give only one")
    problems += strict.broken
    if not problems:
        raise NoValue("the text holds no JSON value")
    # The longest is what was meant for the answer; of two readings of it the lenient one says more.
    worst = max(problems, key=lambda problem: problem.end - problem.start)
    raise NoValue(f"the JSON that begins in line {_line(text, worst.start)}: {worst.fault}")


@dataclass
class _Region:
    """A value and where the text has it. `fault`: why it is not to be used. `only`: all that it is a bracket for."""

    start: int
    end: int
    value: Any = None
    fault: str = ""
    only: _Region | None = None

    @property
    def core(self) -> _Region:
        return self.only.core if self.only else self

    @property
    def begun(self) -> bool:
        return isinstance(self.value, dict) or len(self.value) > 1


class _Schema:
    def __init__(self, schema: Mapping[str, Any]) -> None:
        # Here, because the two cost 0.1 s. The registry is empty: no schema is fetched from the network.
        from jsonschema import validators
        from referencing import Registry

        kind = validators.validator_for(schema, default=validators.Draft202012Validator)
        self._validator = kind(schema, registry=Registry())

    def fault(self, value: Any) -> str:
        """Why the value does not fit, in one line; "" if it does."""
        from jsonschema.exceptions import best_match

        try:
            error = best_match(self._validator.iter_errors(value))
        except RecursionError:
            return "it is nested too deeply to be checked"
        return "" if error is None else f"{_short(error.json_path)}: {_short(error.message)}"

    def unwrapped(self, region: _Region) -> _Region:
        """The value, or the one that it is only a bracket for. Raises NoValue if neither fits."""
        if region.fault:
            raise NoValue(region.fault)
        if not (fault := self.fault(region.value)):
            return region
        if region.only:
            return self.unwrapped(region.only)
        raise NoValue(f"it does not fit the schema: {fault}")


def _outside(regions: Sequence[_Region], larger: Sequence[_Region]) -> list[_Region]:
    """Those that are no part of a larger one. Both are in the text's order."""
    kept, at = [], 0
    for region in regions:
        while at < len(larger) and larger[at].end < region.core.end:
            at += 1
        if at == len(larger) or region.core.start <= larger[at].start:
            kept.append(region)
    return kept


def _different(regions: Iterable[_Region]) -> list[_Region]:
    """The first of each value. As text, because in Python True == 1 == 1.0."""
    seen: dict[str, _Region] = {}
    for region in regions:
        seen.setdefault(_as_text(region.value), region)
    return list(seen.values())


def _chosen(text: str, found: Sequence[_Region], fences: Sequence[tuple[int, int]]) -> _Region:
    values = _different(found)
    if len(values) == 1:
        return values[0]
    held = set(fences)
    alone = [region for region in found if (region.start, region.end) in held]
    if len(_different(alone)) == 1 and alone[-1] is found[-1]:
        return alone[0]
    lines = ", ".join(str(_line(text, region.start)) for region in values[:5])
    raise NoValue(f"{len(values)} different values fit the schema (lines {lines}); give only one")


def _fences(text: str, values: Iterable[_Region]) -> list[tuple[int, int]]:
    """Where the fences' contents are. A mark in a value, whole or broken, is none."""
    chars = list(text)
    for value in values:
        chars[value.start : value.end] = "x" * (value.end - value.start)
    return [_stripped(text, *fence.span(2)) for fence in _FENCED.finditer("".join(chars))]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    start += len(text[start:end]) - len(text[start:end].lstrip(_AROUND))
    return start, start + len(text[start:end].rstrip(_AROUND))


def _scalar(text: str) -> tuple[Any] | None:
    """The string, number or word that is the whole text, in a tuple because it may be None. Raises NoValue."""
    whole = text.strip(_AROUND)
    if whole[:1] in ("", "{", "["):
        return None
    reader = _Reader(whole, lenient=True)
    try:
        value, end = reader.scalar(0)
    except _Broken:
        return None
    if end < len(whole):
        return None
    if reader.faults:
        raise NoValue(reader.faults[0])
    return (value,)


def _inside(text: str, string: Any) -> str:
    """The text in a string that is the whole text: JSON that was encoded twice."""
    if "\\" in text and text.strip(_AROUND)[0] != '"':
        raise NoValue("the JSON is in quotes that are not JSON's, so its backslashes can be read in two ways")
    return str(string)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _short(text: str) -> str:
    text = " ".join(printable(text[:1000]).split())
    return text if len(text) <= 200 else text[:140] + " ... " + text[-50:]


class _Broken(Exception):
    """What begins here is no value. `end`: from where the text is no longer a part of it."""

    def __init__(self, fault: str, end: int, *, cut: bool = False) -> None:
        super().__init__(fault)
        self.end = end
        self.cut = cut


class _Reader:
    """Reads what is no bracket. `faults` grows with why a value is not to be used, though its end is known."""

    def __init__(self, text: str, *, lenient: bool) -> None:
        self.text = text
        self.lenient = lenient
        self.faults: list[str] = []

    def blank(self, at: int) -> int:
        if not self.lenient:
            return _end(_BLANK.match(self.text, at))
        end = _end(_BLANK_OR_COMMENT.match(self.text, at))
        if (skipped := self.text[at:end].strip()) and ("..." in skipped or "…" in skipped):
            self.faults.append("a comment stands for something that was left out")
        return end

    def unexpected(self, at: int, expected: str = "") -> _Broken:
        found = ascii(self.text[at : at + 20])
        return _Broken(f"unexpected {found}{expected}" if at < len(self.text) else "it is cut off", at)

    def string(self, at: int) -> tuple[str, int]:
        pattern = _STRINGS.get(self.text[at : at + 1])
        if pattern is None or (self.text[at] != '"' and not self.lenient):
            raise self.unexpected(at)
        if (match := pattern.match(self.text, at)) is None:
            raise _Broken("a string is cut off", len(self.text), cut=True)
        token = match[0]
        try:
            if token[0] != '"':
                raise ValueError
            value = json.loads(token)
        except ValueError:
            if not self.lenient:
                raise _Broken("a string has an unknown escape or a control character", match.end()) from None
            value = self._mended(token[0], token[1:-1])
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            self.faults.append("a string holds half a surrogate pair")
        return value, match.end()

    def _mended(self, quote: str, body: str) -> str:
        unknown = False

        def escape(match: re.Match[str]) -> str:
            nonlocal unknown
            found = match[0]
            if found == '"':
                return '\\"'
            if found[1] in '"\\bfnrt' or len(found) > 2 or (found[1] == "/" and quote == '"'):
                return found
            if found[1] == "'" and quote != '"':
                return "'"
            # Shells mean the backslash in \\' and most languages do not; Python has more escapes than JSON.
            if found[1] == "'" or (quote != '"' and found[1] in "/xuUN01234567av\n"):
                self.faults.append(f"the escape {ascii(found)[1:-1]} can be read in two ways")
            unknown = True
            return "\\" + found

        fixed = _ESCAPE.sub(escape, body)
        if unknown and re.search(r"(?<!\\)(?:\\\\)*\\[bf]", body):
            self.faults.append("a string has backslashes that are not escaped, so its \\b or \\f is in doubt")
        return str(json.loads(f'"{fixed}"', strict=False))

    def scalar(self, at: int) -> tuple[Any, int]:
        match = _SCALAR.match(self.text, at)
        if match is None:
            return self.string(at)
        word = match[0]
        if match["number"]:
            try:
                value = json.loads(word)
            except ValueError:  # more digits than Python takes
                value = float("inf")
            if value in (float("inf"), float("-inf")):
                self.faults.append("a number is too large")
            return value, match.end()
        if word not in _WORDS:
            self.faults.append(f"{word} is no JSON")
        elif word[0] in "TFN" and not self.lenient:
            raise _Broken(f"{word} is Python, not JSON", match.end())
        return _WORDS.get(word), match.end()


@dataclass(eq=False)
class _Open:
    """A bracket that is not closed yet. `begun`: a key or a comma was in it, so that it is no prose."""

    start: int
    value: Any
    faults: int
    key: str = ""
    begun: bool = False
    full: bool = False  # an item is complete, and no comma after it
    only: _Region | None = None


class _Scan(_Reader):
    """All values of a text (`regions`) and what only begins like one (`broken`), both in its order.

    An explicit stack, not recursion, and nothing is read again but what a bracket in prose made read: the time
    is linear in the text. Raises NoValue where the text goes beyond that.
    """

    def __init__(self, text: str, *, lenient: bool) -> None:
        super().__init__(text, lenient=lenient)
        self.regions: list[_Region] = []
        self.broken: list[_Region] = []
        opening = _LENIENT_OPENING if lenient else _OPENING
        at = tries = wasted = 0
        while match := opening.search(text, at):
            tries += 1
            stack = [_Open(match.start(), {} if match[0] == "{" else [], len(self.faults))]
            read = match.end()
            try:
                while stack:
                    read = self._step(stack, read)
                at = read
            except _Broken as broken:
                at = self._after(stack, broken)
                wasted += max(0, broken.end - at)
            if tries > MAX_VALUES or wasted > 8 * len(text):
                raise NoValue("the text holds too many brackets that open no value")

    def _step(self, stack: list[_Open], at: int) -> int:
        """Read one item, comma or closing bracket of the innermost bracket."""
        top = stack[-1]
        unread = at
        at = self.blank(at)
        char = self.text[at : at + 1]
        closes = char == ("}" if isinstance(top.value, dict) else "]")
        if top.full:
            if closes:
                return self._close(stack, at + 1)
            if char == ",":
                top.full, top.begun, top.only = False, True, None
                return at + 1
            if not (self.lenient and _END.match(self.text, at)):
                raise self.unexpected(at, ", not a comma or the closing bracket")
            if unread == at and self.text[at - 1].isdigit():
                raise _Broken("a number may be cut off", at, cut=True)
            while stack:
                self._close(stack, at)
            return at
        if closes and (self.lenient or not top.begun):
            return self._close(stack, at + 1)
        if isinstance(top.value, dict):
            top.key, at = self.string(at)
            at = self.blank(at)
            if self.text[at : at + 1] != ":":
                raise self.unexpected(at, ", not a colon")
            top.begun = True
            at = self.blank(at + 1)
            char = self.text[at : at + 1]
        if char and char in "[{":
            if len(stack) == MAX_DEPTH:
                raise NoValue(f"brackets are nested more than {MAX_DEPTH} deep")
            stack.append(_Open(at, {} if char == "{" else [], len(self.faults)))
            return at + 1
        value, at = self.scalar(at)
        self._put(top, value)
        return at

    def _close(self, stack: list[_Open], at: int) -> int:
        top = stack.pop()
        fault = self.faults[top.faults] if len(self.faults) > top.faults else ""
        region = _Region(top.start, at, top.value, fault, top.only)
        if stack:
            self._put(stack[-1], top.value, region)
        else:
            self.regions.append(region)
        return at

    def _put(self, top: _Open, value: Any, region: _Region | None = None) -> None:
        top.full = True
        if isinstance(top.value, list):
            top.only = None if top.value else region
            top.value.append(value)
            return
        # In Python True == 1 == 1.0, as text they differ. A value with a fault needs no other.
        old = top.value.setdefault(top.key, value)
        if old is not value and len(self.faults) == top.faults and _as_text(old) != _as_text(value):
            self.faults.append(f"the key {_short(ascii(top.key))} has two different values")

    def _after(self, stack: list[_Open], broken: _Broken) -> int:
        """Where to go on. Brackets in prose are forgotten; what began as JSON is skipped with all its parts."""
        top = stack[-1]
        begun = next((open_ for open_ in stack if open_.begun), stack[0] if broken.cut else None)
        if begun is not None:
            end = self._skip(broken.end, len(stack) - stack.index(begun))
            self.broken.append(_Region(begun.start, end, fault=str(broken)))
            return end
        if top.only is not None:
            self.regions.append(top.only)
            return top.only.end
        return top.start + 1

    def _skip(self, at: int, depth: int) -> int:
        """The end of a broken value: its closing bracket, or else the next fence, or the text's end."""
        for match in _SKIPPED.finditer(self.text, at):
            if match["fence"]:
                return match.start()
            depth += -1 if match["close"] else match[0][0] != '"'
            if depth == 0:
                return match.end()
        return len(self.text)


def _end(match: re.Match[str] | None) -> int:
    assert match is not None  # both patterns match the empty text
    return match.end()
