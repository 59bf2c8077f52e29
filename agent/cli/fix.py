"""`agent fix`: repair an issue, and accept the patch only on the gate's verdict."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.text import printable
from agent.errors import UsageError
from agent.types import Task

if TYPE_CHECKING:
    from agent.config import Settings
    from agent.git import Repository
    from agent.run import Run

MAX_ISSUE = 1024 * 1024
"""Bytes of an issue's text that are taken; the longest on GitHub is 65,536 characters."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("fix", help="repair an issue in a repository", allow_abbrev=False)
    p.add_argument(
        "--issue", required=True, metavar="FILE|-", help="a file with the issue's text, or - for stdin"
    )
    p.add_argument("--repo", default=".", metavar="PATH", help="the git repository (default: here)")
    p.add_argument("--base", default="HEAD", metavar="REV", help="the commit to start from (default: HEAD)")
    p.add_argument(
        "--fail-to-pass",
        action="append",
        default=[],
        metavar="TEST_ID",
        help="a test that fails on the base and must pass; may be repeated",
    )
    p.add_argument("--test-patch", metavar="FILE", help="hidden tests as a patch; only the gate sees them")
    p.add_argument("--test", metavar="CMD", help="the test command (default: python -m pytest)")
    p.add_argument(
        "--image", metavar="IMAGE", help="the image to work in (default: set up from the repository)"
    )
    p.add_argument(
        "--model",
        action="append",
        metavar="SPEC",
        help="provider/model; repeated: the next one is tried after a rejection (default: by the keys that are "
        "set, else local/repair, which needs none)",
    )
    p.add_argument("--attempts", type=int, metavar="N", help="attempts from a clean state (default: 3)")
    p.add_argument("--turns", type=int, metavar="N", help="model replies in one attempt (default: 60)")
    p.add_argument("--minutes", type=float, metavar="N", help="wall time of all attempts (default: 30)")
    p.add_argument("--output", metavar="PATCH", help="write the accepted patch to this file")
    p.add_argument("--branch", metavar="NAME", help="make a branch with the accepted patch")
    form = p.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print result.json on stdout, and nothing else there"
    )
    form.add_argument(
        "--stream-json", action="store_true", help="print each event on stdout, one JSON a line"
    )
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.cli.signals import run_async
    from agent.events import EventLog, secret_values
    from agent.git import Repository
    from agent.progress import open_view
    from agent.result import EXIT_CODES
    from agent.run import Publish, Run

    with Repository(Path(args.repo)) as repository:
        task = _task(args, repository)
        settings = _settings(args, repository, task.base)
        publish = Publish(Path(args.output).absolute() if args.output else None, args.branch)
        _check_publish(publish.output, publish.branch, repository)
        run_id, folder = new_run()
        log = EventLog(folder / "events.jsonl", secret_values(os.environ))
        if args.stream_json:
            log.listeners.append(lambda event: print(json.dumps(event), flush=True))
        with open_view(sys.stderr) as view:
            log.listeners.append(view.show)
            run = Run(run_id, task, settings, log, folder, repository, publish)
            _started(run, args)
            try:
                result = run_async(run.execute)
            except KeyboardInterrupt:
                if run.result is None:
                    raise
                result = run.result
    if args.json:
        print(json.dumps(result, indent=2))
    elif not args.stream_json:
        print(_report(result, folder))
    return EXIT_CODES[result["status"]]


def _task(args: argparse.Namespace, repository: Repository) -> Task:
    base = repository.resolve(args.base)
    test_patch = None
    if args.test_patch is not None:
        test_patch = read_test_patch(args.test_patch, repository, base)
    return Task(
        issue=_issue(args.issue),
        issue_source=args.issue,
        repo=str(repository.path),
        base=base,
        fail_to_pass=tuple(dict.fromkeys(args.fail_to_pass)),
        test_patch=test_patch,
    )


def read_test_patch(path: str, repository: Repository, base: str) -> bytes:
    """The hidden tests that a flag names, known to apply. Raises UsageError in one line."""
    from agent.git import PatchError

    data = read_file(path, "--test-patch")
    try:
        repository.apply(repository.tree_of(base), data)
    except PatchError as error:
        raise UsageError(f"--test-patch {path} does not apply to the base commit: {error}") from error
    return data


