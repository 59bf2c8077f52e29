"""The judge: takes a patch through the gate's checks, in fresh sandboxes, and gives a verdict with evidence.

The trees of a judgement, each run in a sandbox of its own:

    baseline  the base commit as it is
    before    the base's product with the tests that are to show the fix: the hidden ones, else the patch's own
    after     the patched product with the base's tests and test configuration, the hidden tests, and the test files
              that the patch only adds to
    changed   the patched tree whole, where the patch changes tests or test configuration that the base had: it can
              excuse tests that must fail after the fix, and then a person must look

What looks green is then tried: tests that fail are run again to tell flaky ones from broken ones; tests that are made
to fail must fail; the fix must hold where no runner watches; a patch's own test must notice when the fix is spoilt.

Hidden tests stay out of the evidence, which models get to read; their ids and outcomes are in the verdict's
`before` and `after`, which models do not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import anyio
import anyio.to_thread

from agent.errors import UsageError
from agent.gate import compare, extra, flakes, order, reading, renaming, trials
from agent.gate.baseline import Baseline
from agent.gate.compare import LISTED, Outcomes, Red, Secret
from agent.gate.policy import MAX_PATCH, changes, examine
from agent.gate.runner import Runner, last_lines, named_outcomes
from agent.gate.rust_tests import with_tests_of
from agent.gate.source_text import language
from agent.gate.suites import SuiteRun, counts, file_of, prefix_of
from agent.git import EXECUTABLE, REGULAR, Entry, PatchError
from agent.git_blobs import BlobTooLarge
from agent.lanes import Started, side_by_side
from agent.types import Check, Verdict
from tools.suite import TestOutcome

MAX_SOURCE = 8 * 1024 * 1024
"""Bytes of a file that is read as source."""


async def judge(
    runner: Runner,
    patch: bytes,
    *,
    base: str,
    fail_to_pass: Sequence[str] = (),
    test_patch: bytes | None = None,
    baseline: Baseline | None = None,
    extra_checks: Sequence[str] = (),
) -> Verdict:
    """Judge `patch` against commit `base`.

    `extra_checks` are commands (lint, types, build) that must say no worse than on the base. A check that fails ends
    the judgement where what follows could not be answered; checks that were not made are not in the verdict. Raises
    EnvironmentFault for faults of the engine, the sandbox or the baseline (they never reject a patch) and UsageError
    for a test patch that does not apply, and for a name in `fail_to_pass` that no test has.
    """
    started = time.monotonic()
    judgement = Judgement(runner, base, tuple(fail_to_pass), tuple(extra_checks))
    with contextlib.suppress(Ended):
        await judgement.make(patch, test_patch, baseline)
    failed = [check.name for check in judgement.checks if not check.passed]
    green = not set(failed) - {"review"}
    return Verdict(
        accepted=not failed,
        checks=tuple(judgement.checks),
        needs_review=green and bool(failed),
        fail_to_pass=judgement.shown if green else (),
        before=named_outcomes(judgement.before),
        after=named_outcomes(judgement.after),
        seconds=round(time.monotonic() - started, 3),
        traces=judgement.traces,
        proven_tests=judgement.proven,
    )


class Ended(Exception):
    """A check failed, and what follows cannot be asked."""


class Judgement:
    """One patch on its way through the checks, in their order."""

    def __init__(
        self, runner: Runner, base: str, named: tuple[str, ...], extra_checks: tuple[str, ...]
    ) -> None:
        self.runner = runner
        self.repository = runner.repository
        self.base_commit = base
        self.base = self.repository.tree_of(base)
        self.base_files = self.repository.files(self.base)
        self.named = named
        self.extra_checks = extra_checks
        self.checks: list[Check] = []
        self.before: Outcomes = {}
        self.after: Outcomes = {}
        self.shown: tuple[str, ...] = ()
        self.proven: tuple[str, ...] = ()
        self.traces: dict[str, str] = {}
        self.flaky: Mapping[str, str] = {}
        self.excused: set[str] = set()
        self.suspicions: list[str] = []

    def check(self, name: str, passed: bool, evidence: str, *, go_on: bool = False) -> None:
        self.checks.append(Check(name, passed, evidence))
        if not passed and not go_on:
            raise Ended

    async def make(self, patch: bytes, test_patch: bytes | None, baseline: Baseline | None) -> None:
        await anyio.to_thread.run_sync(self.take, patch, test_patch)
        taken = baseline or await self.runner.baseline(self.base_commit)
        self.baseline = taken.run
        self.taken = taken
        self.check("baseline", True, f"on the base commit: {counts(self.baseline)}")
        self.prefix = prefix_of(self.baseline.files, self.base_files)
        self.secret = Secret(self.ids(self.hidden), frozenset(self.baseline.outcomes))
        red = await self._red()
        self.check("red", not red.fault, red.evidence)
        if not self.named and not self.hidden:
            own = {*self.intake.additive}
            # With what they read: alone, a test of data would fail for want of it.
            self.proven = tuple(sorted(own)) if own & {self.path(file_of(test)) for test in red.ids} else ()
        self.after_tree = self.tree_after()
        scan, self.suspicions = await anyio.to_thread.run_sync(reading.scanned, self, red)
        self.check(scan.name, scan.passed, scan.evidence)
        await self._run_and_try(red, taken, once=baseline is None)
        if all(check.passed for check in self.checks):
            await trials.adequacy(self, red)
        reasons = reading.reasons_to_look(self)
        if reasons and all(check.passed for check in self.checks):
            self.check("review", False, reasons, go_on=True)

    async def _run_and_try(self, red: Red, taken: Baseline, *, once: bool) -> None:
        """All runs of the patched tree that don't depend on each other, side by side.

        The tests that show the fix come first: most patches that fail do so there, and then nothing else is waited for.
        """
        await self.runner.count_lanes()
        async with side_by_side() as tasks:
            first = Started(tasks, partial(self._green_first, red))
            suite = Started(tasks, partial(self._run_after, red))
            again = Started(tasks, partial(self._base_again, taken, once))
            forgery = Started(tasks, partial(trials.forgery, self, red, suite.result))
            unwatched = Started(tasks, partial(trials.unwatched, self, red, suite.result))
            repeated = Started(tasks, partial(trials.repeated, self, red))
            ordered = Started(tasks, partial(order.ordered, self, red))
            renamed = Started(tasks, partial(renaming.renamed, self, red))
            effects = Started(tasks, partial(trials.effects_of, self, suite.result))
            settings = {
                path: self.base_files.get(path)
                for path in self.intake.set_aside
                if not self.intake.paths.is_module(path)
            }
            checked = self.repository.with_files(self.patched, settings)
            others = Started(tasks, partial(extra.run, self.runner, self.base, checked, self.extra_checks))
            if bad := await first.result():
                self.shown = red.ids
                self.check("green", False, self._still_red(red, bad, self.after))
            self.check("runner", *await suite.result())
            self.taken = await again.result()
            await self._judge_after(red)
            for trial in (forgery, unwatched, repeated, ordered, renamed, effects, others):
                if any(not check.passed for check in self.checks):
                    tasks.cancel_scope.cancel()
                    return
                made = await trial.result()
                self.checks += made.checks
                self.suspicions += made.suspicions

    def take(self, patch: bytes, test_patch: bytes | None) -> None:
        """Make the trees and take the patch apart, or refuse it."""
        repository = self.repository
        self.hidden: dict[str, Entry | None] = {}
        if test_patch is not None:
            try:
                with_tests = repository.apply(self.base, test_patch)
            except PatchError as error:
                raise UsageError(f"the test patch does not apply to the base commit: {error}") from error
            self.hidden = changes(self.base_files, repository.files(with_tests))
        if len(patch) > MAX_PATCH:
            self.check("policy", False, f"the patch has {len(patch)} bytes; the limit is {MAX_PATCH}")
        try:
            self.patched = repository.apply(self.base, patch)
        except PatchError as error:
            self.check("applies", False, str(error))
        self.check("applies", True, "exactly, to the base commit")
        self.patched_files = repository.files(self.patched)
        self.intake = intake = examine(
            repository, self.base, self.patched, self.hidden, (self.runner.test_command, *self.extra_checks)
        )
        self.check("policy", not intake.refused, "\n".join(intake.refused) or intake.described())
        self.check(
            "tests_kept", not intake.lost, "\n".join(intake.lost) or "no test of the base is taken away"
        )

    def tree_after(self) -> str:
        """The patched product with the tests that the gate stands by."""
        back = {path: self.base_files.get(path) for path in self.intake.set_aside}
        inside = self._inside([path for path, reason in self.intake.inside.items() if reason], fixed=True)
        return self.repository.with_files(self.patched, {**back, **inside, **self.hidden})

    def _inside(self, files: Iterable[str], *, fixed: bool) -> dict[str, Entry | None]:
        """Product files that hold tests: the fix under the base's tests (`fixed`), or the base under the patch's."""
        laid: dict[str, Entry | None] = {}
        for path in files:
            versions = [self.base_files.get(path), self.patched_files.get(path)]
            product, tests = reversed(versions) if fixed else versions
            text = with_tests_of(self.text(product) or "", self.text(tests) or "")
            if product is not None and text is not None:
                laid[path] = (product[0], self.repository.add_blob(text.encode("utf-8", "surrogateescape")))
        return laid

    async def _red(self) -> Red:
        """Run what is to show the fault on the base's product."""
        intake, base = self.intake, self.baseline.outcomes
        laid: dict[str, Entry | None] = dict(self.hidden or intake.additive)
        if not self.hidden and not self.named:
            # A test that the patch changes may show the fault too; then the verdict is at best needs_review.
            laid |= {path: self.patched_files.get(path) for path in intake.set_aside}
            laid |= self._inside(intake.inside, fixed=False)
        # Hidden helpers can change any test, so all tests must be seen with them. What the patch brings excuses
        # none: what passes on the base alone must pass after it.
        whole = any(
            path.endswith(".py") or path in self.base_files or language(path) is not None
            for path in self.hidden
            if not intake.paths.is_module(path)
        )
        # A plain command is one test, which any file of theirs may be a part of.
        whole = whole or (self.baseline.by_exit_code and bool(laid))
        tree = self.before_tree = self.repository.with_files(self.base, laid)
        named = {file_of(name) for name in self.named} - self.baseline.files
        files = sorted(self._modules(laid) | named)
        seen, runs = await self._seen("the base with the tests that show the fault", tree, files, whole=whole)
        broken_off = next((run for run in runs if run.problem), None)
        self.replaced = whole and bool(self.hidden) and not broken_off
        replaced = self.ids(laid)
        stays = (
            {} if self.replaced else {test: o for test, o in base.items() if file_of(test) not in replaced}
        )
        self.before = {**stays, **seen}
        broken = compare.unloaded(self.before) | (set(files) if broken_off else set())
        if not self.named and not self.hidden and not self._own() and self.baseline.by_exit_code:
            # The command itself shows the fault, if anything does: it is the one test there is.
            self.named = tuple(test for test in base if compare.is_failing(base, test))
        if self.named:
            if not self.hidden and (unknown := compare.unknown(self.named, self.before, broken)):
                raise UsageError(unknown)
            return compare.red_named(self.named, self.before, broken, self.secret)
        homeless = self._homeless()
        if self.hidden:
            among = None if whole else replaced | homeless
            return compare.red_hidden(self.before, base, broken - compare.unloaded(base), self.secret, among)
        own, changed = self._own(), self._modules(intake.set_aside)
        return compare.red_own(self.before, base, own | homeless if own else own, changed, broken_off)

    def _homeless(self) -> set[str]:
        """What stands for the file in ids of a suite that names none: such a test may be of any file."""
        if self.baseline.runner == "pytest":
            return set()
        there = self.ids(self.repository.files(self.before_tree))
        return set(map(file_of, self.before)) - there

    async def _base_again(self, taken: Baseline, once: bool) -> Baseline:
        return await self.runner.again(self.base_commit, taken) if once else taken

    async def _run_after(self, red: Red) -> tuple[bool, str]:
        """Run the patched product with the tests that the gate stands by, and see whether the run can be believed."""
        watched = sorted(self._own() | self._modules(self.hidden) | set(map(file_of, self.named)))
        self.after, runs = await self._seen("the patched tree", self.after_tree, watched, whole=True)
        if any(run.problem and run.exit_code is not None for run in runs):
            # It may have been the machine's fault; the code's own crash comes again.
            self.runner.log(f"the run gave no report ({runs[-1].problem}); once more")
            self.after, runs = await self._seen("the patched tree", self.after_tree, watched, whole=True)
        faults = [fault for run in runs if (fault := self._doubt(run))]
        if faults:
            # The output may quote hidden tests.
            lines = "" if self.hidden else "\n" + last_lines(runs[-1])
            return False, "; ".join(faults) + lines
        self.after_run = runs[0]
        return True, f"exit code, report and output agree: {counts(runs[0])}"

    def _doubt(self, run: SuiteRun) -> str:
        """Why a run of patched code is not to be believed; what the baseline shows as well is the suite's habit."""
        fault = run.disagreement()
        if fault and (run.problem or not self.baseline.disagreement()):
            return fault
        if run.outcomes and run.passes_said() is None and self.baseline.passes_said() is not None:
            return "the runner's last line, which sums up the run, is missing"
        return ""

    async def _judge_after(self, red: Red) -> None:
        base, after, intake = self.baseline.outcomes, self.after, self.intake
        # A test that passed in any run of the base must pass: else a flaky one is excused by one bad day.
        required = compare.required_passes(self.taken.best, self.before, self.ids(self.hidden), self.replaced)
        kept = compare.kept(required, after)
        modules = self._modules(intake.set_aside)
        own = self._own()
        # Where the patch's changed tests were to show the fault, it is their version that must pass.
        theirs = set() if self.named or self.hidden else modules
        bad = [test for test in compare.not_green(red, base, after, own) if file_of(test) not in theirs]
        if bad and any(not intake.paths.is_module(path) for path in intake.set_aside):
            # The patch's own tests may need the test configuration that it changes; then a person must look at that.
            tree = self.repository.with_files(self.patched, self.hidden)
            mine = sorted({file_of(test) for test in bad} & own)
            seen, _ = await self._seen("the patched tree with its test configuration", tree, mine)
            bad = [test for test in bad if not compare.is_passed(seen, test)]
        if not bad:
            kept = await self._without_flakes(kept, modules)
        # Only tests that the patch itself changes can be excused, and only if its version of them passes.
        config = any(not intake.paths.is_module(path) for path in intake.set_aside)
        excusable = {test for test in kept.failing if config or file_of(test) in modules}
        excused: set[str] = set()
        changed: Outcomes = {}
        hopeful = not bad and not kept.vanished and not kept.skipped and len(excusable) == len(kept.failing)
        if hopeful and (files := modules | set(map(file_of, excusable))):
            tree = self.repository.with_files(self.patched, self.hidden)
            changed, runs = await self._seen("the patched tree with its changed tests", tree, sorted(files))
            excused = {test for test in excusable if compare.is_changed(test, changed, modules)}
            bad = [
                test for test in red.ids if file_of(test) in theirs and not compare.is_passed(changed, test)
            ]
            bad += [test for test in compare.unpassed(modules, base, changed) if test not in bad]
            if any(self._doubt(run) for run in runs):
                bad = bad or sorted(files)
        failing = [test for test in kept.failing if test not in excused]
        self.excused = excused
        self._say_after(red, bad, {**after, **changed}, kept, failing)

    def _say_after(
        self, red: Red, bad: Sequence[str], seen: Outcomes, kept: compare.Kept, failing: Sequence[str]
    ) -> None:
        told = self.secret.told
        self.shown = red.ids
        shown = len(red.ids)
        good = f"{shown} tests that failed without the fix pass with it" if shown else "the new tests pass"
        self.check("green", not bad, self._still_red(red, bad, seen) if bad else good, go_on=True)
        still = f"{kept.required - len(kept.failing)} of {kept.required} tests that passed before still pass"
        flaky = "".join(
            f"\nflaky{' (on the base too)' if test in self.taken.flaky else ''}: {self.secret.name(test)} {how}"
            for test, how in self.flaky.items()
        )
        regressions = f"\nregressions:\n{self._failing(failing, self.after)}" if failing else ""
        ever = [test for test in self.after if test not in red.ids and compare.is_failing(self.after, test)]
        old = sum(compare.is_failing(self.baseline.outcomes, test) for test in ever)
        said = (
            still + regressions + (f"\npre-existing: {old} failed before and still do" if old else "") + flaky
        )
        self.check("pass_to_pass", not failing, said, go_on=True)
        lost = compare.unloaded(self.after) - compare.unloaded(self.baseline.outcomes)
        unloaded = f"\ncannot be loaded:\n{told(sorted(lost), self.after)}" if lost else ""
        gone = f"{len(kept.vanished)} tests are gone:\n{told(kept.vanished, self.after)}{unloaded}"
        self.check("vanished", not kept.vanished, gone if kept.vanished else "no test is gone", go_on=True)
        skipped = told(kept.skipped, self.after) or "no test is newly skipped or expected to fail"
        self.check("newly_skipped", not kept.skipped, skipped, go_on=True)

    def _still_red(self, red: Red, bad: Sequence[str], seen: Outcomes) -> str:
        turned = sum(compare.is_passed(seen, test) for test in red.ids)
        count = f"\n{turned} of {len(red.ids)} that must turn green do" if red.ids else ""
        return f"with the fix:\n{self._failing(bad, seen)}{count}"

    def _failing(self, tests: Sequence[str], seen: Outcomes) -> str:
        """What to tell of tests that fail with the fix; their traces are kept for the next attempt."""
        if not self.hidden:
            self.traces |= {
                test: seen[test].detail for test in tests[:LISTED] if compare.is_failing(seen, test)
            }
        told = self.secret.told(tests, seen)
        same = [
            test
            for test in tests
            if compare.first_line(seen, test)
            and compare.first_line(seen, test) == compare.first_line(self.before, test)
        ]
        if same:
            told += f"\n{len(same)} of them word for word as without the fix"
        return told

    async def _green_first(self, red: Red) -> list[str]:
        """Run only the tests that show the fix, and return those that do not pass with it."""
        theirs = set() if self.named or self.hidden else self._modules(self.intake.set_aside)
        ids = [test for test in red.ids if file_of(test) not in theirs]
        if not ids or red.files or self.intake.set_aside or not self.baseline.selects:
            return []
        files = sorted(set(map(file_of, ids)))
        run = await self.runner.run("the patched tree", self.after_tree, files, baseline=self.baseline)
        bad = [test for test in ids if not compare.is_passed(run.outcomes, test)]
        if not bad or run.problem:
            return []
        line = compare.first_line
        if odd := [test for test in bad if line(run.outcomes, test) != line(self.before, test)]:
            # A test that needs what others leave behind fails alone as it does without the fix: the suite must tell.
            alone = await self.runner.run("the base", self.before_tree, files, baseline=self.baseline)
            same = [test for test in odd if line(alone.outcomes, test) == line(run.outcomes, test)]
            bad = [test for test in bad if test not in same]
        if bad:
            self.after = {**self.after, **run.outcomes}
        return bad

    async def _without_flakes(self, kept: compare.Kept, changed: set[str]) -> compare.Kept:
        """`kept` without the tests that fail now and then, with or without the fix. Those of the `changed` files are
        for the patch's version of them to judge."""
        failing = [test for test in kept.failing if file_of(test) not in changed]
        doubtful = [*failing, *kept.vanished, *kept.skipped]
        if not doubtful:
            return kept
        self.runner.log(f"{len(doubtful)} tests no longer pass; running them again")

        def alone(what: str, tree: str) -> flakes.Alone:
            return lambda files: self.runner.run(what, tree, files, baseline=self.baseline)

        # What the patch brings excuses nothing: on the base its files are not there.
        base = self.before_tree if self.hidden else self.base
        classes = await flakes.classify(
            doubtful,
            alone("the patched tree, again", self.after_tree),
            alone("the base, again", base),
            lambda: self.runner.run("the patched tree, again", self.after_tree, baseline=self.baseline),
            lambda: self.runner.run("the base, again", base, baseline=self.baseline),
        )
        self.flaky = classes.flaky
        return compare.Kept(
            kept.required,
            *(
                tuple(test for test in tests if test not in classes.flaky)
                for tests in (kept.failing, kept.vanished, kept.skipped)
            ),
        )

    # ---- helpers

    async def _seen(
        self, what: str, tree: str, files: Sequence[str], *, whole: bool = False
    ) -> tuple[dict[str, TestOutcome], list[SuiteRun]]:
        """Outcomes on a tree: of the whole suite if asked, and of those `files` that have none yet."""
        runs = [await self.runner.run(what, tree, baseline=self.baseline)] if whole else []
        there = self.ids(self.repository.files(tree))
        missing = [file for file in files if file in there and not any(file in run.files for run in runs)]
        if missing and not any(run.problem or not run.selects for run in runs):
            runs.append(await self.runner.run(what, tree, missing, baseline=self.baseline))
        return {test: outcome for run in runs for test, outcome in run.outcomes.items()}, runs

    def path(self, file: str) -> str:
        """A file of a test id as the repository has it."""
        return self.prefix + file

    def source(self, file: str) -> str | None:
        """The text of a test file in the tree after the fix."""
        return self.text(self.repository.files(self.after_tree).get(self.path(file)))

    def base_text(self, path: str) -> str:
        """The text of a file of the base. Raises KeyError where there is none."""
        if (text := self.text(self.base_files[path])) is None:
            raise KeyError(path)
        return text

    def text(self, entry: Entry | None) -> str | None:
        if entry is None or entry[0] not in (REGULAR, EXECUTABLE):
            return None
        try:
            return self.repository.blob(entry[1], MAX_SOURCE).decode("utf-8", "surrogateescape")
        except BlobTooLarge:
            return None  # no source that anybody wrote

    def ids(self, files: Iterable[str]) -> frozenset[str]:
        """Files of the repository as they stand in test ids."""
        return frozenset(file.removeprefix(self.prefix) for file in files)

    def _own(self) -> set[str]:
        """The files of the patch's own tests, as they stand in test ids."""
        return self._modules([*self.intake.additive, *self.intake.inside])

    def _modules(self, files: Iterable[str]) -> set[str]:
        """Those of `files` in which a runner looks for tests, as they stand in test ids."""
        modules = (
            file
            for file in files
            if self.intake.paths.is_module(file) or file in self.intake.inside or language(file) == "rust"
        )
        return set(self.ids(modules))
