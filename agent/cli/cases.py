"""`agent cases`: real fixes of a history, or of a collection, as tasks for `agent batch`, each verified."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
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
    from agent.cases.collections import Bug
    from agent.cases.verify import Case
    from agent.config import Settings
    from agent.git import Repository


@dataclass(frozen=True, slots=True)
class _Try:
    """What may be a case."""

    name: str
    """For a person."""
    id: str
    repository: Repository
    repo: str
    """As the task line has it."""
    candidate: Candidate
    bug: Bug | None = None


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
    mine.add_argument(
        "--base", default="HEAD", metavar="REV", help="the newest commit to look at (default: HEAD)"
    )
    _add_flags(mine, _of_history)
    collected = ways.add_parser(
        "from-folder",
        help="the bugs of BugsInPy or Defects4J",
        description="The bugs of a copy of BugsInPy or Defects4J, or of one project in it, whose tests fail before the "
        "fix and pass after it, seen twice in sandboxes that are set up as for any repository. The issue is the "
        "message of the fix.",
        allow_abbrev=False,
    )
    collected.add_argument("folder", metavar="DIR", help="the copy, or the folder of one of its projects")
    _add_flags(collected, _of_collection)


def _add_flags(p: argparse.ArgumentParser, tries: Callable[[argparse.Namespace], Iterator[_Try]]) -> None:
    p.add_argument("--out", required=True, metavar="CASES.jsonl", help="the new file; one case a line")
    p.add_argument("--limit", type=int, default=50, metavar="N", help="candidates to try (default: 50)")
    p.add_argument("--minutes", type=float, default=60, metavar="N", help="begin none later (default: 60)")
    p.add_argument("--test", metavar="CMD", help="the test command (default: by what is in the repository)")
    add_sandbox_flags(p)
    add_image_flags(p)
    p.set_defaults(run=main, tries=tries)


def main(args: argparse.Namespace) -> int:
    if args.limit < 1 or not args.minutes > 0:
        raise UsageError("--limit and --minutes must be numbers above 0")
    found = args.tries(args)
    first = next(found, None)  # what is wrong with the source is told before there is a file
    try:
        out = os.open(args.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    except OSError as error:
        raise UsageError(f"--out {args.out}: {error.strerror}; name a new file") from error
    until = time.monotonic() + args.minutes * 60
    tried = verified = 0
    with os.fdopen(out, "wb") as file, closing(found):
        for one in itertools.chain([first] if first else [], found):
            if time.monotonic() > until:
                tell(f"the {args.minutes:g} minutes are over (--minutes)")
                break
            tried += 1
            case = _tried(args, one)
            if case is not None:
                verified += 1
                file.write(json.dumps(_line(args, one, case)).encode() + b"\n")
                file.flush()
            if tried == args.limit:
                break
    said = f"{verified} of {tried} candidates are cases: {args.out}"
    if not tried:
        said = "nothing there changes both tests and product and says what for"
    return print_result(said, 0 if verified else 1)


def _of_history(args: argparse.Namespace) -> Iterator[_Try]:
    from agent.cases.candidates import candidates
    from agent.git import Repository
    from agent.types import issue_title

    with Repository(args.repo) as repository:
        repo = str(repository.path)
        for one in candidates(repository, repository.history(repository.resolve(args.base))):
            name = f"{one.commit[:10]} {issue_title(one.issue)[:70]}"
            yield _Try(name, f"{Path(repo).name}-{one.commit[:10]}", repository, repo, one)


def _of_collection(args: argparse.Namespace) -> Iterator[_Try]:
    from agent.cases.collections import bugs
    from agent.git import Repository
    from agent.types import issue_title

    for bug in bugs(Path(args.folder)):
        try:
            with Repository(_fetched(bug)) as repository:
                candidate = _candidate(bug, repository)
                name = f"{bug.id} {issue_title(candidate.issue)[:70]}"
                yield _Try(name, bug.id, repository, bug.repo, candidate, bug)
        except AgentError as fault:
            _say(f"  no {bug.id}: {str(fault).splitlines()[0][:300]}")


def _fetched(bug: Bug) -> str | Path:
    """The bug's repository, on this machine."""
    from agent.batch.clones import cloned
    from agent.batch.tasks import is_url
    from agent.config import home

    if not (bug.repo and bug.buggy and bug.fixed):
        raise UsageError("the collection does not say its repository and its two commits")
    if not is_url(bug.repo):
        return bug.repo
    cloned(bug.repo, bug.buggy, home() / "repositories")
    return cloned(bug.repo, bug.fixed, home() / "repositories")


def _candidate(bug: Bug, repository: Repository) -> Candidate:
    from agent.cases.candidates import between, issue_of

    before, after = repository.resolve(bug.buggy), repository.resolve(bug.fixed)
    issue = issue_of(next(repository.history(after)).message)
    if not issue:  # the tests are all that tells what is wrong
        issue = "# Tests fail\n\n" + "".join(f"- {test}\n" for test in bug.tests)
    found = between(repository, before, after, issue, bug.files)
    if found is None:
        raise UsageError("its two commits differ in tests alone, or in no test")
    return found


def _tried(args: argparse.Namespace, one: _Try) -> Case | None:
    from agent.cases.collections import missing
    from agent.cases.verify import Unfit, verify
    from agent.cli.signals import run_async
    from agent.config import home
    from agent.gate import Shelf

    def log(text: str) -> None:
        """What the set-up and the runs say is for who looks for a fault; here it would drown the rest."""

    try:
        settings = _settings(args, one.repository, one.candidate.parent)
        shelf = Shelf(home() / "baselines")
        case = run_async(verify, one.candidate, one.repository, settings, shelf, new_run_id(), log)
        if one.bug and (not_shown := missing(one.bug, case.fail_to_pass)):
            raise Unfit(f"{not_shown[0]} should fail before and pass after, and did not here")
    except (Unfit, AgentError) as fault:
        _say(f"  no {one.name}: {str(fault).splitlines()[0][:300]}")
        return None
    _say(f"case {one.name}: {len(case.fail_to_pass)} tests fail before and pass after")
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


def _line(args: argparse.Namespace, one: _Try, case: Case) -> dict[str, Any]:
    """The task line of a case; what only a grader may know stands under `case`."""
    candidate = case.candidate
    line = {
        "id": one.id,
        "repo": one.repo,
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
