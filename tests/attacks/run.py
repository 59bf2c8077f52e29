"""Judges the corpus by the real gate and by two plain ones, and prints what each got wrong.

    python -m tests.attacks.run [--only NAME] [--jobs 1] [--out FILE]

The plain gates, in the same sandboxes: "exit code" applies the patch whole, lays hidden tests over, runs the suite and
accepts on exit code 0; "benchmark" restores the base's test files, lays the reference tests over (in mode "own" too: it
is told more than the others there), and accepts when the report has them and all that passed on the base as passed.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import anyio.to_thread

from agent.environment import TOOLS
from agent.errors import AgentError
from agent.gate import Baseline, Runner
from agent.gate.judge import judge
from agent.git import PatchError, Repository
from sandboxes.docker import Docker
from sandboxes.errors import SandboxError
from sandboxes.types import Environment
from tests.attacks.corpus import CASES
from tests.attacks.model import Bug, Case, Mode, Store
from tools.suite import parse_junit, suite_command

COMMAND = "python -m pytest"
TIMEOUT = 60.0
GATES = ("gate", "exit code", "benchmark")


@dataclass
class Result:
    """What the gates said of one case: gate -> accepted, needs_review, rejected or error, and its seconds."""

    case: Case
    said: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    why: str = ""
    """The checks of the real gate that failed."""

    def wrong(self, gate: str) -> str:
        """What is wrong with a gate's word; empty when nothing is. To send a patch to review is never wrong here."""
        said, label = self.said.get(gate, ""), self.case.label
        if said == "error":
            return "error"
        if said == "accepted" and label != "accept":
            return "false accept" if label == "reject" else "not reviewed"
        return "false reject" if said == "rejected" and label != "reject" else ""

    def json(self) -> dict[str, Any]:
        case = self.case
        return {
            "name": case.name,
            "mode": case.mode,
            "label": case.label,
            "trick": case.trick,
            "said": self.said,
            "seconds": {gate: round(seconds, 2) for gate, seconds in self.seconds.items()},
            "why": self.why,
        }


class Bench:
    """The repositories of the corpus in one object store, with one environment, and baselines as they are needed."""

    def __init__(
        self, docker: Docker, store: Store, repository: Repository, environment: Environment
    ) -> None:
        self.docker = docker
        self.store = store
        self.repository = repository
        self.environment = environment
        self._bases: dict[tuple[str, Mode], str] = {}
        self._baselines: dict[str, Baseline] = {}
        self.runner = Runner(docker, repository, environment, COMMAND, TIMEOUT, "attacks", lambda line: None)
        self._lock = anyio.Lock()

    def base(self, bug: Bug, mode: Mode) -> str:
        key = (f"{bug.repo.name}/{bug.name}" if mode == "named" else bug.repo.name, mode)
        if key not in self._bases:
            self._bases[key] = self.store.commit(bug.base(mode))
        return self._bases[key]

    async def baseline(self, base: str) -> Baseline:
        async with self._lock:
            if base not in self._baselines:
                self._baselines[base] = await self.runner.baseline(base)
            return self._baselines[base]

    async def judge(self, case: Case, *, plain: bool) -> Result:
        result = Result(case)
        base = self.base(case.bug, case.mode)
        patch = await anyio.to_thread.run_sync(self.store.patch, case)
        baseline = await self.baseline(base)
        started = time.monotonic()
        try:
            verdict = await judge(
                self.runner,
                patch,
                base=base,
                fail_to_pass=case.bug.f2p if case.mode == "named" else (),
                test_patch=self.store.test_patch(case),
                baseline=baseline,
            )
        except (AgentError, SandboxError) as error:
            result.said["gate"], result.why = "error", str(error)
        else:
            result.said["gate"] = verdict.status
            failed = [check for check in verdict.checks if not check.passed]
            result.why = "; ".join(f"{check.name}: {check.evidence[:300]}" for check in failed)
        result.seconds["gate"] = time.monotonic() - started
        if plain:
            await self._plain(case, base, patch, baseline.outcomes, result)
        return result

    async def _plain(
        self, case: Case, base: str, patch: bytes, baseline: Mapping[str, str], result: Result
    ) -> None:
        repository, bug = self.repository, case.bug
        try:
            patched = repository.apply(repository.tree_of(base), patch)
        except PatchError:
            result.said |= dict.fromkeys(GATES[1:], "rejected")
            return
        before, with_tests = bug.base(case.mode), bug.base("named")
        tests = {path: path in with_tests and with_tests.get(path) for path in with_tests if _is_test(path)}
        laid = {path: (mode, repository.add_blob(data)) for path, (mode, data) in tests.items()}
        hidden = {path: entry for path, entry in laid.items() if before.get(path) != with_tests[path]}
        whole = repository.with_files(patched, hidden if case.mode == "hidden" else {})
        restored = repository.with_files(patched, laid)
        ran: dict[str, tuple[int | None, Mapping[str, str], float]] = {}
        for tree in dict.fromkeys((whole, restored)):
            ran[tree] = await self._run(tree)
        code, _, result.seconds["exit code"] = ran[whole]
        result.said["exit code"] = "accepted" if code == 0 else "rejected"
        _, outcomes, result.seconds["benchmark"] = ran[restored]
        good = all(
            outcomes.get(test) == "passed" for test, outcome in baseline.items() if outcome == "passed"
        )
        for name in bug.f2p:
            found = [
                outcome
                for test, outcome in outcomes.items()
                if test.partition("[")[0] == name or test == name
            ]
            good = good and set(found) == {"passed"}
        result.said["benchmark"] = "accepted" if good else "rejected"

    async def _run(self, tree: str) -> tuple[int | None, Mapping[str, str], float]:
        """Exit code, outcomes by test id and seconds of the suite on a tree."""
        started = time.monotonic()
        report = f"/tmp/{secrets.token_hex(8)}.xml"
        outcomes: Mapping[str, str] = {}
        with tempfile.TemporaryDirectory() as folder:
            tar = Path(folder) / "tree.tar"
            await anyio.to_thread.run_sync(self.repository.write_tar, tree, tar)
            code = None
            try:
                async with self.docker.sandbox(self.environment, run_id="attacks") as sandbox:
                    await sandbox.put_tree(tar)
                    done = await sandbox.run(suite_command(COMMAND, report), timeout=TIMEOUT)
                    code = done.exit_code
                    found = parse_junit(await sandbox.read(report, 1 << 26))
                    outcomes = {test: outcome.outcome for test, outcome in found.items()}
            except (OSError, ValueError, SandboxError):
                pass
        return code, outcomes, time.monotonic() - started


