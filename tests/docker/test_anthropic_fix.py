"""A whole repair with the real Anthropic SDK against a loopback server that speaks the wire format."""

import json
import re
import subprocess
import time

import pytest

from tests.docker.project import ABOVE, CAUSE, FIXED_LINE, agent, command, environment, fix, make_project
from tests.loopback.anthropic_server import Answer, AnthropicServer, Fault

pytestmark = pytest.mark.docker

EDIT = ("edit_file", {"path": "calc.py", "old": FIXED_LINE[0], "new": FIXED_LINE[1]})
SUBMIT = ("submit", {"summary": "return the upper bound"})
STATED = ("root_cause", {**CAUSE["arguments"], "test": ABOVE, "observed": "assert 1 == 3"})


def test_an_outage_bad_arguments_and_parallel_calls_on_the_way_to_an_accepted_patch(tmp_path):
    make_project(tmp_path)
    answers = [
        Fault(529, "overloaded_error"),
        Answer("Looking.", [("read_file", {"path": "calc.py"}), ("run_tests", {"ids": [ABOVE]})]),
        Answer("", [("edit_file", {"path": "calc.py"}), ("no_such_tool", {}), ("shell", '{"command": "ls')]),
        Answer("Now.", [STATED, EDIT, ("run_tests", {})]),
        Answer("Done.", [SUBMIT]),
    ]
    with AnthropicServer(answers) as server:
        code, result, _ = fix(
            tmp_path, "anthropic/claude-sonnet-5", "--fail-to-pass", ABOVE, **server.environ
        )
        requests = server.requests
    assert (code, result["status"]) == (0, "accepted"), result
    assert isinstance(result["cost_usd"], float) and 0 < result["cost_usd"] < 1
    assert result["usage"]["requests"] == 5  # the one that was refused is counted too
    assert result["context_growth"] > 0
    assert result["tool_calls"] == {"total": 9, "failed": 3, "right_first_time": 0.5556}
    log = (tmp_path / "home" / "runs" / result["run_id"] / "events.jsonl").read_text()
    assert '"type":"model_retried"' in log
    first, *_, last = requests[1:]
    assert first["system"] == last["system"]
    assert first["tools"] == last["tools"]
    assert json.dumps(last["messages"]).startswith(json.dumps(first["messages"])[:200])
    names = {tool["name"] for tool in first["tools"]}
    assert names >= {
        *(
            "shell",
            "read_file",
            "search",
            "find_files",
            "edit_file",
            "write_file",
            "run_tests",
            "diff",
            "submit",
            "root_cause",
        )
    }


def test_a_refused_key_is_the_provider_s_fault_and_told_in_one_line(tmp_path):
    make_project(tmp_path)
    with AnthropicServer([Fault(401, "authentication_error", "invalid x-api-key")]) as server:
        code, result, stderr = fix(
            tmp_path, "anthropic/claude-sonnet-5", "--fail-to-pass", ABOVE, **server.environ
        )
        key = server.environ["ANTHROPIC_API_KEY"]
    assert (code, result["status"]) == (5, "model_error")
    assert "x-api-key" in result["error"]
    assert key not in stderr + json.dumps(result)


def test_a_budget_ends_the_run_before_it_is_overspent_and_no_accepted_patch_is_lost(tmp_path):
    make_project(tmp_path)
    looks = [Answer("I look on. " * 250, [("shell", {"command": f"sed -n {n}p calc.py"})]) for n in range(50)]
    budget = ["--fail-to-pass", ABOVE, "--budget", "0.06"]
    with AnthropicServer(looks) as server:
        code, result, stderr = fix(tmp_path, "anthropic/claude-haiku-4-5", *budget, **server.environ)
        sent = len(server.requests)
    assert (code, result["status"]) == (4, "limit"), result
    assert 0 < sent < 50
    spent = result["budget"]["usd_spent"]
    assert 0 < spent <= 0.06 and result["budget"]["usd_reserved"] == 0
    assert spent == pytest.approx(result["cost_usd"], abs=1e-6)
    assert "of 0.0600 USD are spent for this run; the next request could cost" in result["error"]
    assert "--budget gives more" in result["error"]
    assert [attempt["ended"] for attempt in result["attempts"]] == ["budget"]
    assert "of 0.06 USD" in stderr  # as it went

    # The work that was done before the money was spent is judged all the same.
    mended = [Answer("", [("run_tests", {"ids": [ABOVE]})]), Answer("Now.", [STATED, EDIT]), *looks]
    with AnthropicServer(mended) as server:
        code, result, _ = fix(tmp_path, "anthropic/claude-haiku-4-5", *budget, **server.environ)
    assert (code, result["status"]) == (0, "accepted"), result
    assert result["attempts"][0]["ended"] == "budget" and result["budget"]["usd_spent"] <= 0.06

    # What the runs of a day spend together has its own limit, which is the user's.
    (tmp_path / "home" / "budget.toml").write_text("usd_per_day = 0.16\n")
    with AnthropicServer(looks) as server:
        code, result, _ = fix(
            tmp_path, "anthropic/claude-haiku-4-5", "--fail-to-pass", ABOVE, **server.environ
        )
    assert (code, result["status"]) == (4, "limit"), result
    assert "all runs of today" in result["error"] and "usd_per_day" in result["error"]
    assert result["budget"]["usd_spent"] <= 0.16


def test_a_run_that_is_killed_in_mid_request_leaves_nothing_reserved(tmp_path):
    make_project(tmp_path)
    issue = ["--repo", "repo", "--issue", "issue.md", "--model", "anthropic/claude-haiku-4-5"]
    with AnthropicServer([Fault(then="hang", after=3)]) as server:
        variables = environment(tmp_path, **server.environ)
        process = subprocess.Popen(
            command("fix", *issue, "--budget", "0.50"), env=variables, cwd=tmp_path, stderr=subprocess.DEVNULL
        )
        try:
            ends = time.monotonic() + 300
            while not server.requests and process.poll() is None and time.monotonic() < ends:
                time.sleep(0.05)
            before = agent(tmp_path, "doctor").stdout
        finally:
            process.kill()
            process.wait()
        assert server.requests
    assert re.search(r"spent today: 0\.00 USD, 0\.[0-9]+ reserved", before)
    after = agent(tmp_path, "doctor").stdout  # which removes the sandbox, too
    assert re.search(r"spent today: 0\.[0-9]*[1-9][0-9]* USD \(UTC\)", after)
