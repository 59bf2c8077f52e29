"""Verdicts as JSON, and `proof.json`: all that is needed to judge an accepted patch again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.types import Check, Verdict

if TYPE_CHECKING:
    from sandboxes.types import Environment

SCHEMA = 1


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as `agent gate --json` prints it."""
    return {
        "accepted": verdict.accepted,
        "needs_review": verdict.needs_review,
        "checks": [
            {"name": check.name, "passed": check.passed, "evidence": check.evidence}
            for check in verdict.checks
        ],
        "fail_to_pass": list(verdict.fail_to_pass),
        "before": dict(verdict.before),
        "after": dict(verdict.after),
        "seconds": verdict.seconds,
    }


def verdict_from_json(data: Mapping[str, Any]) -> Verdict:
    """The inverse of `verdict_json`. Raises KeyError or TypeError for what is no verdict."""
    return Verdict(
        accepted=data["accepted"],
        checks=tuple(Check(check["name"], check["passed"], check["evidence"]) for check in data["checks"]),
        needs_review=data["needs_review"],
        fail_to_pass=tuple(data["fail_to_pass"]),
        before=dict(data["before"]),
        after=dict(data["after"]),
        seconds=data["seconds"],
    )


def proof(
    verdict: Verdict,
    *,
    base: str,
    patch: bytes,
    environment: Environment,
    test_command: str,
    fail_to_pass: Sequence[str] = (),
    test_patch: bytes | None = None,
) -> dict[str, Any]:
    """What `proof.json` holds: the inputs of the judgement by id and hash, and the verdict with every outcome.

    `base` is the commit id; `fail_to_pass` and `test_patch` are what the judge was given.
    """
    return {
        "schema": SCHEMA,
        "base": base,
        "patch_sha256": hashlib.sha256(patch).hexdigest(),
        "test_patch_sha256": hashlib.sha256(test_patch).hexdigest() if test_patch is not None else None,
        "image": environment.image,
        "environment_digest": environment.digest,
        "test_command": test_command,
        "named_fail_to_pass": list(fail_to_pass),
        **verdict_json(verdict),
    }
