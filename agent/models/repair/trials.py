"""Batches of candidates through the laboratory: live edits, fresh imports, and what half-repairs give together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.models.repair.candidates import Candidate, combined
from agent.models.repair.laboratory import Laboratory
from agent.models.repair.reports import Observation, TrialReport
from agent.models.repair.source import Edit
from agent.models.repair.turns import Plan, TurnsLeft

BATCH_SECONDS = 20.0
MAX_BATCH = 3000
ENOUGH = 6
"""Plausible repairs of one batch; more would not help to choose."""
LOOK_ON_SECONDS = 20.0
"""How long to go on after the first plausible repair: a better one may rank just behind."""
TURNS_FOR_THE_END = 9
"""Turns kept for proving, restoring and submitting."""
MAX_COVERS = 60


@dataclass
class Trials:
    """What was tried and what came out."""

    lab: Laboratory
    wanted: list[str]
    known: list[str]
    seen: Observation
    suite_seconds: float
    """What the known tests take together."""
    deadline: float
    """When to stop trying, on the monotonic clock."""
    turns: TurnsLeft
    tried: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    good: list[Candidate] = field(default_factory=list)
    parts: list[tuple[Candidate, str, int]] = field(default_factory=list)
    """Half-repairs, with a digit per wanted test (1 where it passes) and by how many lines one came further."""
    skip: int = 0
    """Plausible repairs that were rejected before: one more is needed."""
    _first_good: float | None = None
    _rate: dict[str, float] = field(default_factory=lambda: {"hot": 40.0, "cold": 3.0})
    _again: set[tuple[Edit, ...]] = field(default_factory=set)
    _covered: set[frozenset[int]] = field(default_factory=set)

    def plausible(self) -> list[Candidate]:
        return sorted(self.good, key=lambda c: -c.score)

    def summary(self) -> str:
        return f"{self.tried} candidates tried, {len(self.good)} plausible, {len(self.parts)} half-repairs"

    def halves(self, most: int) -> list[Candidate]:
        """The half-repairs that came furthest, at different places."""
        best: dict[tuple[str, int], Candidate] = {}
        for half, _, _ in sorted(self.parts, key=lambda p: (-p[1].count("1"), -p[2], -p[0].score)):
            best.setdefault((half.edits[0].path, half.line), half)
        return list(best.values())[:most]

    def run(self, candidates: Sequence[Candidate]) -> Plan:
        """Try `candidates` in order until plausible ones are found or time is spent."""
        queues = {"hot": [c for c in candidates if c.live], "cold": [c for c in candidates if not c.live]}
        while not self._over(max((q[0].score for q in queues.values() if q), default=0.0)):
            if not queues["hot"] and not queues["cold"]:
                return
            mode = self._mode(queues)
            size = max(50, min(MAX_BATCH, int(self._rate[mode] * BATCH_SECONDS * 1.3)))
            batch = queues[mode][:size]
            done, again = yield from self._batch(mode, batch)
            queues[mode] = queues[mode][done:]
            queues["cold"] = (
                sorted(queues["cold"] + again, key=lambda c: -c.score) if again else queues["cold"]
            )
            covers = self._covers()
            if covers and not self._over():
                yield from self._batch("hot" if all(c.live for c in covers) else "cold", covers)

    def _mode(self, queues: Mapping[str, Sequence[Candidate]]) -> str:
        """Whichever queue's next candidates promise more for their time."""
        if not queues["cold"] or not queues["hot"]:
            return "hot" if queues["hot"] else "cold"
        # A fresh import costs some ten times as much, so its candidates wait until the live ones promise less.
        return "cold" if queues["cold"][0].score > 2 * queues["hot"][0].score else "hot"

    def _over(self, next_score: float = 1.0) -> bool:
        now = time.monotonic()
        left = self.deadline - now
        late = self._first_good is not None and now > self._first_good + LOOK_ON_SECONDS
        best = sorted((c.score for c in self.good), reverse=True)[self.skip : self.skip + 1]
        hopeless = any(score > 2 * next_score for score in best)
        many = len(self.good) >= 2 * ENOUGH + self.skip
        return (
            left < 5
            or (late and len(self.good) > self.skip)
            or hopeless
            or many
            or self.turns.left <= TURNS_FOR_THE_END
        )

    def _batch(self, mode: str, batch: Sequence[Candidate]) -> Any:
        """Try one batch; how many of it were looked at, and which need a fresh import."""
        failing = self.seen.failing
        base = sum(entry.seconds for entry in failing.values())
        limit = max(1.0, 5 * base + 0.5) + (3 * self.seen.startup + 2 if mode == "cold" else 0)
        left = self.deadline - time.monotonic()
        job = {
            "mode": mode,
            "wanted": self.wanted,
            "known": self.known,
            "candidates": [[[e.path, e.start, e.end, e.new] for e in c.edits] for c in batch],
            "scores": [round(c.score, 4) for c in batch],
            "baseline": {test: entry.test_line for test, entry in failing.items()},
            "limit": round(limit, 2),
            "suite_limit": round(max(20.0, 4 * self.suite_seconds), 1),
            "seconds": round(max(5.0, min(BATCH_SECONDS, left)), 1),
            "enough": ENOUGH,
            "skip": max(0, self.skip - len(self.good)),
            "disk": mode == "hot" and any(entry.spawns for entry in failing.values()),
            "modules": self.seen.modules if mode == "cold" else [],
        }
        started = time.monotonic()
        first = batch[0]
        what = f"{first.operator} at {first.edits[0].path}:{first.line}"
        data = yield from self.lab.run(job, f"Try up to {len(batch)} candidate edits, first {what}.")
        report = TrialReport.read(data, len(batch), len(self.wanted))
        done = max(1, report.done)
        self._rate[mode] = max(1.0, done / max(1.0, time.monotonic() - started))
        self.tried += done
        for word, number in report.counts.items():
            self.counts[word] = self.counts.get(word, 0) + number
        again: list[Candidate] = []
        for outcome in report.results:
            candidate, word = batch[outcome.index], outcome.word
            if word == "plausible":
                self.good.append(candidate)
                self._first_good = self._first_good or time.monotonic()
            elif word == "part":
                self.parts.append((candidate, outcome.bits, int(outcome.detail)))
            elif word in ("import", "passes") and candidate.edits not in self._again:
                self._again.add(candidate.edits)
                again.append(candidate)
        return done, again

    def _covers(self) -> list[Candidate]:
        """Half-repairs that together pass all wanted tests, each set once."""
        useful = sorted(
            ((c, b) for c, b, _ in self.parts if "1" in b), key=lambda p: -p[0].score * p[1].count("1")
        )
        covers: list[Candidate] = []
        for start, bits in useful[:MAX_COVERS]:
            chosen = [start]
            covered = bits
            while "0" in covered:
                best: tuple[float, Candidate, str] | None = None
                for candidate, more in useful:
                    new = sum(a == "0" and b == "1" for a, b in zip(covered, more, strict=True))
                    if new and all(candidate.disjoint(other) for other in chosen):
                        alike = 2.0 if candidate.operator == start.operator else 1.0
                        worth = new * alike * candidate.score**0.5
                        if best is None or worth > best[0]:
                            best = (worth, candidate, more)
                if best is None:
                    break
                chosen.append(best[1])
                covered = "".join(max(a, b) for a, b in zip(covered, best[2], strict=True))
            key = frozenset(map(id, chosen))
            if "0" not in covered and len(chosen) > 1 and key not in self._covered:
                self._covered.add(key)
                covers.append(combined(chosen))
        return sorted(covers, key=lambda c: -c.score)
