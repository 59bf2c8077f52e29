"""What an attempt is told: the issue, the proof that is asked for, and verified facts about rejected attempts.

The ledger of hypotheses and the root-cause brief grow here. The rule that holds already: a rejected patch's
text never enters a later conversation, only what the gate saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.prompts import render
from agent.types import Task, Verdict

MAX_LISTED = 40
MAX_EVIDENCE = 4000


@dataclass(frozen=True, slots=True)
class Rejection:
    """One attempt that did not end in an accepted patch."""

    attempt: int
    how: str
    """How the attempt ended, as in events.AttemptEnded."""
    detail: str
    verdict: Verdict | None


def brief(
    task: Task,
    test_command: str,
    baseline: Mapping[str, str],
    rejections: Sequence[Rejection] = (),
    *,
    attempts: int,
) -> str:
    """The first user message of an attempt. `baseline` is the outcome per test id at the base commit; `attempts`
    is how many there are at most."""
    text = render(
        "fix",
        # A text that closes the block itself could pass for the runtime's own words.
        issue=task.issue.strip().replace("</issue", "<\\/issue"),
        proof=_proof(task),
        test_command=test_command,
        baseline=_summary(baseline),
    )
    if not rejections:
        return text
    facts = "\n\n".join(_fact(rejection) for rejection in rejections)
    return (
        text
        + "\n"
        + render("retry", number=str(len(rejections) + 1), attempts=str(attempts), rejections=facts)
    )


def _proof(task: Task) -> str:
    if task.fail_to_pass and task.test_patch is None:
        return "These tests fail on the base commit and must pass with your patch:\n" + _listing(
            task.fail_to_pass
        )
    if task.test_patch is not None:
        return (
            "The fix is judged by tests that you cannot see. Make the behaviour right as the issue describes it; "
            "a test of your own helps you to check it."
        )
    return (
        "No test shows this issue yet. Add a new test that fails on the base commit because of the bug and passes "
        "with your fix; without one the patch is rejected."
    )


def _summary(outcomes: Mapping[str, str]) -> str:
    failing = sorted(test for test, outcome in outcomes.items() if outcome in ("failed", "error"))
    passing = sum(outcome == "passed" for outcome in outcomes.values())
    text = f"{passing} tests pass, {len(failing)} fail."
    return text + ("\nFailing on the base:\n" + _listing(failing) if failing else "")


def _listing(ids: Sequence[str]) -> str:
    lines = [f"- {one}" for one in ids[:MAX_LISTED]]
    if len(ids) > MAX_LISTED:
        lines.append(f"- … and {len(ids) - MAX_LISTED} more")
    return "\n".join(lines)


def _fact(rejection: Rejection) -> str:
    lines = [f"Attempt {rejection.attempt}: {rejection.how}"]
    if rejection.how not in ("submitted", "gave_up"):
        # There the detail is the runtime's; here it would be the model's own claim, and nothing unverified is fed back.
        lines[0] += f": {rejection.detail}" if rejection.detail else ""
    for check in rejection.verdict.checks if rejection.verdict else ():
        if not check.passed:
            lines.append(f"- check `{check.name}` failed: {check.evidence[:MAX_EVIDENCE]}")
    return "\n".join(lines)
