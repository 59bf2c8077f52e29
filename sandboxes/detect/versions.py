"""Ranges of versions, as far as package.json's `engines` and the like use them."""

from __future__ import annotations

import re

Version = tuple[int, int, int]
_NEWEST = 10**6
_PART = re.compile(
    r"(\^|~>?|>=|<=|>|<|=)?\s*v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:[-+][\w.+-]*)?"
)


def admits(wanted: str, version: Version) -> bool:
    """Whether an npm range such as `^18.12 || >=20 <23` holds for a version; what cannot be read admits all."""
    alternatives = [_bounds(part) for part in wanted.split("||")]
    return any(
        bounds is None or all(low <= version < high for low, high in bounds) for bounds in alternatives
    )


def _bounds(text: str) -> list[tuple[Version, Version]] | None:
    """The half-open intervals that a version must all be in; None for what is not understood."""
    between = re.fullmatch(r"\s*(\S+)\s+-\s+(\S+)\s*", text)
    if between:
        text = f">={between[1]} <={between[2]}"
    found, rest = [], _PART.sub("", text).strip(" ,")
    if rest:
        return None
    for operator, *parts in _PART.findall(text):
        numbers = [int(part) for part in parts if part.isdigit()]
        found.append(_interval(operator, numbers))
    return found


def _interval(operator: str, numbers: list[int]) -> tuple[Version, Version]:
    start, nothing, top = _filled(numbers), (0, 0, 0), (_NEWEST, 0, 0)
    if not numbers:
        return nothing, top
    after = _after(numbers)
    if operator == ">=":
        return start, top
    if operator == ">":
        return after, top
    if operator == "<":
        return nothing, start
    if operator == "<=":
        return nothing, after
    if operator == "^":
        at = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1)
        return start, _after(numbers[: at + 1])
    if operator.startswith("~"):
        return start, _after(numbers[:2])
    return start, after


def _filled(numbers: list[int]) -> Version:
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major, minor, patch


def _after(numbers: list[int]) -> Version:
    """The first version that these numbers do not begin."""
    return _filled([*numbers[:-1], numbers[-1] + 1])
