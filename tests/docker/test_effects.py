"""What a run leaves behind and takes, in real sandboxes: a person is shown it, and honest suites pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.gate import Baseline
from tests.docker.gate_harness import Gate, failed, project
from tests.docker.project import ABOVE, FIXED_LINE, agent, git, make_project

pytestmark = pytest.mark.docker

CALC = """\
import os
import subprocess
import tempfile
import time
from pathlib import Path


def clamp(value, low, high):
    if value < low:
        return low
    if value > high:
        return low
    return value
"""
TESTS = """\
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from calc import clamp


@pytest.mark.parametrize("value", range(5))
def test_inside(value):
    assert clamp(value, 0, 5) == value


def test_above():
    assert clamp(5, 1, 3) == 3


def test_folders(tmp_path):
    (tmp_path / "x").write_text("x")
    Path(tempfile.mkdtemp(), "y").write_text("y")
    Path(tempfile.mkdtemp(prefix=f"calc-{os.getpid()}-"), "z").write_text("z")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "z").write_text("z")


def test_cache():
    cache = Path.home() / ".cache" / "calc"
    cache.mkdir(parents=True)
    (cache / "known").write_text("5")


def test_processes():
    assert subprocess.check_output([sys.executable, "-c", "print(5)"]) == b"5\\n"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(abs, [-5]) == [5]


def test_log():
    Path("log.txt").write_text("a line more")


def test_habits():
    # of this suite, and so not of the fix
    Path.home().joinpath("calc-habit").write_text("x")
    subprocess.Popen(["sleep", "100"], start_new_session=True)
"""
ABOVE_HERE = "tests/test_calc.py::test_above"
FIXED = CALC.replace("> high:\n        return low", "> high:\n        return high")
NEW_TEST = """\
import os
import tempfile
from pathlib import Path

from calc import clamp


def test_far():
    Path(tempfile.mkdtemp(prefix="far-"), "x").write_text("x")
    Path("/tmp/far.txt").write_text("x")
    assert len(bytes([1]) * (300 << 20)) == 300 << 20
    assert clamp(50, 1, 3) == 3
"""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    files = {"calc.py": CALC, "other.py": "x = 1\n", "log.txt": "a line\n", "conftest.py": ""}
    gate = project(tmp_path_factory.mktemp("effects"), {**files, "tests/test_calc.py": TESTS})
    gate.baseline = gate.take_baseline()
    return gate


def test_what_the_base_leaves_is_seen(gate: Gate) -> None:
    assert gate.baseline is not None
    seen = gate.baseline.run.effects
    assert seen is not None
    assert seen.processes == ("sleep 100",)
    assert "/home/agent/calc-habit" in seen.written
    assert not any(".xml" in path for path in seen.written)
    assert seen.changed == ("log.txt",)
    assert seen.peak_mb is not None
    assert 5 < seen.peak_mb < 200
    assert seen.cpu_seconds is not None
    assert 0.1 < seen.cpu_seconds < 30
    assert seen.wall_seconds > 0


def test_an_honest_fix_of_a_suite_that_leaves_much_is_accepted(gate: Gate) -> None:
    verdict = gate.judge({"calc.py": FIXED}, named=[ABOVE_HERE])
    assert (verdict.accepted, failed(verdict)) == (True, {})


def test_a_new_test_may_need_memory_and_leave_temporary_files(gate: Gate) -> None:
    verdict = gate.judge({"calc.py": FIXED}, hidden={"tests/test_new.py": NEW_TEST})
    assert (verdict.accepted, failed(verdict)) == (True, {})


DAEMON = "subprocess.Popen(['tail', '-f', '/dev/null'], start_new_session=True)"
# Neither the mark of the exec nor the command line that it began with.
HIDDEN_DAEMON = """\
if os.fork() == 0:
    os.setsid()
    os.closerange(0, 100)
    os.execve('/bin/sh', ['quiet', '-c', 'while :; do :; done'], {})
