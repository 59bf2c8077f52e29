"""After acceptance: the same patch without the hunks that the verdict does not need, and the verdict on that."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio.to_thread

from agent.gate import compare, minimal
from agent.gate.baseline import Baseline
from agent.gate.judge import Ended, Judgement, judge
from agent.gate.runner import Runner
from agent.gate.suites import file_of, prefix_of
from agent.types import Verdict


@dataclass(frozen=True)
class Smaller:
    """A smaller patch that is accepted too."""

    patch: bytes
    verdict: Verdict
    left_out: tuple[str, ...]
    """The hunks that it does without, as `path @@ ... @@`."""


async def smaller(runner: Runner, verdict: Verdict, patch: bytes, **inputs: Any) -> Smaller | None:
    """Leave hunks out (delta debugging, bounded) while the tests that show the fix pass; then judge the rest whole.

    `verdict` is the one that accepted `patch`; `inputs` are those that `judge` was given for it. None when nothing can
    be left out.
    """
    tests = verdict.fail_to_pass
    found = minimal.hunks(patch)
    whole = _judgement(runner, inputs)
    await anyio.to_thread.run_sync(whole.take, patch, inputs["test_patch"])
    fixed = [number for number, hunk in enumerate(found) if hunk.path not in whole.intake.product]
    if not tests or len(found) - len(fixed) < 2:
        return None

    baseline = inputs["baseline"] or await runner.baseline(inputs["base"])

    async def shows(less: bytes) -> bool:
        judgement = _judgement(runner, inputs)
        with suppress(Ended):
            await anyio.to_thread.run_sync(judgement.take, less, inputs["test_patch"])
            return await _passes(judgement, baseline, tests, len(found))
        return False

    left_out = await minimal.unneeded(patch, fixed, shows)
    if not left_out:
        return None
    rest = minimal.without(patch, left_out)
    again = await judge(runner, rest, **{**inputs, "baseline": baseline})
    if not again.accepted:
        return None
    return Smaller(rest, again, tuple(f"{found[n].path} {found[n].what}" for n in sorted(left_out)))


def _judgement(runner: Runner, inputs: dict[str, Any]) -> Judgement:
    return Judgement(runner, inputs["base"], tuple(inputs["fail_to_pass"]), ())


async def _passes(judgement: Judgement, baseline: Baseline, tests: Sequence[str], hunks: int) -> bool:
    judgement.baseline = baseline.run
    judgement.prefix = prefix_of(baseline.files, judgement.base_files)
    files = sorted(set(map(file_of, tests)))
    what = f"the patched tree with fewer than {hunks} hunks"
    run = await judgement.runner.run(what, judgement.tree_after(), files, baseline=baseline.run)
    return all(compare.is_passed(run.outcomes, test) for test in tests)
