"""What a run keeps for those that go on with it or make it again: the flags of its command line, and its log."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.inputs import allowed_host
from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.event_log import EventLog
    from agent.events import RunStarted
    from agent.past import Past
    from agent.types import Task

INPUTS = "inputs.json"
"""In a run's folder: what its command line said."""
TEST_PATCH = "test_patch.diff"
GIVEN = (
    "issue", "as_of", "test", "sandbox", "runtime", "image", "dockerfile", "thinking", "context", "mcp_config",
    "attempts", "best_of", "tokens", "turns", "minutes", "output", "branch", "pr",
)  # fmt: skip
"""Flags of `agent fix` that are kept as they are; repository, base, models and tests are in the log."""


def inputs_of(
    folder: Path, start: RunStarted, *, as_json: bool = False, stream: bool = False, replay: bool = False
) -> argparse.Namespace:
    """The flags of a run, as `agent fix` takes them; the current folder is from here on the one that it was started in.
    Raises UsageError."""
    path = folder / INPUTS
    try:
        kept = json.loads(path.read_bytes())
        given = {name: kept[name] for name in (*GIVEN, "cwd")}
        hosts = [allowed_host(name) for name in kept["allow_host"]]
        budget = None if kept["budget"] is None else Decimal(kept["budget"])
    except FileNotFoundError:
        raise UsageError(
            f"{folder.name} can't be gone on with by itself: a task of a batch is by `agent batch --resume`, a run of "
            "an older version by no command"
        ) from None
    except (ValueError, TypeError, KeyError, ArithmeticError, argparse.ArgumentTypeError) as error:
        raise UsageError(f"{path}: not what this agent keeps: {error!r}") from error
    try:
        os.chdir(given["cwd"])
    except OSError as error:
        if not replay:
            raise UsageError(
                f"the folder that the run was started in is gone: {given['cwd']}: {error.strerror}"
            ) from error
    return argparse.Namespace(
        **given,
        allow_host=hosts,
        budget=budget,
        model=list(start.models),
        setup=None,
        batch=None,
        alone=True,
        replay=replay,
        json=as_json,
        stream_json=stream,
    )


def task_of(folder: Path, start: RunStarted) -> Task:
    """What a run was about."""
    from agent.types import Task

    path = folder / TEST_PATCH
    hidden = path.read_bytes() if path.exists() else None
    return Task(start.issue, start.issue_source, start.repo, start.base, tuple(start.fail_to_pass), hidden)


def keep_inputs(folder: Path, args: argparse.Namespace, task: Task) -> None:
    """Keep what `agent resume` must know and no log tells."""
    from agent.result import write_atomically

    if not args.alone:
        return
    if task.test_patch is not None:
        write_atomically(folder / TEST_PATCH, task.test_patch)
    kept = {
        **{name: getattr(args, name) for name in GIVEN},
        "allow_host": [str(host) for host in args.allow_host or ()],
        "budget": None if args.budget is None else str(args.budget),
        "cwd": os.getcwd(),  # noqa: PTH109
    }
    write_atomically(folder / INPUTS, json.dumps(kept, indent=2).encode() + b"\n")


def again(folder: Path, secrets: Sequence[str]) -> tuple[EventLog, Past, str]:
    """The log of a run, what the run did by it, and the status that it had ended with; of a new run an empty one.

    Raises UsageError when it has ended for good, in another process perhaps.
    """
    from agent.event_log import EventLog, read_events
    from agent.past import RESUMABLE, Past, revived, status

    path = folder / "events.jsonl"
    if not path.exists():
        return EventLog(path, secrets), Past(folder), ""
    read = list(read_events(path))
    if (ended := status(read)) not in RESUMABLE:
        raise UsageError(f"{folder.name} has ended: {ended}")
    log = EventLog.reopened(path, secrets)
    past = revived(read, log, folder)
    # It tells of an end that there was not; until there is another one, the run is unfinished.
    (folder / "result.json").unlink(missing_ok=True)
    return log, past, ended
