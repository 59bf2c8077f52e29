"""`scripted/PATH`: replies read from a JSONL file, for tests and replay.

One JSON object a line; blank lines and lines that start with // are passed over:

    {"text": "…", "tool_calls": [{"name": "…", "arguments": {…}}], "usage": {"input": 1, …}, "stop": "…",
     "expect": "…"}      every key is optional, but a reply has a text or a tool call
    {"attempt": 2}       what follows is for the second attempt

`expect` is a text that the newest tool results must hold. `stop` defaults to what the reply's shape says.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from agent.errors import ModelError, UsageError
from agent.types import Message, Reply, Stop, ToolCall, ToolSpec, Usage

_REPLY_KEYS = ("text", "tool_calls", "usage", "stop", "expect")
_USAGE_KEYS = tuple(field.name for field in dataclasses.fields(Usage))
_STOPS = get_args(Stop)


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    reply: Reply
    expect: str


class ScriptedModel:
    """Replies in the order of the script's part for `attempt`, or of its last part when there are fewer; the first
    `answered` of them were given before.

    Raises UsageError, naming file and line, when the script can't be read.
    """

    repeats_itself = False

    def __init__(self, path: Path, *, attempt: int = 1, answered: int = 0) -> None:
        self.spec = f"scripted/{path}"
        self._path = path
        parts = _read(path)
        self._left = iter(parts[min(attempt, len(parts)) - 1][answered:])

    async def reply(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """The script's next reply; "script ended" after the last. Raises ModelError on a missed `expect`."""
        line = next(self._left, None)
        if line is None:
            return Reply("script ended", (), Usage(requests=1), Decimal(0), "end")
        results = messages[-1].tool_results if messages else ()
        if line.expect not in "\n".join(result.text for result in results):
            seen = results[-1].text[:200] if results else "no tool results"
            where = f"{self._path}, line {line.number}"
            raise ModelError(f"{where}: expected {line.expect!r} in the newest tool results, got {seen!r}")
        return line.reply

    async def close(self) -> None:
        """Nothing is open."""


def _read(path: Path) -> list[list[_Line]]:
    """The lines of each attempt."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the script {path}: {error}") from error
    parts: list[list[_Line]] = [[]]
    # Not splitlines(): that also cuts at separators which may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("//"):
            continue
        try:
            data = json.loads(line)
            if not isinstance(data, dict):
                raise ValueError("not a JSON object")
            if "attempt" in data:
                _start_part(parts, data)
            else:
                parts[-1].append(_line(number, data))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}, line {number}: {error}") from error
    return parts


def _start_part(parts: list[list[_Line]], data: dict[str, Any]) -> None:
    if data == {"attempt": 1} and parts == [[]]:
        return
    if data != {"attempt": len(parts) + 1}:
        raise ValueError(f'the next separator is {{"attempt": {len(parts) + 1}}}, alone on its line')
    parts.append([])


def _line(number: int, data: dict[str, Any]) -> _Line:
    _known(data, _REPLY_KEYS)
    text = _typed(data, "text", str, "")
    calls = tuple(
        _call(f"call_{number}_{position}", call)
        for position, call in enumerate(_typed(data, "tool_calls", list, []), 1)
    )
    if not text and not calls:
        raise ValueError("a reply has a text or a tool call")
    usage = _typed(data, "usage", dict, {})
    _known(usage, _USAGE_KEYS)
    if not all(type(count) is int and count >= 0 for count in usage.values()):
        raise ValueError("usage holds counts")
    stop = _typed(data, "stop", str, "tool_use" if calls else "end")
    if stop not in _STOPS:
        raise ValueError(f"unknown stop {stop!r}; known are {', '.join(_STOPS)}")
    # A replay bills nobody, so its cost is known: zero.
    reply = Reply(text, calls, Usage(**{"requests": 1, **usage}), Decimal(0), stop)
    return _Line(number, reply, _typed(data, "expect", str, ""))


def _call(call_id: str, data: object) -> ToolCall:
    if not isinstance(data, dict):
        raise ValueError("a tool call is an object with a name and arguments")
    _known(data, ("name", "arguments"))
    name = _typed(data, "name", str, "")
    if not name:
        raise ValueError("a tool call has no name")
    return ToolCall(call_id, name, _typed(data, "arguments", dict, {}))


def _known(data: dict[str, Any], keys: Sequence[str]) -> None:
    for key in data:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(keys)}"
            raise ValueError(f"unknown key {key!r}; {hint}")


def _typed(data: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    value = data.get(key, default)
    if not isinstance(value, kind):
        names = {"str": "a string", "list": "a list", "dict": "an object"}
        raise ValueError(f"{key!r} must be {names[kind.__name__]}")
    return value
