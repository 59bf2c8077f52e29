"""The gate reads a patch: for code that deceives, and for what a person must look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.gate import scan, scan_tests
from agent.gate.compare import Red
from agent.gate.suites import file_of
from agent.types import Check

if TYPE_CHECKING:
    from agent.gate.judge import Judgement

MAX_HUNKS = 4000
"""Characters of the hunks shown for review."""


def scanned(judgement: Judgement, red: Red) -> tuple[Check, list[str]]:
    """The check of the patch for signs that it deceives the tests, and what a person should look at."""
    changes = [
        scan.Change(
            path,
            judgement.text(judgement.base_files.get(path)),
            judgement.text(judgement.patched_files[path]) or "",
        )
        for path in judgement.intake.product
        if path in judgement.patched_files
    ]
    shown = {file_of(test) for test in red.ids} | set(red.files) | {file_of(name) for name in red.names}
    tests = {file: judgement.source(file) or "" for file in shown}
    beside = scan_tests.beside(tests, judgement.ids(judgement.repository.files(judgement.after_tree)))
    support = {file: text for file in beside if (text := judgement.source(file)) is not None}
    findings = scan.scan(changes, tests, support=support)
    if not judgement.named and not judgement.hidden:
        findings += scan_tests.scan_tests({**support, **tests}, red.ids, changes)
    sure = [finding for finding in findings if finding.certain]
    told = "\n".join(map(_found, sure[:20])) or "nothing in the patch senses or deceives the tests"
    return Check("scan", not sure, told), [_found(one) for one in findings if not one.certain]


def reasons_to_look(judgement: Judgement) -> str:
    """What a person must look at, if anything: the reasons, and the hunks that were judged without."""
    aside = {**judgement.intake.set_aside, **{p: why for p, why in judgement.intake.inside.items() if why}}
    lines = [f"{path}: {reason}" for path, reason in aside.items()]
    if judgement.excused:
        listed = ", ".join(sorted(set(map(judgement.secret.name, judgement.excused))))
        lines.append(f"fail in the base's version, and pass or are left out in the patch's: {listed}")
    lines += judgement.suspicions
    if judgement.intake.set_aside:
        hunks = judgement.repository.diff(
            judgement.base, judgement.patched, judgement.intake.set_aside
        ).decode("utf-8", "replace")
        cut = f"\n[{len(hunks) - MAX_HUNKS} characters more]" if len(hunks) > MAX_HUNKS else ""
        lines.append(hunks[:MAX_HUNKS] + cut)
    return "\n".join(lines)


def _found(finding: scan.Finding) -> str:
    return f"{finding.path}:{finding.line}: {finding.reason}: {finding.text}"