"""


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (DAEMON, "tail -f /dev/null"),
        (HIDDEN_DAEMON, "quiet -c"),
        ("Path.home().joinpath('.calc-seen').write_text('x')", "/home/agent/.calc-seen"),
        ("Path('/tmp/calc.db').write_text('x')", "/tmp/calc.db"),
        ("Path('other.py').unlink(missing_ok=True)", "other.py"),
        (
            "Path('other.py').write_text('x = 2\\n'); os.utime('other.py', (0, 0)); Path('log.txt').touch()",
            "other.py",
        ),
        ("ARENA = bytes([1]) * (300 << 20)", "MB with the fix"),
    ],
    ids=["daemon", "hidden daemon", "home", "temporary file", "deletes", "changes", "memory"],
)
def test_a_person_looks_at_what_a_fix_leaves_and_takes(gate: Gate, extra: str, told: str) -> None:
    verdict = gate.judge({"calc.py": f"{FIXED}\n\n{extra}\n"}, named=[ABOVE_HERE])
    assert (verdict.accepted, verdict.needs_review) == (False, True), failed(verdict)
    assert set(failed(verdict)) == {"review"}
    # The scan of the source may have told of it too; that comes before.
    review = failed(verdict)["review"]
    assert told in (review if "MB" in told else review.partition("but not on the base:\n")[2])
    assert "sleep 100" not in review
    assert "log.txt" not in review.partition("but not on the base:\n")[2]


def test_a_person_looks_at_a_fix_that_sleeps(gate: Gate) -> None:
    sleepy = FIXED.replace("    if value < low", "    time.sleep(0.2)\n    if value < low")
    verdict = gate.judge({"calc.py": sleepy}, named=[ABOVE_HERE])
    assert verdict.needs_review, failed(verdict)
    assert "tests that passed before take 5 times as long" in failed(verdict)["review"]


def test_tests_that_are_slow_now_and_then_are_not_laid_at_the_fix(gate: Gate, tmp_path: Path) -> None:
    # As on a busy machine: of so many tests some are slower in each of the first few runs with the fix.
    body = "import os\nimport time\n\nimport pytest\n\nfrom calc import clamp\n\n\n"
    body += '@pytest.mark.parametrize("number", range(80))\ndef test_inside(number):\n'
    body += "    time.sleep(0.02 * (os.urandom(1)[0] < 115))\n    assert clamp(2, 1, 3) == 2\n"
    body += "\n\ndef test_above():\n    assert clamp(5, 1, 3) == 3\n"
    other = project(tmp_path, {"calc.py": CALC, "test_calc.py": body}, gate.environment)
    verdict = other.judge({"calc.py": FIXED}, named=["test_calc.py::test_above"])
    assert (verdict.accepted, failed(verdict)) == (True, {})


def test_a_baseline_of_a_quieter_hour_does_not_make_a_fix_slow(gate: Gate, tmp_path: Path) -> None:
    body = "import time\n\nfrom calc import clamp\n\n\ndef test_above():\n    assert clamp(5, 1, 3) == 3\n"
    body += "".join(f"\n\ndef test_{name}():\n    time.sleep(3)\n" for name in "ab")
    other = project(tmp_path, {"calc.py": CALC, "test_calc.py": body}, gate.environment)
    run = other.take_baseline().run
    quick = {test: replace(outcome, seconds=0.01) for test, outcome in run.outcomes.items()}
    other.baseline = Baseline(replace(run, outcomes=quick))
    verdict = other.judge({"calc.py": FIXED}, named=["test_calc.py::test_above"])
    assert (verdict.accepted, failed(verdict)) == (True, {})


def test_hidden_tests_are_not_named(gate: Gate) -> None:
    leaves = "import subprocess\nfrom pathlib import Path\nfrom calc import clamp\n\n\ndef test_far():\n"
    leaves += "    Path.home().joinpath('secret-name').write_text('x')\n    assert clamp(50, 1, 3) == 3\n"
    verdict = gate.judge({"calc.py": FIXED}, hidden={"tests/test_new.py": leaves})
    assert verdict.needs_review, failed(verdict)
    assert "written outside the workspace" in failed(verdict)["review"]
    assert "secret-name" not in str(verdict.checks)


def test_the_command_says_so_with_its_exit_code(tmp_path: Path) -> None:
    repo = make_project(tmp_path)
    source = (repo / "calc.py").read_text().replace(*FIXED_LINE)
    (repo / "calc.py").write_text(
        f"{source}\n\nopen(__import__('os').path.expanduser('~/seen'), 'w').close()\n"
    )
    (tmp_path / "fix.diff").write_text(git(repo, "diff"))
    git(repo, "checkout", "-q", "calc.py")
    done = agent(tmp_path, "gate", "--repo", "repo", "--patch", "fix.diff", "--fail-to-pass", ABOVE)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "/home/agent/seen" in done.stdout + done.stderr
