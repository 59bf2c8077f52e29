"""Comparing runs test by test. Plain functions over outcomes; only "passed" counts as a pass."""

from __future__ import annotations

import builtins
import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from agent.gate.suites import FAILING, SuiteRun, file_of
from tools.suite import TestOutcome

Outcomes = Mapping[str, TestOutcome]

LISTED = 10
"""Tests that are named in one piece of evidence."""
MESSAGE = 300
"""Characters of a test's message."""

NO_TEST = (
    "no test shows the fault: add a test that fails on the base commit and passes with the fix, "
    "or name one with --fail-to-pass"
)


@dataclass(frozen=True)
class Red:
    """What was seen to fail without the fix, and so must pass with it."""

    evidence: str
    ids: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Test files that could not be loaded (or ended) without the fix, so that their tests have no outcome."""
    names: tuple[str, ...] = ()
    """As the user named them: a test, or all tests of a function, class or file."""
    fault: bool = False


@dataclass(frozen=True)
class Secret:
    """Which tests the evidence must not tell of: those that only the gate knows."""

    files: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    """Ids of the base's own suite: no secret, only what a hidden version of them says is."""

    def told(self, tests: Iterable[str], outcomes: Outcomes) -> str:
        """One line a test with its outcome and message, the hidden ones as a number."""
        tests = list(tests)
        shown = [test for test in tests if not self._hides(test)]
        lines = [f"{test}: {self._said(test, outcomes)}" for test in shown[:LISTED]]
        if len(shown) > LISTED:
            lines.append(f"and {len(shown) - LISTED} more")
        kinds = Counter(_kind(outcomes.get(test)) for test in tests if self._hides(test))
        lines += [f"hidden tests: {count} {kind}" for kind, count in sorted(kinds.items())]
        return "\n".join(lines)

    def name(self, test: str) -> str:
        """The test's id, unless it is hidden."""
        return "a hidden test" if self._hides(test) else test

    def _hides(self, test: str) -> bool:
        return file_of(test) in self.files and test not in self.known

    def _said(self, test: str, outcomes: Outcomes) -> str:
        outcome = outcomes.get(test)
        if outcome is None:
            return "absent"
        if not outcome.message or file_of(test) in self.files:
            return outcome.outcome
        return f"{outcome.outcome}: {outcome.message[:MESSAGE]}"


def _kind(outcome: TestOutcome | None) -> str:
    """How a hidden test ended, in words that the code under test can't choose: else it could smuggle ids out."""
    if outcome is None:
        return "absent"
    name = outcome.message.partition(":")[0].strip()
    known = isinstance(getattr(builtins, name, None), type) and name.isidentifier()
    return f"{outcome.outcome} with {name}" if known else outcome.outcome


def matching(name: str, tests: Iterable[str]) -> list[str]:
    """The ids that a name stands for: itself, or the parameter sets or members of what it names."""
    return [test for test in tests if test == name or test.startswith((f"{name}[", f"{name}::"))]


def unloaded(outcomes: Outcomes) -> frozenset[str]:
    """The files that could not be collected."""
    return frozenset(
        file_of(test)
        for test, outcome in outcomes.items()
        if outcome.collection and outcome.outcome in FAILING
    )


def is_failing(tests: Outcomes, test: str) -> bool:
    return test in tests and tests[test].outcome in FAILING


def is_passed(tests: Outcomes, test: str) -> bool:
    return test in tests and tests[test].outcome == "passed"


def first_line(tests: Outcomes, test: str) -> str:
    """The first line of how a test failed; empty where it did not."""
    return tests[test].message.partition("\n")[0] if test in tests else ""


def unknown(names: Sequence[str], before: Outcomes, broken: Set[str]) -> str:
    """What to tell the user of the first name that stands for no test, with the nearest; empty when there is none."""
    for name in names:
        if not matching(name, before) and file_of(name) not in broken:
            near = difflib.get_close_matches(name, before, 1, 0)
            known = f"; the nearest is {near[0]}" if near else ""
            return f"--fail-to-pass {name}: no such test on the base commit{known}"
    return ""


def red_named(names: Sequence[str], before: Outcomes, broken: Set[str], secret: Secret) -> Red:
    """The user's own tests: each must be there and fail without the fix (`broken`: files without outcomes)."""
    ids: list[str] = []
    faults: list[str] = []
    for name in names:
        found = matching(name, before)
        failing = [test for test in found if is_failing(before, test)]
        if failing:
            ids += failing
        elif found:
            now = " and ".join(sorted({before[test].outcome for test in found}))
            faults.append(f"not reproduced: {secret.name(name)} is {now} without the fix")
        elif file_of(name) not in broken:
            faults.append(f"unknown test: {secret.name(name)} is not among those that the suite collects")
    if faults:
        return Red("\n".join(faults), fault=True)
    evidence = f"{len(ids or names)} named tests fail without the fix:\n" + secret.told(ids or names, before)
    return Red(evidence, tuple(ids), names=tuple(names))


def red_hidden(
    before: Outcomes, baseline: Outcomes, broken: Iterable[str], secret: Secret, among: Set[str] | None
) -> Red:
    """The hidden tests: all that fail without the fix and did not fail on the base before they were laid over.

    `among` narrows it to the tests of these files.
    """
    files = tuple(sorted(broken))
    ids = tuple(
        test
        for test, outcome in before.items()
        if outcome.outcome in FAILING
        and not outcome.collection
        and not is_failing(baseline, test)
        and (among is None or file_of(test) in among)
    )
    if not ids and not files:
        return Red("not reproduced: no hidden test fails on the base", fault=True)
    evidence = f"{len(ids)} hidden tests fail without the fix"
    if files:
        evidence += f"; {len(files)} test files cannot be loaded or do not end"
    return Red(evidence, ids, files)


