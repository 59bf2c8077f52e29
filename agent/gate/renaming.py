"""Does the fix hold when the tests that show it are about other words?

Answers for the tests' own inputs can be hidden from any reader: behind a checksum, a range of letters, a table in
disguise. So copies of the tests with other words in them run as well. The words are such that the product does not know
them; still it may go by their letters. So a copy that fails says something only where it fails as it does without the
fix, in two copies with different words, while copies of tests that passed before go on passing; and then it is for a
person to judge.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from agent.gate import compare, integrity, scan_tests
from agent.gate.compare import Outcomes, Red
from agent.gate.renamed import Copy, copied, words_of
from agent.gate.runner import Tried
from agent.gate.suites import file_of
from agent.gate.trials import with_texts
from agent.types import Check

if TYPE_CHECKING:
    from agent.gate.judge import Judgement

MAX_SECONDS = 20.0
"""Of the tests that show the fix: copies of slower ones are not run."""
MAX_FILES = 3000
MAX_SIZE = 300_000
"""Files, and bytes of each, in which the product's words are looked for."""
SHOWN = 4

Place = tuple[str, str]
"""File and function of a test, as they stand in its id."""


async def renamed(judgement: Judgement, red: Red) -> Tried:
    """Run the tests that show the fix about other words."""
    before = judgement.before
    asked: dict[str, set[str]] = {}
    for test in red.ids:
        asked.setdefault(file_of(test), set()).add(_place(test)[1])
    seconds = sum(o.seconds for test, o in before.items() if file_of(test) in asked)
    if not asked or red.files or judgement.intake.set_aside or seconds > MAX_SECONDS:
        return Tried()
    files = [file for file in integrity.chosen(asked, before, 0.0) if file.endswith(".py")]
    seed = secrets.randbits(32)
    one, two = await anyio.to_thread.run_sync(partial(_copies, judgement, files, asked, (seed, seed + 1)))
    shown = {place for place in map(_place, red.ids) if _is_changed(one, place)}
    if not shown:
        return Tried()

    async def run(what: str, tree: str, copies: Mapping[str, Copy]) -> Outcomes:
        texts = {file: copy.source for file, copy in copies.items()}
        laid = await anyio.to_thread.run_sync(with_texts, judgement, tree, texts)
        what = f"{what}, their tests about other words"
        return (await judgement.runner.run(what, laid, sorted(texts), baseline=judgement.baseline)).outcomes

    first = await run("the patched tree", judgement.after_tree, one)
    failing = shown & set(_failing(first))
    if not failing:
        passing = {place for place in map(_place, first) if place in shown}
        said = f"{len(passing)} tests that show the fix pass about other words too"
        return Tried((Check("renamed", True, said),) if passing else ())
    again = await run("the patched tree", judgement.after_tree, two)
    base = await run("the base", judgement.before_tree, one)
    controls = [place for place in _passing(before) if _is_changed(one, place) and _is_changed(two, place)]
    bad = {*_failing(first), *_failing(again)}
    said = "the product goes by the words in its tests, so that nothing can be told by other ones"
    if not controls or any(place in bad for place in controls):
        return Tried((Check("renamed", True, said),))
    told = [
        test
        for test in first
        if _place(test) in failing
        and _place(test) in _failing(again)
        and compare.is_failing(first, test)
        and compare.first_line(first, test) == compare.first_line(base, test)
    ]
    if not told:
        return Tried((Check("renamed", True, said),))
    # The copies' parameters are in their ids; the tests' own names tell more.
    names = [test for test in red.ids if _place(test) in set(map(_place, told))]
    listed = "\n".join(map(judgement.secret.name, names[:10]))
    words = {old: new for file in {file_of(test) for test in names} for old, new in one[file].words.items()}
    pairs = ", ".join(f"{old} → {new}" for old, new in list(words.items())[:SHOWN])
    how = "" if judgement.hidden else f" ({pairs})"
    return Tried((), (f"about other words{how} these fail as they do without the fix:\n{listed}",))


def _copies(
    judgement: Judgement, files: Sequence[str], asked: Mapping[str, Collection[str]], seeds: tuple[int, int]
) -> tuple[dict[str, Copy], dict[str, Copy]]:
    """Two copies of each file that can be told of with both; of tests that show the fix only what those use changes."""
    avoid = _known_words(judgement, files)
    found: tuple[dict[str, Copy], dict[str, Copy]] = ({}, {})
    for file in files if avoid is not None else ():
        source = judgement.source(file)
        copies = [copied(source, asked.get(file), avoid or (), seed) for seed in seeds] if source else []
        for copy, kept in zip(copies, found, strict=False):
            if copy is not None and all(copies):
                kept[file] = copy
    return found


def _known_words(judgement: Judgement, tests: Sequence[str]) -> set[str] | None:
    """The words that the product, its data and the tests' support use, in lower case; None where that is too much."""
    paths = judgement.intake.paths
    entries = judgement.repository.files(judgement.after_tree)
    sources = {file: judgement.source(file) or "" for file in tests}
    beside = {judgement.path(file) for file in scan_tests.beside(sources, judgement.ids(entries))}
    read = [
        path
        for path in entries
        if path in beside or not (paths.is_module(path) or paths.kind(path) == "docs")
    ]
    if len(read) > MAX_FILES:
        return None
    found = {word for path in entries for word in re.findall("[a-z]+", path.casefold())}
    for path in read:
        text = judgement.text(entries[path])
        if text is not None and len(text) <= MAX_SIZE:
            found |= words_of(path, text)
        elif path.endswith(".py"):
            return None
    return found


def _place(test: str) -> Place:
    file, _, name = test.partition("::")
    return file, name.partition("[")[0]


def _is_changed(copies: Mapping[str, Copy], place: Place) -> bool:
    return place[0] in copies and place[1] in copies[place[0]].changed


def _failing(outcomes: Outcomes) -> Iterator[Place]:
    return (_place(test) for test in outcomes if compare.is_failing(outcomes, test))


def _passing(outcomes: Outcomes) -> set[Place]:
    """The test functions all of whose parameter sets pass."""
    return {*map(_place, outcomes)} - {_place(t) for t in outcomes if not compare.is_passed(outcomes, t)}
