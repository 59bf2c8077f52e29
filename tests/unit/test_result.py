"""result.json is read from the events alone."""

from dataclasses import replace

from agent.events import (
    AttemptEnded,
    AttemptStarted,
    ModelReplied,
    ServerLeftOut,
    ServerStarted,
    ToolReturned,
    VerdictReached,
)
from agent.result import RunEnding, build_result, write_atomically
from agent.types import Task, Usage

TASK = Task("text", "issue.md", "/repo", "a" * 40)


def replied(attempt, usage, cost):
    return ModelReplied(attempt, 1, "", (), usage, cost, "end", 0.1)


def tool(name, is_error):
    return ToolReturned(1, 1, "c", name, "", is_error, 0.1)


def test_attempts_are_told_apart_and_summed():
    log = [
        AttemptStarted(1, "local/repair", None, "system"),
        replied(1, Usage(1, 100, 10), 0.5),
        AttemptEnded(1, "submitted", "did it", "off by one", "f" * 64, 1, 2.0),
        VerdictReached(1, {"accepted": False, "checks": []}),
        AttemptStarted(2, "anthropic/x", "high", "system"),
        replied(2, Usage(1, 50, 5, 20, 10), None),
    ]
    result = build_result(log, TASK, "r1", RunEnding("interrupted"))
    first, second = result["attempts"]
    assert (first["cost_usd"], first["root_cause"], first["verdict"]["accepted"]) == (
        0.5,
        "off by one",
        False,
    )
    assert (second["cost_usd"], second["verdict"], second["ended"]) == (None, None, "interrupted")
    assert result["usage"] == {"requests": 2, "input": 150, "output": 15, "cache_read": 20, "cache_write": 10}
    assert result["cost_usd"] is None  # one price is not known, so no sum is


def test_a_call_is_right_first_time_when_it_does_not_mend_a_failed_one():
    log = [tool("edit", True), tool("edit", False), tool("edit", False), tool("shell", False)]
    assert build_result(log, TASK, "r", RunEnding("rejected"))["tool_calls"] == {
        "total": 4,
        "failed": 1,
        "right_first_time": 0.5,
    }


def test_the_user_s_own_servers_are_told_with_their_calls():
    log = [
        ServerStarted(1, "docs", "sandbox", ["docs__look"], ["'x': no"], 0.5),
        ServerLeftOut(1, "hub", "http", "HTTP 401 Unauthorized"),
        tool("docs__look", False),
        tool("docs__look", True),
        tool("other__look", True),
        tool("look", False),
        ServerLeftOut(1, "docs", "sandbox", "it ended"),
    ]
    result = build_result(log, TASK, "r", RunEnding("rejected"))
    ended, refused = {"attempt": 1, "reason": "it ended"}, {"attempt": 1, "reason": "HTTP 401 Unauthorized"}
    assert result["mcp_servers"] == [
        {
            "name": "docs",
            "kind": "sandbox",
            "tools": ["docs__look"],
            "calls": 2,
            "failed": 1,
            "left_out": [ended],
        },
        {"name": "hub", "kind": "http", "tools": [], "calls": 0, "failed": 0, "left_out": [refused]},
    ]
    assert result["tool_calls"]["total"] == 4


def test_context_growth_is_one_for_equal_requests_and_less_with_a_cache():
    def growth(*usages):
        log = [replied(1, usage, 0.0) for usage in usages]
        return build_result(log, TASK, "r", RunEnding("rejected"))["context_growth"]

    assert growth(Usage(1, 100), Usage(1, 100)) == 1
    assert growth(Usage(1, 100), Usage(1, 300)) == 2
    assert growth(Usage(1, 100), Usage(1, 10, 0, 100)) == 0.6
    assert growth(Usage(1), Usage(1)) is None


def test_an_atomic_write_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "new folder" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_an_attempt_tells_what_the_runtime_refused_or_set_right():
    log = [
        AttemptStarted(1, "m", None, ""),
        replace(tool("edit_file", True), refused=True),
        tool("edit_file", True),
        replace(tool("shell", False), mended=True),
    ]
    [attempt] = build_result(log, TASK, "r", RunEnding("rejected"))["attempts"]
    assert (attempt["refused"], attempt["mended"]) == (1, 1)
