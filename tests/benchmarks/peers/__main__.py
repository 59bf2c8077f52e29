"""Assay beside other agents, in one run: python -m tests.benchmarks.peers --folder DIR [--rounds 5] [--turns 30]

Installs the peers (`field.py`) into DIR from the package index, if they are not there, and runs one scripted session
through each and through Assay in turn, once unmeasured, so that all caches are warm, and then round by round. The
session is so many trivial commands in the sandbox and the end; the model server answers at once. Prints medians, and
in brackets what Assay's are of each. `--only WORD` (repeated) takes the peers whose names have it; `--before DIR`
measures the Assay of another source tree too; `--out FILE` keeps every round's figures as JSON. Wants a machine that
does nothing else; `--lock FILE` waits for each round until nobody holds that file's lock.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.peers.field import ASSAY, assay, field, network
from tests.benchmarks.peers.session import Failed, Peer, Seen, locked, run
from tests.docker.project import make_project

ROWS: Sequence[tuple[str, str, Callable[[Seen], float]]] = (
    ("first request after start", "s", lambda seen: seen.first),
    ("second request: a command has run", "s", lambda seen: seen.second),
    ("own time per turn (median)", "ms", lambda seen: 1000 * statistics.median(seen.turns[1:])),
    ("own time per turn (mean)", "ms", lambda seen: 1000 * statistics.mean(seen.turns[1:])),
    ("CPU of the process and its children", "s", lambda seen: seen.cpu),
    ("CPU of the whole machine", "s", lambda seen: seen.machine_cpu),
    ("peak memory of the process", "MB", lambda seen: seen.process_mb),
    ("peak memory of its tree", "MB", lambda seen: seen.tree_mb),
    ("sent over 15 turns", "kB", lambda seen: sum(seen.sent[:15]) / 1000),
    ("sent over 30 turns", "kB", lambda seen: sum(seen.sent[:30]) / 1000),
    ("sandbox start (the engine's part)", "s", lambda seen: seen.sandbox),
    ("last answer to end of process", "s", lambda seen: seen.over),
    ("containers left then", "", lambda seen: seen.left),
    ("until the last is gone", "s", lambda seen: seen.gone),
)


def project(folder: Path, name: str = "project") -> Path:
    """A folder with the repository, the issue, and what Assay keeps."""
    there = folder / name
    there.mkdir()
    make_project(there)
    return there


def image_of(project: Path) -> str:
    """The image that Assay's last run worked in."""
    log = max((project / "home/runs").glob("*/events.jsonl"))
    events = map(json.loads, log.read_text().splitlines())
    return str(next(event["image"] for event in events if event["type"] == "environment_ready"))


def attempted(peer: Peer, turns: int, folder: Path) -> list[Seen]:
    """A session; nothing, and its own words on stderr, where it went wrong."""
    try:
        return [run(peer, turns, folder)]
    except Failed as failed:
        print(failed, file=sys.stderr)
        return []


def warmed(folder: Path, host: str, given: argparse.Namespace) -> list[Peer]:
    """All peers, ours first, after a session of each that is not measured."""
    ours = assay(project(folder))
    for number in (1, 2):  # the first makes the environment and takes the baseline, the second finds both
        run(ours, given.turns, folder / f"warm-{number}")
    others = field(given.folder.absolute(), image_of(folder / "project"), host)
    peers = [ours, *(one for one in others if not given.only or any(word in one.name for word in given.only))]
    if given.before:
        peers.append(assay(folder / "project", given.before.absolute(), name="Assay before"))
    for place, peer in enumerate(peers[1:]):
        attempted(peer, given.turns, folder / f"warm-peer-{place}")
    return peers


def help_of(peer: Peer, rounds: int) -> float:
    """Wall time of its --help, the median."""
    took = []
    for _ in range(rounds):
        began = time.monotonic()
        subprocess.run(
            [*peer.help], check=True, capture_output=True, env={"PATH": "/usr/bin:/bin", **peer.variables}
        )
        took.append(time.monotonic() - began)
    return statistics.median(took)


def table(seen: dict[str, list[Seen]], help: dict[str, float]) -> list[str]:
    """Markdown: each row with its medians, and Assay's as a share of each peer's."""
    names = list(seen)
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for said, unit, of in ROWS:
        found = {name: statistics.median(map(of, rounds)) for name, rounds in seen.items() if rounds}
        lines.append(_row(f"{said}{f', {unit}' if unit else ''}", names, found))
    return [*lines, _row("`--help`, s", names, help)]


def _row(said: str, names: Sequence[str], found: dict[str, float]) -> str:
    cells = []
    for name in names:
        value = found.get(name)
        told = "–" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
        share = "" if not value or name == ASSAY else f" ({found[ASSAY] / value:.2f})"
        cells.append(told + share)
    return f"| {said} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--before", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--lock", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as path, network() as host:
        folder = Path(path)
        with locked(given.lock, alone=False):
            peers = warmed(folder, host, given)
        seen: dict[str, list[Seen]] = {peer.name: [] for peer in peers}
        for number in range(given.rounds):
            with locked(given.lock, alone=True):
                for place, peer in enumerate(peers):
                    where = folder / f"{number}-{place}"
                    seen[peer.name] += attempted(peer, given.turns, where)
                    shutil.rmtree(where)
            if given.out:
                kept = {name: [asdict(one) for one in rounds] for name, rounds in seen.items()}
                given.out.write_text(json.dumps(kept))
        help = {peer.name: help_of(peer, given.rounds) for peer in peers if peer.help}
        print("\n".join(table(seen, help)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
