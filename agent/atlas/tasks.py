"""MCP Atlas's tasks, a CSV file with the columns TASK, PROMPT and ENABLED_TOOLS."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass

from agent.errors import UsageError

LONGEST = 16 * 1024 * 1024
"""Characters of one field: recorded conversations are in columns beside these, which are passed over."""


@dataclass(frozen=True, slots=True)
class Task:
    """A question, and the names of the tools that may be used to answer it."""

    id: str
    prompt: str
    tools: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Another one for another question."""
        return hashlib.sha256(json.dumps([self.prompt, self.tools]).encode()).hexdigest()[:16]


def read_tasks(data: bytes, where: str) -> list[Task]:
    """The tasks of a CSV file. Raises UsageError that names `where`, the line and the mend."""
    csv.field_size_limit(LONGEST)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: no UTF-8 at byte {error.start:,}; save it as UTF-8") from error
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    found: dict[str, Task] = {}
    try:
        names = list(rows.fieldnames or ())
        missing = [name for name in ("PROMPT", "ENABLED_TOOLS") if name not in names]
        missing += [] if {"TASK", "task_id"} & {*names} else ["TASK"]
        if missing:
            raise UsageError(f"{where}: no column {', '.join(missing)}; name a CSV file of MCP Atlas's tasks")
        if twice := [
            name for name in ("TASK", "task_id", "PROMPT", "ENABLED_TOOLS") if names.count(name) > 1
        ]:
            raise UsageError(f"{where}: there are two columns {twice[0]}; leave one out")
        for row in rows:
            at = f"{where}, line {rows.line_num}"
            task = Task(
                (row.get("TASK") or row.get("task_id") or "").strip(),
                row["PROMPT"] or "",
                _names(row["ENABLED_TOOLS"] or "", at),
            )
            if not task.id or not task.prompt.strip():
                raise UsageError(f"{at}: a task needs its TASK, an id, and a PROMPT")
            if task.id in found:
                raise UsageError(f"{at}: there are two tasks {task.id!r}; leave one out")
            found[task.id] = task
    except csv.Error as error:
        raise UsageError(f"{where}, line {rows.line_num}: no CSV: {error}") from error
    if not found:
        raise UsageError(f"{where}: it holds no task")
    return list(found.values())


def _names(text: str, at: str) -> tuple[str, ...]:
    """A JSON list of names, or of objects with one, as the data set has both; or names between commas."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = [part.strip() for part in text.split(",") if part.strip()] if "[" not in text else None
    listed = value if isinstance(value, list) else []
    names = [one.get("name") if isinstance(one, dict) else one for one in listed]
    known = [one for one in names if isinstance(one, str) and one]
    if not known or len(known) < len(names):
        raise UsageError(f"{at}: ENABLED_TOOLS must be a list of tool names, as JSON or between commas")
    return tuple(dict.fromkeys(known))
