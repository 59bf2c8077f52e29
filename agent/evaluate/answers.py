"""What a model did on a case, read from a line of results.jsonl."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.batch.drive import Result
from agent.batch.predictions import ANSWERS, EVALUATION
from agent.budget import is_of_day
from agent.errors import UsageError

KEY = EVALUATION
"""Under which a task's `case` holds what it is: case, model, repeat, class and digest."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt."""

    turns: int
    accepted: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """One model on one case, once."""

    case: str
    digest: str
    """Of the case: equal only for the same task."""
    model: str
    repeat: int
    task_class: str
    route: str
    """The class of `agent.routing`; empty where the run did not come that far."""
    status: str
    error: str
    right: bool | None
    """Whether what was delivered passes the hidden tests; None where the case has none, or they could not be run."""
    cost_usd: float | None
    tokens: int
    """Input, cached or not, and output."""
    output: int
    turns: int
    calls: int
    first_time: float
    """Calls that were right the first time."""
    refused: int
    mended: int
    attempts: tuple[Tried, ...]
    first_token_seconds: float | None
    tokens_per_second: float | None
    minutes: float
    """Wall time of the run, without that of the hidden tests."""

    @property
    def accepted(self) -> bool:
        return self.status == "accepted"

    @property
    def counts(self) -> bool:
        """Whether it is the model's word on the case: a broken environment, a provider that is down, or a day's budget
        that is spent is none."""
        return self.status in ANSWERS and not (self.status == "limit" and is_of_day(self.error))


def answers(results: Iterable[Result], where: str) -> list[Answer]:
    """Raises UsageError for a result that is none of an evaluation's."""
    found = []
    for result in results:
        try:
            found.append(_answer(result, result.case[KEY], result.run or {}))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UsageError(
                f"{where}: the result {result.id!r} is none of `agent eval` of this version; name another folder"
            ) from error
    return found


def _answer(result: Result, task: Mapping[str, Any], run: Mapping[str, Any]) -> Answer:
    usage, calls = run.get("usage") or {}, run.get("tool_calls") or {}
    attempts, hidden = run.get("attempts") or [], run.get("hidden_tests") or {}
    speeds = [one["speed"] for one in attempts]
    total = int(calls.get("total", 0))
    share = calls.get("right_first_time")
    return Answer(
        case=str(task["case"]),
        digest=str(task["digest"]),
        model=str(task["model"]),
        repeat=int(task["repeat"]),
        task_class=str(task["class"]),
        route=str(run.get("task_class") or ""),
        status=result.status,
        error=result.error or "",
        right=hidden.get("right"),
        cost_usd=result.cost_usd if result.run else None,  # what was killed told no cost
        tokens=sum(int(usage.get(kind, 0)) for kind in ("input", "output", "cache_read", "cache_write")),
        output=int(usage.get("output", 0)),
        turns=sum(int(one["turns"]) for one in attempts),
        calls=total,
        first_time=total * share if share is not None else 0.0,
        refused=sum(int(one["refused"]) for one in attempts),
        mended=sum(int(one["mended"]) for one in attempts),
        attempts=tuple(
            Tried(int(one["turns"]), bool((one["verdict"] or {}).get("accepted"))) for one in attempts
        ),
        first_token_seconds=_middle(speed["first_token_seconds"] for speed in speeds),
        tokens_per_second=_middle(speed["tokens_per_second"] for speed in speeds),
        minutes=max(0.0, result.seconds - float(hidden.get("seconds", 0.0))) / 60,
    )


def _middle(values: Iterable[float | None]) -> float | None:
    from statistics import median

    known = [float(value) for value in values if value is not None]
    return median(known) if known else None
