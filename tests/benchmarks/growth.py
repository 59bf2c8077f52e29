"""What grows with a session and a repository: python -m tests.benchmarks.growth [--rounds 3] [--lines N] [--turns N]

Sessions of 30, 100 and 300 turns (`--turns`, repeated, for others), as `tests.benchmarks.peers` measures them: own time
of the first ten turns and of the last ten, CPU and memory. Then, for repositories of 1,000, 100,000 and 1,000,000 lines
of Python (`--lines`), 20 functions in a file of 200, sessions of ten turns: the first request after the start, and the
second, by when a command has run in the sandbox. Two of each come before, unmeasured: environments, trees, maps
and baselines are then there. Prints medians and ratios. Wants a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.benchmarks.peers.field import SOURCE, assay
from tests.benchmarks.peers.session import Seen, locked, run
from tests.docker.project import git, make_project

TURNS = (30, 100, 300)
LINES = (1_000, 100_000, 1_000_000)
A_FILE = 200
FUNCTION = """\
def part{place}_of_{number}(values, limit={place}):
    \"\"\"What part {place} of module {number} makes of its values.\"\"\"
    total = {number}
    for value in values:
        if value > limit:
            total += value * {place}
        else:
            total -= limit
    return total

"""


def project(folder: Path, lines: int) -> Path:
    """The project of the tests, with so many lines of other code beside it."""
    there = folder / f"lines-{lines}"
    there.mkdir()
    repo = make_project(there)
    for number in range(lines // A_FILE):
        path = repo / f"package{number // 100}" / f"module{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(FUNCTION.format(place=place, number=number) for place in range(A_FILE // 10)))
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "more", "--allow-empty")
    return there


Sessions = Mapping[str, tuple[Path, int]]
"""By name: the folder of the project, and the turns."""


def measured(sessions: Sessions, given: argparse.Namespace) -> dict[str, list[Seen]]:
    """Each session in turn, round by round, after two that are not measured: one sets up, one shows that all is
    there."""
    peers = {name: assay(folder, given.source.absolute()) for name, (folder, _) in sessions.items()}
    seen: dict[str, list[Seen]] = {name: [] for name in sessions}
    for number in range(-2, given.rounds):
        with locked(given.lock, alone=number >= 0):
            for name, (folder, turns) in sessions.items():
                found = run(peers[name], turns, folder / f"{name}: {number}")
                if number >= 0:
                    seen[name].append(found)
    return seen


def median(seen: Sequence[Seen], of: Callable[[Seen], float]) -> float:
    return statistics.median(map(of, seen))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, action="append")
    parser.add_argument("--turns", type=int, action="append")
    parser.add_argument("--source", type=Path, default=SOURCE, help="another source tree of Assay")
    parser.add_argument("--lock", type=Path, help="as for tests.benchmarks.peers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        if not given.lines:
            small = project(folder, 0)
            turns = {f"{turns} turns": (small, turns) for turns in given.turns or TURNS}
            for name, seen in measured(turns, given).items():
                first = median(seen, lambda one: 1000 * statistics.mean(one.turns[1:11]))
                last = median(seen, lambda one: 1000 * statistics.mean(one.turns[-10:]))
                cpu, memory = median(seen, lambda one: one.cpu), median(seen, lambda one: one.process_mb)
                print(
                    f"{name}: own time of turns 2 to 11 {first:.1f} ms, of the last ten {last:.1f} ms "
                    f"({last / first:.2f}); CPU {cpu:.1f} s, peak memory {memory:.0f} MB",
                    flush=True,
                )
        if not given.turns:
            sizes = {f"{lines:,} lines": (project(folder, lines), 10) for lines in given.lines or LINES}
            base = 0.0
            for name, seen in measured(sizes, given).items():
                first, second = median(seen, lambda one: one.first), median(seen, lambda one: one.second)
                base = base or first
                print(
                    f"{name}: first request {first:.2f} s ({first / base:.2f}), second {second:.2f} s; "
                    f"CPU {median(seen, lambda one: one.cpu):.1f} s, "
                    f"peak memory {median(seen, lambda one: one.tree_mb):.0f} MB with children",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
