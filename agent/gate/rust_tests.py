"""The tests that stand in Rust product files: told apart from the product, and carried from one version to another."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.gate.found_tests import ATTRIBUTE, found_tests
from agent.gate.source_text import closing, text_of

_MODULE = re.compile(
    rf"(?:{ATTRIBUTE}\s*){{0,20}}#\[\s*cfg\s*\(\s*(?:test|all\s*\(\s*test\b[^\]]*)\s*\)\s*\]\s*(?:{ATTRIBUTE}\s*){{0,20}}"
    r"(?:pub(?:\s*\([^)]*\))?\s+)?mod\s+(?P<name>\w+)\s*(?=\{)"
)


@dataclass(frozen=True)
class Part:
    """A module of tests, or a test outside of one."""

    name: str
    start: int
    end: int


def parts_of(source: str) -> list[Part]:
    """Where a source has its tests, in order; inline modules for tests and tests that stand alone."""
    code = text_of(source, "rust").code
    parts: list[Part] = []
    for match in _MODULE.finditer(code):
        end = closing(code, match.end())
        if end is not None and not (parts and match.start() < parts[-1].end):
            parts.append(Part(f"mod {match['name']}", match.start(), end + 1))
    modules = list(parts)
    for test in found_tests(source, "rust"):
        if test.body and not any(part.start <= test.start < part.end for part in modules):
            parts.append(Part(test.name, test.start, test.body[1] + 1))
    return sorted(parts, key=lambda part: part.start)


def product_of(source: str) -> str:
    """The source without its tests."""
    kept, at = [], 0
    for part in parts_of(source):
        kept.append(source[at : part.start])
        at = part.end
    return "".join([*kept, source[at:]])


def own_tests(source: str) -> str:
    """The tests of a source, one part after the other."""
    return "\n\n".join(source[part.start : part.end] for part in parts_of(source))


def with_tests_of(source: str, other: str) -> str | None:
    """`source` with the tests that `other` has: modules of the same name are replaced, those it lacks are added.

    None when that changes nothing. Given the base and the patched version it is what shows the fault; given the
    patched and the base's, it is the fix under the tests that were there before.
    """
    theirs = {part.name: other[part.start : part.end] for part in parts_of(other)}
    kept, at = [], 0
    for part in parts_of(source):
        kept += [source[at : part.start], theirs.pop(part.name, source[part.start : part.end])]
        at = part.end
    end = source[at:]
    if theirs and not end.endswith("\n"):
        end += "\n"
    laid = "".join([*kept, end, *(f"\n{text}\n" for text in theirs.values())])
    return laid if laid != source else None
