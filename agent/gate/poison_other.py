"""Tests of other languages than Python made to fail; see poison.py for why.

The text stays as it is but for the tests' bodies, and compiles as it did: the control run on the base tells when it
does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from agent.gate.found_tests import Found, found_tests, go_runs
from agent.gate.source_text import MAX_TEXT, Language, Text, text_of

Edit = tuple[int, str]
"""What to put in before the character at a place."""


def poisoned_text(
    source: str, lang: Language, tests: Collection[str], word: str
) -> tuple[str, frozenset[str]]:
    """The source with each of `tests` (`group > title`, `TestX/sub`, `tests::name`, `method`) failing with `word`.

    Returns it and those of `tests` that are written in it in a way that can be made to fail.
    """
    if len(source) > MAX_TEXT:
        return source, frozenset()
    text = text_of(source, lang)
    edits: set[Edit] = set()
    done: set[str] = set()
    for test in found_tests(source, lang):
        if test.body is None or test.skipped:
            continue
        if lang == "go":
            names = {name for name in tests if re.split(r"[/\[]", name)[0] == test.name}
            added = _go_edits(text, test, word) if names and "/" not in test.name else []
            if len(added) < 2:
                names &= {test.name}
        else:
            names = {name for name in tests if test.is_called(name)}
            added = _edits(test, lang, word) if names else []
        if names and added:
            edits.update(added)
            done |= names
    parts, at = [], 0
    for place, new in sorted(edits):
        parts += [source[at:place], new]
        at = place
    return "".join([*parts, source[at:]]), frozenset(done)


def _edits(test: Found, lang: Language, word: str) -> list[Edit]:
    assert test.body
    start, end = test.body
    said = json.dumps(word)
    if lang == "js":
        return _js_edits(test, start, end, f"throw new Error({said});")
    if lang == "java":
        # The compiler takes a bare `throw` to make what comes after it unreachable.
        return [(start, " try {"), (end, f"}} finally {{ if (true) throw new AssertionError({said}); }} ")]
    if "should_panic" in test.head:
        return []
    returned = re.search(r"\)\s*->\s*(.+?)\s*(?:\bwhere\b.*)?\Z", test.head, re.S)
    kind = returned[1] if returned else "()"
    fail = f'panic!("{{}}", {said}); '
    if test.is_async:
        return [(start, f" let _: {kind} = async move {{"), (end, f"}}.await; {fail}")]
    opening = f" let _ = ::std::panic::catch_unwind(::std::panic::AssertUnwindSafe(|| -> {kind} {{"
    return [(start, opening), (end, f"}})); {fail}")]


def _js_edits(test: Found, start: int, end: int, fail: str) -> list[Edit]:
    # `finally` overrides whatever the body does: return, skip, another error.
    if test.block:
        return [(start, " try {"), (end, f"}} finally {{ {fail} }} ")]
    value = "await (" if test.is_async else "("
    return [(start, f"{{ try {{ return {value}"), (end, f"); }} finally {{ {fail} }} }}")]


def _go_edits(text: Text, test: Found, word: str) -> list[Edit]:
    """The test and the subtests written in it; a deferred call comes after the body, also after `Skip` and `Fatal`."""
    assert test.body
    fail = f"Error({json.dumps(word)});"
    edits = []
    for function in (test, *(run for _, run in go_runs(text, *test.body))):
        if function.body and function.argument != "_":
            edits.append((function.body[0], f" defer {function.argument}.{fail}"))
    return edits
