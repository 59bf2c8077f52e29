"""Verdicts as JSON, and `proof.json`: all that is needed to judge an accepted patch again."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from agent.types import Check, Verdict

if TYPE_CHECKING:
    from sandboxes.types import Environment

SCHEMA = 2
"""2: the patches themselves, so that the bundle alone is enough to judge again."""


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
    """What `proof.json` holds: all inputs of the judgement, and the verdict with every outcome.

    `base` is the commit id; `fail_to_pass` and `test_patch` are what the judge was given.
    """
    return {
        "schema": SCHEMA,
        "base": base,
        "patch_sha256": hashlib.sha256(patch).hexdigest(),
        "patch": base64.b64encode(patch).decode(),
        "test_patch": base64.b64encode(test_patch).decode() if test_patch is not None else None,
        "test_patch_sha256": hashlib.sha256(test_patch).hexdigest() if test_patch is not None else None,
        "image": environment.image,
        "environment_digest": environment.digest,
        "test_command": test_command,
        "named_fail_to_pass": list(fail_to_pass),
        **verdict_json(verdict),
    }


@dataclass(frozen=True)
class Proof:
    """A `proof.json` that was read: what was judged, and how it ended."""

    base: str
    patch: bytes
    test_patch: bytes | None
    test_command: str
    fail_to_pass: tuple[str, ...]
    image: str
    """Its id; with bubblewrap the folder of what was set up."""
    digest: str
    """Of the environment it was judged in."""
    verdict: Verdict


def read_proof(data: bytes, where: str) -> Proof:
    """Raises UsageError that names the fault: no proof, another version, or a patch that is not the one it names."""
    try:
        told = json.loads(data)
        if told["schema"] != SCHEMA:
            raise UsageError(
                f"{where}: a proof of version {told['schema']!r}; this agent reads version {SCHEMA}"
            )
        hidden = told["test_patch"]
        proof = Proof(
            str(told["base"]),
            base64.b64decode(told["patch"], validate=True),
            None if hidden is None else base64.b64decode(hidden, validate=True),
            str(told["test_command"]),
            tuple(map(str, told["named_fail_to_pass"])),
            str(told["image"]),
            str(told["environment_digest"]),
            verdict_from_json(told),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{where}: not a proof.json: {type(error).__name__}: {error}") from error
    if hashlib.sha256(proof.patch).hexdigest() != told["patch_sha256"]:
        raise UsageError(f"{where}: the patch in it is not the one that its hash names")
    return proof


def differences(then: Verdict, now: Verdict) -> list[str]:
    """Where two judgements of the same patch differ, test by test, a line each."""
    lines = [] if then.status == now.status else [f"verdict: {then.status} then, {now.status} now"]
    for what, old, new in (
        ("without the fix", then.before, now.before),
        ("with the fix", then.after, now.after),
    ):
        for test in sorted(old.keys() | new.keys()):
            if old.get(test) != new.get(test):
                was, is_now = old.get(test, "absent"), new.get(test, "absent")
                lines.append(f"{test} {what}: {was} then, {is_now} now")
    return lines
