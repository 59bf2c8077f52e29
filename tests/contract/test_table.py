"""The table of providers and features says what the contract suite runs, no more and no less."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.contract.providers import PROVIDERS

README = Path(__file__).parents[2] / "agent" / "models" / "README.md"


def test_each_mark_stands_for_a_test_that_runs() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in README.read_text("utf-8").partition("<!-- the marks")[2].partition("\n\n")[0].splitlines()
        if line.startswith("|")
    ]
    providers = rows[0][1:-1]
    assert providers == sorted(providers, key=[p.name for p in PROVIDERS].index)
    assert set(providers) == {p.name for p in PROVIDERS}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    files = ("test_models.py", "test_faults.py", "test_context.py")
    listed = subprocess.run(
        [*command, *(str(Path(__file__).with_name(name)) for name in files)],
        capture_output=True,
        text=True,
        cwd=README.parents[2],
        check=True,
    ).stdout.splitlines()
    lacking = {p.name for p in PROVIDERS if "raw arguments" in p.lacks}
    for what, *marks, test in rows[2:]:
        name = test.strip("`")
        for provider, mark in zip(providers, marks, strict=True):
            assert mark in ("x", "-")
            runs = any(f"::{name}[" in line and provider in line.partition("[")[2] for line in listed)
            skipped = provider in lacking and "no json" in what.lower()
            assert (mark == "x") == (runs and not skipped), (what, provider)
