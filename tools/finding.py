"""The tools `search` and `find_files`, made with ripgrep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.text import MAX_TEXT, counted, readable, safe, short_line
from tools.tool import Call, Result, Tool, ToolError

if TYPE_CHECKING:
    from tools.workspace import Workspace

TIMEOUT = 60
MAX_RESULTS = 100
MAX_FILES = 200
MAX_OUTPUT = 16 * 1024 * 1024
"""Bytes of ripgrep's output that are counted through; after them it is stopped."""

# Hidden files are searched, ignored ones are not, with or without a git repository.
COMMON = [
    "--no-config",
    "--hidden",
    "--no-require-git",
    "--color=never",
    "--sort=path",
    "--null",
]


def _rg(
    workspace: Workspace, call: Call, options: list[str], where: str, cwd: str
) -> tuple[list[bytes], str]:
    """Lines that ripgrep printed, and its complaints. A null byte ends each path. Raises ToolError."""
    out, error = bytearray(), bytearray()

    def keep(data: bytes) -> None:
        out.extend(data)
        if len(out) > MAX_OUTPUT:
            raise ToolError("far too many results: name a directory with `path`, or a more telling pattern")

    finished = workspace.processes.run(
        # Of globs the last that matches decides.
        [workspace.program("rg"), *COMMON, *options, "--glob=!.git", "--", where],
        cwd=cwd,
        env=workspace.environment,
        timeout=TIMEOUT,
        call=call,
        write=keep,
        write_error=lambda data: error.extend(data[: MAX_TEXT - len(error)]),
    )
    if finished.exit_code is None:
        raise ToolError(f"stopped after {TIMEOUT} s: name a directory with `path`")
    complaints = readable(bytes(error)).strip()
    if finished.exit_code > 1 and not out:
        raise ToolError(_explained(complaints))
    return bytes(out).split(b"\n"), complaints


def _explained(complaints: str) -> str:
    if "regex parse error" in complaints:
        return f"{complaints}\nTo search for characters such as ( [ {{ * + ? . | themselves, escape each with \\."
    return complaints or "ripgrep failed"


def _existing(workspace: Workspace, path: str) -> str:
    absolute = workspace.resolve(path)
    if not Path(absolute).exists():
        raise workspace.missing(path)
    return absolute


def _search(workspace: Workspace, call: Call, arguments: dict[str, Any]) -> Result:
    limit = arguments.get("max_results", MAX_RESULTS)
    path = _existing(workspace, arguments.get("path", "."))
    if "\0" in arguments["pattern"] + arguments.get("glob", ""):
        raise ToolError("a pattern can't hold a NUL character")
    options = [
        "--line-number",
        "--no-heading",
        "--with-filename",
        "--max-columns=400",
        "--max-columns-preview",
    ]
    if arguments.get("ignore_case"):
        options.append("--ignore-case")
    if arguments.get("glob"):
        options.append(f"--glob={arguments['glob']}")
    options.append(f"--context={arguments.get('context', 0)}")
    inside = path == workspace.root or path.startswith(workspace.root + "/")
    where = os.path.relpath(path, workspace.root) if inside else path
    lines, complaints = _rg(
        workspace, call, [*options, f"--regexp={arguments['pattern']}"], where, workspace.root
    )
    answer: list[str] = []
    size = shown = total = 0
    files: dict[bytes, int] = {}
    listed = b""
    full = False
    for line in lines:
        name, separator, rest = line.partition(b"\0")
        if not separator:  # "--" between stretches of context
            if line and not full and answer:
                answer.append("  --")
            continue
        number = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
        is_match = rest[len(number) : len(number) + 1] == b":"
        total += is_match
        full = full or (is_match and shown >= limit) or size > MAX_TEXT
        if is_match:
            files[name] = files.get(name, 0) + 1
        if full:
            continue
        if name != listed:
            answer.append(workspace.shown(os.path.normpath(Path(workspace.root, os.fsdecode(name)))))
            listed = name
        text = short_line(readable(rest[len(number) + 1 :].removesuffix(b"\r")))
        answer.append(f"  {number.decode()}{':' if is_match else '-'} {text}")
        size += len(answer[-1])
        shown += is_match
    data = {"matches": total, "files": len(files), "shown": shown}
    if not total:
        hint = f"\n{complaints}" if complaints else ""
        return Result(f"no match for {safe(arguments['pattern'])!r} in {workspace.shown(path)}{hint}", data)
    head = f"{counted(total, 'match')} in {counted(len(files), 'file')}"
    if shown < total:
        head += (
            f"; the first {shown} are shown, {total - shown} left out: narrow with path or glob, or raise "
            "max_results"
        )
    return Result("\n".join([head, *answer]), data)


def _find_files(workspace: Workspace, call: Call, arguments: dict[str, Any]) -> Result:
    pattern = arguments["pattern"]
    path = _existing(workspace, arguments.get("path", "."))
    if not Path(path).is_dir():
        raise ToolError(f"{arguments['path']!r} is a file; `path` names the directory to look in")
    if not pattern or "\0" in pattern:
        raise ToolError(f"not a pattern: {pattern!r}")
    # Relative to the directory that is searched, whichever of the two the model wrote.
    pattern = pattern.removeprefix("./").removeprefix(workspace.root + "/")
    note = ""
    found = _files(workspace, call, f"--glob={pattern}", path)
    if not found and not set("*?[{") & set(pattern.strip("/")):
        found = _files(workspace, call, f"--iglob=*{pattern.strip('/')}*", path)
        note = " whose path has that in it" if found else ""
    if not found:
        text = f"no file matches {safe(pattern)!r} in {workspace.shown(path)} (ignored files are not listed)"
        return Result(text, {"files": [], "total": 0})
    names = [workspace.shown(os.path.normpath(Path(path, os.fsdecode(name)))) for name in found[:MAX_FILES]]
    head = f"{counted(len(found), 'file')}{note}"
    if len(found) > len(names):
        head += f"; the first {len(names)} are shown: narrow the pattern or give `path`"
    return Result("\n".join([head, *names]), {"files": names, "total": len(found)})


def _files(workspace: Workspace, call: Call, glob: str, path: str) -> list[bytes]:
    lines, _ = _rg(workspace, call, ["--files", glob], ".", path)
    return [name for name in b"\n".join(lines).split(b"\0") if name]


TOOLS = [
    Tool(
        "search",
        "Search file contents with a regular expression (ripgrep's: no look-around; escape ( [ { . * + ? to mean "
        "themselves). Hits are grouped by file with line numbers. Ignored and binary files are skipped.",
        _search,
        {
            "pattern": {"type": "string", "description": "regular expression, matched line by line"},
            "path": {"type": "string", "description": "file or directory, the workspace if not given"},
            "glob": {"type": "string", "description": "only files like this, e.g. *.py or !tests/**"},
            "ignore_case": {"type": "boolean"},
            "context": {
                "type": "integer",
                "minimum": 0,
                "maximum": 20,
                "description": "lines shown around a hit",
            },
            "max_results": {
                "type": "integer",
                "minimum": 1,
                "maximum": 1000,
                "description": f"{MAX_RESULTS} if not given",
            },
        },
        ("pattern",),
    ),
    Tool(
        "find_files",
        "List files by name with a glob: *.py finds at any depth, src/**/*.py below src, a plain name that file. "
        "Ignored files are left out.",
        _find_files,
        {
            "pattern": {"type": "string", "description": "glob"},
            "path": {"type": "string", "description": "directory to look in, the workspace if not given"},
        },
        ("pattern",),
    ),
]
