"""`agent resume`: go on with a run whose process was killed or interrupted, or that ended on a fault outside it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.inputs import dollars, made_of
from agent.cli.streams import print_result
from agent.errors import UsageError
from agent.redaction import without_shapes

if TYPE_CHECKING:
    from agent.events import RunStarted


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "resume",
        help="go on with a run that was interrupted",
        description="Go on with a run whose process was killed or interrupted, or that ended on a fault outside it "
        "(engine, disk, network, provider), from its last whole event. What a model answered is not asked again. A run "
        "that has ended otherwise is told again.",
        allow_abbrev=False,
    )
    p.add_argument("run_id", metavar="RUN", help="a run's id, or an unambiguous part of it")
    p.add_argument("--repo", metavar="PATH", help="the git repository, where it is not where it was")
    p.add_argument(
        "--budget",
        type=dollars,
        metavar="USD",
        help="for the whole run, what it has spent included; also goes on with one that its budget ended",
    )
    p.add_argument("--tokens", type=int, metavar="N", help="as --budget, in tokens of input and output")
    form = p.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print result.json on stdout, and nothing else there"
    )
    form.add_argument(
        "--stream-json", action="store_true", help="print each further event on stdout, one JSON a line"
    )
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    import anyio

    from agent.cli import fix
    from agent.cli.github import open_github
    from agent.cli.kept import inputs_of, task_of
    from agent.config import home
    from agent.git import Repository
    from agent.past import RESUMABLE
    from agent.result import exit_code
    from agent.runs import find, held
    from sandboxes.doctor import tidy

    folder = find(home() / "runs", args.run_id)
    with held(folder):
        start, ended = _told(folder)
    anyio.run(tidy, home() / "bubblewrap")  # what the killed process left
    more = {name: getattr(args, name) for name in ("budget", "tokens") if getattr(args, name) is not None}
    if ended is not None and ended["status"] not in (*RESUMABLE, *(["limit"] if more else [])):
        code = made_of(folder, exit_code, ended)
        if args.stream_json:
            return print_result(json.dumps(without_shapes(_last(folder))), code, for_programs=True)
        return made_of(folder, lambda result: fix.told(result, folder, code, as_json=args.json), ended)
    given = inputs_of(folder, start, as_json=args.json, stream=args.stream_json)
    vars(given).update(more)
    with (
        Repository(args.repo or start.repo) as repository,
        open_github(given.issue, given.as_of, given.pr, repository) as github,
    ):
        repository.resolve(start.base)
        return fix.carried_out(given, task_of(folder, start), repository, github, resumed=folder)


def _told(folder: Path) -> tuple[RunStarted, Mapping[str, Any] | None]:
    """How a run started, and the result that it has, if it has one. Raises UsageError."""
    from agent.event_log import read_events
    from agent.events import RunEnded, RunStarted
    from agent.past import status

    log = list(read_events(folder / "events.jsonl"))
    if not log or not isinstance(start := log[0][1], RunStarted):
        raise UsageError(f"{folder.name} ended before it began: run `agent fix` again")
    made_of(folder, status, log)
    last = log[-1][1]
    return start, last.result if isinstance(last, RunEnded) else None


def _last(folder: Path) -> Mapping[str, Any]:
    from agent.event_log import read_events

    return list(read_events(folder / "events.jsonl"))[-1][0]
