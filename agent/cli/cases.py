"""`agent cases from-git`: real fixes of a repository's history as tasks for `agent batch`, each verified."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.inputs import (
    add_image_flags,
    add_sandbox_flags,
    new_run_id,
    with_image,
    with_sandbox_flags,
    with_test_command,
)
from agent.cli.streams import print_result, tell
from agent.errors import AgentError, UsageError
from agent.text import printable

if TYPE_CHECKING:
    from agent.cases.candidates import Candidate
    from agent.cases.verify import Case
    from agent.config import Settings
    from agent.git import Repository


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("cases", help="make cases to evaluate on", allow_abbrev=False)
    ways = p.add_subparsers(dest="way", metavar="WAY", required=True)
    mine = ways.add_parser(
        "from-git",
        help="real fixes of a repository's history",
        description="Commits that change product and tests, whose tests fail before and pass after, seen twice in "
        "sandboxes. The issue is the commit's message, its tests are hidden, the work starts at its parent.",
        allow_abbrev=False,
    )
    mine.add_argument("repo", metavar="REPO", help="the git repository")
    mine.add_argument("--out", required=True, metavar="CASES.jsonl", help="the new file; one case a line")
    mine.add_argument(
        "--base", default="HEAD", metavar="REV", help="the newest commit to look at (default: HEAD)"
    )
    mine.add_argument("--limit", type=int, default=50, metavar="N", help="candidates to try (default: 50)")
    mine.add_argument("--minutes", type=float, default=60, metavar="N", help="begin none later (default: 60)")
    mine.add_argument(
        "--test", metavar="CMD", help="the test command (default: by what is in the repository)"
    )
    add_sandbox_flags(mine)
    add_image_flags(mine)
    mine.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.cases.candidates import candidates
    from agent.git import Repository

    if args.limit < 1 or not args.minutes > 0:
        raise UsageError("--limit and --minutes must be numbers above 0")
    try:
        out = os.open(args.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    except OSError as error:
        raise UsageError(f"--out {args.out}: {error.strerror}; name a new file") from error
    until = time.monotonic() + args.minutes * 60
    tried = verified = 0
    with os.fdopen(out, "wb") as file, Repository(args.repo) as repository:
        found = candidates(repository, repository.history(repository.resolve(args.base)))
        for candidate in itertools.islice(found, args.limit):
            if time.monotonic() > until:
                tell(f"the {args.minutes:g} minutes are over (--minutes)")
                break
            tried += 1
            case = _tried(args, repository, candidate)
            if case is not None:
                verified += 1
                file.write(json.dumps(_line(args, repository, case)).encode() + b"\n")
                file.flush()
    said = f"{verified} of {tried} candidates are cases: {args.out}"
    if not tried:
        said = "no commit changes both tests and product and says what for"
    return print_result(said, 0 if verified else 1)


def _tried(args: argparse.Namespace, repository: Repository, candidate: Candidate) -> Case | None:
    from agent.cases.verify import Unfit, verify
    from agent.cli.signals import run_async
    from agent.config import home
    from agent.gate import Shelf
    from agent.types import issue_title

    def log(text: str) -> None:
        """What the set-up and the runs say is for who looks for a fault; here it would drown the rest."""

    name = f"{candidate.commit[:10]} {issue_title(candidate.issue)[:70]}"
    try:
        settings = _settings(args, repository, candidate.parent)
        shelf = Shelf(home() / "baselines")
        case = run_async(verify, candidate, repository, settings, shelf, new_run_id(), log)
    except (Unfit, AgentError) as fault:
        _say(f"  no {name}: {str(fault).splitlines()[0][:300]}")
        return None
    _say(f"case {name}: {len(case.fail_to_pass)} tests fail before and pass after")
    return case


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def _settings(args: argparse.Namespace, repository: Repository, base: str) -> Settings:
    from dataclasses import replace

    from agent.config import checked, repository_settings

    settings = with_image(repository_settings(repository, base), args.image, args.dockerfile)
    settings = with_sandbox_flags(settings, args)
    if args.test is not None:
        settings = replace(settings, test=args.test, test_from="--test")
    settings, _ = with_test_command(checked(settings, "command line"), repository, base)
    return settings


def _line(args: argparse.Namespace, repository: Repository, case: Case) -> dict[str, Any]:
    """The task line of a case; what only a grader may know stands under `case`."""
    candidate = case.candidate
    line = {
        "id": f"{Path(repository.path).name}-{candidate.commit[:10]}",
        "repo": str(repository.path),
        "base": candidate.parent,
        "issue": candidate.issue,
        "test": args.test,
        "image": args.image,
        "fail_to_pass": list(case.fail_to_pass),
        "test_patch": case.test_patch.decode("utf-8", "surrogateescape"),
        "case": {
            "commit": candidate.commit,
            "gold_patch": case.gold_patch.decode("utf-8", "surrogateescape"),
            "product": sorted(candidate.product),
            "pass_to_pass": case.pass_to_pass,
        },
    }
    return {key: value for key, value in line.items() if value is not None}
