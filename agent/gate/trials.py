"""Trials of what looks green: forged outcomes, a fix for the runner's eyes only, a test that notices nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from agent.gate import compare, disguise, integrity, mutants
from agent.gate.compare import Red
from agent.gate.source_text import language
from agent.gate.suites import SuiteRun, file_of
from agent.git import REGULAR
from tools.suite import TestOutcome

if TYPE_CHECKING:
    from agent.gate.judge import Judgement

MAX_MUTANTS = 8
NAMELESS = re.compile(
    r"^(?:Uncaught |thrown: )?(?:TypeError: )?(?:\(0 , )?[\w$.()\[\]]+ is not a (?:function|constructor)"
    r"|^(?:ReferenceError: )?[\w$]+ is not defined\b|\bCannot find module\b|does not provide an export named"
    r"|\bERR_MODULE_NOT_FOUND\b|\berror TS2(?:304|305|339)\b"
    r"|: undefined: \w|\bundefined \(type .* has no (?:field or )?method"
    r"|\berror\[E0(?:425|432|433|599|412|423|609)\]|\bcannot find (?:\w+ )+`"
    r"|\berror: cannot find symbol|\bNoSuch(?:Method|Field)Error|\b(?:ClassNotFoundException|NoClassDefFoundError)"
)
"""How Node, TypeScript, Go, Rust and Java say that something is not there at all."""


async def try_it(judgement: Judgement, red: Red) -> None:
    """Try what looks green: forged outcomes, a fix for the runner's eyes only, a test that notices nothing."""
    shown = {file_of(test) for test in (*red.ids, *red.names)} | set(red.files)
    # The mutants' runs come last: they are the dearest, and needed for a patch's own tests only.
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_check_forgery, judgement, shown)
        tasks.start_soon(_check_unwatched, judgement, red)
    if (
        not judgement.named
        and not judgement.hidden
        and red.ids
        and all(check.passed for check in judgement.checks)
    ):
        await _check_adequacy(judgement, red)


async def _check_forgery(judgement: Judgement, shown: set[str]) -> None:
    files = integrity.chosen(shown, judgement.after, judgement.baseline.seconds)
    sources = {file: source for file in files if (source := judgement.source(file)) is not None}

    def laid_on(what: str, tree: str) -> integrity.Run:
        async def run(laid: Mapping[str, str], files: Sequence[str]) -> SuiteRun:
            made = {
                judgement.path(file): (
                    REGULAR,
                    judgement.repository.add_blob(text.encode("utf-8", "surrogateescape")),
                )
                for file, text in laid.items()
            }
            tree_with = await anyio.to_thread.run_sync(judgement.repository.with_files, tree, made)
            return await judgement.runner.run(what, tree_with, files, baseline=judgement.baseline)

        return run

    odd, asked = await integrity.forged(
        sources,
        judgement.after,
        laid_on("the patched tree, its tests made to fail", judgement.after_tree),
        laid_on("the base, its tests made to fail", judgement.before_tree),
    )
    if odd:
        told = _names(judgement, odd)
        said = f"{len(odd)} of {asked} tests that were made to fail pass all the same: outcomes are forged\n{told}"
    else:
        said = f"{asked} tests that were made to fail fail" if asked else "no test could be made to fail"
    judgement.check("forgery", not odd, said, go_on=True)


