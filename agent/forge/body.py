"""What a pull request and a comment say of a run. Every word of models, tests and the issue is made neutral."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.forge.folder import Accepted, RunFolder
from agent.forge.neutral import block, code, line
from agent.gate.proof import Proof
from agent.types import Verdict

T = TypeVar("T")

MAX_BODY = 65_536
"""Characters that GitHub takes."""
MAX_TITLE = 72
MAX_CAUSE = 6000
MAX_TESTS = 60
MAX_CHECKS = 40
MAX_FILES = 60
MAX_LINES = 20
"""Lines of what was tried, and of what is ruled out."""
CELL = 160

TRAILER = "Assay-Run"
"""In the message of each commit of ours; a branch whose last commit has none is a person's."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the texts are written with: secrets to cut out, the issue's number, and a link to where the run was."""

    secrets: Sequence[str]
    issue: int | None = None
    link: str | None = None


def pull_marker(run_id: str, issue: int | None) -> str:
    """Hidden at the start of a pull request's text: that it is ours, of which run, for which issue."""
    return f"<!-- assay pull run={run_id} issue={issue or '-'} -->"


PULL_MARKER = "<!-- assay pull "


def comment_marker(issue: int) -> str:
    """Hidden at the start of our comment on an issue."""
    return f"<!-- assay comment issue={issue} -->"


def title(run: RunFolder, words: Words) -> str:
    said = line(str(run.result.get("title") or ""), words.secrets, MAX_TITLE - 5)
    return f"Fix: {said}" if said else f"Fix of run {run.run_id}"


def commit_message(run: RunFolder, accepted: Accepted, words: Words) -> str:
    number = len(accepted.proof.verdict.fail_to_pass)
    shown = f"{number} test{'' if number == 1 else 's'} shown red before and green after"
    parts = [title(run, words)]
    if words.issue is not None:
        parts.append(f"Fixes #{words.issue}")
    parts += [f"Accepted by the gate: {shown}.", f"{TRAILER}: {run.run_id}"]
    return "\n\n".join(parts) + "\n"


def pull_body(run: RunFolder, accepted: Accepted, lines: Mapping[str, tuple[int, int]], words: Words) -> str:
    """The text of a pull request; `lines` has for each file what was added and removed."""
    secrets, verdict = words.secrets, accepted.proof.verdict
    parts = [pull_marker(run.run_id, words.issue)]
    if words.issue is not None:
        parts.append(f"Fixes #{words.issue}")
    parts += [
        "### Root cause, as the model states it",
        block(str(accepted.attempt["root_cause"]) or "not stated", secrets, MAX_CAUSE, prose=True),
        "### What changed",
        _table(
            ("file", "added", "removed"),
            list(lines),
            lambda path: (code(path, secrets), *map(str, lines[path])),
            MAX_FILES,
        ),
        "### Tests: red before, green after",
        _tests(verdict, secrets),
        "### Checks of the gate",
        _table(
            ("check", "passed", "evidence"),
            verdict.checks,
            lambda check: (code(check.name, secrets), "yes", code(check.evidence, secrets, CELL)),
            MAX_CHECKS,
        ),
        "### Judge it again",
        _again(run, words),
        "### The run",
        _facts(run, accepted.attempt, words, accepted.proof),
    ]
    return _bounded("\n\n".join(parts))