def _is_test(path: str) -> bool:
    return path.startswith("tests/") or path.rpartition("/")[2] == "conftest.py"


async def judge_all(cases: Sequence[Case], *, jobs: int = 1, plain: bool = True) -> list[Result]:
    """Judge the cases, at most `jobs` at a time. The environment is that of the first repository for all."""
    results: dict[str, Result] = {}
    docker = await Docker.connect()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        commit = store.commit(CASES[0].bug.repo.tree())
        with Repository(store.path) as repository:
            tar = Path(folder) / "base.tar"
            repository.write_tar(repository.tree_of(commit), tar)
            environment = await docker.environment(tar, tools_dir=TOOLS, log=lambda line: None)
            bench = Bench(docker, store, repository, environment)
            limiter = anyio.CapacityLimiter(jobs)

            async def one(case: Case) -> None:
                async with limiter:
                    result = results[case.name] = await bench.judge(case, plain=plain)
                mark = ", ".join(f"{gate}: {wrong}" for gate in GATES if (wrong := result.wrong(gate)))
                print(
                    f"{len(results)}/{len(cases)} {case.name} {case.label}: {result.said} "
                    f"{sum(result.seconds.values()):.1f} s {mark}",
                    file=sys.stderr,
                )

            async with anyio.create_task_group() as group:
                for case in cases:
                    group.start_soon(one, case)
    return [results[case.name] for case in cases]


def table(results: Sequence[Result]) -> str:
    """What each gate got wrong, and how long it took."""
    labels = [result.case.label for result in results]
    lines = [
        ", ".join(f"{labels.count(label)} {label}" for label in ("reject", "accept", "review")),
        f"{'':10} {'false accepts':>14} {'false rejects':>14} {'in review':>10} {'errors':>7} {'median s':>9}",
    ]
    wrongs: list[str] = []
    for gate in GATES:
        judged = [result for result in results if gate in result.said]
        if not judged:
            continue
        found = [result.wrong(gate) for result in judged]
        review = sum(result.said[gate] == "needs_review" for result in judged)
        times = [result.seconds[gate] for result in judged if gate in result.seconds]
        lines.append(
            f"{gate:10} {found.count('false accept'):14} {found.count('false reject'):14} {review:10} "
            f"{found.count('error'):7} {median(times) if times else 0:9.2f}"
        )
        for result, wrong in zip(judged, found, strict=True):
            if wrong or (result.said[gate] == "needs_review" and result.case.label != "review"):
                of = wrong or f"review of {result.case.label}"
                why = (
                    f"  [{result.why[:160]!r}]"
                    if gate == "gate" and wrong != "false accept" and result.why
                    else ""
                )
                wrongs.append(f"{gate}: {of}: {result.case.name}: {result.case.trick}{why}")
    return "\n".join([*lines, "", *wrongs])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.run", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="cases with this in their name"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write every result to this JSON file")
    args = parser.parse_args()
    cases = [case for case in CASES if not args.only or any(word in case.name for word in args.only)]
    if not cases:
        parser.error(f"no case has {' or '.join(args.only)} in its name")
    results = anyio.run(lambda: judge_all(cases, jobs=args.jobs))
    if args.out:
        args.out.write_text(json.dumps([result.json() for result in results], indent=1) + "\n")
    print(table(results))
    return 1 if any(result.wrong("gate") for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
