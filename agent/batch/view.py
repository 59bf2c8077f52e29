"""What a batch does, for the eye: a table that renews itself on a terminal, else a line for each thing that happens."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from agent.batch.drive import Result
from agent.batch.tasks import TaskLine
from agent.progress import clean, cut

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

MAX_ROWS = 20
"""Running tasks that are shown."""


@dataclass
class _Row:
    line: TaskLine
    began: float
    phase: str = "starts"
    turn: int = 0
    usd: float | None = 0.0
    """None once the price of a request is not known."""


@contextmanager
def open_view(stream: TextIO, tasks: int) -> Iterator[View]:
    """A view on `stream`, a table where that is a terminal."""
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield View(stream, tasks)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    view = View(stream, tasks)
    with Live(console=console, get_renderable=view.table, refresh_per_second=2, transient=True) as live:
        view.live = live
        yield view


class View:
    """A Watcher."""

    def __init__(self, stream: TextIO, tasks: int) -> None:
        self.live: Live | None = None
        self._stream, self._tasks = stream, tasks
        self._began = time.monotonic()
        self._rows: dict[str, _Row] = {}
        self._ended: Counter[str] = Counter()
        self._usd = 0.0
        self._waiting = 0

    def counted(self, results: Iterable[Result]) -> None:
        """Results of an earlier go."""
        for result in results:
            self._count(result)

    def started(self, line: TaskLine) -> None:
        self._rows[line.id] = _Row(line, time.monotonic())
        if self.live is None:
            self.say(f"{line.id} starts")

    def told(self, line: TaskLine, news: Mapping[str, Any]) -> None:
        row = self._rows[line.id]
        match news.get("type"):
            case "phase_started":
                row.phase, row.turn = clean(f"{news.get('phase')} {news.get('detail') or ''}"), 0
            case "model_replied":
                row.turn = int(news.get("turn") or 0)
                cost = news.get("cost_usd")
                row.usd = None if cost is None or row.usd is None else row.usd + float(cost)
            case "model_retried":
                self.say(f"{line.id}: the model's provider: {news.get('reason')}")
            case _:
                pass

    def ended(self, line: TaskLine, result: Result | None, why: str) -> None:
        self._rows.pop(line.id, None)
        if result is None:
            self.say(f"{line.id}: {why}")
            return
        self._count(result)
        number = f"[{sum(self._ended.values())}/{self._tasks}]"
        cost = "? USD" if result.cost_usd is None else f"{result.cost_usd:.4f} USD"
        error = f": {result.error}" if result.error else ""
        self.say(f"{number} {line.id}: {result.status} in {result.seconds:.0f} s, {cost}{error}")

    def tick(self, waiting: int) -> None:
        self._waiting = waiting

    def _count(self, result: Result) -> None:
        self._ended[result.status] += 1
        self._usd += result.cost_usd or 0.0

    def say(self, text: str) -> None:
        """One line, above the table if there is one. Nothing stops when nobody reads it."""
        if self.live is not None:
            self.live.console.print(clean(text), soft_wrap=True)
            return
        try:
            self._stream.write(f"{clean(text)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    def table(self) -> Table:
        from rich.table import Table

        counts = ", ".join(f"{count} {status}" for status, count in self._ended.most_common())
        seconds = int(time.monotonic() - self._began)
        running = sum(row.usd or 0.0 for row in self._rows.values())
        title = (
            f"{sum(self._ended.values())} of {self._tasks} ended{f': {counts}' if counts else ''} | "
            f"{len(self._rows)} run, {self._waiting} wait | {self._usd + running:.4f} USD | {_clock(seconds)}"
        )
        table = Table(
            title=title, title_justify="left", title_style="", box=None, show_header=False, pad_edge=False
        )
        for row in list(self._rows.values())[:MAX_ROWS]:
            turn = f"turn {row.turn}" if row.turn else ""
            cost = "? USD" if row.usd is None else f"{row.usd:.4f} USD"
            now = _clock(int(time.monotonic() - row.began))
            table.add_row(now, cut(clean(row.line.id), 40), cut(row.phase, 50), turn, cost)
        return table


def _clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"