def red_own(
    before: Outcomes, baseline: Outcomes, own: Set[str], changed: Set[str], broken_off: SuiteRun | None
) -> Red:
    """The patch's own tests: in the files `own` that it adds (to), else in those that it changes.

    At least one must fail in its own body, or make the run hang or crash (`broken_off` is the run that gave no
    report). What breaks on loading or in a fixture shows nothing of the fault.
    """
    if not own and not changed:
        return Red(f"the patch brings no test and {NO_TEST}", fault=True)
    if broken_off and broken_off.hung_or_crashed:
        return Red(
            f"the patch's tests do not end without the fix: {broken_off.problem}", files=tuple(own or changed)
        )
    if broken_off:
        return Red(f"the patch's tests cannot be run on the base: {broken_off.problem}", fault=True)
    there = [test for test in before if file_of(test) in own | changed]
    bad = [test for test in there if is_failing(before, test) and not is_failing(baseline, test)]
    failed = [test for test in bad if before[test].outcome == "failed"]
    ids = [test for test in failed if file_of(test) in own] or failed
    if ids:
        evidence = f"{len(ids)} of the patch's tests fail without the fix:\n{Secret().told(ids, before)}"
        return Red(evidence, tuple(ids))
    if bad:
        why = "the patch's tests break on the base before they test anything, which does not show the fault"
        return Red(f"{why}:\n{Secret().told(bad, before)}", fault=True)
    new = [test for test in there if test not in baseline]
    if not new:
        return Red(f"the patch brings no new test and {NO_TEST}", fault=True)
    return Red(
        f"the patch's tests pass without the fix, so {NO_TEST}:\n{Secret().told(new, before)}", fault=True
    )


def not_green(red: Red, baseline: Outcomes, after: Outcomes, own: Set[str]) -> list[str]:
    """The ids that must pass with the fix and do not; a file or name stands for tests that are not there."""
    bad = [test for test in red.ids if not is_passed(after, test)]
    for name in red.names:
        found = matching(name, after)
        bad += [test for test in found if not is_passed(after, test)] if found else [name]
    for file in red.files:
        found = [test for test in after if file_of(test) == file]
        bad += [test for test in found if is_failing(after, test) and not is_failing(baseline, test)]
        bad += [test for test in found if is_passed(baseline, test) and not is_passed(after, test)]
        if not any(is_passed(after, test) for test in found):
            bad.append(file)
    return list(dict.fromkeys([*bad, *unpassed(own, baseline, after)]))


def unpassed(files: Set[str], baseline: Outcomes, after: Outcomes) -> list[str]:
    """The tests of some of the patch's files that do not pass, but for those that did not on the base either."""
    there = (test for test in after if file_of(test) in files)
    return [
        test
        for test in there
        if not is_passed(after, test) and (test not in baseline or is_passed(baseline, test))
    ]


def is_changed(test: str, changed: Outcomes, modules: Set[str]) -> bool:
    """Whether a test that fails in the base's version passes in the patch's (`changed`; `modules` are its files).

    A set of parameters may also have been taken out, if others of the same test pass.
    """
    if test in changed or file_of(test) not in modules:
        return is_passed(changed, test)
    function = test.partition("[")[0]
    return any(is_passed(changed, other) and other.partition("[")[0] == function for other in changed)


@dataclass(frozen=True)
class Kept:
    """What became of the tests that must go on passing."""

    required: int
    failing: tuple[str, ...]
    vanished: tuple[str, ...]
    skipped: tuple[str, ...]


def kept(required: Iterable[str], after: Outcomes) -> Kept:
    """Compare the tests that passed before with what they are after the fix."""
    required = list(required)
    return Kept(
        len(required),
        tuple(test for test in required if is_failing(after, test)),
        tuple(test for test in required if test not in after),
        tuple(test for test in required if test in after and after[test].outcome not in FAILING | {"passed"}),
    )


def required_passes(baseline: Outcomes, before: Outcomes, hidden: Set[str], replaced: bool) -> list[str]:
    """The ids that must pass after the fix because they pass without it.

    Files of the hidden tests count as the gate's version has them. `replaced`: hidden helpers may have changed
    any test, so that only what still passes with them counts.
    """
    ids = [
        test
        for test in baseline
        if is_passed(baseline, test)
        and file_of(test) not in hidden
        and (not replaced or is_passed(before, test))
    ]
    return ids + [test for test in before if file_of(test) in hidden and is_passed(before, test)]


SLOWER = 3.0
SLOWER_SECONDS = 5.0
"""A suite that takes longer than this many times what it took, and seconds besides, is shown to a person: machines are
uneven, but not that uneven."""


def slower(base: Outcomes, after: Outcomes) -> str:
    """What to tell a person when tests that pass on both sides take far longer with the fix; empty when they don't."""
    both = [t for t in base if is_passed(base, t) and is_passed(after, t)]
    before, now = (sum(outcomes[test].seconds for test in both) for outcomes in (base, after))
    if now <= SLOWER * before + SLOWER_SECONDS:
        return ""
    return f"the tests that passed before take {now:.1f} s with the fix, {before:.1f} s without it"
