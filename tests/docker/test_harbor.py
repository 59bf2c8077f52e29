"""A trial of Harbor with Assay as its agent, where Harbor is installed: it needs Python 3.12, and Docker's Compose."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.docker.benchmark_image import ISSUE, MENDED, UNPROVED, build
from tests.docker.project import call, environment, script

pytest.importorskip("harbor")
COMPOSE = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not COMPOSE, reason="Harbor's Docker environment needs docker compose"),
]

GRADE = """\
cd /testbed
if /opt/miniconda3/envs/testbed/bin/python -c 'from calc import clamp; assert clamp(5, 1, 3) == 3'; then
    echo 1 > /logs/verifier/reward.txt
else
    echo 0 > /logs/verifier/reward.txt
fi
"""


def make_task(folder: Path, image: str, workdir: str = "/testbed") -> Path:
    task = folder / "task"
    for name, text in {
        "task.toml": f'schema_version = "1.4"\n[environment]\ndocker_image = "{image}"\nworkdir = "{workdir}"\n',
        "instruction.md": ISSUE,
        "tests/test.sh": GRADE,
        "environment/.keep": "",
    }.items():
        (task / name).parent.mkdir(parents=True, exist_ok=True)
        (task / name).write_text(text)
    return task


def trial(folder: Path, task: Path, model: str) -> tuple[dict, Path]:
    """What Harbor says of a trial, and its folder."""
    harbor_itself = Path(sys.executable).with_name("harbor")
    given = ["trial", "start", "--path", str(task), "--agent", "agent.harbor:Assay", "--model", model]
    given += [
        "--environment-type",
        "docker",
        "--trials-dir",
        str(folder / "trials"),
        "--agent-kwarg",
        "attempts=1",
    ]
    done = subprocess.run(
        [harbor_itself, *given], env=environment(folder), capture_output=True, text=True, timeout=900
    )
    results = list((folder / "trials").glob("*/result.json"))
    assert len(results) == 1, done.stdout + done.stderr
    return json.loads(results[0].read_text()), results[0].parent


def test_what_is_accepted_is_in_the_environment_that_is_graded_and_the_trial_has_the_proof(tmp_path):
    task = make_task(tmp_path, anyio.run(build))
    result, folder = trial(tmp_path, task, script(tmp_path, MENDED))
    assert result["verifier_result"]["rewards"] == {"reward": 1.0}, result
    told = result["agent_result"]
    assert told["metadata"]["status"] == "accepted" and told["n_output_tokens"] is not None
    assert json.loads((folder / "agent/assay/proof.json").read_text())
    assert json.loads((folder / "agent/trajectory.json").read_text())["steps"]


def test_a_patch_that_proves_nothing_changes_nothing_and_a_folder_that_is_none_is_said(tmp_path):
    image = anyio.run(build)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    result, _ = trial(tmp_path / "a", make_task(tmp_path / "a", image), script(tmp_path / "a", UNPROVED))
    assert result["verifier_result"]["rewards"] == {"reward": 0.0}
    assert result["agent_result"]["metadata"]["status"] != "accepted"
    result, _ = trial(tmp_path / "b", make_task(tmp_path / "b", image, "/"), "local/repair")
    assert "no folder of its own" in result["exception_info"]["exception_message"]


def test_a_trial_that_takes_too_long_leaves_nothing_and_knows_what_it_cost(tmp_path):
    task = make_task(tmp_path, anyio.run(build))
    with (task / "task.toml").open("a") as file:
        file.write("[agent]\ntimeout_sec = 15.0\n")
    result, _ = trial(tmp_path, task, script(tmp_path, [[call("shell", command="sleep 600")]]))
    assert result["exception_info"]["exception_type"] == "AgentTimeoutError"
    told = result["agent_result"]
    assert told["metadata"]["status"] == "interrupted" and told["cost_usd"] == 0
    left = subprocess.run(
        ["docker", "ps", "-aq", "--filter", f"label=assay.run={told['metadata']['run_id']}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not left.stdout
    images = subprocess.run(
        ["docker", "images", "-q", "assay-harbor"], capture_output=True, text=True, check=True
    )
    assert not images.stdout
