"""The examples do what the README says of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.project import agent, git

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[2]


def test_a_real_bug_of_a_published_package_is_repaired_without_a_key(tmp_path):
    prepared = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "prepare_bug.py"), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert prepared.returncode == 0, prepared.stderr
    script = (ROOT / "examples" / "fix-a-real-bug.sh").read_text()
    assert os.access(ROOT / "examples" / "fix-a-real-bug.sh", os.X_OK)
    (test,) = [line.split('"')[1] for line in script.splitlines() if "--fail-to-pass" in line]
    done = agent(
        tmp_path,
        *["fix", "--repo", "repo", "--issue", "issue.md", "--fail-to-pass", test, "--model", "local/repair"],
        *["--test", "python -m pytest tests -o addopts=", "--output", "accepted.diff"],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cost: 0.0000 USD" in done.stdout
    git(tmp_path / "repo", "apply", str(tmp_path / "accepted.diff"))
    assert git(tmp_path / "repo", "status", "--porcelain").strip().startswith("M tinydb/")
