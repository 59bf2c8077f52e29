"""One task of a batch in a process of its own: `agent fix` on a task line, its result told to the driver."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.batch.engine import Shared
from agent.batch.tasks import TaskLine

if TYPE_CHECKING:
    from agent.cli.github import GitHub
    from agent.git import Repository
    from agent.types import Task

NEWS = ("run_started", "phase_started", "environment_ready", "model_replied", "model_retried")
"""Events that a driver is told of."""
FAULTS = {2: "invalid", 3: "environment", 5: "model_error"}
"""What a task is whose run could not begin, by the exit code of the fault."""
MAX_DETAIL = 200
"""Characters: a message must fit into a pipe at once, so that a process that hangs leaves none half said."""


def work(line: TaskLine, shared: Shared, ending: Path, news: Connection) -> None:
    """Run the task to its end, and write what came of it to `ending`. A process that dies writes nothing."""
    from agent.cli.streams import open_streams
    from agent.errors import AgentError
    from agent.redaction import without_shapes

    def tell(event: Mapping[str, Any]) -> None:
        if event["type"] in NEWS:
            with suppress(OSError):  # nobody listens any more; the end of the driver is seen elsewhere
                news.send_bytes(json.dumps(_short(event)).encode())

    try:
        _log_to(shared.logs, line.id)
        open_streams()
        told = _fixed(line, shared, tell)
    except AgentError as error:
        print(f"agent: {error}", file=sys.stderr)
        told = {"status": FAULTS.get(error.exit_code, "environment"), "error": without_shapes(str(error))}
    except OSError as error:
        told = {
            "status": "environment",
            "error": f"{error.filename or ''}: {error.strerror or error}".lstrip(": "),
        }
    part = ending.with_suffix(".part")
    with suppress(FileNotFoundError):  # the driver is gone, and its folder was removed
        part.write_text(json.dumps(told))
        part.replace(ending)


def _fixed(line: TaskLine, shared: Shared, tell: Any) -> dict[str, Any]:
    from agent.batch.clones import cloned
    from agent.batch.tasks import is_url
    from agent.budget import is_of_batch
    from agent.cli import fix
    from agent.cli.github import open_github
    from agent.cli.hidden import judged_hidden, task_class, withheld
    from agent.config import home
    from agent.git import Repository
    from agent.redaction import without_shapes
    from agent.run import Publish

    args = _arguments(line, shared)
    path: str | Path = line.repo
    if is_url(line.repo):
        path = cloned(line.repo, line.base, home() / "repositories", since=shared.began)
    with Repository(path) as repository, open_github(_issue(line), None, False, repository) as github:
        task, notices = _task(line, repository, github)
        whole, task = task, withheld(task, repository) if shared.evaluate else task
        failing: list[str] = []

        def heard(event: Mapping[str, Any]) -> None:
            if event["type"] == "baseline_taken":
                failing[:] = event["failing"]
            tell(event)

        hidden = fix.tokens_of(github)
        run, _ = fix.fixed(
            args, task, repository, Publish(), [heard], shared.ledger, notices=notices, hidden=hidden
        )
        patch = None
        if run["status"] in ("accepted", "needs_review") and run["patch"]:
            patch = Path(run["patch"]).read_bytes().decode("utf-8", "surrogateescape")
        if shared.evaluate and run["status"] != "interrupted":
            run = {
                **run,
                "task_class": task_class(args, task, repository, failing),
                "hidden_tests": judged_hidden(args, whole, repository, patch),
            }
    batch_spent = run["status"] == "limit" and is_of_batch(run["error"] or "")
    run = without_shapes(run)
    told = {"status": run["status"], "error": run["error"], "model_patch": patch, "run": run}
    return {**told, "batch_spent": True} if batch_spent else told


def _arguments(line: TaskLine, shared: Shared) -> argparse.Namespace:
    """What `agent fix` would be told on its command line."""
    from agent.budget import Limit
    from agent.cli import fix

    parser = argparse.ArgumentParser()
    fix.add(parser.add_subparsers())
    given = ["fix", "--issue", "-", *shared.flags]
    for flag, values in (
        ("test", [line.test] if line.test else []),
        ("image", [line.image] if line.image else []),
        ("model", line.models),
    ):
        given += [f"--{flag}={value}" for value in values]
    args = parser.parse_args(given)
    args.setup, args.alone = line.setup, False
    args.batch = (shared.batch, Limit(shared.usd, shared.tokens)) if shared.batch else None
    return args


def _issue(line: TaskLine) -> str:
    """The issue as `agent fix --issue` would have it named; one whose text is in the line is asked of nobody."""
    from agent.batch.tasks import is_url
    from agent.forge.remote import place_of_remote

    if line.issue is not None:
        return "-"
    place = place_of_remote(line.repo) if is_url(line.repo) else None
    return (
        f"https://{place.host}/{place.slug}/issues/{line.issue_number}" if place else str(line.issue_number)
    )


def _task(line: TaskLine, repository: Repository, github: GitHub | None) -> tuple[Task, Sequence[str]]:
    """The task, and what a person should know of how its issue's text came about."""
    from agent.cli.github import issue_text
    from agent.cli.inputs import test_ids
    from agent.errors import UsageError
    from agent.forge.issue import without_hidden
    from agent.git import PatchError
    from agent.types import Task

    base = repository.resolve(line.base)
    hidden = None if line.test_patch is None else line.test_patch.encode("utf-8", "surrogateescape")
    if hidden is not None:
        try:
            repository.apply(repository.tree_of(base), hidden)
        except PatchError as error:
            raise UsageError(f"test_patch does not apply to the base commit: {error}") from error
    notices: Sequence[str]
    if line.issue is not None:
        issue, notices = without_hidden(line.issue)
    else:
        issue, notices = issue_text(_issue(line), None, github)
    source = f"issue {line.issue_number}" if line.issue_number is not None else f"task {line.id}"
    ids = test_ids(list(line.fail_to_pass))
    return Task(issue, source, str(repository.path), base, ids, hidden), notices


def _short(event: Mapping[str, Any]) -> dict[str, Any]:
    """What a watcher needs of an event."""
    kept = {key: event[key] for key in ("type", "run_id", "phase", "turn", "cost_usd") if key in event}
    texts = {key: str(event[key])[:MAX_DETAIL] for key in ("detail", "reason") if key in event}
    return {**kept, **texts}


def _log_to(folder: str, task: str) -> None:
    """Have what the task prints in a file of its own."""
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    log = os.open(Path(folder) / f"{file_name(task)}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


def file_name(task: str) -> str:
    """A task's id as the name of a file; two ids that look alike there share it."""
    return re.sub(r"[^\w.-]", "_", task)[:100].lstrip(".") or "_"
