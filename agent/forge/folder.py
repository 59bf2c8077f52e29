"""A run's folder as a stranger left it: read, bounded, and checked before anything of it is published.

The job that publishes holds a token that can write, and has not seen the run. So a patch counts as accepted only when
result.json, proof.json and the gate's own file say so, check by check, of these very bytes.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import Refused, UsageError
from agent.gate.proof import Proof, read_proof, verdict_json
from agent.result import EXIT_CODES, SCHEMA

MAX_JSON = 64 * 1024 * 1024
MAX_PATCH = 16 * 1024 * 1024

_TEXT: Mapping[str, Any] = {"type": "string"}
_MAYBE: Mapping[str, Any] = {"type": ["string", "null"]}
_TEXTS: Mapping[str, Any] = {"type": "array", "items": _TEXT}
_RESULT: Mapping[str, Any] = {
    "type": "object",
    "required": [
        "schema",
        "run_id",
        "status",
        "error",
        "issue",
        "base",
        "attempts",
        "explanation",
        "cost_usd",
    ],
    "properties": {
        "schema": {"const": SCHEMA},
        "run_id": {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}\Z"},
        "status": {"enum": list(EXIT_CODES)},
        "error": _MAYBE,
        "issue": _TEXT,
        "title": _TEXT,
        "base": {"type": "string", "pattern": r"^[0-9a-f]{40}([0-9a-f]{24})?\Z"},
        "cost_usd": {"type": ["number", "null"]},
        "attempts": {
            "type": "array",
            "maxItems": 1000,
            "items": {
                "type": "object",
                "required": ["model", "thinking", "root_cause", "verdict"],
                "properties": {
                    "model": _TEXT,
                    "thinking": _MAYBE,
                    "root_cause": _TEXT,
                    "verdict": {"type": ["object", "null"]},
                },
            },
        },
        "explanation": {
            "type": ["object", "null"],
            "required": ["tried", "ruled_out", "best", "look_next"],
            "properties": {
                "tried": _TEXTS,
                "ruled_out": _TEXTS,
                "look_next": _TEXT,
                "best": {
                    "type": ["object", "null"],
                    "required": ["attempt", "patch", "check", "evidence"],
                    "properties": {
                        "attempt": {"type": "integer"},
                        "patch": _TEXT,
                        "check": _TEXT,
                        "evidence": _TEXT,
                    },
                },
            },
        },
    },
}
"""What of result.json is used, and of what types."""

_OUTCOMES: Mapping[str, Any] = {"type": "object", "additionalProperties": _TEXT}
_CHECK: Mapping[str, Any] = {
    "type": "object",
    "properties": {"name": _TEXT, "passed": {"type": "boolean"}, "evidence": _TEXT},
}
_VERDICT: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "accepted": {"type": "boolean"},
        "checks": {"type": "array", "items": _CHECK},
        "fail_to_pass": _TEXTS,
        "before": _OUTCOMES,
        "after": _OUTCOMES,
    },
}
"""The types of a verdict whose fields are all there."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A patch that the gate accepted, with its proof."""

    patch: bytes
    proof: Proof
    attempt: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """What a run came to. `accepted` is None where it brought no patch that the gate accepts."""

    result: Mapping[str, Any]
    accepted: Accepted | None

    @property
    def run_id(self) -> str:
        return str(self.result["run_id"])

    @property
    def status(self) -> str:
        return str(self.result["status"])

    @property
    def attempts(self) -> Sequence[Mapping[str, Any]]:
        attempts: Sequence[Mapping[str, Any]] = self.result["attempts"]
        return attempts


def read_run(folder: Path) -> RunFolder:
    """The run whose folder this is. Raises UsageError where it is none, Refused where its files contradict each
    other."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a run's folder; `agent runs` lists the runs")
    result = _json(folder / "result.json")
    if fault := _fault(_RESULT, result):
        raise UsageError(f"{folder / 'result.json'}: not a result of this agent: {fault}")
    if result["status"] != "accepted":
        return RunFolder(result, None)
    return RunFolder(result, _accepted(folder, result))


def _accepted(folder: Path, result: Mapping[str, Any]) -> Accepted:
    try:
        patch = _read(folder / "patch.diff", MAX_PATCH)
        proof = read_proof(_read(folder / "proof.json", MAX_JSON), str(folder / "proof.json"))
    except UsageError as fault:
        raise Refused(f"the run says accepted, but {fault}") from fault
    verdict = proof.verdict
    told = verdict_json(verdict)
    if odd := _fault(_VERDICT, told):
        raise Refused(f"proof.json holds no verdict of this agent: {odd}")
    failed = [check.name for check in verdict.checks if check.passed is not True]
    attempts = [
        one for one in result["attempts"] if one["verdict"] and one["verdict"].get("accepted") is True
    ]
    if verdict.accepted is not True or verdict.needs_review is not False or failed or not verdict.checks:
        raise Refused(f"proof.json is of no accepted patch ({', '.join(failed) or 'its verdict'})")
    if patch != proof.patch:
        raise Refused("patch.diff is not the patch that proof.json is of")
    if proof.base != result["base"]:
        raise Refused(f"the proof is for base {proof.base[:40]}, the run for {result['base']}")
    if not verdict.fail_to_pass:
        raise Refused("proof.json names no test that was red before and green after")
    if not any(one["verdict"] == told for one in attempts) or told not in _gate_files(folder):
        raise Refused("no attempt of result.json and no gate/N.json has the verdict of proof.json")
    attempt = next(one for one in attempts if one["verdict"] == told)
    return Accepted(patch, proof, attempt)


def _fault(schema: Mapping[str, Any], data: Any) -> str | None:
    """Where data first departs from a schema, and how."""
    from jsonschema import Draft202012Validator

    faults = sorted(Draft202012Validator(schema).iter_errors(data), key=lambda error: error.json_path)
    return f"{faults[0].json_path}: {faults[0].message[:200]}" if faults else None


def _gate_files(folder: Path) -> list[Any]:
    """The gate's own verdicts, gate/N.json."""
    gate = folder / "gate"
    if gate.is_symlink() or not gate.is_dir():
        return []
    return [
        _json(path) for path in sorted(gate.iterdir())[:1000] if re.fullmatch(r"[0-9]{1,4}\.json", path.name)
    ]


def _json(path: Path) -> Any:
    try:
        return json.loads(_read(path, MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {type(error).__name__}") from error


def _read(path: Path, most: int) -> bytes:
    """A regular file's bytes: no link, no pipe, no more than `most`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise UsageError(f"{path}: not a regular file")
        data = file.read(most + 1)
    if len(data) > most:
        raise UsageError(f"{path}: longer than {most} bytes")
    return data
