"""The tools `read_file`, `edit_file` and `write_file`."""

from __future__ import annotations

import ast
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.text import MAX_TEXT, counted, safe, short_line
from tools.tool import Call, Result, Tool, ToolError

if TYPE_CHECKING:
    from tools.workspace import Workspace

MAX_FILE = 50 * 1024 * 1024
MAX_LINES = 2000
"""Lines shown by one read_file."""
MAX_AROUND = 40
"""Lines shown of an edit."""
NEW_MODE = 0o644


def _load(workspace: Workspace, shown: str, path: str) -> bytes:
    """The bytes of a regular file. Raises ToolError that names the way to what the model may have meant."""
    try:
        status = os.stat(path)  # noqa: PTH116
        if stat.S_ISDIR(status.st_mode):
            raise ToolError(f"{shown!r} is a directory; list it with find_files(pattern='*', path={shown!r})")
        if not stat.S_ISREG(status.st_mode):
            raise ToolError(f"{shown!r} is no regular file")
        if status.st_size > MAX_FILE:
            raise ToolError(
                f"{shown!r} has {status.st_size} bytes, more than {MAX_FILE >> 20} MB; "
                "look into it with the shell (head, grep)"
            )
        with Path(path).open("rb") as file:
            return file.read(MAX_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise workspace.missing(shown) from None
    except OSError as error:
        raise ToolError(f"{shown!r} can't be read: {error.strerror}") from None


def _read_file(workspace: Workspace, call: Call, arguments: dict[str, Any]) -> Result:
    shown = arguments["path"]
    start, end = arguments.get("start", 1), arguments.get("end")
    if end is not None and end < start:
        raise ToolError(f"'end' ({end}) lies before 'start' ({start})")
    data = _load(workspace, shown, workspace.resolve(shown))
    if b"\0" in data[:8192]:
        return Result(f"[{safe(shown)} is a binary file of {len(data)} bytes]", {"binary": True})
    try:
        whole, valid = data.decode(), True
    except UnicodeDecodeError:
        whole, valid = data.decode("utf-8", "replace"), False
    lines = whole.split("\n")
    if lines[-1] == "":
        lines.pop()
    total = len(lines)
    if not total:
        return Result("[the file is empty]", {"start": 1, "end": 0, "lines": 0})
    if start > total:
        raise ToolError(f"{shown!r} has {counted(total, 'line')}; there is no line {start}")
    last = min(total, end or total, start + MAX_LINES - 1)
    numbered: list[str] = []
    size = 0
    for number in range(start, last + 1):
        line = f"{number:>6}\t{short_line(safe(lines[number - 1].removesuffix(chr(13))))}"
        size += len(line) + 1
        if size > MAX_TEXT and numbered:
            last = number - 1
            break
        numbered.append(line)
    notes = []
    if start > 1 or last < total:
        more = f"; go on with start={last + 1}" if last < min(total, end or total) else ""
        notes.append(f"lines {start}-{last} of {total}{more}")
    if b"\r\n" in data:
        notes.append("its lines end with CRLF; edit_file takes and keeps that")
    if not data.endswith(b"\n") and last == total:
        notes.append("no newline at its end")
    if not valid:
        notes.append("not all of it is valid UTF-8; what is not is shown as \ufffd")
    if notes:
        numbered.append(f"[{'; '.join(notes)}]")
    return Result("\n".join(numbered), {"start": start, "end": last, "lines": total})


def _edit_file(workspace: Workspace, call: Call, arguments: dict[str, Any]) -> Result:
    shown, old, new = arguments["path"], arguments["old"], arguments["new"]
    path = workspace.resolve_for_writing(shown)
    if not old:
        raise ToolError("'old' is empty: give the text to replace; write_file makes or replaces a whole file")
    if old == new:
        raise ToolError("'old' and 'new' are the same: nothing would change")
    before_bytes = _load(workspace, shown, path)
    before = before_bytes.decode("utf-8", "surrogateescape")  # what is no UTF-8 stays as it is
    count = 0
    crlf = before.count("\r\n")
    for ending in sorted(("\n", "\r\n"), reverse=2 * crlf > before.count("\n")):
        find, put = (text.replace("\r\n", "\n").replace("\n", ending) for text in (old, new))
        if count := before.count(find):
            break
    if not count:
        from tools.near import explain_no_match

        raise ToolError(explain_no_match(workspace.shown(path), before, old, new))
    if count > 1 and not arguments.get("replace_all", False):
        numbers = _line_numbers(before, find)
        raise ToolError(
            f"'old' stands {count} times in {shown!r}, at lines {', '.join(map(str, numbers[:20]))}"
            f"{' …' if count > 20 else ''}: add lines around it to name one place, or set replace_all=true"
        )
    first = _line_numbers(before, find)[0]
    after = before.replace(find, put)
    after_bytes = after.encode("utf-8", "surrogateescape")
    _write(path, after_bytes)
    place = workspace.shown(path)
    text = f"edited {place}: " + (f"{count} places" if count > 1 else f"line {first}")
    shown_lines = _around(after, first, put.count("\n") + 1)
    warning = _new_syntax_error(path, before, after)
    return Result(
        "\n".join(filter(None, [text, warning, shown_lines])),
        {
            "path": place,
            "replacements": count,
            "line": first,
            "syntax_error": bool(warning),
            "before": _digest(before_bytes),
            "after": _digest(after_bytes),
        },
    )


def _write_file(workspace: Workspace, call: Call, arguments: dict[str, Any]) -> Result:
    shown, content = arguments["path"], arguments["content"]
    path = workspace.resolve_for_writing(shown)
    if Path(path).is_dir():
        raise ToolError(f"{shown!r} is a directory")
    before_bytes: bytes | None = None
    before: str | None = None
    if os.path.lexists(path):
        before_bytes = _load(workspace, shown, path)
        before = before_bytes.decode("utf-8", "surrogateescape")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(f"the directory of {shown!r} can't be made: {error.strerror}") from None
    _write(path, content.encode())
    place = workspace.shown(path)
    lines = counted(content.count("\n") + (not content.endswith("\n") and content != ""), "line")
    was = "" if before is None else f", which had {counted(len(before.splitlines()), 'line')}"
    text = f"{'created' if before is None else 'overwrote'} {place}{was}: now {lines}"
    warning = _new_syntax_error(path, before or "", content)
    return Result(
        "\n".join(filter(None, [text, warning])),
        {
            "path": place,
            "created": before is None,
            "syntax_error": bool(warning),
            "before": None if before_bytes is None else _digest(before_bytes),
            "after": _digest(content.encode()),
        },
    )


def _digest(data: bytes) -> str:
    """By it the runtime knows a text that the file had before."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _write(path: str, data: bytes) -> None:
    """Put `data` in the place of the file at once: no reader, and no crash, ever sees half of it."""
    import tempfile

    target = Path(path)
    temporary = ""
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else NEW_MODE
        handle, temporary = tempfile.mkstemp(prefix=".agent-", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(target)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise ToolError(f"{safe(path)!r} can't be written: {error.strerror}") from None


def _line_numbers(text: str, find: str) -> list[int]:
    numbers: list[int] = []
    line, at = 1, 0
    for match in re.finditer(re.escape(find), text):
        line += text.count("\n", at, match.start())
        at = match.start()
        numbers.append(line)
    return numbers


def _around(text: str, first: int, count: int) -> str:
    """The lines of an edit and three on each side, numbered; of a long one the beginning and the end."""
    lines = text.split("\n")
    start, end = max(1, first - 3), min(len(lines), first + count + 2)
    numbers = [n for n in range(start, end + 1) if n < len(lines) or lines[-1]]
    shown = [f"{n:>6}\t{short_line(safe(lines[n - 1].removesuffix(chr(13))))}" for n in numbers]
    if len(shown) > MAX_AROUND:
        half = MAX_AROUND // 2
        shown[half:-half] = [f"       … {len(shown) - 2 * half} lines …"]
    return "\n".join(shown)


def _new_syntax_error(path: str, before: str, after: str) -> str:
    """A warning when a Python file could be parsed before and can't be now."""
    if not path.endswith((".py", ".pyi")):
        return ""
    fault = _syntax_error(after)
    return f"WARNING: this edit made a syntax error: {fault}" if fault and not _syntax_error(before) else ""


def _syntax_error(source: str) -> str:
    try:
        ast.parse(source.encode("utf-8", "surrogateescape"))
    except SyntaxError as error:
        return safe(f"line {error.lineno}: {error.msg}: {(error.text or '').strip()[:200]}")
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{type(error).__name__}: {safe(str(error))}"
    return ""


PATH = {"type": "string", "description": "relative to the workspace, or absolute"}
TOOLS = [
    Tool(
        "read_file",
        f"Show a text file with line numbers (number, tab, line; they are not part of the file). Shows at most "
        f"{MAX_LINES} lines or {MAX_TEXT // 1000} KB at once and says how to go on.",
        _read_file,
        {
            "path": PATH,
            "start": {"type": "integer", "minimum": 1, "description": "first line, 1 if not given"},
            "end": {"type": "integer", "minimum": 1, "description": "last line, included"},
        },
        ("path",),
    ),
    Tool(
        "edit_file",
        "Replace exact text in a file. `old` must be there exactly once, with its whitespace and without line "
        "numbers; add lines around it until it is unique, or set replace_all. If it is not found, the nearest lines "
        "are shown and nothing is changed.",
        _edit_file,
        {
            "path": PATH,
            "old": {"type": "string", "description": "the text to replace, as it stands in the file"},
            "new": {"type": "string", "description": "the text to put in its place; empty deletes it"},
            "replace_all": {"type": "boolean", "description": "replace each occurrence"},
        },
        ("path", "old", "new"),
        changes=True,
    ),
    Tool(
        "write_file",
        "Create a file, or replace all of it; directories are made as needed. To change part of a file use edit_file.",
        _write_file,
        {"path": PATH, "content": {"type": "string", "description": "the whole new content"}},
        ("path", "content"),
        changes=True,
    ),
]
