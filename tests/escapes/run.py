"""All attempts as a table of counts: python -m tests.escapes.run [DRIVER] [-k WORD]"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

import anyio
from _pytest.outcomes import OutcomeException

from tests.escapes.cases import CASES
from tests.escapes.cell import Outside, attempted, host
from tests.escapes.corpus import Case
from tests.escapes.drivers import DRIVERS


class Cells:
    """Sandboxes for cases: one that many share, and a fresh one for each that spoils its own."""

    def __init__(self, driver: str, outside: Outside) -> None:
        self._name = driver
        self._outside = outside

    async def __aenter__(self) -> Cells:
        self._stack = AsyncExitStack()
        self._driver = await self._stack.enter_async_context(DRIVERS[self._name](self._outside))
        self._shared = await self._stack.enter_async_context(self._driver.cell(self._outside))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def attempted(self, case: Case) -> None:
        """Run a case. Raises AssertionError when its wall did not hold."""
        if case.fresh:
            async with self._driver.cell(self._outside) as cell:
                await attempted(case, cell)
        else:
            await attempted(case, self._shared)


async def main(name: str, word: str) -> int:
    held: Counter[str] = Counter()
    broken: dict[str, str] = {}
    cases = [case for case in CASES if word in str(case)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, host(Path(folder)) as outside:
        async with Cells(name, outside) as cells:
            for case in cases:
                at = time.monotonic()
                try:
                    await cells.attempted(case)
                    held[case.kind] += 1
                except (Exception, BaseExceptionGroup, OutcomeException) as error:
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    broken[str(case)] = f"{last.filename}:{last.lineno}: {error!r:.3000}"
                print(f"{time.monotonic() - at:6.1f} s  {case}", file=sys.stderr, flush=True)
    tried = Counter(case.kind for case in cases)
    print(f"| {name} | attempts | held | not held |\n| --- | --- | --- | --- |")
    for kind, number in sorted(tried.items()):
        print(f"| {kind} | {number} | {held[kind]} | {number - held[kind]} |")
    print(f"| all | {len(cases)} | {sum(held.values())} | {len(broken)} |")
    print(f"\n{time.monotonic() - began:.0f} s")
    for case_name, why in broken.items():
        print(f"not held: {case_name}: {why}")
    return 1 if broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("driver", nargs="?", default="docker", choices=sorted(DRIVERS))
    parser.add_argument("-k", default="", metavar="WORD", help="only attempts whose name holds this")
    given = parser.parse_args()
    sys.exit(anyio.run(main, given.driver, given.k))
