"""Ready-made lines of results.jsonl: evaluations whose every figure is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.batch.drive import Result
from agent.evaluate.answers import KEY, Answer, answers


def line(case: str, model: str, status: str = "accepted", repeat: int = 1, **told: Any) -> Result:
    """One run of one attempt. `told`: right, usd, turns, output, calls, first_time, refused, mended, seconds, name (of
    its class), route, digest."""
    turns, calls = told.get("turns", 10), told.get("calls", 10)
    attempt = {
        "model": model,
        "turns": turns,
        "verdict": {"accepted": status == "accepted"},
        "refused": told.get("refused", 0),
        "mended": told.get("mended", 0),
        "speed": {"first_token_seconds": told.get("first", 0.5), "tokens_per_second": 50.0},
    }
    right = told.get("right")
    run = {
        "cost_usd": told.get("usd", 0.1),
        "usage": {"input": 1000, "output": told.get("output", 100), "cache_read": 400, "cache_write": 0},
        "tool_calls": {
            "total": calls,
            "failed": 0,
            "right_first_time": told.get("first_time", 1.0) if calls else None,
        },
        "attempts": [attempt],
        "task_class": told.get("route", "ordinary"),
        "hidden_tests": None if right is None else {"right": right, "why": "", "seconds": 30.0},
    }
    task = {
        "case": case,
        "digest": told.get("digest", "d"),
        "model": model,
        "repeat": repeat,
        "class": told.get("name", ""),
    }
    ended = status in ("accepted", "needs_review", "rejected", "not_reproduced", "limit", "model_error")
    error = None if status == "accepted" else "why"
    seconds = told.get("seconds", 90.0)
    name = f"{case} | {model} | {repeat}"
    return Result(name, "/r", status, error, 1, seconds, None, run if ended else None, {KEY: task})


def evaluation(**accepted: str) -> list[Answer]:
    """A model by name, and for each case `x` (accepted), `.` (rejected) or `?` (no answer)."""
    words = {"x": "accepted", ".": "rejected", "?": "environment"}
    return told(
        [
            line(f"case{number}", model, words[mark])
            for model, marks in accepted.items()
            for number, mark in enumerate(marks)
        ]
    )


def told(lines: Sequence[Result]) -> list[Answer]:
    return answers(lines, "here")
