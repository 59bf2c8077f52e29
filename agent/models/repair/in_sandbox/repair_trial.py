"""Try candidate repairs, each in its own forked child. Runs in the sandbox, on Python 3.8 and later.

The job has `candidates` (each a list of edits as in repair_patch) with `scores` that descend, `baseline` (id of each
wanted test to the test's own line where it fails without a repair), `limit` (seconds for the wanted tests of one
candidate), `suite_limit` (the same for all known tests), `enough` (stop after so many plausible ones), `skip` (so
many of them don't count), `disk` (write the candidate into its files, one candidate at a time: for tests that start
processes) and, when cold, `modules` to import beforehand.

The result: {"done": candidates looked at, "counts": {word: number}, "results": [[index, word, bits, detail]]} with
the word "plausible" (all wanted and all known tests pass), "regress" (wanted pass, `detail` names a known one that
doesn't), "passes" (wanted pass, there was no time for the known ones), "part" (some wanted pass, or one fails
`detail` lines later in the test), "import" (must be tried cold). All else is only counted.
"""
# ruff: noqa: PTH118, PTH123

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import importlib
import json
import marshal
import os
import pathlib
import shutil
import time
import warnings
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Set, Tuple

import repair_fork  # type: ignore[import-not-found]
import repair_patch  # type: ignore[import-not-found]

Items = Dict[str, Any]

OVERTIME = 8.0
"""Seconds after the job's end in which known tests of earlier candidates are still begun."""


def _tests(
    job: Dict[str, Any], chosen: List[str], items: Items, run_items: Callable[..., Any], say: repair_fork.Say
) -> bool:
    """Run the wanted tests that are chosen and say of each whether it passes, and at which of its lines it fails.

    A true answer means that all wanted tests pass. Where a candidate changes nothing for one test of each kind, the
    others of the kind are not asked.
    """
    order = {test: number for number, test in enumerate(job["wanted"])}
    first: Dict[str, str] = {}
    for test in chosen:
        first.setdefault(test.partition("[")[0], test)
    samples = list(first.values()) if len(chosen) > 3 else chosen
    good: Set[str] = set()
    changed: List[str] = []

    def after(item: Any, failure: Any) -> None:
        line = getattr(failure, "test_line", 0)
        say("wanted %d %d %d" % (order[item.nodeid], failure is None, line))
        if failure is None:
            good.add(item.nodeid)
        if failure is None or line != job["baseline"].get(item.nodeid, 0):
            changed.append(item.nodeid)

    run_items([items[test] for test in samples if test in items], after)
    if changed:
        run_items([items[test] for test in chosen if test in items and test not in samples], after)
    return good.issuperset(job["wanted"])


class Coverage:
    """Which tests run which lines, as `observe` saw it."""

    def __init__(self) -> None:
        self._tests: Dict[str, Dict[str, List[int]]] = {}
        with contextlib.suppress(OSError, ValueError), open(os.environ["REPAIR_OUT"] + ".lines") as file:
            self._tests = json.load(file)
        self._by_line: Dict[Tuple[str, int], Set[str]] = {}
        for test, paths in self._tests.items():
            for path, lines in paths.items():
                for line in lines:
                    self._by_line.setdefault((path, line), set()).add(test)

    def concerned(self, tests: List[str], lines: Set[Tuple[str, int]]) -> List[str]:
        """Those of `tests` that run one of the lines, or of which it is not known."""
        hit: Set[str] = set()
        for line in lines:
            hit |= self._by_line.get(line, set())
        return [test for test in tests if test in hit or test not in self._tests]


def _known(ids: List[str], items: Items, run_items: Callable[..., Any], say: repair_fork.Say) -> None:
    """Run the known tests until one fails; say which, or that all passed."""
    lost = [one for one in ids if one not in items]

    def after(item: Any, failure: Any) -> bool:
        if failure is not None:
            lost.append(item.nodeid)
        return failure is not None

    if not lost:
        run_items([items[one] for one in ids], after)
    say("lost " + lost[0] if lost else "plausible")


