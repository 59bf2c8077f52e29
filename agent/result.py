"""result.json: what a run came to, read from its events alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from agent import context, events
from agent.explain import explanation
from agent.hypotheses import Entry, ledger
from agent.types import APART, Status, Task, Usage, issue_title

SCHEMA = 1

Billed = events.ModelReplied | events.ModelRetried
BILLED = (events.ModelReplied, events.ModelRetried)

EXIT_CODES: dict[Status, int] = {
    "accepted": 0,
    "rejected": 1,
    "not_reproduced": 1,
    "environment": 3,
    "limit": 4,
    "model_error": 5,
    "needs_review": 6,
    "interrupted": 130,
}


def exit_code(result: Mapping[str, Any]) -> int:
    """The process's exit code. A patch that was accepted, but is not where the user asked for it, is a 3."""
    if result["status"] in ("accepted", "needs_review") and result["error"]:
        return EXIT_CODES["environment"]
    status: Status = result["status"]
    return EXIT_CODES[status]


@dataclass(frozen=True, slots=True)
class RunEnding:
    """How a run ended, beyond what its events say."""

    status: Status
    patch: str | None = None
    branch: str | None = None
    error: str | None = None
    pr_url: str | None = None


def build_result(log: Sequence[events.Event], task: Task, run_id: str, ending: RunEnding) -> dict[str, Any]:
    """The object that result.json holds and `fix --json` prints."""
    replies = [e for e in log if isinstance(e, events.ModelReplied) and e.attempt > 0]
    billed = [e for e in log if isinstance(e, BILLED)]
    setups = [e for e in log if isinstance(e, events.SetupWritten)]
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "status": ending.status,
        "error": ending.error,
        "issue": task.issue_source,
        "title": issue_title(task.issue),
        "repo": task.repo,
        "base": task.base,
        "patch": ending.patch,
        "branch": ending.branch,
        "pr_url": ending.pr_url,
        "setup": setups[-1].path if setups else None,
        "attempts": attempts(log),
        "explanation": None if ending.status == "accepted" else explanation(log),
        "usage": asdict(_usage(billed)),
        "cost_usd": cost(log),
        "budget": _budget(log),
        "tool_calls": _tool_calls([e for e in log if isinstance(e, events.ToolReturned)]),
        "mcp_servers": servers_used(log),
        "context_growth": context.growth(log, list(dict.fromkeys(e.attempt for e in replies))),
    }


def servers_used(log: Sequence[events.Event]) -> list[dict[str, Any]]:
    """The user's own MCP servers: where each ran, its tools, the calls it got, and where it was left out."""
    found: dict[str, dict[str, Any]] = {}
    for event in log:
        if isinstance(event, events.ServerStarted | events.ServerLeftOut):
            new = {
                "name": event.name,
                "kind": event.kind,
                "tools": [],
                "calls": 0,
                "failed": 0,
                "left_out": [],
            }
            told = found.setdefault(event.name, new)
            if isinstance(event, events.ServerStarted):
                told["tools"] = list(event.tools)
            else:
                told["left_out"].append({"attempt": event.attempt, "reason": event.reason})
        elif isinstance(event, events.ToolReturned):
            name, apart, _ = event.name.partition(APART)
            if apart and name in found:
                found[name]["calls"] += 1
                found[name]["failed"] += event.is_error
    return list(found.values())


def attempts(log: Sequence[events.Event]) -> list[dict[str, Any]]:
    """What result.json tells of each attempt, in the order of their starts."""
    standings = {entry.attempt: entry for entry in ledger(log)}
    return [_attempt(e, log, standings.get(e.attempt)) for e in log if isinstance(e, events.AttemptStarted)]


def cost(log: Sequence[events.Event]) -> float | None:
    """Dollars of all requests so far; None when one's price is not known."""
    return _cost([e for e in log if isinstance(e, BILLED)])


def _attempt(
    start: events.AttemptStarted, log: Sequence[events.Event], entry: Entry | None
) -> dict[str, Any]:
    mine = [e for e in log if getattr(e, "attempt", None) == start.attempt]
    replies = [e for e in mine if isinstance(e, events.ModelReplied)]
    billed = [e for e in mine if isinstance(e, BILLED)]
    returned = [e for e in mine if isinstance(e, events.ToolReturned)]
    end = next((e for e in mine if isinstance(e, events.AttemptEnded)), None)
    verdict = next((e.verdict for e in mine if isinstance(e, events.VerdictReached)), None)
    return {
        "model": start.model,
        "thinking": start.thinking,
        "ended": end.how if end else "interrupted",
        "summary": end.detail if end else "",
        "root_cause": end.root_cause if end else "",
        "hypothesis": _hypothesis(entry),
        "verdict": verdict,
        "usage": asdict(_usage(billed)),
        "cost_usd": _cost(billed),
        "tool_calls": _tool_calls(returned),
        "refused": sum(e.refused for e in returned),
        "mended": sum(e.mended for e in returned),
        "context": context.of_attempt(log, start.attempt),
        "speed": _speed(replies),
        "turns": len(replies),
        "seconds": round(end.seconds, 3) if end else None,
    }


def _hypothesis(entry: Entry | None) -> dict[str, Any] | None:
    """The last cause that an attempt stated, and what the gate's verdict made of it."""
    if entry is None or entry.hypothesis is None:
        return None
    said = asdict(entry.hypothesis)
    told = {name: value for name, value in said.items() if name not in ("attempt", "turn")}
    return {**told, "standing": entry.standing, "changed": list(entry.changed)}


def _usage(billed: Sequence[Billed]) -> Usage:
    return sum((e.usage for e in billed), Usage())


def _cost(billed: Sequence[Billed]) -> float | None:
    """Dollars, or None when the price of one request is not known: a part of the sum would mislead."""
    costs = [e.cost_usd for e in billed]
    known = [cost for cost in costs if cost is not None]
    return float(sum(known)) if len(known) == len(costs) else None


def _budget(log: Sequence[events.Event]) -> Mapping[str, float | None] | None:
    """The run's account as it stood last. What it says is spent is never less than the bill: a request that broke
    off counts at its worst case. None where nothing was sent to a provider."""
    changes = [e for e in log if isinstance(e, events.BudgetChanged)]
    return changes[-1].accounts["run"] if changes else None


def _speed(replies: Sequence[events.ModelReplied]) -> dict[str, float | None]:
    """Median seconds to the first token, and output tokens (thinking included) per second from then on."""
    first = [e.first_token_seconds for e in replies if e.first_token_seconds is not None]
    streamed = [
        (e.usage.output, e.answer_seconds - e.first_token_seconds)
        for e in replies
        if e.first_token_seconds is not None and e.answer_seconds is not None
    ]
    seconds = sum(took for _, took in streamed)
    return {
        "first_token_seconds": round(median(first), 4) if first else None,
        "tokens_per_second": round(sum(n for n, _ in streamed) / seconds, 1) if seconds > 0 else None,
    }


def _tool_calls(returned: Sequence[events.ToolReturned]) -> dict[str, Any]:
    """`right_first_time`: share of calls that succeeded as they were made and were not the repeat of a failed call of
    that tool."""
    failing: set[str] = set()
    first_time = failed = 0
    for event in returned:
        if event.is_error:
            failed += 1
            failing.add(event.name)
        else:
            first_time += event.name not in failing and not event.mended
            failing.discard(event.name)
    total = len(returned)
    return {
        "total": total,
        "failed": failed,
        "right_first_time": round(first_time / total, 4) if total else None,
    }


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` so that a reader, or a kill, never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
