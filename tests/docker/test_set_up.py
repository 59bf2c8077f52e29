"""A set-up that does not hold: what a user is told, and what a model may write instead."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.docker import project
from tests.docker.project import ABOVE, FIX, FIXED_LINE, SUBMIT, agent, fix, git, make_project, script
from tests.loopback.anthropic_server import Answer, AnthropicServer

pytestmark = pytest.mark.docker

SONNET = "anthropic/claude-sonnet-5"
UNDERSTOOD = [(str(one["name"]), one["arguments"]) for one in project.UNDERSTOOD]
RIGHT = Answer(
    "",
    [
        *UNDERSTOOD,
        ("edit_file", {"path": "calc.py", "old": FIXED_LINE[0], "new": FIXED_LINE[1]}),
        UNDERSTOOD[0],
        ("submit", {"summary": "x"}),
    ],
)


def needing(folder: Path, module: str, **files: str) -> Path:
    """The project, whose tests need a module that nothing says how to install."""
    repo = make_project(folder)
    tests = repo / "tests" / "test_calc.py"
    tests.write_text(f"import {module}\n{tests.read_text()}")
    for name, text in files.items():
        (repo / name.replace("__", ".")).write_text(text)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "needs more")
    return repo


def written(*commands: str) -> Answer:
    return Answer(f"So:\n{json.dumps({'commands': commands, 'why': 'it is needed'})}")


def test_a_missing_module_is_named_with_the_mend_and_no_model_is_asked_without_one(tmp_path):
    needing(tmp_path, "iniconfig_not_there")
    code, result, stderr = fix(tmp_path, script(tmp_path, [[FIX], [SUBMIT]]), "--fail-to-pass", ABOVE)
    assert (code, result["status"]) == (3, "environment")
    assert (
        "the module iniconfig_not_there is not installed (1 of 1 test files can't be loaded)"
        in result["error"]
    )
    assert '`setup = ["pip install pytest iniconfig_not_there"]`' in result["error"]
    assert "No module named 'iniconfig_not_there'" in stderr
    change = "-def clamp(value, low, high):\n+def clamp(value, low, high, *_):\n     if value < low:\n"
    (tmp_path / "p.diff").write_text(f"--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n{change}")
    judged = agent(tmp_path, "gate", "--repo", "repo", "--patch", "p.diff", "--fail-to-pass", ABOVE)
    assert judged.returncode == 3
    assert "the module iniconfig_not_there is not installed" in judged.stderr
    assert "No module named 'iniconfig_not_there'" in judged.stderr


def test_a_model_writes_the_set_up_and_the_user_keeps_it(tmp_path):
    repo = needing(tmp_path, "yaml", README__md="needs PyYAML")
    wrong, right = "pip install no-such-package-on-any-index-1", "pip install pytest PyYAML"
    answers = [written(wrong), written(right), RIGHT]
    with AnthropicServer(answers) as server:
        code, result, stderr = fix(tmp_path, SONNET, "--fail-to-pass", ABOVE, **server.environ)
        first, second, attempt = server.requests
    assert (code, result["status"]) == (0, "accepted"), (result, stderr)
    assert first["output_config"]["format"]["schema"]["required"] == ["commands", "why"]
    asked, again = (json.dumps(request["messages"]) for request in (first, second))
    assert "the module yaml is not installed" in asked and project.ISSUE.splitlines()[0] not in asked
    assert "no-such-package-on-any-index-1" in again and "No matching distribution" in again
    assert "tools" not in first and attempt["tools"]
    assert result["usage"]["requests"] == 3 and result["cost_usd"] > 0
    assert result["budget"]["usd_spent"] == pytest.approx(result["cost_usd"], abs=1e-6)

    kept = Path(str(result["setup"]))
    assert kept.name == "setup.toml" and kept.parent.name == result["run_id"]
    assert tomllib.loads(kept.read_text()) == {"sandbox": {"setup": [right]}}
    assert str(kept) in stderr
    shown = agent(tmp_path, "show", "--steps", str(result["run_id"])).stdout
    assert f"{SONNET} wrote the set-up: {right}" in shown

    # What the user keeps is the same environment, found at once, and no model is asked.
    (repo / "agent.toml").write_text(kept.read_text())
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "keep it")
    code, result, _ = fix(tmp_path, script(tmp_path, [[FIX], [SUBMIT]]), "--fail-to-pass", ABOVE)
    assert (code, result["setup"]) == (0, None), result


def test_when_the_model_fails_too_the_first_fault_is_told(tmp_path):
    needing(tmp_path, "iniconfig_not_there", agent__toml='[sandbox]\nsetup = ["echo error: first; exit 1"]\n')
    answers = [written("echo error: second; exit 1"), written()]
    with AnthropicServer(answers) as server:
        code, result, stderr = fix(tmp_path, SONNET, "--fail-to-pass", ABOVE, **server.environ)
        sent = len(server.requests)
    assert (code, sent, result["setup"]) == (3, 2, None)
    assert result["error"] == "the set-up command `echo error: first; exit 1` failed: error: first"
    assert "error: second" in stderr and "knows no set-up: it is needed" in stderr
    assert result["cost_usd"] > 0
