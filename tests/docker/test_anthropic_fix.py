"""A whole repair with the real Anthropic SDK against a loopback server that speaks the wire format."""

import json

import pytest

from tests.docker.project import ABOVE, CAUSE, FIXED_LINE, fix, make_project
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
