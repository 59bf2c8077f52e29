"""`agent show`: one run, in short, step by step, or as a page."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from agent.cli.inputs import made_of
from agent.redaction import without_shapes
from agent.text import printable


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "show", help="show one run: the short of it, each step, or a page", allow_abbrev=False
    )
    p.add_argument("run_id", metavar="RUN", help="a run's id, or an unambiguous part of it")
    how = p.add_mutually_exclusive_group()
    how.add_argument("--steps", action="store_true", help="every step in a line, and what each turn cost")
    how.add_argument("--full", action="store_true", help="the same with the whole texts of tools and model")
    how.add_argument(
        "--html",
        nargs="?",
        const="",
        metavar="FILE",
        help="write the run as one page that needs no network (default: report.html in the run's folder)",
    )
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.config import home
    from agent.runs import find

    folder = find(home() / "runs", args.run_id)
    if args.html is not None:
        return _page(folder, args.html)
    if args.steps or args.full:
        return _steps(folder, args.full)
    from agent.progress import terminal_width
    from agent.report.brief import brief
    from agent.report.story import read, tell

    log = read(folder)
    width = terminal_width(sys.stdout)
    _print(made_of(folder, lambda log: list(brief(tell(log), folder, width)), log))
    return 0


def _page(folder: Path, name: str) -> int:
    from agent.cli.inputs import check_output
    from agent.redaction import secret_values
    from agent.report.page import NAME, page, patches
    from agent.report.story import read
    from agent.result import write_atomically

    output = check_output(name, "--html") if name else folder / NAME
    diffs = patches(folder, secret_values(os.environ))
    made = made_of(folder, lambda log: page(log, diffs), read(folder))
    write_atomically(output, made.encode())
    print(printable(str(output)))
    return 0


def _steps(folder: Path, full: bool) -> int:
    from agent.context import drawn
    from agent.event_log import read_events
    from agent.events import AttemptStarted, Event
    from agent.progress import event_lines, is_side_by_side, terminal_width, wrapped

    log: list[Event] = []
    width = terminal_width(sys.stdout)
    numbered = False
    for raw, event in read_events(folder / "events.jsonl"):
        log.append(event)
        data = without_shapes(raw)
        if data["type"] == "run_started":
            numbered = made_of(folder, is_side_by_side, data)
        lines = partial(event_lines, full=full, width=width, numbered=numbered)
        _print(made_of(folder, lines, data))
    for start in (event for event in log if isinstance(event, AttemptStarted)):
        costs = made_of(folder, lambda start: list(drawn(log, start)), start)
        if costs:
            print()
            _print(part for line in costs for part in wrapped(line, width, "    "))
    return 0


def _print(lines: Iterable[str]) -> None:
    print(printable("\n".join(lines)))
