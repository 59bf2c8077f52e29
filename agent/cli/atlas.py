"""`agent atlas`: a model answers MCP Atlas's tasks with the tools of its server."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.cli.inputs import dollars, new_run_id, read_file
from agent.cli.streams import print_result, tell
from agent.errors import EnvironmentFault, ModelError, UsageError
from agent.text import printable

if TYPE_CHECKING:
    from agent.atlas.folder import Folder
    from agent.atlas.loop import Bounds
    from agent.atlas.server import ToolServer
    from agent.atlas.tasks import Task
    from agent.budget import Budget, Limit
    from agent.models.provider import FailedTry
    from agent.types import ToolSpec

EPILOG = """TASKS: a CSV file with the columns TASK, PROMPT and ENABLED_TOOLS. DIR gets answers.jsonl, with what each
task took, and answers.csv for MCP Atlas's grader (services/scoring/score_claims.py --model-file). A task whose tools
the server lacks is left out.
Exit codes: 0 all answered · 1 some are not · 2 usage · 3 the tool server · 4 the budget ended it · 5 the model's
provider · 130 interrupted; --resume goes on."""
IN_A_ROW = 3
"""Tasks that a provider's faults may end one after another until no more are begun."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "atlas",
        help="answer MCP Atlas's tasks with tools",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("tasks", metavar="TASKS", help="the CSV file")
    p.add_argument(
        "--server", required=True, metavar="URL", help="the tool server, such as http://localhost:1984"
    )
    p.add_argument("--model", required=True, metavar="SPEC", help="as for `agent fix`")
    p.add_argument("--thinking", metavar="LEVEL", help="as for `agent fix`")
    p.add_argument("--out", required=True, metavar="DIR", help="where the answers go")
    p.add_argument(
        "--resume", action="store_true", help="go on with DIR: what was answered is not asked again"
    )
    p.add_argument("--budget", type=dollars, metavar="USD", help="what all tasks together may cost")
    p.add_argument(
        "--tokens", type=int, metavar="N", help="what all tasks together may have, input and output"
    )
    p.add_argument("--workers", type=int, default=4, metavar="N", help="tasks side by side (default: 4)")
    p.add_argument("--turns", type=int, default=256, metavar="N", help="of one task (default: 256)")
    p.add_argument("--calls", type=int, default=100, metavar="N", help="of tools in one task (default: 100)")
    p.add_argument(
        "--minutes",
        type=float,
        default=30.0,
        metavar="M",
        help="for one task, asked before each turn (default: 30)",
    )
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.atlas.folder import Folder
    from agent.atlas.loop import Bounds
    from agent.atlas.tasks import read_tasks
    from agent.budget import Limit
    from agent.cli.signals import run_async
    from agent.config import Settings, checked, per_day
    from agent.models.registry import check_prices, open_model, parse_spec, warning, with_thinking

    for flag in ("workers", "turns", "calls", "minutes"):
        if not 0 < getattr(args, flag) < 1e6:
            raise UsageError(f"--{flag} must be a number above 0, not {getattr(args, flag)}")
    checked(replace(Settings(), usd=args.budget, tokens=args.tokens), "command line")
    limit = Limit(args.budget, args.tokens)
    spec = with_thinking(args.model, args.thinking)
    if parse_spec(spec).provider == "local":
        raise UsageError(
            f"--model {args.model}: it repairs code and answers no questions; name a language model"
        )
    if not _is_address(args.server):
        raise UsageError("--server: no address; it must be http://HOST:PORT, without user and password")
    open_model(spec)  # a missing key or file is told before anything is begun
    limits = {
        "the budget (--budget, --tokens)": limit,
        "the day's limit ($AGENT_HOME/budget.toml)": per_day(),
    }
    check_prices(spec, limits)
    if words := warning(spec):
        tell(words)
    tasks = read_tasks(read_file(args.tasks, "TASKS"), args.tasks)
    digests = {task.id: task.digest for task in tasks}
    bounds = Bounds(args.turns, args.calls, args.minutes * 60)
    with Folder(Path(args.out), new_run_id(), spec, digests, resume=args.resume) as folder:
        run = _Run(args.server, spec, tasks, bounds, args.workers, folder)
        try:
            code = run_async(run.all, limit)
        except KeyboardInterrupt:
            tell("interrupted; --resume goes on")
            code = 130
    return print_result(run.summary(), code)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and "@" not in url
        )
    except ValueError:
        return False


