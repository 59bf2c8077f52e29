"""Output that the model has in sight already is not sent again: its lines say where it stands."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from agent.calls import digest
from agent.conversation import Part
from agent.events import ToolReturned
from agent.types import ToolCall, ToolResult

LEAST = 300
"""Characters of an answer that is worth a look."""
RUN = 20
"""Lines in a row, at least, that are left out of an answer which also has new ones."""
AGAIN = "call it again as it is to have it here once more"
KEYS = frozenset({"seen", "seen_in", "seen_of"})
"""Of a result's data, the runtime's own."""


def unmarked(result: ToolResult) -> ToolResult:
    """A result of the sandbox without what only the runtime may say of it."""
    if not result.data or not KEYS & result.data.keys():
        return result
    return replace(result, data={key: value for key, value in result.data.items() if key not in KEYS})


def without_seen(call: ToolCall, result: ToolResult, conversation: Iterable[Part]) -> ToolResult:
    """The answer to a call that only reads, without what the attempt's conversation shows already, word for word.

    What a line is compared with is the last that was shown of it, so that it is right after edits and undoing, and only
    what stands there now: neither masked nor before a renewed context. The same call made once more gets all.
    `data` then has `seen_in`, the places of the results that show it, `seen_of`, a digest of the whole answer, and
    `seen`: whether nothing at all was new.
    """
    if result.is_error or len(result.text) < LEAST:
        return result
    said = [part for part in conversation if isinstance(part.event, ToolReturned)]
    same = [part for part in said if part.call and _key(part.call) == _key(call)]
    whole = digest(result.text)
    if same and _data(same[-1]).get("seen_of") == whole:
        return result
    shown = [part for part in said if not part.masked]
    text, places, everything = _read(call, result, shown) if call.name == "read_file" else _same(result, same)
    if not places or len(text) >= len(result.text):
        return result
    data = {**(result.data or {}), "seen_in": places, "seen_of": whole, "seen": everything}
    return replace(result, text=text, data=data)


def _same(result: ToolResult, same: Sequence[Part]) -> tuple[str, list[int], bool]:
    for part in same:
        if not part.masked and part.event.text == result.text:
            return f"[the same as this call gave above ({_turn(part)}); {AGAIN}]", [part.place], True
    return result.text, [], False


def _read(call: ToolCall, result: ToolResult, shown: Sequence[Part]) -> tuple[str, list[int], bool]:
    """The text without the lines that are shown, the places that show them, and whether these are all lines."""
    new = _lines(result.text, result.data or {})
    known: dict[int, tuple[str, Part]] = {}
    for part in shown:
        if part.call and part.call.name == "read_file" and _path(call) and _path(part.call) == _path(call):
            known |= {n: (line, part) for n, line in _lines(part.event.text, _data(part)).items()}
    if result.text.split("\n")[: len(new)] != list(new.values()):
        return result.text, [], False  # not as the tool writes it
    have = {n: known[n][1] for n, line in new.items() if n in known and known[n][0] == line}
    everything = len(have) == len(new)
    answer: list[str] = []
    used: dict[int, Part] = {}
    for first, last in _stretches(new, have):
        seen = first in have
        if seen and (everything or last - first + 1 >= RUN):
            sources = {have[n].place: have[n] for n in range(first, last + 1)}
            used |= sources
            where = ", ".join(dict.fromkeys(map(_turn, sources.values())))
            answer.append(f"[lines {first}-{last} are as read_file showed them above ({where})]")
        else:
            answer += [new[n] for n in range(first, last + 1)]
    answer += [*result.text.split("\n")[len(new) :], f"[{AGAIN}]"]  # with what the tool says under the lines
    return "\n".join(answer), sorted(used), everything


def _lines(text: str, data: Any) -> dict[int, str]:
    """The numbered lines of a read_file's answer, by number; nothing where it has another form."""
    start, end = data.get("start"), data.get("end")
    if not isinstance(start, int) or not isinstance(end, int):
        return {}
    lines = {}
    for line in text.split("\n"):
        number, tab, _ = line.partition("\t")
        if tab and number.strip().isdigit() and start <= int(number) <= end:
            lines[int(number)] = line
    return lines


def _stretches(lines: Iterable[int], have: Any) -> list[tuple[int, int]]:
    """Runs of numbers that are all seen, or all new."""
    runs: list[tuple[int, int]] = []
    for n in lines:
        if runs and n == runs[-1][1] + 1 and (n in have) == (runs[-1][0] in have):
            runs[-1] = runs[-1][0], n
        else:
            runs.append((n, n))
    return runs


def _path(call: ToolCall) -> str:
    """The file that a call reads; empty where its arguments had to be mended to tell it."""
    path = call.arguments.get("path")
    return posixpath.normpath(posixpath.join("/workspace", path)) if isinstance(path, str) else ""


def _key(call: ToolCall) -> str:
    return digest(call.name, call.arguments)


def _data(part: Part) -> Any:
    assert isinstance(part.event, ToolReturned)
    return part.event.data or {}


def _turn(part: Part) -> str:
    assert isinstance(part.event, ToolReturned)
    return f"turn {part.event.turn}"
