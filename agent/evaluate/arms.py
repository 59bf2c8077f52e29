"""Cases x models x repeats as task lines of a batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from agent.batch.instances import HIDDEN
from agent.batch.tasks import TaskLine
from agent.evaluate.answers import KEY


def task_lines(cases: Sequence[TaskLine], models: Sequence[str], repeats: int) -> list[TaskLine]:
    """Each model's turn comes before any case's second: what is there after half the time compares them all."""
    return [
        replace(
            case,
            id=f"{case.id} | {model} | {repeat}",
            models=(model,),
            test_patch=hidden_tests(case),
            case={
                **{key: value for key, value in case.case.items() if key != HIDDEN},
                KEY: {
                    "case": case.id,
                    "digest": digest(case),
                    "model": model,
                    "repeat": repeat,
                    "class": str(case.case.get("class") or ""),
                },
            },
        )
        for repeat in range(1, repeats + 1)
        for case in cases
        for model in models
    ]


def hidden_tests(case: TaskLine) -> str | None:
    """Of the line itself, or of an instance of a benchmark, which only a grader may see."""
    kept = case.case.get(HIDDEN)
    return case.test_patch or (kept if isinstance(kept, str) else None)


def digest(case: TaskLine) -> str:
    """Equal for the same task, wherever its repository lies."""
    told = {
        name: value
        for name, value in asdict(case).items()
        if name not in ("repo", "models", "case", "fault", "test_patch")
    }
    told["hidden_tests"] = hidden_tests(case)
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
