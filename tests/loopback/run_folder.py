"""A run's folder as `agent fix` leaves it, written by the agent's own code, without a model or a sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent import events
from agent.event_log import EventLog
from agent.gate.proof import proof, verdict_json
from agent.git import Repository
from agent.result import RunEnding, build_result, write_atomically
from agent.types import Check, Task, Verdict
from sandboxes.types import Environment

RUN = "20260302-080000-abcd"
TEST = "tests/test_calc.py::test_above"
CHECKS = ("applies", "policy", "red", "green", "pass_to_pass")
IMAGE = f"sha256:{'e' * 64}"
CAUSE = "calc.py:5: clamp returns low for values above high"


def patch_of(repo: Path, changes: dict[str, str | None], base: str = "HEAD") -> tuple[str, bytes]:
    """The base commit and the patch that writes (or removes) these files."""
    with Repository(repo) as repository:
        commit = repository.resolve(base)
        tree = repository.tree_of(commit)
        entries = {
            path: None if text is None else ("100644", repository.add_blob(text.encode()))
            for path, text in changes.items()
        }
        return commit, repository.diff(tree, repository.with_files(tree, entries))


def run_folder(
    folder: Path,
    base: str,
    patch: bytes | None,
    *,
    status: Any = "accepted",
    issue: str = "7",
    text: str = "# clamp() is wrong above the range\n\nIt gives 1.\n",
    run_id: str = RUN,
    cause: str = CAUSE,
    test: str = TEST,
    evidence: str = "the suite says so",
    error: str | None = None,
) -> Path:
    """`status` accepted needs a patch; any other has its gate's verdict rejected where there is a patch."""
    folder.mkdir(parents=True)
    log = EventLog(folder / "events.jsonl")
    task = Task(text, issue, "/repo", base)
    log.append(
        events.RunStarted(run_id, issue, text, "/repo", base, ("local/repair",), "python -m pytest", (), {})
    )
    log.append(events.AttemptStarted(1, "local/repair", None, "system"))
    accepted = status == "accepted"
    log.append(
        events.AttemptEnded(
            1, "submitted" if patch else "gave_up", "done", cause, None, 3, 1.5, ("calc.py:5",)
        )
    )
    if patch is not None:
        checks = tuple(Check(name, accepted or name != "green", evidence) for name in CHECKS)
        verdict = Verdict(
            accepted,
            checks,
            status == "needs_review",
            (test,),
            {test: "failed"},
            {test: "passed", "t::other": "passed"},
        )
        data = verdict_json(verdict)
        log.append(events.VerdictReached(1, data))
        write_atomically(folder / "gate/1.diff", patch)
        write_atomically(folder / "gate/1.json", json.dumps(data, indent=2).encode() + b"\n")
        if accepted:
            environment = Environment(IMAGE, "toolbox", "tools", "/usr/bin", digest=f"sha256:{'d' * 64}")
            told = proof(
                verdict,
                base=base,
                patch=patch,
                environment=environment,
                test_command="python -m pytest",
            )
            write_atomically(folder / "proof.json", json.dumps(told, indent=2).encode() + b"\n")
            write_atomically(folder / "patch.diff", patch)
    path = str(folder / "patch.diff") if accepted else None
    result = build_result(log.events, task, run_id, RunEnding(status, patch=path, error=error))
    write_atomically(folder / "result.json", json.dumps(result, indent=2).encode() + b"\n")
    return folder
