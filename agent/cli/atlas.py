"""`agent atlas`: a model answers MCP Atlas's tasks with the tools of its server."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.inputs import dollars, new_run_id, read_file
from agent.cli.streams import print_result, tell
from agent.errors import AgentError, EnvironmentFault, ModelError, UsageError
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
    from agent.models.registry import check_prices, parse_spec, with_thinking

    for flag in ("workers", "turns", "calls", "minutes"):
        if not 0 < getattr(args, flag) < 1e6:
            raise UsageError(f"--{flag} must be a number above 0, not {getattr(args, flag)}")
    for flag in ("budget", "tokens"):
        if getattr(args, flag) is not None and not getattr(args, flag) > 0:
            raise UsageError(f"--{flag} must be above 0")
    spec = with_thinking(args.model, args.thinking)
    if parse_spec(spec).provider == "local":
        raise UsageError(
            f"--model {args.model}: it repairs code and answers no questions; name a language model"
        )
    limit = Limit(args.budget, args.tokens)
    check_prices(spec, {"--budget" if args.budget is not None else "--tokens": limit})
    tasks = read_tasks(read_file(args.tasks, "TASKS").decode("utf-8", "replace"), args.tasks)
    bounds = Bounds(args.turns, args.calls, args.minutes * 60)
    with Folder(Path(args.out), new_run_id(), spec, resume=args.resume) as folder:
        run = _Run(args.server, spec, tasks, bounds, args.workers, folder)
        try:
            code = run_async(run.all, limit)
        except KeyboardInterrupt:
            tell("interrupted; --resume goes on")
            code = 130
    return print_result(run.summary(), code)


class _Run:
    def __init__(
        self, url: str, spec: str, tasks: Sequence[Task], bounds: Bounds, workers: int, folder: Folder
    ) -> None:
        self._url, self._spec, self._bounds, self._workers = url, spec, bounds, workers
        self._tasks = tasks
        self._folder = folder
        self._lacking: Counter[str] = Counter()
        self._left_out = 0
        self._failed_usd = Decimal(0)
        self._in_a_row = 0
        self._fault: AgentError | None = None
        self._unanswered: ModelError | None = None
        self._spent = ""

    async def all(self, limit: Limit) -> int:
        """All tasks that have no answer; the exit code."""
        import httpx2

        from agent.atlas.server import ToolServer

        async with httpx2.AsyncClient() as client:
            server = ToolServer(self._url, client)
            specs, unfit = await server.tools()
            tasks = [task for task in self._tasks if task.id not in self._folder.answers]
            tasks = [task for task in tasks if self._has_its_tools(task, specs, unfit)]
            with _budget(self._spec, self._folder.run, limit) as budget:
                await self._work(iter(tasks), server, specs, budget)
        if self._fault is not None:
            tell(printable(str(self._fault)))
            return self._fault.exit_code
        if self._spent:
            tell(printable(self._spent))
            return 4
        if self._unanswered is not None:
            return self._unanswered.exit_code
        answers = self._folder.answers
        return int(any(task.id not in answers or answers[task.id].fault for task in self._tasks))

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
                if self._fault is not None or self._spent:
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

        model = open_model(self._spec, attempt=place, on_failed_try=self._retried, budget=budget)
        offered = {name: specs[name] for name in task.tools}
        try:
            answer = await answered(
                task, model, offered, server.call, self._bounds, secret_values(os.environ)
            )
        except BudgetSpent as error:
            self._spent = str(error)
            return
        except EnvironmentFault as error:
            self._fault = error
            return
        except ModelError as error:
            tell(printable(f"{task.id}: {error}"))
            self._in_a_row += 1
            self._unanswered = error
            if self._in_a_row >= IN_A_ROW:
                self._fault = error
            return
        finally:
            with anyio.CancelScope(shield=True):
                await model.close()
        self._in_a_row = 0
        self._folder.add(answer)
        done = f"{len(self._folder.answers)} of {len(self._tasks)}"
        tell(printable(f"{done}: {task.id}: {answer.fault or 'answered'}, {answer.calls} calls"))

    def _retried(self, failed: FailedTry) -> None:
        self._failed_usd += failed.cost_usd or Decimal(0)
        wait = "" if failed.wait_seconds is None else f"; again in {failed.wait_seconds:.0f} s"
        tell(printable(f"{failed.reason}{wait}"))

    def summary(self) -> str:
        """What became of the tasks, for a person."""
        answers = self._folder.answers
        there = [answers[task.id] for task in self._tasks if task.id in answers]
        good = sum(not one.fault for one in there)
        rows = [f"{good:>6}  answered"]
        rows += [f"{len(there) - good:>6}  ended without an answer"] if good < len(there) else []
        if self._left_out:
            most = ", ".join(name for name, _ in self._lacking.most_common(5))
            rows.append(f"{self._left_out:>6}  left out: the server lacks tools of theirs, such as {most}")
        if left := len(self._tasks) - len(there) - self._left_out:
            rows.append(f"{left:>6}  not answered yet: --resume goes on")
        calls, failed = sum(one.calls for one in there), sum(one.failed_calls for one in there)
        rows.append(f"tool calls: {calls}, of which {failed} failed")
        tokens = sum(one.input_tokens for one in there), sum(one.output_tokens for one in there)
        known = [Decimal(str(one.cost_usd)) for one in there if one.cost_usd is not None]
        cost = sum(known, self._failed_usd)
        unknown = (
            f" and {len(there) - len(known)} tasks at an unknown price" if len(known) < len(there) else ""
        )
        rows.append(f"tokens: {tokens[0]:,} in, {tokens[1]:,} out; cost: {cost:.4f} USD{unknown}")
        rows.append(f"answers: {self._folder.path / 'answers.csv'}")
        return printable("\n".join(rows))


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
