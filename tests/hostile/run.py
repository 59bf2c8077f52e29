"""All attempts as a table of outcomes: python -m tests.hostile.run [-k WORD]"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from tests.hostile.cases import CASES
from tests.hostile.corpus import attempted


def main(word: str) -> int:
    tried: Counter[str] = Counter()
    held: Counter[str] = Counter()
    outcomes: dict[str, Counter[str]] = {}
    broken: list[str] = []
    for case in (case for case in CASES if word in str(case)):
        tried[case.kind] += 1
        with tempfile.TemporaryDirectory() as folder:
            try:
                attempted(case, Path(folder))
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                broken.append(f"{case}: {last.filename}:{last.lineno}: {error!r:.2000}")
            else:
                held[case.kind] += 1
                outcomes.setdefault(case.kind, Counter())[case.expected] += 1
        print(f"{case}: {case.expected}", file=sys.stderr, flush=True)
    print("| kind | attempts | ended as they must | how |\n| --- | --- | --- | --- |")
    for kind, number in tried.items():
        how = ", ".join(f"{said} {times}" for said, times in outcomes.get(kind, Counter()).most_common())
        print(f"| {kind} | {number} | {held[kind]} | {how} |")
    print(f"| all | {sum(tried.values())} | {sum(held.values())} | |")
    for line in broken:
        print(f"not as it must: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", metavar="WORD", help="only attempts whose name holds this")
    sys.exit(main(parser.parse_args().k))
