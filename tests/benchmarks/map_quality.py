"""Where the code that the real fix changed stands in a map of 2,000 tokens.

    python -m tests.benchmarks.map_quality CASES.py [--kept FOLDER] [--each]

CASES.py is the script of a set of real bugs (`cases.py materialise` and so on); its cases are fetched, and their
failing tests run, once, and kept in FOLDER. A rank is counted as a reader meets it, from the top of the map; what did
not go into the map has none. The ways that stand beside the map:

    grep    how many of the issue's words a definition has, as hits of a search
    BM25    the same words, the rare ones and those in short definitions counting more
    graph   the map's: BM25, and personalised PageRank from where that points

Two questions: the issue's text alone, on the buggy release as it was; and with the names and output of the tests that
show the bug, which are then in the repository, as after `--fail-to-pass`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.gate.paths import Paths
from agent.orientation.orient import MAP_TOKENS
from agent.orientation.ranking import Question, Units, bm25, ranked, shown, words_of
from tests.benchmarks.map_cases import Case, cases

Way = Callable[[Units, Question], Sequence[int]]


def grep(units: Units, question: Question) -> list[int]:
    words = words_of(question)
    return _best(units, [float(len(unit.words.keys() & words.keys())) for unit in units.all])


def by_words(units: Units, question: Question) -> list[int]:
    return _best(units, bm25(units.all, dict.fromkeys(words_of(question), 1.0)))


def _best(units: Units, scores: Sequence[float]) -> list[int]:
    own = [i for i, unit in enumerate(units.all) if unit.product and unit.symbol is not None and scores[i]]
    return sorted(own, key=lambda index: (-scores[index], index))


WAYS: Mapping[str, Way] = {"grep": grep, "BM25": by_words, "graph": ranked}


def ranks(case: Case, way: Way, *, tests: bool) -> tuple[int, int]:
    """Rank of the first gold file and of the first gold definition in the map, from 1; 0 for none."""
    files = {**case.files, **case.test_files} if tests else case.files
    paths, units = Paths(files), Units()
    for path in sorted(files):
        units.add(path, files[path].encode(), product=paths.kind(path) == "product")
    question = Question(case.issue, tuple(case.tests), case.output) if tests else Question(case.issue)
    map_of = shown(units, way(units, question), MAP_TOKENS)
    gold = {(path, line) for path, line in case.gold}
    gold_files = {path for path, _ in gold}
    inside = [
        (u.path, u.symbol.line)
        for found in map_of.values()
        for u in map(units.all.__getitem__, found)
        if u.symbol
    ]
    file = next((n for n, path in enumerate(map_of, 1) if path in gold_files), 0)
    return file, next((n for n, one in enumerate(inside, 1) if one in gold), 0)


def share(found: Sequence[int], most: int) -> str:
    return f"{sum(0 < rank <= most for rank in found) / len(found):.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tool", type=Path, metavar="CASES.py")
    parser.add_argument("--kept", type=Path, default=Path.home() / ".cache" / "assay-map-quality")
    parser.add_argument("--each", action="store_true", help="print the ranks of each case too")
    arguments = parser.parse_args()
    all_of = list(cases(arguments.tool, arguments.kept))
    narrowed = sum(case.narrowed for case in all_of)
    print(
        f"{len(all_of)} cases; in {narrowed} gold is what the failing tests run of the fix, else all of it\n"
    )
    print(
        f"{'question':<12} {'way':<6} {'file 1':>7} {'file 5':>7} {'function 1':>11} {'function 5':>11} {'in map':>7}"
    )
    for tests, name in ((False, "issue"), (True, "issue, test")):
        for way, order in WAYS.items():
            found = [ranks(case, order, tests=tests) for case in all_of]
            file, function = [rank for rank, _ in found], [rank for _, rank in found]
            row = [
                share(file, 1),
                share(file, 5),
                share(function, 1),
                share(function, 5),
                share(function, 10**6),
            ]
            print(f"{name:<12} {way:<6} {row[0]:>7} {row[1]:>7} {row[2]:>11} {row[3]:>11} {row[4]:>7}")
            if arguments.each:
                for case, (f, d) in zip(all_of, found, strict=True):
                    print(f"    {case.id:<32} {f:>3} {d:>3}")


if __name__ == "__main__":
    main()
