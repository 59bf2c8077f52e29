"""What an attempt is told: the issue, the proof that is asked for, and after a rejection what was run and seen.

A rejected patch's code never enters a later conversation: only the gate's evidence, the places that it touched, the
cause that it was made on and what became of that, and a test of its own that the gate has seen to fail on the base.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agent.hypotheses import Entry, Standing
from agent.prompts import render
from agent.types import Task, Verdict

MAX_LISTED = 40
MAX_EVIDENCE = 4000
"""Characters of one check's evidence."""
MAX_TRACE = 2500
"""Characters of one failing test's trace: its end, where the assertion stands."""
MAX_TRACES = 3
MIN_CODE = 12
"""Characters of code that is known again in the midst of a line."""
MAX_CLAIM = 600
"""Characters of what a model said of the cause."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One attempt that did not end in an accepted patch."""

    attempt: int
    how: str
    """How the attempt ended, as in events.AttemptEnded."""
    detail: str
    verdict: Verdict | None
    patch: bytes | None = None


@dataclass(frozen=True, slots=True)
class Dossier:
    """What is known besides the issue when an attempt starts."""

    rejections: Sequence[Rejection] = ()
    entries: Sequence[Entry] = ()
    """The ledger's, of which those of the rejections are told."""
    tests: Sequence[str] = ()
    """Paths of tests of an earlier attempt that were shown red on the base, and stand in the workspace."""
    suspects: str = ""
    """Lines of the base that only failing tests run, as text."""


def brief(
    task: Task,
    test_command: str,
    baseline: Mapping[str, str],
    dossier: Dossier | None = None,
    *,
    number: int = 1,
    attempts: int,
    is_product: Callable[[str], bool] = lambda path: True,
    repository_map: str = "",
) -> str:
    """The first user message of attempt `number` of at most `attempts`. `baseline` is the outcome per test id at the
    base commit; `is_product` tells the paths whose rejected code is kept out; `repository_map` is the map for
    the issue."""
    text = render(
        "fix",
        # A text that closes the block itself could pass for the runtime's own words.
        issue=task.issue.strip().replace("</issue", "<\\/issue"),
        proof=_proof(task).strip(),
        test_command=test_command,
        baseline=_summary(baseline),
    )
    if repository_map:
        text = f"{text}\n{render('map', map=repository_map.rstrip())}"
    if dossier is None or not dossier.rejections:
        return text
    entries = {entry.attempt: entry for entry in dossier.entries}
    facts = "\n\n".join(
        _fact(one, entries.get(one.attempt), is_product) + _alike(one, dossier.rejections)
        for one in dossier.rejections
    )
    retry = render(
        "retry",
        number=str(number),
        attempts=str(attempts),
        rejections=facts,
        evidence=_evidence(dossier),
    )
    return f"{text}\n{retry}"


def _proof(task: Task) -> str:
    if task.test_patch is not None:
        return render("hidden")
    if task.fail_to_pass:
        return render("named", tests=_listing(task.fail_to_pass))
    return render("reproduce")


def _summary(outcomes: Mapping[str, str]) -> str:
    failing = sorted(test for test, outcome in outcomes.items() if outcome in ("failed", "error"))
    passing = sum(outcome == "passed" for outcome in outcomes.values())
    skipped = sum(outcome in ("skipped", "xfailed") for outcome in outcomes.values())
    more = f", {skipped} are skipped or expected to fail" if skipped else ""
    text = f"{passing} tests pass, {len(failing)} fail{more}."
    return text + ("\nFailing on the base:\n" + _listing(failing) if failing else "")


def _listing(ids: Sequence[str]) -> str:
    lines = [f"- {one}" for one in ids[:MAX_LISTED]]
    if len(ids) > MAX_LISTED:
        lines.append(f"- … and {len(ids) - MAX_LISTED} more")
    return "\n".join(lines)


STANDINGS: Mapping[Standing, str] = {
    "refuted": "REFUTED as the whole cause: the tests that show the fault failed with that change, too (the place may "
    "still be right, and the change not enough)",
    "incomplete": "not refuted, but not all of it: the tests that show the fault passed, and others then failed",
    "open": "neither confirmed nor refuted",
    "confirmed": "confirmed",
}


