"""What a run keeps for those that go on with it or make it again: the flags of its command line, and its log."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.inputs import allowed_host, made_of
from agent.cli.streams import tell
from agent.config import home
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


TRUSTED = ("allow_host", "mcp_config", "runtime")
"""Flags that let out what a sandbox holds in: those of a record that is somebody else's do not count."""


def inputs_of(
    folder: Path,
    start: RunStarted,
    *,
    as_json: bool = False,
    stream: bool = False,
    replay: bool = False,
    foreign: bool = False,
) -> argparse.Namespace:
    """The flags of a run, as `agent fix` takes them; the current folder is from here on the one that it was started in.
    Of a `foreign` run, one that is not among this user's own, those in TRUSTED are left out, and told. Raises
    UsageError."""
    path = folder / INPUTS
    try:
        kept = json.loads(path.read_bytes())
        given = {name: kept[name] for name in (*GIVEN, "cwd")}
        for name, value in given.items():
            _check(name, value)
        refused = [name for name in TRUSTED if foreign and kept[name]]
        given |= dict.fromkeys(refused)
        hosts = [allowed_host(name) for name in ([] if "allow_host" in refused else kept["allow_host"])]
        budget = None if kept["budget"] is None else Decimal(kept["budget"])
    except FileNotFoundError:
        raise UsageError(
            f"{folder.name} can't be gone on with by itself: a task of a batch is by `agent batch --resume`, a run of "
            "an older version by no command"
        ) from None
    except (
        ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError, argparse.ArgumentTypeError,
    ) as error:  # fmt: skip
        raise UsageError(f"{path}: not what this agent keeps: {error!r}") from error
    if not start.models:
        raise UsageError(f"{folder / 'events.jsonl'}: not a log of this agent: it names no model")
    if refused:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in refused)
        tell(f"{folder}: not a run of your own in {home() / 'runs'}, so its {flags} do not count")
    try:
        os.chdir(given["cwd"])
    except OSError as error:
        if not replay:
            raise UsageError(
                f"the folder that the run was started in is gone: {given['cwd']}: {error.strerror}"
            ) from error
    given.pop("allow_host", None)
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


_NUMBERS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("attempts", "best_of", "tokens", "turns"), (int,)),
    "minutes": (int, float),
}


def _check(name: str, value: object) -> None:
    """Raises TypeError or ValueError for what `keep_inputs` never wrote."""
    if name == "pr":
        fits = isinstance(value, bool)
    elif name in _NUMBERS:
        fits = value is None or (isinstance(value, _NUMBERS[name]) and not isinstance(value, bool))
    else:
        fits = (value is None and name not in ("issue", "cwd")) or (
            isinstance(value, str) and "\0" not in value
        )
    if not fits:
        raise TypeError(f"{name} can't be {repr(value)[:80]}")


def task_of(folder: Path, start: RunStarted) -> Task:
    """What a run was about. Raises UsageError when its hidden tests are not what they were."""
    from agent.types import Task

    path = folder / TEST_PATCH
    hidden = path.read_bytes() if path.exists() else None
    if start.test_patch_sha256 not in (None, digest_of(hidden)):
        raise UsageError(
            f"{path}: not the hidden tests that the run began with, so it can't be gone on with; run `agent fix` again"
        )
    return Task(start.issue, start.issue_source, start.repo, start.base, tuple(start.fail_to_pass), hidden)


def digest_of(test_patch: bytes | None) -> str:
    """By which hidden tests are known again; empty where there are none."""
    return "" if test_patch is None else hashlib.sha256(test_patch).hexdigest()


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
    if (ended := status(read)) not in (*RESUMABLE, "limit"):
        raise UsageError(f"{folder.name} has ended: {ended}")
    log = EventLog.reopened(path, secrets)
    past = revived(read, log, folder)
    made_of(folder, lambda numbers: [past.verdict(number) for number in numbers], past.verdicts)
    # It tells of an end that there was not; until there is another one, the run is unfinished.
    (folder / "result.json").unlink(missing_ok=True)
    return log, past, ended
