"""`agent batch`: many tasks over many repositories, one result a task."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.inputs import add_sandbox_flags, dollars
from agent.cli.streams import print_result, tell
from agent.errors import UsageError
from agent.text import printable

if TYPE_CHECKING:
    from agent.batch.drive import Brakes, Result
    from agent.batch.engine import Engine, Shared
    from agent.batch.folder import Folder
    from agent.batch.queue import Limits
    from agent.batch.tasks import TaskLine
    from agent.budget import Account, Limit

EPILOG = """TASKS: a JSONL file with one task a line, {"id", "repo", "base", "issue" or "issue_number", "test", "image",
"setup", "fail_to_pass", "test_patch"}, all but id and issue optional; a folder of issues (NAME.md), or of checkouts
NAME with NAME.issue.md; or the JSON that GitHub's search for issues answered. A line may be an instance of SWE-bench,
SWE-bench Pro or Multi-SWE-bench instead.
Exit codes: 0 all tasks accepted · 1 some are not · 2 usage · 3 environment · 4 the budget ended it · 130 interrupted;
after 4 and 130 --resume goes on."""
MINUTES = 120.0


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "batch",
        help="repair many issues, over many repositories",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("tasks", nargs="+", metavar="TASKS", help="what to do; with --merge, folders of results")
    p.add_argument("--out", required=True, metavar="DIR", help="where results.jsonl and predictions.jsonl go")
    p.add_argument(
        "--merge",
        action="store_true",
        help="put the results of several folders together in DIR, and run nothing",
    )
    p.add_argument("--shard", metavar="K/N", help="only each N-th task, from the K-th on: for a matrix of CI")
    p.add_argument(
        "--model", action="append", default=[], metavar="SPEC", help="as for `agent fix`, for all tasks"
    )
    add_run_flags(p)
    p.set_defaults(run=main)


def add_run_flags(p: argparse.ArgumentParser) -> None:
    """How tasks are run, for whoever runs them as a batch."""
    p.add_argument(
        "--resume", action="store_true", help="go on with DIR: tasks with a result there are not run again"
    )
    p.add_argument("--repo", default=".", metavar="PATH|URL", help="of tasks that name none (default: here)")
    p.add_argument(
        "--workers", type=int, metavar="N", help="tasks side by side (default: by CPUs and memory)"
    )
    p.add_argument("--per-repository", type=int, metavar="N", help="of one repository (default: no limit)")
    p.add_argument("--per-provider", type=int, metavar="N", help="of one model provider (default: no limit)")
    p.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="this machine, or a Ray cluster"
    )
    p.add_argument("--budget", type=dollars, metavar="USD", help="what all tasks together may cost")
    p.add_argument(
        "--tokens", type=int, metavar="N", help="what all tasks together may have, input and output"
    )
    p.add_argument(
        "--time-limit",
        type=float,
        default=MINUTES,
        metavar="MINUTES",
        help="wall time of one task, set-up and gate included; then it is ended, whatever it does (default: 120)",
    )
    p.add_argument(
        "--instance-images",
        action="store_true",
        help="instances of SWE-bench, SWE-bench Pro and Multi-SWE-bench run in the images that their sets have for "
        "them, by name (default: made from the repository, as for any task)",
    )
    add_sandbox_flags(p)
    for flag, kind in FOR_FIX.items():
        p.add_argument(f"--{flag}", type=kind, metavar="X" if kind is str else "N", help="as for `agent fix`")


FOR_FIX = {"thinking": str, "context": str, "attempts": int, "best-of": int, "turns": int, "minutes": float}
"""Flags of `agent fix` that hold for each task."""


def main(args: argparse.Namespace) -> int:
    from agent.batch.folder import merged, write_results
    from agent.batch.tasks import of_shard

    if args.merge:
        results, out = merged(map(Path, args.tasks)), Path(args.out)
        if (out / "results.jsonl").exists():
            raise UsageError(f"--out {out}: it holds the results of a batch; name another folder")
        out.mkdir(parents=True, exist_ok=True)
        write_results(out, results)
        return print_result(_summary(results, len(results), args.out), _code(results, len(results)))
    if len(args.tasks) > 1:
        raise UsageError(f"{args.tasks[1]}: one file or folder of tasks, please; only --merge takes more")
    lines = tasks_of(args, args.tasks[0], models_of(args))
    lines = of_shard(lines, args.shard) if args.shard else lines
    done = run_tasks(args, lines)
    code = _code(done.results, len(lines), spent=done.spent)
    return print_result(_summary(done.results, len(lines), args.out, done.paid), code)


def tasks_of(args: argparse.Namespace, source: str, models: Sequence[str] = ()) -> list[TaskLine]:
    """The task lines of a file or folder."""
    from agent.batch.tasks import is_url, read_tasks, url_fault

    repo = args.repo if is_url(args.repo) else str(Path(args.repo).absolute())
    if is_url(repo) and (fault := url_fault(repo)):
        raise UsageError(f"--repo: {fault}")
    return read_tasks(source, repo, models, images=args.instance_images)


def models_of(args: argparse.Namespace) -> list[str]:
    """The specs of --model, as they hold in any folder."""
    return [_absolute(spec) for spec in args.model]


def _absolute(spec: str) -> str:
    provider, _, path = spec.partition("/")
    return f"scripted/{Path(path).absolute()}" if provider == "scripted" else spec


def _limit(args: argparse.Namespace) -> Limit:
    from agent.budget import Limit
    from agent.config import Settings, checked

    for flag in ("workers", "per_repository", "per_provider", "time_limit"):
        value = getattr(args, flag)
        if value is not None and not 0 < value < 1_000_000:
            raise UsageError(f"--{flag.replace('_', '-')} must be a number above 0, not {value}")
    if args.per_provider is not None and not args.model:
        raise UsageError("--per-provider needs --model: else each repository names its own models")
    checked(replace(Settings(), usd=args.budget, tokens=args.tokens), "command line")
    return Limit(args.budget, args.tokens)


def _check_models(args: argparse.Namespace, limit: Limit) -> None:
    """A missing key or an unknown price is told once, before anything starts."""
    from agent.models.registry import check_prices, open_model, with_thinking

    for spec in args.model:
        open_model(with_thinking(spec, args.thinking))
        check_prices(spec, {"the budget of the batch (--budget, --tokens)": limit})


@dataclass(frozen=True, slots=True)
class Done:
    """How far a batch came."""

    results: Sequence[Result]
    paid: str
    """How its account stands; empty without a limit."""
    spent: bool
    """The budget ended it."""


def run_tasks(args: argparse.Namespace, lines: Sequence[TaskLine], *, evaluate: bool = False) -> Done:
    """Run the tasks as the flags say, those that have a result already left out. `evaluate`: as in Shared."""
    from agent.batch.drive import Brakes, run_batch
    from agent.batch.folder import Folder
    from agent.batch.view import open_view

    limit = _limit(args)
    _check_models(args, limit)
    with Folder(Path(args.out), resume=args.resume, predict=not evaluate) as folder:
        shared = replace(_shared(args, folder, limit), evaluate=evaluate)
        left = [line for line in lines if line.id not in folder.results]
        done = len(lines) - len(left)
        if done:
            tell(f"{done} of {len(lines)} tasks have a result already")
        brakes, money = Brakes(), _Money(folder.id, limit)
        with (
            _engine(args, shared) as (engine, limits),
            _obeying(brakes),
            open_view(sys.stderr, len(lines)) as view,
        ):
            view.counted(folder.results[line.id] for line in lines if line.id in folder.results)
            for result in run_batch(
                left,
                engine,
                limits,
                seconds=args.time_limit * 60,
                watcher=view,
                brakes=brakes,
                may_start=money.left,
            ):
                folder.add(result)
        results = [folder.results[line.id] for line in lines if line.id in folder.results]
        paid = money.told()
    return Done(results, paid, money.spent or brakes.spent)


def _shared(args: argparse.Namespace, folder: Folder, limit: Limit) -> Shared:
    from agent.batch.engine import Shared

    flags: list[str] = []
    for flag in (*FOR_FIX, "sandbox", "runtime"):
        value = getattr(args, flag.replace("-", "_"))
        flags += [] if value is None else [f"--{flag}={value}"]
    flags += [f"--allow-host={host}" for host in args.allow_host or ()]
    logs = str((folder.path / "logs").absolute())
    return Shared(tuple(flags), folder.id, limit.usd, limit.tokens, time.time(), logs)


@contextmanager
def _engine(args: argparse.Namespace, shared: Shared) -> Iterator[tuple[Engine, Limits]]:
    from agent.batch.local import Local
    from agent.batch.queue import Limits, workers_here
    from agent.cli.worker import work

    if args.engine == "ray":
        try:
            from agent.batch.on_ray import Cluster
        except ModuleNotFoundError as error:
            raise UsageError("--engine ray needs Ray: pip install 'assay[ray]'") from error

        with Cluster(work, shared) as cluster:
            yield cluster, Limits(args.workers or cluster.workers, args.per_repository, args.per_provider)
        return
    with Local(work, shared, tidy_first=args.resume) as local:
        yield local, Limits(args.workers or workers_here(), args.per_repository, args.per_provider)


class _Money:
    """Whether there is any left of the batch's, so that a task may be begun."""

    def __init__(self, batch: str, limit: Limit) -> None:
        self._scope, self._limit = f"batch:{batch}", limit
        self.spent = False

    def left(self) -> bool:
        if self._limit.usd is None and self._limit.tokens is None:
            return True
        self.spent = 0 in self._account().left(later=True)
        return not self.spent

    def told(self) -> str:
        """How the batch's account stands, tries that died included; empty without a limit."""
        from agent.progress import money

        limited = self._limit.usd is not None or self._limit.tokens is not None
        return money(self._account().told()) if limited else ""

    def _account(self) -> Account:
        from agent.budget import Ledger
        from agent.config import home

        with Ledger(home() / "ledger.sqlite") as ledger:
            return ledger.accounts({self._scope: self._limit})[self._scope]


