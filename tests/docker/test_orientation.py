"""What a model is told of a repository at the start of a whole repair: a map, or all of its text."""

import json

import pytest

from tests.docker.project import ABOVE, CAUSE, FIXED_LINE, fix, make_project
from tests.loopback.anthropic_server import Answer, AnthropicServer

pytestmark = pytest.mark.docker

EDIT = ("edit_file", {"path": "calc.py", "old": FIXED_LINE[0], "new": FIXED_LINE[1]})
NEW = ("write_file", {"path": "tests/test_more.py", "content": "def test_more():\n    assert True\n"})
STATED = ("root_cause", {**CAUSE["arguments"], "test": ABOVE, "observed": "assert 1 == 3"})
ANSWERS = [
    Answer("Looking.", [("run_tests", {"ids": [ABOVE]}), STATED, EDIT, NEW]),
    Answer("", [("outline", {"path": "tests/test_more.py"}), ("run_tests", {})]),
    Answer("Done.", [("submit", {"summary": "return the upper bound"})]),
]


def texts(message):
    return "\n".join(block.get("text") or block.get("content", "") for block in message["content"])


def test_the_first_message_has_a_map_and_outline_shows_a_file_that_was_just_made(tmp_path):
    make_project(tmp_path)
    with AnthropicServer(ANSWERS) as server:
        code, result, _ = fix(
            tmp_path, "anthropic/claude-sonnet-5", "--fail-to-pass", ABOVE, **server.environ
        )
        first, *_, last = server.requests
    assert (code, result["status"]) == (0, "accepted"), result
    told = texts(first["messages"][0])
    assert "<map>\ncalc.py\n  1-6: def clamp(value, low, high)\n" in told
    assert "tests/test_calc.py\n" not in told.partition("<map>")[2]  # only where a patch must be
    assert "ttl" not in json.dumps(first["system"])
    assert "tests/test_more.py: 1 symbol in 2 lines\n1-2: def test_more()" in texts(last["messages"][-1])


def test_the_whole_repository_is_told_before_its_price_is_spent_and_not_kept_in_the_log(tmp_path):
    make_project(tmp_path)
    with AnthropicServer(ANSWERS) as server:
        code, result, stderr = fix(
            tmp_path,
            "anthropic/claude-sonnet-5",
            "--fail-to-pass",
            ABOVE,
            "--context",
            "repo",
            **server.environ,
        )
        requests = server.requests
    assert (code, result["status"]) == (0, "accepted"), result
    [system] = requests[0]["system"]
    assert '<file path="calc.py">\ndef clamp(' in system["text"]
    assert system["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert all(request["system"] == [system] for request in requests)
    assert "<map>" not in texts(requests[0]["messages"][0])
    assert "context repo: 3 files" in stderr and "the first request costs up to 0.00" in stderr
    log = (tmp_path / "home" / "runs" / result["run_id"] / "events.jsonl").read_text()
    assert "the texts of 3 files of the base commit, sha256" in log and "<file path=" not in log
    lines = [json.loads(line)["type"] for line in log.splitlines()]
    assert lines.index("note") < lines.index("model_replied")