def _issue(source: str) -> str:
    if source != "-" and (source.isdigit() or source.startswith(("http://", "https://"))):
        raise UsageError(
            f"--issue {source}: reading issues from GitHub is not there yet; save the text to a file and pass that"
        )
    data = sys.stdin.buffer.read(MAX_ISSUE + 1) if source == "-" else read_file(source, "--issue")
    if len(data) > MAX_ISSUE:
        raise UsageError(
            f"--issue {source}: longer than {MAX_ISSUE} bytes; pass the part that describes the bug"
        )
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\0", "\ufffd")
    if not text.strip():
        raise UsageError(f"--issue {source}: the text is empty; describe the bug in it")
    return text


def read_file(path: str, flag: str) -> bytes:
    """The bytes of a file that a flag names. Raises UsageError in one line."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}") from error


def _settings(args: argparse.Namespace, repository: Repository, base: str) -> Settings:
    from agent.config import checked
    from agent.models.registry import default_spec, open_model

    settings = repository_settings(repository, base)
    given = {
        "test": args.test,
        "image": args.image,
        "models": tuple(args.model) if args.model else None,
        "attempts": args.attempts,
        "turns": args.turns,
        "minutes": args.minutes,
    }
    settings = checked(replace(settings, **{k: v for k, v in given.items() if v is not None}), "command line")
    if not settings.models:
        spec, reason = default_spec(os.environ)
        print(f"agent: model {spec}: {reason}", file=sys.stderr)
        settings = replace(settings, models=(spec,))
    for spec in settings.models:
        open_model(spec)  # a missing key or file is told before anything is set up
    return settings


def repository_settings(repository: Repository, base: str) -> Settings:
    """What agent.toml, or [tool.agent] of pyproject.toml, says at the base commit."""
    from agent.config import Settings, from_pyproject, from_toml

    tree = repository.tree_of(base)
    files = repository.files(tree)
    settings = Settings()
    if "pyproject.toml" in files:
        text = repository.blob(files["pyproject.toml"][1]).decode("utf-8", "replace")
        settings = from_pyproject(text, settings)
    if "agent.toml" in files:
        text = repository.blob(files["agent.toml"][1]).decode("utf-8", "replace")
        settings = from_toml(text, "agent.toml", settings)
    return settings


def _check_publish(output: Path | None, branch: str | None, repository: Repository) -> None:
    """Find out now, not after half an hour, that the patch can't be put where it is wanted."""
    if output is not None and (output.is_dir() or not os.access(output.parent, os.W_OK)):
        raise UsageError(f"--output {output}: not a file that can be written")
    if branch is not None:
        repository.check_branch(branch)


def new_run_id() -> str:
    """Sorts by time, and names what a run leaves in the sandbox engine."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def new_run() -> tuple[str, Path]:
    """A new run id and its folder, readable by this user alone. Raises UsageError when it can't be made."""
    from agent.config import home

    run_id = new_run_id()
    folder = home() / "runs" / run_id
    try:
        folder.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}; set AGENT_HOME to a folder that can be written"
        ) from error
    return run_id, folder


def _started(run: Run, args: argparse.Namespace) -> None:
    from agent.events import Note, RunStarted
    from agent.git import dirty

    task, settings = run.task, run.settings
    limits = {"attempts": settings.attempts, "turns": settings.turns, "minutes": settings.minutes}
    run.log.append(
        RunStarted(
            run.run_id,
            task.issue_source,
            task.issue,
            task.repo,
            task.base,
            settings.models,
            settings.test,
            task.fail_to_pass,
            limits,
        )
    )
    if args.base == "HEAD" and dirty(Path(task.repo)):
        run.log.append(
            Note("uncommitted changes are not part of the base commit and are left alone", "warning")
        )


def _report(result: Mapping[str, Any], folder: Path) -> str:
    """The last words of a run, for a person."""
    from agent.progress import verdict_table

    cost = result["cost_usd"]
    lines = [verdict_table(dict(result)), ""]
    lines.append(f"{result['status']}" + (f": {result['error']}" if result["error"] else ""))
    lines.append(
        f"cost: {'unknown' if cost is None else f'{cost:.4f} USD'}   run: {result['run_id']}   {folder}"
    )
    if result["patch"]:
        lines.append(f"patch: {result['patch']}")
        if result["branch"]:
            lines.append(f"branch: {result['branch']}")
        else:
            lines.append(f"apply it with: git -C {result['repo']} apply {result['patch']}")
    return printable("\n".join(lines))