@contextmanager
def _obeying(brakes: Brakes) -> Iterator[None]:
    """Ctrl-C drains, twice stops, three times ends at once; SIGTERM and SIGHUP stop."""

    def interrupted(number: int, frame: object) -> None:
        if brakes.stop:
            os._exit(130)
        if number == signal.SIGINT and not brakes.drain:
            brakes.drain = True
            brakes.said = "what runs is finished, nothing new is begun; Ctrl-C again stops it"
            return
        brakes.drain = brakes.stop = True
        brakes.said = "what runs is stopped; once more ends it at once"

    obeyed = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        obeyed.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupted) for number in obeyed}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _code(results: Sequence[Result], tasks: int, *, spent: bool = False) -> int:
    if len(results) < tasks:
        return 4 if spent else 130
    return int(any(result.status != "accepted" for result in results))


def _summary(results: Sequence[Result], tasks: int, out: str, paid: str = "") -> str:
    counts = Counter(result.status for result in results)
    rows = [f"{count:>6}  {status}" for status, count in counts.most_common()]
    if len(results) < tasks:
        rows.append(f"{tasks - len(results):>6}  without a result: --resume runs them")
    costs = [result.cost_usd for result in results]
    known = sum((Decimal(str(cost)) for cost in costs if cost is not None), Decimal(0))
    unknown = costs.count(None)
    rows.append(
        f"cost: {known:.4f} USD" + (f" and {unknown} tasks whose cost is not known" if unknown else "")
    )
    rows += [f"budget: {paid}"] if paid else []
    rows.append(f"results: {Path(out) / 'results.jsonl'}")
    return printable("\n".join(rows))