def failure_comment(run: RunFolder, words: Words) -> str:
    """The comment on an issue whose run brought no accepted patch: tried, ruled out, and where a person should look."""
    assert words.issue is not None
    secrets, result = words.secrets, run.result
    parts = [
        comment_marker(words.issue),
        f"This run brought no pull request: {_WHY[run.status]} (`{run.status}`).",
    ]
    if result["error"]:
        parts.append(block(result["error"], secrets, 1500, prose=True))
    if told := result["explanation"]:
        for heading, lines in (("What was tried", told["tried"]), ("What is ruled out", told["ruled_out"])):
            if lines:
                kept = [
                    *lines[:MAX_LINES],
                    *([f"… and {len(lines) - MAX_LINES} more"] if lines[MAX_LINES:] else []),
                ]
                parts += [
                    f"### {heading}",
                    block("\n".join(f"- {one}" for one in kept), secrets, 8000, prose=True),
                ]
        if best := told["best"]:
            where = f"attempt {best['attempt']}, check {code(best['check'], secrets)} ({code(best['patch'], secrets)})"
            parts += [f"### The best evidence: {where}", block(best["evidence"], secrets, 4000)]
        parts += ["### What a person should look at", block(told["look_next"], secrets, 2000, prose=True)]
    attempt = run.attempts[-1] if run.attempts else None
    parts += ["### The run", _facts(run, attempt, words)]
    return _bounded("\n\n".join(parts))


def solved_comment(issue: int, run: RunFolder, url: str) -> str:
    """What our comment says after a later run was accepted."""
    return f"{comment_marker(issue)}\n\nA later run, `{run.run_id}`, was accepted: {url}"


_WHY: Mapping[str, str] = {
    "rejected": "the gate accepted no patch",
    "not_reproduced": "the tests do not show this issue on the base commit",
    "needs_review": "the evidence is green, but a person must look before it counts",
    "limit": "the run reached a limit before a patch was accepted",
    "environment": "the repository's tests could not be run",
    "model_error": "no model could be asked",
    "interrupted": "the run was interrupted",
}


def _tests(verdict: Verdict, secrets: Sequence[str]) -> str:
    def outcome(told: Mapping[str, str], test: str) -> str:
        return code(told.get(test, "not there"), secrets, 30)

    def row(test: str) -> Sequence[str]:
        return code(test, secrets), outcome(verdict.before, test), outcome(verdict.after, test)

    shown = set(verdict.fail_to_pass)
    others = sum(outcome == "passed" and test not in shown for test, outcome in verdict.after.items())
    table = _table(("test", "without the fix", "with it"), verdict.fail_to_pass, row, MAX_TESTS)
    return f"{table}\n\nOther tests that pass with the fix: {others}."


def _again(run: RunFolder, words: Words) -> str:
    where = f"the artifact of [the workflow's run]({words.link})" if words.link else "the run's folder"
    return (
        f"`proof.json`, in {where}, holds the base commit, the patch, the test command and every outcome. In a "
        "clone:\n\n"
        f"```sh\nagent gate --repo . --proof {run.run_id}/proof.json\n```"
    )


def _facts(
    run: RunFolder, attempt: Mapping[str, Any] | None, words: Words, proof: Proof | None = None
) -> str:
    cost, secrets = run.result["cost_usd"], words.secrets
    rows = [("run", code(run.run_id, secrets)), ("base commit", code(str(run.result["base"]), secrets))]
    if attempt is not None:
        rows += [
            ("model", code(attempt["model"], secrets)),
            ("thinking", code(attempt["thinking"] or "the model's default", secrets)),
        ]
    rows += [
        ("attempts", str(len(run.attempts))),
        ("cost", "unknown" if cost is None else f"{cost:.4f} USD"),
    ]
    if proof is not None:
        rows += [("image", code(proof.image, secrets)), ("environment's digest", code(proof.digest, secrets))]
    if words.link:
        rows.append(("workflow", words.link))
    return _table(("", ""), rows, lambda row: row, len(rows))


def _table(head: Sequence[str], items: Sequence[T], row: Callable[[T], Sequence[str]], most: int) -> str:
    """A table with a row for each of the first items, and a word on the others."""
    rows = [head, ["---"] * len(head), *map(row, items[:most])]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    if len(items) > most:
        lines.append(f"\n… and {len(items) - most} more")
    return "\n".join(lines)


def _bounded(body: str) -> str:
    """All parts have bounds of their own that keep the whole below GitHub's; this is for a slip in them."""
    if len(body) <= MAX_BODY:
        return body
    return body[: MAX_BODY - 30].rsplit("\n", 1)[0] + "\n\n[… cut]"
