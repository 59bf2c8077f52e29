"""The plan of a repair: failing tests, suspicious lines, candidates in batches, the best one proved and submitted."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from agent.models.repair import localise
from agent.models.repair.candidates import generate
from agent.models.repair.hand_in import HandIn
from agent.models.repair.laboratory import LabError, Laboratory
from agent.models.repair.operators.base import Evidence
from agent.models.repair.reports import BadReport, Observation
from agent.models.repair.trials import Trials
from agent.models.repair.turns import Plan, Steps, Turn, TurnsLeft

FAILED = ("failed", "error")
FIRST_ROUND = 0.65
"""The part of the time for repairs by a single edit, or by several that each mend some tests."""
MAX_HALVES = 3
MAX_TURNS = 58
"""Replies of one attempt; the loop allows 60 by default."""


class GiveUp(Exception):
    """The search can't go on; the text says why, for the user."""


def repair(brief: str, seed: int, deadline: float) -> Plan:
    """Lead one attempt: yields turns, receives their results. `deadline` is on the monotonic clock."""
    search = Search(brief, seed, deadline)
    plan = search.lead()
    try:
        turn = next(plan)
        while True:
            search.turns.left -= 1
            turn = plan.send((yield turn))
    except StopIteration:
        return


class Search:
    """One attempt at a repair."""

    def __init__(self, brief: str, seed: int, deadline: float) -> None:
        self.brief = brief
        self.seed = seed
        self.deadline = deadline
        self.began = time.monotonic()
        self.outcomes: Mapping[str, str] = {}
        self.failures: Mapping[str, str] = {}
        """The line that tells how a test failed, by id."""
        self.suite_seconds = 0.0
        self.hand_in: HandIn | None = None
        self.turns = TurnsLeft(MAX_TURNS)
        self.tried = ""
        self.skip = _earlier_attempts(brief)
        """Plausible repairs to pass over."""

    def lead(self) -> Plan:
        """The whole attempt, up to its `submit`."""
        try:
            yield from self.run()
        except (GiveUp, LabError, BadReport) as reason:
            yield from self.give_up(str(reason))

    def run(self) -> Plan:
        wanted = yield from self.failing_tests()
        lab = Laboratory(_test_command(self.brief), f"{self.seed} {self.brief}")
        self.hand_in = hand_in = HandIn(self.outcomes, self.failures, wanted, self.suite_seconds, lab.removal)
        known = localise.near_first([i for i, o in self.outcomes.items() if o == "passed"], wanted)
        seen = yield from self.observe(lab, wanted, known)
        # The last part of the time is for what needs two edits: the second is searched from the best first ones.
        now = time.monotonic()
        trials = self.trials(lab, wanted, known, seen, now + FIRST_ROUND * (self.deadline - now))
        if (yield from self.round(trials, seen)):
            return
        for half in trials.halves(MAX_HALVES):
            if time.monotonic() > self.deadline - self.suite_seconds - 40 or self.turns.left < 16:
                break
            problem = yield from hand_in.build_on(half)
            if problem:
                continue
            seen = yield from self.observe(lab, wanted, known)
            second = self.trials(lab, wanted, known, seen, self.deadline - self.suite_seconds)
            second.tried = trials.tried
            if (yield from self.round(second, seen)):
                return
            trials.tried = second.tried
            yield from hand_in.restore()
        raise GiveUp(f"no small edit turns the failing tests green ({trials.summary()})")

    def trials(
        self, lab: Laboratory, wanted: list[str], known: list[str], seen: Observation, deadline: float
    ) -> Trials:
        """What remains to be done in this state of the workspace: tests that a half-repair turned green are known."""
        green = [test for test, entry in seen.failing.items() if entry.ok]
        red = [test for test in wanted if test not in seen.missing and test not in green]
        # The failing tests may be what makes the whole suite slow.
        seconds = min(self.suite_seconds, seen.known_seconds + seen.startup + 2)
        ends = min(deadline, self.deadline - self.suite_seconds - 20)
        return Trials(
            lab, red, green + (known or seen.passed), seen, seconds, ends, self.turns, skip=self.skip
        )

    def round(self, trials: Trials, seen: Observation) -> Steps[bool]:
        """Rank, generate, try and prove; True when a repair was handed in."""
        assert self.hand_in is not None
        sources = seen.sources
        self.hand_in.know(sources)
        failures = [f for f in seen.failing.values() if not f.ok]
        messages = " ".join(f.message for f in failures if f.kind not in ("AssertionError", "failed"))
        evidence = Evidence.gather(list(seen.tests.values()), [f.kind for f in failures], messages[:2000])
        frames = [entry.frames for entry in seen.failing.values()]
        places = localise.rank(seen.lines, len(trials.wanted), frames, _issue(self.brief), sources)
        if not places.scores:
            raise GiveUp("the failing tests execute no code of the product that this search could change")
        candidates = generate(sources, places, evidence, self.seed)
        where = ", ".join(f"{path}:{line}" for path, line, _ in places.top(5))
        self.tried = self.tried or f"{len(places.scores)} suspicious lines, first {where}"
        try:
            yield from trials.run(candidates)
        except (LabError, BadReport) as error:
            self.tried += f"; the laboratory failed: {error}"
        for found in trials.plausible():
            if self.skip:  # it was handed in by an earlier attempt, and rejected
                self.skip -= 1
                continue
            problem = yield from self.hand_in.prove(found)
            if not problem:
                yield from self.hand_in.submit(found, places, trials.summary())
                return True
            at = f"{found.edits[0].path}:{found.line}"
            self.tried += f"; {found.operator} at {at} was plausible, but {problem}"
        return False

    def failing_tests(self) -> Steps[list[str]]:
        """Run the suite; which tests to turn green."""
        started = time.monotonic()
        timeout = max(60, round((self.deadline - started) * 0.5))
        (result,) = yield Turn(
            "Run the whole suite to see which tests fail.", [("run_tests", {"timeout": timeout})]
        )
        self.suite_seconds = time.monotonic() - started
        data = result.data or {}
        self.outcomes = {str(k): str(v) for k, v in (data.get("outcomes") or {}).items()}
        self.failures = {
            str(entry["id"]): line
            for entry in [*data.get("failures", ()), *data.get("collection_errors", ())]
            if (line := _telling(str(entry["message"]), str(entry["detail"])))
        }
        failing = [test for test, outcome in self.outcomes.items() if outcome in FAILED]
        named = _named(self.brief)
        wanted = [test for test in named if test in failing or not self.outcomes]
        if not wanted and named:
            absent = [test for test in named if test not in self.outcomes]
            if absent:
                reason = " ".join(result.text.split())[:300]
                raise GiveUp(f"the tests that are named did not run, {absent[0]} for one: {reason}")
            raise GiveUp(f"the tests that are named do not fail here: {', '.join(named[:5])}")
        wanted = wanted or failing
        if not wanted:
            if not self.outcomes:
                raise GiveUp(f"the suite could not be run: {' '.join(result.text.split())[:300]}")
            raise GiveUp(
                "local/repair needs a failing test and never guesses: name one with --fail-to-pass, or write one that "
                "fails because of the bug"
            )
        return wanted

    def observe(self, lab: Laboratory, wanted: list[str], known: list[str]) -> Steps[Observation]:
        left = self.deadline - time.monotonic()
        job = {
            "mode": "observe",
            "wanted": wanted,
            "known": known or None,
            "seconds": round(min(60.0, 0.15 * left), 1),
        }
        data = yield from lab.run(
            job, "Record which lines the failing tests run, and which the passing ones."
        )
        seen = Observation.read(data)
        if len(seen.missing) == len(wanted):
            raise GiveUp(
                "the failing tests can't be collected (does an import in their file fail?): nothing can be observed"
            )
        if all(entry.ok for entry in seen.failing.values()) and not seen.hanging:
            raise GiveUp(
                "the failing tests pass when they are run alone: they depend on other tests, or on chance"
            )
        return seen

    def give_up(self, reason: str) -> Plan:
        """Leave the workspace as it was, and say why."""
        if self.hand_in is not None:
            yield from self.hand_in.restore(leave=True)
        seconds = time.monotonic() - self.began
        summary = f"{reason[:1].upper()}{reason[1:]}." if not reason.endswith(".") else reason
        tried = f" Looked at: {self.tried}." if self.tried else ""
        summary = f"{summary}{tried} {seconds:.0f} s."
        yield Turn(
            "There is no repair to hand in.",
            [("submit", {"summary": summary, "give_up": True})],
        )


def _telling(message: str, detail: str) -> str:
    """The first line of a failure's message, or the last of its trace, that is long enough to be known again."""
    lines = [*message.splitlines(), *reversed(detail.splitlines())]
    return next((line.strip() for line in lines if len(line.strip()) >= 6), "")


def _test_command(brief: str) -> str:
    match = re.search(r"^Test command: `(.+)`", brief, re.MULTILINE)
    return match[1] if match else "python -m pytest"


def _issue(brief: str) -> str:
    match = re.search(r"<issue>(.*)</issue>", brief, re.DOTALL)
    return match[1] if match else brief


def _named(brief: str) -> list[str]:
    """Test ids that the runtime names as those to turn green: list items that look like ids, right after the issue."""
    told = brief.rpartition("</issue>")[2].partition("\nTest command: ")[0]
    found = [line[2:].strip() for line in told.split("\n") if line.startswith("- ") and "::" in line]
    return list(dict.fromkeys(found))


def _earlier_attempts(brief: str) -> int:
    """How many patches were rejected before this attempt."""
    facts = brief.rpartition("</issue>")[2]
    return len(re.findall(r"^Attempt \d+: (?:submitted|turns)\b", facts, re.MULTILINE))
