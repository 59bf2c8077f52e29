"""The baseline: the suite on the base commit, twice where there is time for it, and kept for the same tree."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent.gate.effects import Effects
from agent.gate.suites import SuiteRun, file_of
from tools.suite import TestOutcome

SCHEMA = 1
"""To be raised when baselines that were kept should be taken anew."""
KEPT_DAYS = 30
"""A baseline that was not asked for in so many days is forgotten."""


@dataclass(frozen=True)
class Baseline:
    """The suite's run on the base commit, and a second one if it was made."""

    run: SuiteRun
    again: SuiteRun | None = None

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome per test id."""
        return {test: outcome.outcome for test, outcome in self.run.outcomes.items()}

    @property
    def flaky(self) -> frozenset[str]:
        """The tests that ended otherwise in the second run."""
        if self.again is None or self.again.problem:
            return frozenset()
        seen = Baseline(self.again).outcomes
        return frozenset(test for test, outcome in self.outcomes.items() if seen.get(test) != outcome)

    @property
    def best(self) -> Mapping[str, TestOutcome]:
        """The outcomes, those of the second run where a test passed only there."""
        again = self.again.outcomes if self.again else {}
        passed = {test: outcome for test, outcome in again.items() if outcome.outcome == "passed"}
        return {**self.run.outcomes, **passed}

    @property
    def files(self) -> set[str]:
        return {file_of(test) for test in self.run.outcomes}


@dataclass(frozen=True)
class Shelf:
    """Baselines of earlier judgements in a folder, by (tree, environment, command). It may be deleted at any time."""

    folder: Path

    def _path(self, *key: str) -> Path:
        text = json.dumps([SCHEMA, *key])
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"

    def get(self, *key: str) -> Baseline | None:
        """None also for what is damaged: it is taken anew then."""
        path = self._path(*key)
        try:
            digest, _, body = path.read_bytes().partition(b"\n")
            if digest.decode() != hashlib.sha256(body).hexdigest():
                return None
            told = json.loads(body)
            found = Baseline(_run(told["run"]), _run(told["again"]) if told["again"] else None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        with suppress(OSError):
            os.utime(path)
        return found

    def put(self, baseline: Baseline, *key: str) -> None:
        """Raises OSError when the folder can't be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("*.json"):
            with suppress(FileNotFoundError):
                if time.time() - old.stat().st_mtime > KEPT_DAYS * 86400:
                    old.unlink()
        path = self._path(*key)
        part = path.with_suffix(f".{os.getpid()}.part")
        body = json.dumps({"run": _told(baseline.run), "again": _told(baseline.again)}).encode()
        part.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        part.replace(path)


def _told(run: SuiteRun | None) -> Mapping[str, Any] | None:
    if run is None:
        return None
    outcomes = [asdict(outcome) for outcome in run.outcomes.values()]
    return {**asdict(replace(run, outcomes={})), "outcomes": outcomes}


def _run(told: Mapping[str, Any]) -> SuiteRun:
    outcomes = {one["id"]: TestOutcome(**one) for one in told["outcomes"]}
    seen = told["effects"]
    lists = ("processes", "written", "changed")
    effects = seen and Effects(**{**seen, **{name: tuple(seen[name]) for name in lists}})
    return SuiteRun(**{**told, "outcomes": outcomes, "effects": effects})
