"""`agent replay`: a recorded run made again without a model, and where it parts from what was recorded."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.inputs import made_of
from agent.cli.streams import print_result
from agent.errors import UsageError
from agent.text import printable

if TYPE_CHECKING:
    from agent.event_log import Logged
    from agent.events import RunStarted
    from agent.replay import Difference

MAX_LINE = 300
"""Characters that are shown of one side of a difference."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "replay",
        help="make a recorded run again without its model, and compare",
        description="Make a recorded run again: replies are those in its log, so that no model is asked and nothing is "
        "paid; tools and gate are real. Says where it parts from what was recorded. Exit code 0: the same, but for "
        "texts of tools perhaps; 1: it parts.",
        allow_abbrev=False,
    )
    p.add_argument("run_id", metavar="RUN", help="a run's id, or an unambiguous part of it; or its folder")
    p.add_argument("--repo", metavar="PATH", help="the git repository, where it is not where it was")
    p.add_argument("--json", action="store_true", help="print one JSON object, and nothing else there")
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent import events
    from agent.config import home
    from agent.event_log import current, read_events
    from agent.replay import compared, differences
    from agent.runs import find

    given = Path(args.run_id)
    runs = home() / "runs"
    folder = given if (given / "events.jsonl").is_file() else find(runs, args.run_id)
    foreign = folder.resolve().parent != runs.resolve()
    then = current(list(read_events(folder / "events.jsonl")))
    if not then or not isinstance(start := then[0][1], events.RunStarted):
        raise UsageError(f"{folder.name} ended before it began: there is nothing to replay")
    made_of(folder, lambda log: differences(log, log), then)
    now = _made_again(folder, start, then, args, foreign=foreign)
    found, counts = differences(then, now), compared(then)
    parted = [one for one in found if not one.text_only]
    if args.json:
        told = {"same": not parted, "compared": counts, "differences": [asdict(one) for one in found]}
        return print_result(json.dumps(told, indent=2), int(bool(parted)), for_programs=True)
    lines = [line for one in found for line in _lines(one)]
    what = f"{counts['results']} results of tools and {counts['verdicts']} verdicts"
    texts = len(found) - len(parted)
    if parted:
        lines.append(f"it parts from what was recorded ({what})")
    else:
        lines.append(f"the same: {what}" + (f", but for the text of {texts}" if texts else ""))
    return print_result(printable("\n".join(lines)), int(bool(parted)))


def _lines(one: Difference) -> Sequence[str]:
    place = f"attempt {one.attempt}, {one.where}" if one.attempt else one.where
    then, now = (side[:MAX_LINE].replace("\n", "\\n") for side in (one.then, one.now))
    return [f"{place}{' (text)' if one.text_only else ''}", f"  then: {then}", f"  now:  {now}"]


def _made_again(
    folder: Path, start: RunStarted, then: Logged, args: argparse.Namespace, *, foreign: bool
) -> Logged:
    """The log of the run made again. Raises AgentError."""
    from agent.cli.fix import settings_of
    from agent.cli.inputs import with_test_command
    from agent.cli.kept import inputs_of, task_of
    from agent.cli.signals import run_async
    from agent.errors import EnvironmentFault
    from agent.event_log import EventLog, read_events
    from agent.events import SetupWritten
    from agent.git import Repository
    from agent.job import Job
    from agent.logs import followed
    from agent.past import Past
    from agent.redaction import secret_values
    from agent.replay import opener
    from agent.run import Publish, Run
    from agent.scratch import scratch

    inputs = inputs_of(folder, start, replay=True, foreign=foreign)
    secrets = secret_values(os.environ)
    with Repository(args.repo or start.repo) as repository, scratch() as made:
        repository.resolve(start.base)
        task = task_of(folder, start)
        settings, _ = with_test_command(settings_of(inputs, repository, task.base), repository, task.base)
        path = Path(made) / "events.jsonl"
        log = EventLog(path, secrets)
        with followed(sys.stderr, os.environ, secrets, start.run_id) as show:
            log.listeners.append(show)
            setup = next((event for _, event in reversed(then) if isinstance(event, SetupWritten)), None)
            log.append(start)
            job = Job(
                start.run_id,
                task,
                settings,
                log,
                Path(made),
                repository,
                past=Past(Path(made), setup=setup),
                open_model=opener(then),
            )
            result = run_async(Run(job, Publish(smaller=False)).execute)
        if result["status"] == "environment":
            raise EnvironmentFault(f"the replay ended: {result['error']}")
        return list(read_events(path))
