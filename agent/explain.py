"""Why a run ended without an accepted patch: what was tried, what is ruled out, the best evidence, where to look next.

All of it is read from the events. The terminal, result.json and the pull request's comment tell the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.events import AttemptEnded, AttemptStarted, BaselineTaken, Event, RunStarted, VerdictReached
from agent.hypotheses import Entry, ledger
from agent.progress import clean

MAX_EVIDENCE = 1000
"""Characters of the evidence that is told; all of it stands in the verdicts."""

NEXT: Mapping[str, str] = {
    "applies": "The patch did not apply: see the evidence.",
    "policy": "Look at what the patch touches, and whether the repair needs that: then make this part by hand.",
    "tests_kept": "Look whether the test that was taken away is wrong: then change it by hand first.",
    "red": "Write a test that fails because of this issue, and name it with --fail-to-pass.",
    "scan": "Look at the lines that the evidence names: they answer the tests, not the issue.",
    "runner": "Look at how the suite ends with this patch: out of time, too early, or at odds with its report.",
    "green": "Look at the assertion that still fails, and at what else leads to it than the causes ruled out.",
    "pass_to_pass": "Decide which behaviour is right: the issue's, or that of the tests which now fail.",
    "vanished": "Look why these tests no longer run with the patch.",
    "newly_skipped": "Look why these tests are skipped with the patch.",
    "forgery": "Look at how the patch makes failing tests pass.",
    "unwatched": "Look at what the patch does where no test runner watches.",
    "repeat": "Look whether the test that shows the fault is flaky.",
    "adequate": "Write a stronger test of this issue, and name it with --fail-to-pass.",
    "review": "Look at the lines of the `review` check, then apply the patch if they are right.",
}
"""By the first check that failed in the best attempt: what a person does next."""


def explanation(log: Sequence[Event]) -> dict[str, Any] | None:
    """`tried` and `ruled_out` (one line each), `best` (attempt, patch, check, evidence) or None, and `look_next`.

    None for a run that was accepted, or in which no attempt came to an end.
    """
    models = {event.attempt: event.model for event in log if isinstance(event, AttemptStarted)}
    verdicts = {event.attempt: event.verdict for event in log if isinstance(event, VerdictReached)}
    entries = ledger(log)
    if not entries or any(verdict["accepted"] for verdict in verdicts.values()):
        return None
    ends = {event.attempt: event for event in log if isinstance(event, AttemptEnded)}
    best = _best(verdicts)
    return {
        "tried": [
            _tried(e, models.get(e.attempt, "?"), ends[e.attempt], verdicts.get(e.attempt)) for e in entries
        ],
        "ruled_out": [
            f"{_cause(entry)} - attempt {entry.attempt}: {_first(entry.evidence)}"
            for entry in entries
            if entry.standing == "refuted" and entry.hypothesis
        ],
        "best": best,
        "look_next": _next(best, entries, ends, log),
    }


def explained(told: Mapping[str, Any]) -> list[str]:
    """An explanation in lines for a person, made printable: models and tests wrote parts of it."""
    lines = ["tried:", *(f"  {clean(line)}" for line in told["tried"])]
    if told["ruled_out"]:
        lines += ["ruled out:", *(f"  {clean(line)}" for line in told["ruled_out"])]
    if best := told["best"]:
        lines += [
            f"best evidence: attempt {best['attempt']}, check {clean(best['check'])} ({best['patch']}):"
        ]
        lines += [f"  {clean(line)}" for line in best["evidence"].splitlines()]
    return [*lines, f"next: {clean(told['look_next'])}"]


def _tried(entry: Entry, model: str, end: AttemptEnded, verdict: Mapping[str, Any] | None) -> str:
    failed = [check["name"] for check in verdict["checks"] if not check["passed"]] if verdict else []
    how = f"failed {', '.join(failed)}" if failed else f"{end.how}: {_first(end.detail)}".rstrip(": ")
    parts = [f"attempt {entry.attempt}, {model}: {how}"]
    if entry.hypothesis:
        parts.append(f"cause: {_cause(entry)}")
    if entry.changed:
        parts.append(f"changed {'; '.join(entry.changed[:5])}")
    return " | ".join(parts)


def _cause(entry: Entry) -> str:
    said = entry.hypothesis
    return f"{', '.join(said.where) or 'no place'}: {_first(said.cause)}" if said else ""


def _first(text: str) -> str:
    """The first line that says something beyond a heading."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and line.strip() != "with the fix:"]
    return lines[0][:300] if lines else ""


def _best(verdicts: Mapping[int, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The rejected patch that came furthest: by the checks that passed before the first that failed."""
    ranked = []
    for attempt, verdict in verdicts.items():
        failed = [i for i, check in enumerate(verdict["checks"]) if not check["passed"]]
        if failed:
            ranked.append((failed[0], -len(failed), attempt, verdict["checks"][failed[0]]))
    if not ranked:
        return None
    _, _, attempt, check = max(ranked, key=lambda one: one[:3])
    evidence = str(check["evidence"])[:MAX_EVIDENCE]
    return {
        "attempt": attempt,
        "patch": f"gate/{attempt}.diff",
        "check": check["name"],
        "evidence": evidence,
    }


def _next(
    best: Mapping[str, Any] | None,
    entries: Sequence[Entry],
    ends: Mapping[int, AttemptEnded],
    log: Sequence[Event],
) -> str:
    if best is not None:
        name = str(best["check"])
        advice = NEXT.get(name, "Look at the evidence: this check must say no worse than on the base.")
        entry = next((entry for entry in entries if entry.attempt == best["attempt"]), None)
        where = entry.hypothesis.where if entry and entry.hypothesis and entry.standing != "refuted" else []
        return advice + (f" Begin at {', '.join(where)}." if where else "")
    how = {end.how for end in ends.values()}
    if how & {"turns", "minutes", "budget"}:
        return "Give it more (--turns, --minutes, --budget), or name the files in the issue."
    if how <= {"model_error", "refused"}:
        return "See what the provider says (the key, the model's name, an outage), or name another --model."
    if how == {"sandbox_died"}:
        return "Give the sandbox more memory ([sandbox] memory), or see what ends it in the log."
    if any(isinstance(event, RunStarted) and event.fail_to_pass for event in log):
        return "Try another model, or tell more in the issue: where it shows, and what is expected."
    if any(isinstance(event, BaselineTaken) and event.failing for event in log):
        return "Name the test that shows the issue with --fail-to-pass, or try another model."
    return "Add a test that fails because of this issue, name it with --fail-to-pass, or try another model."
