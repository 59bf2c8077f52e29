"""Share of cases that are accepted when mistakes compound: one conversation that goes on, beside Assay's attempts.

    python -m tests.benchmarks.compounding [--cases 50] [--p 0 0.25 0.5 0.75] [--seed 1]

A model double repairs seeded bugs in small projects, with three submissions a case. Whenever its conversation holds
code of its own that was rejected, it patches the symptom on top of that code with probability p; else it draws anew
among the causes that are not refuted. The arms:

    one conversation   after a rejection the gate's evidence is added, and the model goes on in the same workspace
    Assay              a Run as it is: after a rejection a new conversation on the base, with the dossier

Both have the same double with the same numbers drawn, the same tools and gate, and are told which causes are refuted.
So with p = 0 they must be equal case by case: a difference there would be the comparison's own fault. The double
looks for its rejected code in all that it is told, so a dossier that leaked it would show.

It shows the mechanism, and that the clean state takes it away. It does not show how large the effect is on live models:
how often they fall for their own code is what p stands for here, and nothing measured.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio

import agent.run
from agent import events
from agent.attempt import Attempt, Ending
from agent.config import Settings
from agent.environment import sandbox_limits
from agent.event_log import EventLog
from agent.events import VerdictReached
from agent.gate import Shelf
from agent.gate.proof import verdict_json
from agent.git import Repository
from agent.job import Job, Start
from agent.prompts import system_prompt
from agent.result import RunEnding
from agent.root_cause import STANDINGS, brief
from agent.run import Publish, Run
from agent.toolbox import open_toolbox
from agent.types import Task, Verdict
from tests.benchmarks.compounding_cases import TEMPLATES, Template, make
from tests.benchmarks.compounding_double import Double

ATTEMPTS = 3


@dataclass(frozen=True)
class Case:
    template: Template
    site: int
    """The place that is wrong at the base."""
    seed: int
    """The double's."""


Verdicts = dict[tuple[str, bytes], Verdict]
"""By base and patch, since the cases share them."""


def remembering(verdicts: Verdicts) -> Any:
    """`judging.judged`, which judges a patch once."""
    judge = agent.run.judged

    async def judged(job: Job, start: Start, number: int, patch: bytes) -> Verdict:
        key = (job.task.base, patch)
        if key in verdicts:
            job.log.append(VerdictReached(number, verdict_json(verdicts[key])))
        else:
            verdicts[key] = await judge(job, start, number, patch)
        return verdicts[key]

    return judged


class OneConversation(Run):
    """The same run, but a rejected model goes on in its conversation and its workspace."""

    async def _attempts(self, start: Start) -> RunEnding:
        job = self.job
        deadline = anyio.current_time() + job.settings.minutes * 60
        spec = job.settings.models[0]
        model = job.open_model(spec, seed=job.seed)
        outcomes = start.baseline.outcomes
        told = brief(job.task, job.settings.test, outcomes, attempts=job.settings.attempts)
        job.log.append(events.UserSaid(1, told))
        limits = sandbox_limits(job.settings, job.settings.minutes * 60)
        async with (
            start.spares.sandbox(start.environment, run_id=job.run_id, limits=limits) as sandbox,
            open_toolbox(sandbox, test_command=job.settings.test) as toolbox,
        ):
            for number in range(1, job.settings.attempts + 1):
                # Each submission gets the turns of an attempt.
                attempt = Attempt(
                    1,
                    model,
                    toolbox,
                    job.log,
                    start.base,
                    system_prompt(spec),
                    job.settings.turns,
                    deadline,
                )
                ending = await attempt.work()
                if ending.patch is None:
                    raise RuntimeError(f"no patch in {job.folder}: {ending.how}: {ending.detail}")
                verdict = await agent.run.judged(job, start, number, ending.patch)
                if verdict.accepted or verdict.needs_review:
                    return RunEnding(verdict.status)
                job.log.append(events.UserSaid(1, rejected(ending, verdict)))
        return RunEnding("rejected")


def rejected(ending: Ending, verdict: Verdict) -> str:
    """The gate's evidence, as a person would paste it, and what it makes of the stated cause: as Assay tells it."""
    green = next((check for check in verdict.checks if check.name == "green"), None)
    standing = STANDINGS["refuted" if green and not green.passed else "open"]
    checks = [
        f"- check `{check.name}` failed: {check.evidence}" for check in verdict.checks if not check.passed
    ]
    traces = [f"- how {test} failed in that run:\n{trace}" for test, trace in verdict.traces.items()]
    cause = f"- the cause that you stated: {ending.root_cause}\n  {standing}"
    return "\n".join(["The gate rejected what you submitted. Go on.", cause, *checks, *traces])


