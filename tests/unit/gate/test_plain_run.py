"""Tests without a test runner in the process: what is found out of them, whatever one of them does."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

TEXT = files("agent.gate.in_sandbox").joinpath("plain_run.py").read_text("utf-8")
MODULE = """\
import os


def test_good():
    pass


def test_hangs():
    while True:
        pass


def test_bad():
    assert False


def test_ends():
    os._exit(0)


def test_after():
    assert False
"""


def run(folder: Path, tests: list[str]) -> list[list[Any]]:
    """The lines told by four rounds."""
    out = folder / "out"
    module = ["m", str(folder), MODULE, tests]
    job = {"modules": [module], "out": str(out), "stand_in": "s", "root": str(folder), "rounds": 4, "days": 0}
    script = folder / "run.py"
    quick = TEXT.replace("LIMIT = 5.0\n", "LIMIT = 0.3\n", 1)
    script.write_text(quick.replace("= {}\n", f"= json.loads({json.dumps(job)!r})\n", 1))
    subprocess.run([sys.executable, str(script)], cwd=folder, check=True, timeout=60)
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_others_have_their_turn_when_one_hangs(tmp_path: Path) -> None:
    told = run(tmp_path, ["test_good", "test_hangs", "test_bad"])
    seen = [(number, test, kind) for number, _, test, _, kind, _, _ in told]
    assert seen[:3] == [(0, "test_good", ""), (0, "test_hangs", "Hung"), (0, "test_bad", "AssertionError")]
    assert seen[3:] == [
        (number, *rest)
        for number in (1, 2, 3)
        for rest in (("test_good", ""), ("test_bad", "AssertionError"))
    ]


def test_what_was_seen_stays_when_the_process_ends(tmp_path: Path) -> None:
    told = run(tmp_path, ["test_bad", "test_ends", "test_after"])
    assert [(one[2], one[4]) for one in told] == [("test_bad", "AssertionError")]