class Tally:
    """What came out so far, and which known tests catch bad candidates."""

    def __init__(self, job: Dict[str, Any]) -> None:
        self.job = job
        self.known: List[str] = job["known"]
        self.counts: Dict[str, int] = collections.Counter()
        self.results: List[List[Any]] = []
        self.done = 0
        self.best = 0.0
        self.end = time.monotonic() + job["seconds"]

    def stop(self) -> bool:
        """Is the time over, or what comes next so much less likely than what was found that it can't matter?"""
        scores = self.job["scores"][self.done : self.done + 1]
        enough = self.counts["plausible"] > self.job["skip"]
        beaten = enough and any(self.best > 2 * score for score in scores)
        return bool(beaten or time.monotonic() > self.end or self.counts["plausible"] >= self.job["enough"])

    def add(self, index: int, said: List[str], timed_out: bool) -> str:
        bits = ["0"] * len(self.job["wanted"])
        later = 0
        word, detail = "", ""
        for line in said:
            head, _, rest = line.partition(" ")
            if head == "wanted":
                number, passed, at = (int(part) for part in rest.split())
                bits[number] = str(passed)
                before = self.job["baseline"].get(self.job["wanted"][number], 0)
                if not passed and 0 < before < at:
                    later = max(later, at - before)
            elif head == "plausible":
                word = "plausible"
            elif head == "lost":
                word, detail = "regress", rest
                # The test that caught one candidate is likely to catch its neighbours: ask it first.
                if rest in self.known:
                    self.known.remove(rest)
                    self.known.insert(0, rest)
            elif head in ("crash", "import"):
                word, detail = head, rest
        if not word and "0" not in bits:
            word = "regress" if timed_out else "passes"
        if not word and ("1" in bits or later):
            word, detail = "part", str(later)
        word = word or ("timeout" if timed_out else "none")
        self.counts[word] += 1
        if word == "plausible":
            self.best = max(self.best, self.job["scores"][index])
        if word in ("plausible", "regress", "part", "import", "passes"):
            self.results.append([index, word, "".join(bits), detail[:300]])
        return word

    def write(self) -> None:
        repair_fork.write_result({"done": self.done, "counts": self.counts, "results": self.results})


def serve_hot(items: Items, job: Dict[str, Any], run_items: Callable[..., Any]) -> None:
    """Try the candidates in live functions."""
    tally = Tally(job)
    patcher = repair_patch.Patcher(job["root"])
    caches = [thing for thing in gc.get_objects() if isinstance(thing, functools._lru_cache_wrapper)]
    seen: Set[bytes] = set()
    written: Dict[str, bytes] = {}
    coverage = Coverage()
    place = os.environ["REPAIR_OUT"] + ".tmp"
    shutil.rmtree(place, ignore_errors=True)
    pathlib.Path(place).mkdir()

    def test(changes: List[Any], lines: Set[Tuple[str, int]], say: repair_fork.Say) -> None:
        gc.disable()
        factory = job["tmp_path_factory"]
        if factory is not None:  # else each child would clean up after all before it
            factory._basetemp = pathlib.Path(place, str(os.getpid()))
            factory._basetemp.mkdir()
        for function, code in changes:
            function.__code__ = code
        for cache in caches:
            with contextlib.suppress(Exception):
                cache.cache_clear()
        if _tests(job, coverage.concerned(job["wanted"], lines) or job["wanted"], items, run_items, say):
            say("whole")
            _known(coverage.concerned(tally.known, lines), items, run_items, say)

    def restore() -> None:
        for path, data in written.items():
            _write(path, data)
        written.clear()

    def jobs() -> Iterator[Optional[Tuple[int, Optional[repair_fork.Work], float]]]:
        for index, edits in enumerate(job["candidates"]):
            if tally.stop():
                return
            tally.done = index + 1
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    changes = patcher.prepare(edits)
                mark = b"".join(marshal.dumps(_bare(code)) for _, code in changes)
                if mark in seen:
                    tally.counts["same"] += 1
                    continue
                seen.add(mark)
                if job["disk"]:
                    for path in {edit[0] for edit in edits}:
                        source = patcher.source(path)
                        written[source.full] = source.data
                        _write(source.full, source.edited([e for e in edits if e[0] == path]))
            except repair_patch.NeedsImport as reason:
                tally.add(index, ["import %s" % reason], False)
                continue
            except (SyntaxError, ValueError):
                tally.counts["syntax"] += 1
                continue
            lines = {(e[0], line) for e in edits for line in patcher.source(e[0]).lines_of(e[1], e[2])}
            yield index, functools.partial(test, changes, lines), job["limit"]

    at_once = 1 if job["disk"] else repair_fork.workers()
    try:
        for child in repair_fork.run_all(jobs(), at_once, {"whole": job["suite_limit"]}):
            restore()
            shutil.rmtree(os.path.join(place, str(child.pid)), ignore_errors=True)
            tally.add(child.key, child.said, child.timed_out)
    finally:
        restore()
    tally.write()


