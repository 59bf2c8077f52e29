"""Baselines kept for the next judgement."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agent.gate.baseline import KEPT_DAYS, Baseline, Shelf
from agent.gate.effects import Effects
from agent.gate.suites import SuiteRun
from tools.suite import TestOutcome

KEY = ("tree", "image", "digest", "python -m pytest")


def a_run(**outcomes: str) -> SuiteRun:
    made = {
        f"t.py::{name}": TestOutcome(f"t.py::{name}", o, "m\n", "é\udc80", 0.5)
        for name, o in outcomes.items()
    }
    return SuiteRun(made, 1, "tail", 2.5, effects=Effects(("sleep 9",), ("/tmp/x",), (), 20.5, None, 1.0))


def test_what_is_kept_comes_back_whole_and_only_for_its_key(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "new" / "baselines")
    baseline = Baseline(a_run(a="passed", b="failed"), a_run(a="passed", b="passed"))
    shelf.put(baseline, *KEY)
    assert shelf.get(*KEY) == baseline
    assert shelf.get(*KEY[:-1], "pytest") is None


def test_tests_that_end_otherwise_the_second_time_are_flaky() -> None:
    again = a_run(a="passed", b="passed")
    assert Baseline(a_run(a="passed", b="failed", c="passed"), again).flaky == {"t.py::b", "t.py::c"}
    assert not Baseline(a_run(a="passed")).flaky


def test_a_second_run_that_gave_no_report_says_nothing(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(Baseline(a_run(a="passed"), SuiteRun(problem="stopped")), *KEY)
    found = shelf.get(*KEY)
    assert found is not None and not found.flaky


def test_what_is_damaged_is_not_there(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(Baseline(a_run(a="passed")), *KEY)
    (path,) = tmp_path.iterdir()
    for damage in (b"", b"{", b"[]", b'{"run": {}, "again": null}', path.read_bytes()[:-30], b"\xff"):
        path.write_bytes(damage)
        assert shelf.get(*KEY) is None


def test_old_baselines_are_forgotten_unless_they_are_used(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for key in ("used", "unused"):
        shelf.put(Baseline(a_run(a="passed")), key)
    old = time.time() - (KEPT_DAYS + 1) * 86400
    for path in tmp_path.iterdir():
        os.utime(path, (old, old))
    assert shelf.get("used") is not None
    shelf.put(Baseline(a_run(a="passed")), "new")
    assert shelf.get("used") and shelf.get("new") and shelf.get("unused") is None