class _Run:
    def __init__(
        self, url: str, spec: str, tasks: Sequence[Task], bounds: Bounds, workers: int, folder: Folder
    ) -> None:
        self._url, self._spec, self._bounds, self._workers = url, spec, bounds, workers
        self._tasks = tasks
        self._folder = folder
        self._lacking: Counter[str] = Counter()
        self._left_out = 0
        self._down = 0
        """Tasks, one after the other, that a provider which is down has ended."""
        self._code = 0
        """Of what ended it before all was asked."""
        self._stop = False
        self._paid = ""

    async def all(self, limit: Limit) -> int:
        """Ask all that has no answer; the exit code."""
        import httpx2

        from agent.atlas.server import ToolServer
        from agent.progress import money
        from agent.redaction import secret_values

        # Each call has a time of its own. A connection that is kept may be closed under a call, which is never made
        # twice; and what is on a loopback is not asked for through a proxy.
        client = httpx2.AsyncClient(
            timeout=None, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)
        )
        async with client:
            server = ToolServer(self._url, client, secret_values(os.environ))
            specs, unfit = await server.tools()
            tasks = [task for task in self._tasks if task.id not in self._folder.answers]
            tasks = [task for task in tasks if self._has_its_tools(task, specs, unfit)]
            with _budget(self._spec, self._folder.run, limit) as budget:
                try:
                    await self._work(iter(tasks), server, specs, budget)
                finally:
                    self._paid = money(budget.account().told()) if budget else "nothing"
        answers = self._folder.answers
        return self._code or int(
            any(task.id not in answers or answers[task.id].fault for task in self._tasks)
        )

    def _has_its_tools(self, task: Task, specs: Mapping[str, ToolSpec], unfit: Mapping[str, str]) -> bool:
        lacking = [name for name in task.tools if name not in specs]
        self._lacking.update(f"{name} ({unfit[name]})" if name in unfit else name for name in lacking)
        self._left_out += bool(lacking)
        return not lacking

    async def _work(
        self, tasks: Iterator[Task], server: ToolServer, specs: Mapping[str, ToolSpec], budget: Budget | None
    ) -> None:
        from agent.lanes import side_by_side

        order = {task.id: place for place, task in enumerate(self._tasks, 1)}

        async def worker() -> None:
            for task in tasks:
                if self._stop:
                    return
                await self._one(task, order[task.id], server, specs, budget)

        async with side_by_side() as group:
            for _ in range(self._workers):
                group.start_soon(worker)

    async def _one(
        self,
        task: Task,
        place: int,
        server: ToolServer,
        specs: Mapping[str, ToolSpec],
        budget: Budget | None,
    ) -> None:
        import anyio

        from agent.atlas.loop import answered
        from agent.budget import BudgetSpent
        from agent.models.registry import open_model
        from agent.redaction import secret_values

        model = open_model(self._spec, attempt=place, on_failed_try=_retried, budget=budget)
        offered = {name: specs[name] for name in task.tools}
        try:
            answer = await answered(
                task, model, offered, server.call, self._bounds, secret_values(os.environ)
            )
            self._folder.add(answer)
        except (BudgetSpent, EnvironmentFault) as error:
            self._ended(str(error), 4 if isinstance(error, BudgetSpent) else error.exit_code)
        except ModelError as error:
            self._down += 1
            self._ended(f"{task.id}: {error}", error.exit_code, stop=self._down >= IN_A_ROW)
        else:
            self._down = 0
            done = f"{len(self._folder.answers)} of {len(self._tasks)}"
            tell(printable(f"{done}: {task.id}: {answer.fault or 'answered'}, {answer.calls} calls"))
        finally:
            with anyio.CancelScope(shield=True):
                await model.close()

    def _ended(self, why: str, code: int, *, stop: bool = True) -> None:
        """Something other than the task ended it; where it `stop`s the others, it is told once."""
        if not self._stop:
            tell(printable(" ".join(why.split())))
            self._code, self._stop = code, stop

    def summary(self) -> str:
        """What became of the tasks, for a person."""
        answers = self._folder.answers
        there = [answers[task.id] for task in self._tasks if task.id in answers]
        good = sum(not one.fault for one in there)
        rows = [f"{good:>6}  answered"]
        rows += [f"{len(there) - good:>6}  ended without an answer"] if good < len(there) else []
        if self._left_out:
            most = ", ".join(" ".join(name.split()) for name, _ in self._lacking.most_common(5))
            rows.append(
                f"{self._left_out:>6}  left out, which the grader does not count: the server lacks {most}"
            )
        if left := len(self._tasks) - len(there) - self._left_out:
            rows.append(f"{left:>6}  not answered yet, which the grader does not count: --resume goes on")
        calls, failed = sum(one.calls for one in there), sum(one.failed_calls for one in there)
        rows.append(f"tool calls: {calls}, of which {failed} failed")
        tokens = sum(one.input_tokens for one in there), sum(one.output_tokens for one in there)
        rows.append(f"tokens of answers: {tokens[0]:,} in, {tokens[1]:,} out; paid for all: {self._paid}")
        rows.append(f"answers: {self._folder.path / 'answers.csv'}")
        return printable("\n".join(rows))


def _retried(failed: FailedTry) -> None:
    wait = "" if failed.wait_seconds is None else f"; again in {failed.wait_seconds:.0f} s"
    tell(printable(f"{' '.join(failed.reason.split())}{wait}"))


@contextmanager
def _budget(spec: str, run: str, limit: Limit) -> Iterator[Budget | None]:
    """All tasks' one budget; None where no model is paid."""
    from agent.budget import Budget, Ledger
    from agent.config import home, per_day
    from agent.models.registry import paid

    if not paid(spec):
        yield None
        return
    with Ledger(home() / "ledger.sqlite") as ledger:
        yield Budget(ledger, run, limit, per_day())