def _bare(code: Any) -> Any:
    """What a code object does, without where it stands."""
    consts = tuple(_bare(c) if hasattr(c, "co_code") else (type(c).__name__, repr(c)) for c in code.co_consts)
    return (
        code.co_name,
        code.co_code,
        consts,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
    )


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


class ColdChild:
    """The child's side of one cold trial: `whole` says whether the known tests are asked, or the wanted ones."""

    def __init__(self, child: repair_fork.Child, whole: bool) -> None:
        self.child = child
        self.whole = whole

    def test(self, items: Items, job: Dict[str, Any], run_items: Callable[..., Any]) -> None:
        """Run the tests, tell the parent, and end this process."""
        if self.whole:
            _known(job["known"], items, run_items, self.child.say)
        elif _tests(job, job["wanted"], items, run_items, self.child.say):
            self.child.say("whole")
        os._exit(0)


def serve_cold(job: Dict[str, Any]) -> ColdChild:
    """Fork a child per candidate, which returns from here into a pytest run; the parent ends the process."""
    for name in job["modules"]:
        with contextlib.suppress(BaseException):
            importlib.import_module(name)
    tally = Tally(job)
    again: Deque[int] = collections.deque()
    said: Dict[int, List[str]] = {}
    turn: Dict[int, bool] = {}

    def jobs() -> Iterator[Optional[Tuple[int, Optional[repair_fork.Work], float]]]:
        fresh = iter(range(len(job["candidates"])))
        while True:
            # What can't be asked in time is said to pass the wanted tests, and comes again.
            late = time.monotonic() > tally.end + OVERTIME
            index = again.popleft() if again and not late else None
            if index is None and not tally.stop():
                index = next(fresh, None)
                if index is not None:
                    tally.done = index + 1
            if index is None:
                if not turn:
                    return
                yield None
                continue
            whole = index in said
            turn[index] = whole
            yield index, None, job["suite_limit"] if whole else job["limit"]

    for child in repair_fork.run_all(jobs(), repair_fork.workers()):
        if child.is_me:
            patcher_texts = _texts(job["root"], job["candidates"][child.key])
            repair_patch.mutated_imports(job["root"], patcher_texts)
            return ColdChild(child, turn[child.key])
        whole = turn.pop(child.key)
        lines = said.pop(child.key, []) + child.said
        if not whole and "whole" in child.said:
            said[child.key] = lines
            again.append(child.key)
            continue
        tally.add(child.key, lines, child.timed_out)
    for index in again:
        tally.add(index, said[index], False)
    tally.write()
    os._exit(0)


def _texts(root: str, edits: List[repair_patch.Edit]) -> Dict[str, bytes]:
    texts = {}
    for path in {edit[0] for edit in edits}:
        with open(os.path.join(root, path), "rb") as file:
            texts[path] = repair_patch.apply(file.read(), 0, [e for e in edits if e[0] == path])
    return texts
