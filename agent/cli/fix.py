"""`agent fix`: repair an issue, and accept the patch only on the gate's verdict."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.github import GitHub, issue_text, open_github, publication
from agent.cli.inputs import (
    add_image_flags,
    add_sandbox_flags,
    check_dockerfile,
    check_output,
    dollars,
    new_run,
    open_budget,
    read_test_patch,
    test_ids,
    with_image,
    with_sandbox_flags,
    with_servers,
    with_test_command,
)
from agent.cli.streams import OutputLost, lost_code, print_result, tell
from agent.errors import AgentError
from agent.redaction import without_shapes
from agent.text import printable
from agent.types import Task

if TYPE_CHECKING:
    from agent.budget import LedgerLike
    from agent.config import Settings
    from agent.git import Repository
    from agent.job import Job
    from agent.run import Publish

Listener = Callable[[Mapping[str, Any]], None]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("fix", help="repair an issue in a repository", allow_abbrev=False)
    p.add_argument(
        "--issue",
        required=True,
        metavar="N|URL|FILE|-",
        help="an issue on GitHub, by its number in the repository of the remote origin or by its URL; a file with the "
        "issue's text (./123 for one whose name is a number); or - for stdin",
    )
    p.add_argument(
        "--as-of",
        metavar="TIME",
        help="read the issue on GitHub as it stood then (ISO 8601 with a zone): later comments are left out, and an "
        "issue that was edited since is refused",
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
    p.add_argument("--test", metavar="CMD", help="the test command (default: by what is in the repository)")
    add_sandbox_flags(p)
    add_image_flags(p)
    p.add_argument(
        "--model",
        action="append",
        metavar="SPEC",
        help="provider/model; repeated: a ladder, cheapest first, the next one is asked after a rejection (default: by "
        "the keys that are set, else local/repair, which needs none)",
    )
    p.add_argument(
        "--thinking",
        metavar="LEVEL",
        help="off, minimal, low, medium, high or max, for models that name no level of their own (NAME:LEVEL)",
    )
    p.add_argument(
        "--context",
        metavar="map|repo",
        help="what a model is told of the repository at the start: a map of where the issue leads, or all of its text, "
        "for large windows; size and price are said before (default: map)",
    )
    p.add_argument(
        "--mcp-config",
        metavar="FILE",
        help="MCP servers whose tools the model may use, a JSON file with mcpServers: commands run in the sandbox, "
        "URLs are spoken to from here (default: [mcp.NAME] of agent.toml, which can name commands alone)",
    )
    p.add_argument("--attempts", type=int, metavar="N", help="attempts from a clean state (default: 3)")
    p.add_argument(
        "--best-of",
        type=int,
        metavar="N",
        help="make each attempt N times side by side; the first patch that the gate accepts ends the others",
    )
    p.add_argument(
        "--budget",
        type=dollars,
        metavar="USD",
        help="what all requests may cost; each is reserved at its worst case before it is sent (default: no limit but "
        "the day's, usd_per_day in $AGENT_HOME/budget.toml)",
    )
    p.add_argument(
        "--tokens", type=int, metavar="N", help="what they may have, input and output (default: no limit)"
    )
    p.add_argument("--turns", type=int, metavar="N", help="model replies in one attempt (default: 60)")
    p.add_argument("--minutes", type=float, metavar="N", help="wall time of all attempts (default: 30)")
    p.add_argument(
        "--output", metavar="PATCH", help="write the patch to this file (also one that needs review)"
    )
    where = p.add_mutually_exclusive_group()
    where.add_argument("--branch", metavar="NAME", help="make a branch with the accepted patch")
    where.add_argument(
        "--pr",
        action="store_true",
        help="open a draft pull request with the accepted patch, or update the one of an earlier run; any other end "
        "becomes a comment on the issue",
    )
    form = p.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print result.json on stdout, and nothing else there"
    )
    form.add_argument(
        "--stream-json", action="store_true", help="print each event on stdout, one JSON a line"
    )
    # all but the first are for other commands that do what this one does
    p.set_defaults(run=main, setup=None, batch=None, alone=True, replay=False)


def main(args: argparse.Namespace) -> int:
    from agent.git import Repository

    with (
        Repository(args.repo) as repository,
        open_github(args.issue, args.as_of, args.pr, repository) as github,
    ):
        task, notices = _task(args, repository, github)
        if args.branch is not None:
            repository.check_branch(args.branch)
        return carried_out(args, task, repository, github, notices)


def carried_out(
    args: argparse.Namespace,
    task: Task,
    repository: Repository,
    github: GitHub | None,
    notices: Sequence[str] = (),
    resumed: Path | None = None,
) -> int:
    """A task taken to its end and told as the flags say; the exit code. `resumed` is the folder of a run to go on
    with."""
    from agent.logs import style
    from agent.past import RESUMABLE
    from agent.result import exit_code
    from agent.run import Publish

    stream = _Stream()
    output = check_output(args.output) if args.output is not None else None
    publish = Publish(output, args.branch, publication(github, task.base) if github and args.pr else None)
    listeners = [stream.show] if args.stream_json else []
    result, folder = fixed(
        args,
        task,
        repository,
        publish,
        listeners,
        notices=notices,
        hidden=tokens_of(github),
        resumed=resumed,
    )
    code = exit_code(result)
    unsaid = args.alone and (args.json or args.stream_json) and style(sys.stderr, os.environ) != "json"
    if unsaid and result["status"] in RESUMABLE:
        tell(f"go on with it: agent resume {result['run_id']}")
    if args.stream_json:
        return lost_code(code) if stream.lost else code
    return told(result, folder, code, as_json=args.json)


def told(result: Mapping[str, Any], folder: Path, code: int, *, as_json: bool) -> int:
    """Print what a run came to; the exit code, which is `code` if that could be done."""
    shown = without_shapes(result)
    if as_json:
        return print_result(json.dumps(shown, indent=2), code, for_programs=True)
    return print_result(_report(shown, folder), code)


def fixed(
    args: argparse.Namespace,
    task: Task,
    repository: Repository,
    publish: Publish,
    listeners: Sequence[Listener] = (),
    open_ledger: Callable[[], LedgerLike] | None = None,
    *,
    notices: Sequence[str] = (),
    hidden: Collection[str] = (),
    resumed: Path | None = None,
) -> tuple[dict[str, Any], Path]:
    """A task taken to its end as the flags say: its result, and the run's folder. `listeners` get each event, what is
    `hidden` is kept out of all texts, `notices` are told at the start; `resumed` is as in `carried_out`."""
    from agent.cli.kept import again, keep_inputs
    from agent.cli.signals import run_async
    from agent.config import home
    from agent.gate import Shelf
    from agent.job import Job
    from agent.logs import followed
    from agent.redaction import secret_values
    from agent.run import Run
    from agent.runs import held

    settings, tests = with_test_command(settings_of(args, repository, task.base), repository, task.base)
    run_id, folder = new_run() if resumed is None else (resumed.name, resumed)
    hidden = {*hidden, *(secret for server in settings.servers for secret in server.secrets)}
    secrets = sorted({*secret_values(os.environ), *hidden}, key=len, reverse=True)
    with held(folder):
        keep_inputs(folder, args, task)
        log, past, ended = again(folder, secrets)
        log.listeners += listeners
        with (
            followed(sys.stderr, os.environ, secrets, run_id) as show,
            open_budget(settings, run_id, log, args.batch, open_ledger) as budget,
        ):
            log.listeners.append(show)
            job = Job(run_id, task, settings, log, folder, repository, budget=budget, past=past)
            run = Run(job, publish, Shelf(home() / "baselines"))
            if resumed is None:
                _started(job, [*notices, tests])
            else:
                _resumed(job, ended)
            try:
                result = run_async(run.execute)
            except KeyboardInterrupt:
                if run.result is None:
                    raise
                result = run.result
        _write_page(folder, secrets)
    return result, folder


def tokens_of(github: GitHub | None) -> set[str]:
    """What a run on GitHub must not let out."""
    token = github.client.api.token if github is not None else None
    return {token} if token is not None else set()


def _task(
    args: argparse.Namespace, repository: Repository, github: GitHub | None
) -> tuple[Task, Sequence[str]]:
    base = repository.resolve(args.base)
    test_patch = None
    if args.test_patch is not None:
        test_patch = read_test_patch(args.test_patch, repository, base)
    issue, notices = issue_text(args.issue, args.as_of, github)
    task = Task(
        issue=issue,
        issue_source=args.issue,
        repo=str(repository.path),
        base=base,
        fail_to_pass=test_ids(args.fail_to_pass),
        test_patch=test_patch,
    )
    return task, notices


def settings_of(args: argparse.Namespace, repository: Repository, base: str) -> Settings:
    from agent.budget import Limit
    from agent.config import checked, per_day, repository_settings
    from agent.models.registry import check_prices, default_spec, open_model, with_thinking

    settings = with_image(repository_settings(repository, base), args.image, args.dockerfile)
    settings = with_sandbox_flags(with_servers(settings, args.mcp_config), args)
    given = {
        "test": args.test,
        "test_from": None if args.test is None else "--test",
        "setup": args.setup,
        "models": tuple(args.model) if args.model else None,
        "thinking": args.thinking,
        "attempts": args.attempts,
        "usd": args.budget,
        "tokens": args.tokens,
        "best_of": args.best_of,
        "context": args.context,
        "turns": args.turns,
        "minutes": args.minutes,
    }
    settings = checked(replace(settings, **{k: v for k, v in given.items() if v is not None}), "command line")
    check_dockerfile(settings, repository, base)
    if not settings.models:
        spec, reason = default_spec(os.environ)
        print(f"agent: model {spec}: {reason}", file=sys.stderr)
        settings = replace(settings, models=(spec,))
    models = tuple(with_thinking(spec, settings.thinking) for spec in settings.models)
    settings = replace(settings, models=models)
    limits = {
        "the budget (--budget, --tokens, [budget] of agent.toml)": Limit(settings.usd, settings.tokens),
        "the day's limit ($AGENT_HOME/budget.toml)": per_day(),
        "the budget of the batch (--budget, --tokens)": args.batch[1] if args.batch else Limit(),
    }
    for spec in settings.models if not args.replay else ():
        open_model(spec)  # a missing key or file is told before anything is set up
        check_prices(spec, limits)
    return settings


class _Stream:
    """Events on stdout, one JSON a line, as long as that takes them: the run and its log go on without."""

    lost = False

    def show(self, event: Mapping[str, Any]) -> None:
        if self.lost:
            return
        try:
            print(json.dumps(without_shapes(event)), flush=True)
        except OutputLost as lost:
            self.lost = True
            tell(f"could not write the events to stdout: {lost}; the run goes on")


def _started(job: Job, notices: Sequence[str]) -> None:
    from agent.cli.kept import digest_of
    from agent.events import RunStarted

    task, settings = job.task, job.settings
    limits: dict[str, float] = {
        "attempts": settings.attempts,
        "best_of": settings.best_of,
        "turns": settings.turns,
        "minutes": settings.minutes,
    }
    if settings.usd is not None:
        limits["usd"] = float(settings.usd)
    if settings.tokens is not None:
        limits["tokens"] = settings.tokens
    job.log.append(
        RunStarted(
            job.run_id,
            task.issue_source,
            task.issue,
            task.repo,
            task.base,
            settings.models,
            settings.test,
            task.fail_to_pass,
            limits,
            digest_of(task.test_patch),
        )
    )
    for notice in notices:
        job.note(notice)
    try:
        unfinished = task.base == job.repository.resolve("HEAD") and job.repository.dirty()
    except AgentError:
        unfinished = False  # it serves a note only; the run needs neither HEAD nor the index
    if unfinished:
        job.note("uncommitted changes are not part of the base commit and are left alone", "warning")


def _resumed(job: Job, ended: str) -> None:
    from agent.events import RunResumed
    from agent.past import lost, untold

    before = list(job.log.events)
    job.log.append(RunResumed(ended))
    if job.budget is None:
        return
    account = job.budget.account()
    # In this order: what is settled last, without a word of what it was for, is lost for whoever goes on.
    if (amount := untold(before, account)) is not None:
        job.budget.counted(amount)
    if (fault := lost(before, account)) is not None:
        job.log.append(fault)


def _write_page(folder: Path, secrets: Sequence[str]) -> None:
    """Put the page of the run into its folder; the verdict doesn't depend on it."""
    from agent.report.page import write_page

    try:
        write_page(folder, secrets)
    except Exception as error:  # also a fault of ours, which must not take the verdict with it
        tell(f"the page of the run could not be written: {printable(str(error) or repr(error))}")
    except KeyboardInterrupt:
        tell("interrupted, so the run has no page; `agent show --html` writes it")


