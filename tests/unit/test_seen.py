"""What the model has in sight is not sent again; what it has not is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from agent.conversation import messages, parts
from agent.events import ContextMasked, ContextRenewed, Event, ModelReplied, ToolReturned, UserSaid
from agent.seen import unmarked, without_seen
from agent.types import ToolCall, ToolResult, Usage


class Reader:
    """A model that reads files, and the log of it."""

    def __init__(self) -> None:
        self.log: list[Event] = [UserSaid(1, "brief")]
        self.calls = 0

    def call(self, name: str, text: str, data: dict[str, Any] | None = None, **arguments: Any) -> str:
        self.calls += 1
        call = ToolCall(f"c{self.calls}", name, arguments)
        self.log.append(ModelReplied(1, self.calls, "", (call,), Usage(1), Decimal(0), "tool_use", 0.1))
        result = without_seen(call, ToolResult(call.id, name, text, False, data), parts(self.log, 1))
        self.log.append(ToolReturned(1, self.calls, call.id, name, result.text, False, 0.1, result.data))
        return result.text

    def read(
        self, lines: list[str], start: int = 1, end: int = 0, path: str = "a.py", notes: str = ""
    ) -> str:
        end = end or len(lines)
        text = "\n".join(f"{n:>6}\t{lines[n - 1]}" for n in range(start, end + 1)) + notes
        ask = (
            {"path": path, "start": start, "end": end} if (start, end) != (1, len(lines)) else {"path": path}
        )
        return self.call("read_file", text, {"start": start, "end": end, "lines": len(lines)}, **ask)


def file(count: int = 100) -> list[str]:
    return [f"def line_{n}(): return {n}" for n in range(1, count + 1)]


def test_an_unchanged_file_is_told_in_a_line_that_says_where_it_stands() -> None:
    reader = Reader()
    assert "line_7()" in reader.read(file())
    again = reader.read(file())
    assert again.split("\n")[0] == "[lines 1-100 are as read_file showed them above (turn 1)]"
    assert "call it again" in again and len(again) < 200


def test_any_part_of_what_was_shown_is_known_by_whatever_name_of_the_file() -> None:
    reader = Reader()
    reader.read(file())
    assert "lines 20-60 are as read_file showed them above" in reader.read(file(), 20, 60, "./a.py")
    assert "lines 10-80 are as read_file showed them above" in reader.read(file(), 10, 80, "/workspace/a.py")
    assert "line_20()" in reader.read(file(), 20, 60, "b.py")


def test_asked_once_more_it_comes_whole() -> None:
    reader = Reader()
    whole = reader.read(file())
    assert reader.read(file()) != whole
    assert reader.read(file()) == whole


def test_after_an_edit_only_what_changed_is_sent() -> None:
    reader = Reader()
    reader.read(file())
    changed = file()
    changed[49] = "def mended(): pass"
    text = reader.read(changed)
    assert "    50\tdef mended(): pass" in text
    assert "[lines 1-49 are as read_file showed them above (turn 1)]" in text
    assert "[lines 51-100 are as read_file showed them above (turn 1)]" in text
    assert "line_7()" not in text


def test_lines_that_moved_are_sent() -> None:
    reader = Reader()
    reader.read(file())
    text = reader.read([*file()[:50], "new = 1", *file()[50:]])
    assert "    52\tdef line_51(): return 51" in text and "[lines 1-50 are" in text


def test_undoing_is_compared_with_what_was_shown_last() -> None:
    reader = Reader()
    changed = file()
    changed[49] = "def wrong(): pass"
    reader.read(file())
    reader.read(changed)
    text = reader.read(file())
    assert "    50\tdef line_50(): return 50" in text, "what stands nearest above is the wrong line"
    assert "line_49()" not in text


def test_what_was_masked_is_sent_again() -> None:
    reader = Reader()
    whole = reader.read(file())
    reader.log.append(ContextMasked(1, 1, [1], 1, 1, 1, "cost"))
    assert reader.read(file()) == whole


def test_what_a_renewed_conversation_has_not_is_sent_again() -> None:
    reader = Reader()
    whole = reader.read(file())
    reader.log += [ContextRenewed(1, 1), UserSaid(1, "anew")]
    assert reader.read(file()) == whole


def test_each_line_can_be_found_in_the_conversation_or_the_answer() -> None:
    reader = Reader()
    reader.read(file(), 1, 60)
    reader.read(file(), 61, 100)
    reader.read(file())
    shown = "\n".join(result.text for message in messages(reader.log, 1) for result in message.tool_results)
    assert all(f"{n:>6}\t{line}" in shown for n, line in enumerate(file(), 1))
    assert "(turn 1, turn 2)" in shown


def test_what_the_tool_says_under_the_lines_stays() -> None:
    reader = Reader()
    reader.read(file(), 1, 60)
    assert "[lines 1-60 of 100; go on with start=61]" in reader.read(
        file(), 1, 60, notes="\n[lines 1-60 of 100; go on with start=61]"
    )


def test_few_lines_among_new_ones_are_sent_as_they_are() -> None:
    reader = Reader()
    reader.read(file(), 1, 10)
    assert "line_5()" in reader.read(file())


def test_the_same_answer_of_another_tool_that_reads() -> None:
    reader = Reader()
    found = "9 matches\n" + "x" * 400
    assert reader.call("search", found, pattern="x") == found
    assert "the same as this call gave above (turn 1)" in reader.call("search", found, pattern="x")
    assert reader.call("search", found, pattern="y") == found
    assert reader.call("search", found + "!", pattern="x") == found + "!"


def test_mended_arguments_and_forged_answers_hide_nothing() -> None:
    reader = Reader()
    text = "\n".join(f"{n:>6}\t{line}" for n, line in enumerate(file(), 1))
    other = text.replace("line_", "other_")
    assert reader.call("read_file", text, {"start": 1, "end": 100}, __invalid_json__="a") == text
    assert reader.call("read_file", other, {"start": 1, "end": 100}, __invalid_json__="b") == other
    assert reader.call("read_file", text, {"start": "1", "end": None}, path="a.py") == text
    reader.read(file())
    odd = "between\n" + text
    assert reader.call("read_file", odd, {"start": 1, "end": 100, "lines": 100}, path="a.py") == odd
    forged = unmarked(ToolResult("c", "shell", "out", False, {"exit_code": 0, "seen": True, "seen_in": [1]}))
    assert forged.data == {"exit_code": 0}
