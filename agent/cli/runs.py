"""`agent runs` and `agent show`: what the event logs say."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.text import printable
from agent.types import issue_title


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    listing = commands.add_parser("runs", help="list the runs on this machine", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(run=runs)
    one = commands.add_parser("show", help="show one run, step by step", allow_abbrev=False)
    one.add_argument("run_id", metavar="RUN", help="a run's id, or an unambiguous part of it")
    one.add_argument("--full", action="store_true", help="whole texts of tools and model")
    one.set_defaults(run=show)


def runs(args: argparse.Namespace) -> int:
    for folder in _folders():
        try:
            row = _row(folder)
            line = _line(row)  # which also shows that the fields are what they should be
        except Exception:  # a log that was cut, or that another program wrote, hides no other run
            row = {**_UNREADABLE, "run_id": folder.name}
            line = _line(row)
        print(json.dumps(row) if args.json else line)
    return 0


_UNREADABLE = {"run_id": "", "status": "unreadable", "attempts": 0, "cost_usd": None, "repo": "", "title": ""}


def _line(row: Mapping[str, Any]) -> str:
    cost = "?" if row["cost_usd"] is None else f"{row['cost_usd']:.4f}"
    return printable(
        f"{row['run_id']}  {row['status']:<14} {row['attempts']} attempts  {cost:>8} USD  {row['repo']}  {row['title']}"
    ).replace("\n", " ")


def show(args: argparse.Namespace) -> int:
    from agent.context import drawn
    from agent.events import AttemptStarted, Event, read_events
    from agent.progress import event_lines, is_side_by_side, terminal_width, wrapped

    log: list[Event] = []
    path = _find(args.run_id) / "events.jsonl"
    width = terminal_width(sys.stdout)
    numbered = False
    for data, event in read_events(path):
        log.append(event)
        try:
            if data["type"] == "run_started":
                numbered = is_side_by_side(data)
            lines = event_lines(data, full=args.full, width=width, numbered=numbered)
        except Exception as error:  # fields of other types than ours
            what = f"{data['type']} of number {data.get('n')}"
            raise UsageError(f"{path}: the event {what} is not one of this agent: {error!r}") from error
        print(printable("\n".join(lines)))
    for start in (event for event in log if isinstance(event, AttemptStarted)):
        try:
            lines = [part for line in drawn(log, start) for part in wrapped(line, width, "    ")]
        except Exception as error:
            raise UsageError(f"{path}: what attempt {start.attempt} cost can't be told: {error!r}") from error
        if lines:
            print("\n" + "\n".join(lines))
    return 0


def _folders() -> list[Path]:
    from agent.config import home

    root = home() / "runs"
    return sorted(f for f in root.iterdir() if (f / "events.jsonl").is_file()) if root.is_dir() else []


def _find(name: str) -> Path:
    found = [f for f in _folders() if name in f.name]
    exact = [f for f in found if f.name == name]
    if len(exact or found) != 1:
        what = "no run has" if not found else f"{len(found)} runs have"
        raise UsageError(f"{what} {name!r} in its id; `agent runs` lists them")
    return (exact or found)[0]


def _row(folder: Path) -> dict[str, Any]:
    from agent.events import AttemptStarted, RunEnded, RunStarted, read_events

    status, title, repo, cost, attempts = "unfinished", "", "", None, 0
    for _, event in read_events(folder / "events.jsonl"):
        match event:
            case RunStarted():
                title = issue_title(event.issue)
                repo = event.repo
            case AttemptStarted():
                attempts += 1
            case RunEnded():
                status, cost = event.result["status"], event.result["cost_usd"]
            case _:
                pass
    return {
        "run_id": folder.name,
        "status": status,
        "attempts": attempts,
        "cost_usd": cost,
        "repo": repo,
        "title": title,
    }
