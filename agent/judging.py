"""The gate's part of a run: a patch judged, its verdict kept, and the patch put where the user wants it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import events
from agent.errors import AgentError, EnvironmentFault
from agent.job import Job, Start
from agent.past import patch_path
from agent.redaction import redact
from agent.result import RunEnding, servers_used, write_atomically
from agent.types import Verdict, issue_title
from agent.working import Waiting
from sandboxes.errors import EngineUnavailable


async def judged(job: Job, start: Start, number: int, patch: bytes) -> Verdict:
    """The gate's word on `patch`, kept in the run's folder; what it said before stands."""
    from agent.gate.judge import judge
    from agent.gate.proof import proof, verdict_json

    if (said := job.past.verdict(number)) is not None:
        return said
    job.log.append(events.PhaseStarted("gate", f"attempt {number}"))
    waiting = Waiting()
    while True:
        try:
            verdict = await judge(start.gate, patch, **_inputs(job, start))
            break
        except (EnvironmentFault, EngineUnavailable) as fault:
            # The engine's absence says nothing of the patch, so it is judged from the beginning.
            away = any(isinstance(one, EngineUnavailable) for one in (fault, fault.__cause__))
            if not away or not await waiting.goes_on(0):
                raise
            start.spares.forget()
            job.note(f"judged again: {fault}", "warning")
    told = verdict_json(verdict)
    _keep_json(job, patch_path(job.folder, number).with_suffix(".json"), told)
    if verdict.accepted:
        evidence = proof(
            verdict,
            base=job.task.base,
            patch=patch,
            environment=start.environment,
            test_command=job.settings.test,
            fail_to_pass=job.task.fail_to_pass,
            test_patch=job.task.test_patch,
        )
        evidence["mcp_servers"] = servers_used(job.log.events)
        _keep_json(job, job.folder / "proof.json", evidence)
    # Last: a run that is gone on with takes what the log tells to be on disk.
    job.log.append(events.VerdictReached(number, told, verdict.traces, verdict.proven_tests))
    return verdict


def _keep_json(job: Job, path: Path, data: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(redact(data, job.log.secrets), indent=2).encode() + b"\n")


def _inputs(job: Job, start: Start) -> dict[str, Any]:
    """What the gate judges by, beside the patch."""
    return {
        "base": job.task.base,
        "fail_to_pass": job.task.fail_to_pass,
        "test_patch": job.task.test_patch,
        "baseline": start.baseline,
        "extra_checks": job.settings.checks,
    }


@dataclass
class Publishing:
    """Where an accepted patch goes on this machine besides the run's folder."""

    job: Job
    output: Path | None
    branch: str | None

    def published(self, patch: bytes, verdict: Verdict) -> RunEnding:
        """Put the patch where the user asked for it; the run's folder always has it."""
        job, status = self.job, verdict.status
        path = own = job.folder / "patch.diff"
        write_atomically(path, patch)
        branch = self.branch if verdict.accepted else None
        try:
            if self.output is not None:
                write_atomically(self.output, patch)
                path = self.output
            if branch is not None:
                base = job.task.base
                tree = job.repository.apply(job.repository.tree_of(base), patch)
                title = issue_title(job.task.issue)
                message = f"Fix: {title[:68]}\n\nAccepted by the gate of run {job.run_id}.\n"
                job.repository.create_branch(branch, tree, base, message)
        except (OSError, AgentError) as error:
            # The verdict stands and the patch is safe; only its second home failed.
            job.note(f"the patch is in {own}, but not published: {error}", "warning")
            return RunEnding(status, patch=str(own), error=f"not published: {error}")
        return RunEnding(status, patch=str(path), branch=branch)


async def offer_smaller(job: Job, start: Start, patch: bytes, verdict: Verdict) -> None:
    """Put a smaller patch that is accepted too beside an accepted one."""
    from agent.gate.smaller import smaller

    try:
        found = await smaller(start.gate, verdict, patch, **_inputs(job, start))
    except EnvironmentFault as fault:
        job.note(f"not looked for a smaller patch: {fault}", "warning")
        return
    if found:
        path = job.folder / "smaller.diff"
        write_atomically(path, found.patch)
        left = "\n".join(found.left_out)
        job.note(f"accepted as well without these hunks, as {path}:\n{left}")