async def _check_unwatched(judgement: Judgement, red: Red) -> None:
    folders = {file: judgement.path(file).rpartition("/")[0] for file in map(file_of, red.ids)}
    sources = {
        file: (folder, source)
        for file, folder in folders.items()
        if (source := judgement.source(file)) is not None and file.endswith(".py")
    }
    job = disguise.plain(sources, red.ids)
    if not job.modules:
        return
    runner = judgement.runner

    async def failures(tree: str) -> disguise.Failures:
        gone = {
            path: None
            for path in judgement.repository.files(tree)
            if judgement.intake.paths.is_module(path) or path.rpartition("/")[2] == "conftest.py"
        }
        bare = await anyio.to_thread.run_sync(judgement.repository.with_files, tree, gone)
        return await disguise.failures(
            runner.docker,
            judgement.repository,
            runner.environment,
            bare,
            job,
            run_id=runner.run_id,
            limits=runner.limits,
        )

    base = await failures(judgement.before_tree)
    if not base.first:
        return
    red_runs = {test: judgement.before[test] for test in red.ids if test in judgement.before}
    fixed = await failures(judgement.after_tree)
    tests = disguise.unmended(base.first, fixed.first, red_runs)
    judgement.check(
        "unwatched",
        not tests,
        f"without a test runner in the process these fail as they did without the fix:\n{_names(judgement, tests)}"
        if tests
        else "the fix holds without a test runner in the process",
        go_on=True,
    )
    for how, later in (
        ("asked again in one process", fixed.again),
        (f"{disguise.LATER_DAYS} days on", fixed.later),
    ):
        # Honest tests may leave something behind, or go by the date: these are for a person to judge.
        tests = disguise.unmended(base.first, later - fixed.first, red_runs)
        if tests:
            named = _names(judgement, tests)
            judgement.suspicions.append(f"{how}, these fail as they did without the fix:\n{named}")


def _names(judgement: Judgement, tests: Sequence[str]) -> str:
    return "\n".join(judgement.secret.name(test) for test in tests[:10])


async def _check_adequacy(judgement: Judgement, red: Red) -> None:
    """The patch's own tests must notice when the fix is spoilt."""
    files = sorted({file_of(test) for test in red.ids} | set(red.files))
    product = {
        path: (
            judgement.text(judgement.base_files.get(path)),
            judgement.text(judgement.patched_files[path]) or "",
        )
        for path in judgement.intake.product
        if path in judgement.patched_files and (path.endswith(".py") or language(path))
    }
    # A test that is red for want of a name notices when the name goes; the other mutants tell if it looks at more.
    nameless = all(_lacks_name(judgement.before.get(test)) for test in red.ids)
    if nameless:
        told = judgement.secret.told(red.ids[:3], judgement.before)
        judgement.suspicions.append(f"the patch's own tests fail without it only for want of a name:\n{told}")
    tried: list[str] = []
    for mutant in mutants.mutants(product, MAX_MUTANTS):
        if nameless and mutant.undoes:
            continue
        entry = (
            judgement.patched_files[mutant.path][0],
            judgement.repository.add_blob(mutant.source.encode()),
        )
        tree = judgement.repository.with_files(judgement.after_tree, {mutant.path: entry})
        what = f"a mutant of {mutant.path}:{mutant.line} ({mutant.what})"
        run = await judgement.runner.run(what, tree, files, baseline=judgement.baseline)
        tried.append(f"{mutant.path}:{mutant.line}: {mutant.what}")
        if run.problem or any(not compare.is_passed(run.outcomes, test) for test in red.ids):
            said = f"they notice when the fix is spoilt (mutant {len(tried)}: {tried[-1]})"
            judgement.check("adequate", True, said)
            return
    listed = "\n".join(tried)
    if tried:
        # No proof of anything: a test that only sees that nothing breaks notices few mutants. A person can tell.
        judgement.suspicions.append(f"the patch's own tests pass with the fix spoilt, each time:\n{listed}")
    told = (
        f"they notice none of {len(tried)} ways to spoil the fix"
        if tried
        else "nothing in the fix to be spoilt"
    )
    judgement.check("adequate", True, told)


def _lacks_name(outcome: TestOutcome | None) -> bool:
    """Whether a test failed since something that it uses is not there at all."""
    message = outcome.message if outcome else ""
    kind = message.partition(":")[0]
    if kind == "TypeError" and ("unexpected keyword argument" in message or "positional argument" in message):
        return True
    named = kind in ("AttributeError", "NameError", "ImportError", "ModuleNotFoundError")
    return named or bool(NAMELESS.search(message))
