"""Nothing of killed runs is left after `agent doctor`; and what is left would be seen."""

import subprocess
import time

import pytest

from tests.benchmarks import kills

pytestmark = pytest.mark.docker


def test_a_few_kills_leave_nothing(tmp_path):
    total, phases = kills.measure(tmp_path, kills=6, seed=7, batch=3)
    assert sum(phases.values()) == 6
    assert not any(total.values()), total


def test_what_is_left_before_the_doctor_came_is_counted(tmp_path):
    repo = kills.make_project(tmp_path)
    (tmp_path / "temporary").mkdir()
    before, images = kills.state(repo), kills.dangling()
    process = kills.started(tmp_path)
    found: list[str] = []
    while not found and process.poll() is None:
        time.sleep(0.2)
        found = kills.docker("ps", "-q", "--filter", f"label=assay.pid={process.pid}")
    run = kills.killed(process, tmp_path)
    sleeper = subprocess.Popen(["sleep", "1000"], cwd=tmp_path)
    try:
        count = kills.left([run], tmp_path, images, before)
        assert count["containers"] >= 1
        assert count["mounts"] >= 1
        assert count["temporary files"] >= 1
        assert count["processes"] == 1
        assert count["changes of the repository"] == 0
    finally:
        sleeper.kill()
        sleeper.wait()
        kills.agent(tmp_path, "doctor", TMPDIR=str(tmp_path / "temporary"))
