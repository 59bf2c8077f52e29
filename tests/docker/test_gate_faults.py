"""Faults that are no patch's: of the environment, of a sandbox, of the user's input."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import EnvironmentFault, UsageError
from tests.docker.gate_harness import Gate, project
from tests.docker.project import BUGGY, FIXED_LINE, TESTS

pytestmark = pytest.mark.docker

FIXED = BUGGY.replace(*FIXED_LINE)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    files = {"calc.py": BUGGY, "tests/test_calc.py": TESTS, "conftest.py": ""}
    return project(tmp_path_factory.mktemp("gate"), files)


def test_a_baseline_without_passing_tests_is_a_fault_of_the_environment(gate: Gate, tmp_path: Path) -> None:
    other = project(
        tmp_path, {"calc.py": BUGGY, "tests/test_calc.py": "import absent_module\n"}, gate.environment
    )
    with pytest.raises(EnvironmentFault, match="absent_module"):
        other.take_baseline()
    other.command = "python -m pytest nowhere"
    with pytest.raises(EnvironmentFault, match="nowhere"):
        other.take_baseline()
    other.command = "exit 3; pytest"
    with pytest.raises(EnvironmentFault, match="exit code 3"):
        other.judge({"calc.py": FIXED}, named=["tests/test_calc.py::test_above"])


@contextlib.contextmanager
def killer(run_id: str, times: int) -> Iterator[None]:
    """Kills so many sandboxes of a run, each as soon as pytest runs in it."""
    script = f"""
    for _ in $(seq {times}); do
    until id=$(docker ps -q --filter label=assay.run={run_id}) && [ -n "$id" ] \
        && docker top "$id" | grep -q pytest; do sleep 0.1; done
    docker kill $id; done"""
    command = ["sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def test_a_killed_sandbox_is_a_fault_of_the_environment(gate: Gate, tmp_path: Path) -> None:
    slow = "import time\n\n\ndef test_x():\n    time.sleep(50)\n"
    other = project(tmp_path, {"test_x.py": slow}, gate.environment)
    with killer("test-gate-killed", 2), pytest.raises(EnvironmentFault, match="sandbox"):
        other.take_baseline("test-gate-killed")


def test_a_run_whose_sandbox_is_killed_is_made_once_more(gate: Gate, tmp_path: Path) -> None:
    slow = "import time\n\n\ndef test_x():\n    time.sleep(5)\n"
    other = project(tmp_path, {"test_x.py": slow}, gate.environment)
    with killer("test-gate-killed-once", 1):
        assert other.take_baseline("test-gate-killed-once").outcomes == {"test_x.py::test_x": "passed"}


def test_what_the_user_can_mend_is_a_usage_fault(gate: Gate) -> None:
    with pytest.raises(UsageError, match="test patch does not apply"):
        gate.judge({"calc.py": FIXED}, hidden=b"--- a/nowhere\n+++ b/nowhere\n@@ -1 +1 @@\n-x\n+y\n")
    other = Gate(gate.path, gate.environment, command="pytest 'tests")
    with pytest.raises(UsageError, match="unclosed quote"):
        other.judge({"calc.py": FIXED, "tests/test_new.py": TESTS})
