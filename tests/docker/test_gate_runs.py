"""What the gate runs beside the suite: repeats, the repository's own checks, smaller patches, baselines kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.docker.project import ABOVE, BUGGY, FIXED_LINE, agent, git, make_project

pytestmark = pytest.mark.docker

FIXED = BUGGY.replace(*FIXED_LINE)


def gate(folder: Path, changed: dict[str, str], *args: str) -> tuple[int, dict[str, object], str]:
    """`agent gate --json` on the project in `folder` with these files changed."""
    repo = folder / "repo"
    for name, text in changed.items():
        (repo / name).write_text(text)
    git(repo, "add", "-AN")
    patch = folder / "patch.diff"
    patch.write_text(git(repo, "diff"))
    git(repo, "stash", "-uq")
    done = agent(folder, "gate", "--repo", str(repo), "--patch", str(patch), "--json", *args)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def checks(verdict: dict[str, object]) -> dict[str, tuple[bool, str]]:
    found = verdict["checks"]
    assert isinstance(found, list)
    return {check["name"]: (check["passed"], check["evidence"]) for check in found}


def test_the_baseline_is_taken_once_for_the_same_commit_and_command(tmp_path: Path) -> None:
    make_project(tmp_path)
    code, first, told = gate(tmp_path, {"calc.py": FIXED}, "--fail-to-pass", ABOVE)
    assert code == 0 and "the suite on the base commit" in told
    code, second, told = gate(tmp_path, {"calc.py": FIXED}, "--fail-to-pass", ABOVE)
    assert code == 0 and "the suite on the base commit" not in told
    assert second["before"] == first["before"] and second["after"] == first["after"]
    _, _, told = gate(tmp_path, {"calc.py": FIXED}, "--fail-to-pass", ABOVE, "--test", "pytest -q")
    assert "the suite on the base commit" in told


def test_the_repositorys_own_checks_must_say_no_worse(tmp_path: Path) -> None:
    repo = make_project(tmp_path)
    (repo / "lint.sh").write_text("! grep -n 'FORBIDDEN' *.py | sed 's/^/calc.py:/'| grep . \n")
    (repo / "agent.toml").write_text('[gate]\nchecks = ["sh lint.sh", "python -m compileall -q calc.py"]\n')
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "checks")
    code, verdict, _ = gate(tmp_path, {"calc.py": FIXED}, "--fail-to-pass", ABOVE)
    assert code == 0
    assert {name for name in checks(verdict) if name.startswith("extra: ")} == {
        "extra: sh lint.sh", "extra: python -m compileall -q calc.py"
    }  # fmt: skip
    code, verdict, _ = gate(tmp_path, {"calc.py": FIXED + "\n# FORBIDDEN more\n"}, "--fail-to-pass", ABOVE)
    assert code == 1
    passed, evidence = checks(verdict)["extra: sh lint.sh"]
    assert not passed and "FORBIDDEN more" in evidence

    (repo / "agent.toml").write_text('[gate]\nchecks = ["no-such-linter ."]\n')
    git(repo, "commit", "-qam", "a check that is not there")
    patch = tmp_path / "patch.diff"
    (repo / "calc.py").write_text(FIXED)
    patch.write_text(git(repo, "diff"))
    done = agent(tmp_path, "gate", "--repo", str(repo), "--patch", str(patch), "--fail-to-pass", ABOVE)
    assert done.returncode == 3 and "no-such-linter" in done.stderr


def test_hunks_that_the_verdict_does_not_need_are_offered_for_removal(tmp_path: Path) -> None:
    repo = make_project(tmp_path)
    far = "\n\n" + "# a line between\n" * 8 + "def mean"
    (repo / "calc.py").write_text(BUGGY.replace("\n\ndef mean", far))
    git(repo, "commit", "-qam", "far apart")
    fixed = FIXED.replace("\n\ndef mean", far)
    much = fixed.replace("sum(values) / len(values)", "sum(values) / float(len(values))")
    less = tmp_path / "less.diff"
    args = ("--fail-to-pass", ABOVE, "--smaller", str(less))
    code, verdict, _ = gate(tmp_path, {"calc.py": much}, *args)
    assert code == 0
    left_out = verdict["left_out"]
    assert isinstance(left_out, list) and len(left_out) == 1 and left_out[0].startswith("calc.py @@")
    assert "return high" in less.read_text() and "float" not in less.read_text()
    less.unlink()
    code, verdict, _ = gate(tmp_path, {"calc.py": fixed}, *args)
    assert (code, verdict["left_out"], less.exists()) == (0, [], False)
