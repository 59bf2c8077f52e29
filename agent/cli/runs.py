"""`agent runs`: the runs kept on this machine, listed and pruned."""

from __future__ import annotations

import argparse
import json
import re
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.text import printable

if TYPE_CHECKING:
    from agent.runs import Row

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
STATUSES = (
    "accepted", "needs_review", "rejected", "not_reproduced", "limit", "environment", "model_error", "interrupted",
    "unfinished", "running", "unreadable",
)  # fmt: skip


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "runs", help="list the runs on this machine, or remove old ones", allow_abbrev=False
    )
    p.add_argument(
        "--status",
        action="append",
        default=[],
        choices=STATUSES,
        metavar="STATUS",
        help=f"only runs with it; may be repeated: {', '.join(STATUSES)}",
    )
    p.add_argument(
        "--repo", metavar="PATH", help="only runs on this repository, or whose path has this in it"
    )
    p.add_argument(
        "--since", type=moment, metavar="WHEN", help="only runs since: 2026-11-30, or 12h, 7d, 2w ago"
    )
    p.add_argument("--limit", type=int, metavar="N", help="only the newest N")
    p.add_argument("--json", action="store_true", help="one JSON object a line")
    prune = p.add_argument_group("removing")
    prune.add_argument(
        "--prune",
        action="store_true",
        help="say which of these runs would be removed and what that frees; needs --older-than; --yes removes them",
    )
    prune.add_argument(
        "--older-than", type=moment, metavar="WHEN", help="only runs last written to before then"
    )
    prune.add_argument("--keep-accepted", action="store_true", help="leave runs with an accepted patch")
    prune.add_argument("--yes", action="store_true", help="remove them")
    p.set_defaults(run=main)


def moment(text: str) -> float:
    """Seconds since 1970 of a date (UTC, or with a time and zone), or of so long ago."""
    if match := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return time.time() - timedelta(**{UNITS[match[2]]: int(match[1])}).total_seconds()
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write a date such as 2026-11-30, or how long ago: 90m, 12h, 30d, 4w"
        ) from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def main(args: argparse.Namespace) -> int:
    from agent.config import home
    from agent.runs import Wanted, rows

    if args.limit is not None and args.limit < 1:
        raise UsageError(f"--limit {args.limit}: must be a number above 0")
    if args.prune and args.older_than is None:
        raise UsageError("--prune needs --older-than: say from what age on, such as --older-than 30d")
    if not args.prune and (args.yes or args.keep_accepted):
        raise UsageError("--yes and --keep-accepted go with --prune")
    root = home() / "runs"
    wanted = Wanted(args.status, args.repo, args.since, args.older_than, args.limit)
    found = rows(root, wanted)
    if args.prune:
        spared = "accepted" if args.keep_accepted else None
        return _prune(root, [pair for pair in found if pair[1].status != spared], args.yes)
    for _, row in found:
        print(json.dumps({**asdict(row), "changed": _date(row.changed)}) if args.json else _line(row))
    return 0


def _line(row: Row) -> str:
    cost = "?" if row.cost_usd is None else f"{row.cost_usd:.4f}"
    return printable(
        f"{row.run_id}  {row.status:<14} {row.attempts} attempts  {cost:>8} USD  {row.repo}  {row.title}"
    ).replace("\n", " ")


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _prune(root: Path, found: list[tuple[Path, Row]], sure: bool) -> int:
    from agent.runs import is_running, remove, remove_leftovers, size

    freed = kept = 0
    for folder, row in found:
        taken = size(folder)
        if is_running(folder) or (sure and not remove(folder)):
            kept += 1
            continue
        freed += taken
        print(f"{'removed' if sure else 'would remove'}  {_megabytes(taken):>9}  {_line(row)}")
    if sure:
        remove_leftovers(root)
    count = len(found) - kept
    running = f"; {kept} still running" if kept else ""
    print(
        f"{count} runs, {_megabytes(freed)}"
        + running
        + ("" if sure or not count else "; add --yes to remove them")
    )
    return 0


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
