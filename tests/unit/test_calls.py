"""Tool calls as models make them."""

from __future__ import annotations

from typing import Any

import pytest

from agent.calls import Repeats, mended, not_json, without_word
from agent.models.provider import INVALID_JSON
from agent.types import ToolCall, ToolResult, ToolSpec

READ = ToolSpec(
    "read_file",
    "Read.",
    {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "start": {"type": "integer", "minimum": 1},
            "all": {"type": "boolean"},
            "names": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["path"],
        "additionalProperties": False,
    },
)


def made(**arguments: Any) -> ToolCall:
    return ToolCall("c1", "read_file", arguments)


def raw(text: str) -> ToolCall:
    return ToolCall("c1", "read_file", {INVALID_JSON: text})


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (raw('```json\n{"path": "a.py"}\n```'), {"path": "a.py"}),
        (raw('{"path": "a.py",}'), {"path": "a.py"}),
        (raw('I will read {this}: {"path": "a.py", "start": 3}'), {"path": "a.py", "start": 3}),
        (raw('"{\\"path\\": \\"a.py\\"}"'), {"path": "a.py"}),
        (raw('{"path": "a.py", "names": ["x"]'), {"path": "a.py", "names": ["x"]}),
        (made(path="a.py", start="3"), {"path": "a.py", "start": 3}),
        (made(path="a.py", all="true"), {"path": "a.py", "all": True}),
        (made(path="a.py", names='["x", "y"]'), {"path": "a.py", "names": ["x", "y"]}),
    ],
)
def test_what_is_meant_for_sure_is_mended(call: ToolCall, arguments: dict[str, Any]) -> None:
    assert mended(call, READ).arguments == arguments


@pytest.mark.parametrize(
    "call",
    [
        raw('{"path": "a.p'),  # a name that was cut off
        raw('{"path": 3}'),
        raw('{"path": "a.py"} or {"path": "b.py"}'),
        raw("a.py"),
        made(path="3"),  # a string is wanted
        made(path="a.py", start="three"),
        made(path="a.py", start="0"),
        made(path="a.py", all="yes"),
        made(path="a.py", start=3),
    ],
)
def test_what_would_be_a_guess_is_left_as_it_is(call: ToolCall) -> None:
    assert mended(call, READ) is call


def test_arguments_beyond_mending_are_answered_with_what_came_and_what_is_expected() -> None:
    result = not_json(raw('{"path": "a.p'), READ)
    assert result.is_error and result.call_id == "c1"
    for part in (
        '{"path": "a.p',
        "13 characters",
        "Unterminated string",
        "path (string, required)",
        "start (integer)",
    ):
        assert part in result.text


def test_the_same_failing_call_is_noticed() -> None:
    repeats = Repeats()
    failed = ToolResult("c1", "read_file", "no such file", is_error=True)
    assert repeats.noticed(made(path="a"), failed) is failed
    assert repeats.noticed(made(path="b"), failed) is failed
    again = repeats.noticed(made(path="a"), failed)
    assert "failed 2 times" in again.text and again.is_error
    assert "failed 3 times" in repeats.noticed(made(path="a"), failed).text
    assert without_word(again.text) == without_word(failed.text) == failed.text
    other = ToolResult("c1", "read_file", "a directory", is_error=True)
    assert repeats.noticed(made(path="a"), other) is other
    fine = ToolResult("c1", "read_file", "text")
    assert repeats.noticed(made(path="a"), fine) is fine
