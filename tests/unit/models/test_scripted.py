"""`scripted/PATH`: replies in order, and a clear line for a script that is wrong."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from agent.errors import ModelError, UsageError
from agent.models.scripted import ScriptedModel
from agent.types import Message, Reply, ToolResult, Usage

SCRIPT = """
// the first attempt
{"text": "Look.", "tool_calls": [{"name": "shell", "arguments": {"command": "ls"}}, {"name": "diff"}]}

{"text": "Done.", "usage": {"input": 5, "output": 7}, "expect": "a.py"}
{"attempt": 2}
{"tool_calls": [{"name": "submit", "arguments": {}}], "stop": "length"}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "script.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def replies(model: ScriptedModel, count: int, seen: str = "a.py b.py") -> list[Reply]:
    results = (ToolResult("call_3_1", "shell", ""), ToolResult("call_3_2", "diff", seen))

    async def run() -> list[Reply]:
        return [await model.reply("", [Message("user", tool_results=results)], []) for _ in range(count)]

    return anyio.run(run)


def test_replies_come_in_order_and_then_it_has_ended(tmp_path: Path) -> None:
    first, second, third, fourth = replies(ScriptedModel(write(tmp_path, SCRIPT)), 4)
    assert [(c.name, c.arguments) for c in first.tool_calls] == [("shell", {"command": "ls"}), ("diff", {})]
    assert len({c.id for c in first.tool_calls}) == 2
    assert (first.stop, second.stop, second.text) == ("tool_use", "end", "Done.")
    assert second.usage == Usage(requests=1, input=5, output=7)
    assert (third.text, third.stop) == (fourth.text, fourth.stop) == ("script ended", "end")


@pytest.mark.parametrize("attempt", [2, 3])
def test_a_later_attempt_has_its_own_part_or_the_last(attempt: int, tmp_path: Path) -> None:
    first, second = replies(ScriptedModel(write(tmp_path, SCRIPT), attempt=attempt), 2)
    assert [c.name for c in first.tool_calls] == ["submit"]
    assert first.stop == "length"
    assert second.text == "script ended"


def test_a_missed_expectation_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"script\.jsonl, line 5: expected 'a\.py'.*got 'nothing'"):
        replies(ScriptedModel(write(tmp_path, SCRIPT)), 2, seen="nothing")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "Expecting property name"),
        ("[]", "not a JSON object"),
        ("{}", "a text or a tool call"),
        ('{"txt": "Hi."}', "unknown key 'txt'; did you mean 'text'?"),
        ('{"text": 5}', "'text' must be a string"),
        ('{"tool_calls": {}}', "'tool_calls' must be a list"),
        ('{"tool_calls": [{"arguments": {}}]}', "a tool call has no name"),
        ('{"tool_calls": [{"name": "shell", "arguments": "ls"}]}', "'arguments' must be an object"),
        ('{"text": "Hi.", "usage": {"tokens": 5}}', "unknown key 'tokens'"),
        ('{"text": "Hi.", "usage": {"input": -1}}', "usage holds counts"),
        ('{"text": "Hi.", "stop": "tired"}', "unknown stop 'tired'"),
        ('{"attempt": 3}', 'the next separator is {"attempt": 2}'),
        ("[" * 100_000, "line 2"),
    ],
    ids=lambda value: value[:30],
)
def test_a_bad_line_is_named(line: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        ScriptedModel(write(tmp_path, f'{{"text": "Hi."}}\n{line}\n'))
    assert "script.jsonl, line 2: " in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_script_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the script .*none\.jsonl"):
        ScriptedModel(tmp_path / "none.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"cannot read the script .*binary\.jsonl"):
        ScriptedModel(tmp_path / "binary.jsonl")