ARMS: Mapping[str, type[Run]] = {"one conversation": OneConversation, "Assay": Run}


@dataclass(frozen=True)
class Outcome:
    """How a case went."""

    accepted: int | None
    """The submission that was accepted, from 1."""
    drawn: tuple[float, ...]
    """The numbers that were compared with p, one for each time that rejected code was in sight."""
    log: Sequence[events.Event]


@dataclass
class Bench:
    """Runs cases in `folder`, each only where another p makes another decision than in a run that was made."""

    folder: Path
    made: dict[tuple[str, Case], list[tuple[float, Outcome]]] = field(default_factory=dict)
    verdicts: Verdicts = field(default_factory=dict)
    runs: int = 0

    async def outcome(self, arm: str, case: Case, p: float) -> Outcome:
        earlier = self.made.setdefault((arm, case), [])
        for other, outcome in earlier:
            if all((number < other) == (number < p) for number in outcome.drawn):
                return outcome
        outcome = await self._run(arm, case, p)
        earlier.append((p, outcome))
        return outcome

    async def _run(self, arm: str, case: Case, p: float) -> Outcome:
        self.runs += 1
        repo = self.folder / f"{case.template.entry}-{case.site}"
        if not repo.exists():
            make(case.template, case.site, repo)
        place = self.folder / f"run-{self.runs}"
        place.mkdir()
        log = EventLog(place / "events.jsonl")
        drawn: list[float] = []

        def fallen_for(number: float) -> bool:
            drawn.append(number)
            return number < p

        def double(spec: str, *, seed: int, **_: Any) -> Double:
            return Double(case.template, seed, fallen_for)

        settings = Settings(models=("scripted/compounding",), attempts=ATTEMPTS)
        remembered = patch("agent.run.judged", remembering(self.verdicts))
        with Repository(repo) as repository, remembered:
            task = Task(
                case.template.issue(), "-", str(repo), repository.resolve("HEAD"), (case.template.red,)
            )
            run_id = f"compounding-{self.runs}"
            job = Job(run_id, task, settings, log, place, repository, case.seed, open_model=double)
            run = ARMS[arm](job, Publish(), Shelf(self.folder / "baselines"))
            result = await run.execute()
        verdicts = [event.verdict["accepted"] for event in log.events if isinstance(event, VerdictReached)]
        told = f"{arm}, {case.template.entry} {case.site}: {result['status']}: {result['error']}"
        if result["status"] == "needs_review":  # not accepted
            print(told, file=sys.stderr)
        elif result["status"] not in ("accepted", "rejected"):  # nothing was measured
            raise RuntimeError(told)
        accepted = verdicts.index(True) + 1 if True in verdicts else None
        return Outcome(accepted, tuple(drawn), log.events)


def draw(count: int, seed: int) -> list[Case]:
    dice = random.Random(seed)
    return [
        Case(dice.choice(TEMPLATES), dice.randrange(len(TEMPLATES[0].sites)), dice.getrandbits(32))
        for _ in range(count)
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compounding")
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--p", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75])
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    cases = draw(args.cases, args.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        found: dict[tuple[str, float], list[Outcome]] = {(arm, p): [] for arm in ARMS for p in args.p}
        for number, case in enumerate(cases, 1):
            for (arm, p), outcomes in found.items():
                outcomes.append(await bench.outcome(arm, case, p))
            ends = {arm: [found[arm, p][-1].accepted for p in args.p] for arm in ARMS}
            print(
                f"{time.monotonic() - began:6.0f} s  {number:3} {case.template.entry} {case.site}: {ends}",
                file=sys.stderr,
                flush=True,
            )
    print(f"{len(cases)} cases, seed {args.seed}; accepted after 1, 2 and 3 submissions")
    print("   p  " + "".join(f"{arm:>26}" for arm in ARMS) + "    own rejected code in sight (times)")
    for p in args.p:
        columns = [found[arm, p] for arm in ARMS]
        told = "".join(f"{shares(column):>26}" for column in columns)
        seen = ", ".join(str(sum(len(outcome.drawn) for outcome in column)) for column in columns)
        print(f"{p:5.2f} {told}    {seen}")
    print(f"{bench.runs} runs and {len(bench.verdicts)} judgements in {time.monotonic() - began:.0f} s")


def shares(outcomes: Sequence[Outcome]) -> str:
    """Of the cases accepted after each number of submissions."""
    good = [
        sum(one.accepted is not None and one.accepted <= most for one in outcomes)
        for most in range(1, ATTEMPTS + 1)
    ]
    return "  ".join(f"{100 * count / len(outcomes):3.0f} %" for count in good)


if __name__ == "__main__":
    anyio.run(main)
