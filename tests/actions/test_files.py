"""Workflows and actions: valid by GitHub's schemas and to linters, and held to the rules that keep them safe."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from agent.cli.init import TEMPLATE
from tests.actions.runner import ROOT

BIN = Path(sys.executable).parent
EXAMPLES = sorted((ROOT / "examples/github-action").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github/actions").glob("*/action.yml"))
WORKFLOWS = [*sorted((ROOT / ".github/workflows").glob("*.yml")), *EXAMPLES]
HARMLESS = re.compile(r"\$\{\{[^}]*\}\}")


def passes(*command):
    done = subprocess.run(
        [str(BIN / command[0]), *map(str, command[1:])], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_they_are_there():
    assert {path.parent.name for path in ACTIONS} == {"authorize", "fix", "gate", "publish"}
    assert {path.name for path in EXAMPLES} == {"assay.yml", "drift.yml", "gate.yml"}


def test_they_are_valid_by_github_s_own_schemas():
    passes("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    passes("check-jsonschema", "--builtin-schema", "vendor.github-actions", *ACTIONS)


def test_actionlint_and_shellcheck_find_nothing():
    passes("actionlint", "-shellcheck", BIN / "shellcheck", "-pyflakes=", *WORKFLOWS)
    passes("shellcheck", ROOT / ".github/actions/scripts/install.sh")


def test_zizmor_finds_nothing():
    passes("zizmor", "--offline", "--no-progress", "--quiet", *WORKFLOWS, *ACTIONS)


def test_agent_init_writes_the_workflow_of_the_examples():
    assert TEMPLATE.read_bytes() == (ROOT / "examples/github-action/assay.yml").read_bytes()


def steps_of(told):
    """Every step of a workflow or an action."""
    jobs = told.get("jobs", {}).values()
    return [step for job in jobs for step in job["steps"]] + told.get("runs", {}).get("steps", [])


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_of_others_reaches_a_shell(path):
    for step in steps_of(yaml.safe_load(path.read_text())):
        assert not HARMLESS.search(step.get("run", "")), step
        assert not HARMLESS.search(step.get("uses", "")), step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_action_is_pinned_to_a_commit_and_each_job_bounded(path):
    told = yaml.safe_load(path.read_text())
    for step in steps_of(told):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]) if "uses" in step else True, step
    for name, job in told["jobs"].items():
        assert job["timeout-minutes"] <= 90, name
    assert told.get("permissions") in ({}, {"contents": "read"})


def test_the_agent_s_job_reads_and_only_the_publisher_writes():
    jobs = yaml.safe_load((ROOT / "examples/github-action/assay.yml").read_text())["jobs"]
    assert jobs["fix"]["permissions"] == {"contents": "read", "issues": "read"}
    assert "write" not in jobs["authorize"]["permissions"].values()
    writers = {name for name, job in jobs.items() if "write" in job["permissions"].values()}
    assert writers == {"publish"}
    (checkout,) = [step for step in jobs["fix"]["steps"] if "checkout" in step.get("uses", "")]
    assert checkout["with"]["persist-credentials"] is False
    assert not any("checkout" in step.get("uses", "") for step in jobs["publish"]["steps"])
    assert not any("secrets." in str(step) for step in jobs["publish"]["steps"])
    for name in ("fix", "publish"):
        assert "matrix.issue.number" in jobs[name]["concurrency"]["group"]
        assert jobs[name]["concurrency"]["cancel-in-progress"] is False