def _report(result: Mapping[str, Any], folder: Path) -> str:
    """The last words of a run, for a person."""
    from agent.cli.kept import INPUTS
    from agent.explain import explained
    from agent.past import RESUMABLE
    from agent.progress import money, terminal_width, verdict_table, wrapped

    cost, width = result["cost_usd"], terminal_width(sys.stdout)
    lines = [verdict_table(dict(result), width), ""]
    if told := result["explanation"]:
        lines += [part for line in explained(told) for part in wrapped(line, width, "    ")]
        lines.append("")
    lines.append(f"{result['status']}" + (f": {result['error']}" if result["error"] else ""))
    lines.append(
        f"cost: {'unknown' if cost is None else f'{cost:.4f} USD'}   run: {result['run_id']}   {folder}"
    )
    more = (
        " --budget USD (or --tokens N), with more than it had"
        if any(attempt["ended"] == "budget" for attempt in result["attempts"])
        else ""
    )
    if (result["status"] in RESUMABLE or more) and (folder / INPUTS).exists():
        lines.append(f"go on with it: agent resume {result['run_id']}{more}")
    if (page := folder / "report.html").exists():
        lines.append(f"page: {page}")
    budget = result["budget"]
    if budget and (budget["usd_limit"], budget["tokens_limit"]) != (None, None):
        lines.append(f"budget: {money(budget)}")
    if result["setup"]:
        lines.append(
            f"set-up: a model wrote it; read it, and put it into agent.toml to keep it: {result['setup']}"
        )
    if result["patch"]:
        lines.append(f"patch: {result['patch']}")
        if result["pr_url"]:
            lines.append(f"pull request: {result['pr_url']}")
        elif result["branch"]:
            lines.append(f"branch: {result['branch']}")
        else:
            command = shlex.join(["git", "-C", result["repo"], "apply", result["patch"]])
            lines.append(
                f"{'look at it, then ' if result['status'] == 'needs_review' else ''}apply it with: {command}"
            )
    return printable("\n".join(lines))
