"""Results as graders take them, in the form of the benchmark that a task is of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from agent.batch.drive import Result
from agent.batch.instances import INSTANCE, MULTI, PRO

ANSWERS = ("accepted", "needs_review", "rejected", "not_reproduced", "limit")
"""Endings that are the model's word on a task. A crash or a broken environment is no prediction."""
EVALUATION = "evaluation"
"""Under which the `case` of an evaluation's run holds which case it is of: the run's own id says more than that."""


def prediction(result: Result) -> dict[str, Any] | None:
    """The line of predictions.jsonl, in SWE-bench's form or Multi-SWE-bench's; None for what is no answer."""
    if result.status not in ANSWERS:
        return None
    known, patch = _of(result, INSTANCE), result.model_patch or ""
    if known.get("set") == MULTI:
        return {**{key: known.get(key) for key in ("org", "repo", "number")}, "fix_patch": patch}
    return {
        "instance_id": _instance_id(result),
        "model_name_or_path": _model(result),
        "model_patch": patch,
    }


def prediction_files(results: Iterable[Result], stem: str = "predictions") -> dict[str, bytes]:
    """STEM.jsonl, and with tasks of SWE-bench Pro STEM.json, the one array of those that its grader takes."""
    results = list(results)
    lines = [line for result in results if (line := prediction(result)) is not None]
    files = {f"{stem}.jsonl": b"".join(map(json_line, lines))}
    pro = [one for one in results if one.status in ANSWERS and _of(one, INSTANCE).get("set") == PRO]
    if pro:
        files[f"{stem}.json"] = json.dumps([_of_pro(one) for one in pro], indent=1).encode() + b"\n"
    return files


def json_line(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def _of_pro(result: Result) -> dict[str, Any]:
    # the grader begins the names of its files with the prefix
    prefix = _model(result).replace("/", "__")
    return {"instance_id": _instance_id(result), "patch": result.model_patch or "", "prefix": prefix}


def _instance_id(result: Result) -> str:
    return str(_of(result, EVALUATION).get("case", result.id))


def _model(result: Result) -> str:
    attempts = result.run["attempts"] if result.run else []
    return str(attempts[-1]["model"]) if attempts else "none"


def _of(result: Result, key: str) -> Mapping[str, Any]:
    """An object of the task's `case`, which may be anybody's."""
    value = result.case.get(key)
    return value if isinstance(value, Mapping) else {}
