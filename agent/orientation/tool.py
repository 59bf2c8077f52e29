"""The tool `outline`, which the runtime answers itself: the sandbox's tools have no parsers but Python's own."""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable

from agent.orientation.process import Unmapped, outlined
from agent.types import ToolCall, ToolResult, ToolSpec
from sandboxes.errors import SandboxDied, SandboxError
from tools.tool import ToolError, checked

NAME = "outline"
MAX_SOURCE = 512 * 1024
"""Bytes."""
PROPERTIES = {
    "path": {"type": "string", "description": "a source file, relative to the workspace, or absolute"}
}
SPEC = ToolSpec(
    NAME,
    "List the classes, functions and methods of a source file with their lines, as the file is now (Python, "
    "JavaScript, TypeScript, Go, Rust, Java). Cheaper than reading a long file to find a place in it.",
    {"type": "object", "properties": PROPERTIES, "required": ["path"], "additionalProperties": False},
    read_only=True,
)

Read = Callable[[str, int], Awaitable[bytes]]
"""(absolute path in the sandbox, limit in bytes) -> what is there now. Raises FileNotFoundError or ValueError."""


async def outline(call: ToolCall, read: Read) -> ToolResult:
    """Answer a call. Raises SandboxDied."""
    try:
        shown = checked(NAME, PROPERTIES, ("path",), dict(call.arguments))["path"]
        path = posixpath.normpath(posixpath.join("/workspace", shown))
        return ToolResult(call.id, NAME, await outlined(shown, await read(path, MAX_SOURCE)))
    except FileNotFoundError:
        text = f"there is no file {call.arguments['path']!r}; find_files lists what there is"
    except Unmapped as reason:
        text = f"no outline: {reason}; use read_file"
    except SandboxDied:
        raise
    except (ToolError, ValueError, SandboxError) as error:
        text = str(error)
    return ToolResult(call.id, NAME, text, is_error=True)