def _fact(rejection: Rejection, entry: Entry | None, is_product: Callable[[str], bool]) -> str:
    def clean(text: str) -> str:
        # Before anything is cut: a part of a line would not be known again.
        return without_code(text, rejection.patch, is_product)

    lines = [f"Attempt {rejection.attempt}: {rejection.how}"]
    if rejection.how not in ("submitted", "gave_up", "drift"):
        # There the detail is the runtime's; here it would be the model's own claim, or quote its calls, and nothing
        # unverified is fed back.
        lines[0] += f": {rejection.detail}" if rejection.detail else ""
    if entry is not None and entry.changed:
        lines.append(f"- it changed {'; '.join(entry.changed[:10])}")
    if entry is not None and entry.hypothesis is not None:
        said = entry.hypothesis
        claim = " ".join(f"{', '.join(said.where)}: {clean(said.cause)}".split())[:MAX_CLAIM]
        lines.append(f"- the cause that it stated: {claim}\n  {STANDINGS[entry.standing]}")
    verdict = rejection.verdict
    for check in verdict.checks if verdict else ():
        if not check.passed:
            lines.append(f"- check `{check.name}` failed: {clean(check.evidence)[:MAX_EVIDENCE]}")
    for test, trace in list(verdict.traces.items())[:MAX_TRACES] if verdict else ():
        trace = clean(trace)
        cut = "[…]\n" if len(trace) > MAX_TRACE else ""
        lines.append(f"- how {test} failed in that run:\n{cut}{trace[-MAX_TRACE:]}")
    return "\n".join(lines)


def _alike(rejection: Rejection, all_of: Sequence[Rejection]) -> str:
    """A word on an earlier attempt that failed in the very same way: then what they differ in is not the point."""
    for earlier in all_of:
        if earlier is rejection or rejection.verdict is None:
            return ""
        if earlier.verdict is not None and _failed(earlier.verdict) == _failed(rejection.verdict):
            return f"\n- these are, word for word, the failures of attempt {earlier.attempt}"
    return ""


def _failed(verdict: Verdict) -> list[tuple[str, str]]:
    return [(check.name, check.evidence) for check in verdict.checks if not check.passed]


def _evidence(dossier: Dossier) -> str:
    parts = []
    if dossier.suspects:
        parts.append(f"Run on the base commit, with no patch:\n{dossier.suspects}")
    if dossier.tests:
        parts.append(
            f"In the workspace already, as part of your patch: {', '.join(dossier.tests)}, with a test that the gate "
            "has seen to fail on the base for its own reason. Keep it if it asks what the issue asks; else change it."
        )
    return "".join(f"\n{part}\n" for part in parts)


def without_code(text: str, patch: bytes | None, is_product: Callable[[str], bool]) -> str:
    """`text` without the lines that `patch` adds to product files, as traces and findings quote them."""
    added = _added(patch or b"", is_product)
    lines = []
    for line in text.split("\n"):
        core = re.sub(r"^\s*(?:\d+\s+)?(?:[>E+]\s*)?", "", line).strip()
        if core in added:
            line = "    [a line of the rejected patch]"
        for code in added:
            if len(code) >= MIN_CODE:
                line = line.replace(code, "[rejected code]")
                # Findings quote the beginning of a long line.
                at = line.find(code[:MIN_CODE])
                if at >= 0 and code.startswith(line[at:].rstrip()):
                    line = line[:at] + "[rejected code]"
        lines.append(line)
    return "\n".join(lines)


def _added(patch: bytes, is_product: Callable[[str], bool]) -> list[str]:
    """The lines that a patch adds to product files and that stand nowhere in its context, longest first."""
    added: set[str] = set()
    kept: set[str] = set()
    for part in re.split(r"(?m)^diff --git ", patch.decode("utf-8", "replace"))[1:]:
        head, *hunks = re.split(r"(?m)^@@ ", part)
        path = re.search(r'(?m)^\+\+\+ "?b/(.+?)"?\t?$', head)
        if path is None or not is_product(path[1]):
            continue
        for line in (line for hunk in hunks for line in hunk.split("\n")[1:]):
            (added if line.startswith("+") else kept).add(line[1:].strip())
    # What is short (`else:`, a bracket) is no code that anybody could build on.
    return sorted((line for line in added - kept if len(line) > 5), key=len, reverse=True)
