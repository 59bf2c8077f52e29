"""The tools `search` and `find_files`, made with ripgrep."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.text import MAX_TEXT, counted, readable, safe, short_line
from tools.tool import Call, Result, Tool, ToolError

if TYPE_CHECKING:
    from tools.workspace import Workspace

TIMEOUT = 60
MAX_RESULTS = 50
MAX_HITS = 12_000
"""Characters of all hits, about."""
LEAST_OF_FILE = 3
"""Hits shown of a file, if there are so many, where not all can be shown."""
MAX_LEFT = 20
"""Files named of which hits are left out."""
MAX_FILES = 200
MAX_OUTPUT = 16 * 1024 * 1024
"""Bytes of ripgrep's output that are counted through; after them it is stopped."""

CODE = (
    *(
        b".py",
        b".pyi",
        b".pyx",
        b".js",
        b".jsx",
        b".mjs",
        b".cjs",
        b".ts",
        b".tsx",
        b".go",
        b".rs",
        b".java",
        b".kt",
    ),
    *(b".c", b".h", b".cc", b".cpp", b".hpp", b".cs", b".rb", b".php", b".swift", b".scala", b".lua", b".sh"),
)
_TESTS = re.compile(
    rb"(^|/)(tests?|testing|__tests__|spec)/|(^|/)(test_|conftest)|[._-](test|tests|spec)\.\w+$"
)
_DEFINES = re.compile(
    rb"\s*(?:(?:export|default|public|private|protected|static|final|abstract|async|pub(?:\([a-z]+\))?)\s+)*"
    rb"(?:def|class|function|func|fn|type|struct|enum|trait|interface|impl|const|let|var)\b"
)
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
    found = _by_file(lines)
    total = sum(is_match for hits in found.values() for _, is_match, _ in hits)
    data = {"matches": total, "files": len(found), "shown": 0}
    if not total:
        hint = f"\n{complaints}" if complaints else ""
        return Result(f"no match for {safe(arguments['pattern'])!r} in {workspace.shown(path)}{hint}", data)
    ranked = sorted(found, key=lambda name: (_rank(name, found[name]), name))
    # Where not all can be shown, no file takes the place of all others.
    most = limit if total <= limit else max(LEAST_OF_FILE, limit // len(found))
    answer: list[str] = []
    left: list[str] = []
    size = 0
    for name in ranked:
        listed = workspace.shown(os.path.normpath(Path(workspace.root, os.fsdecode(name))))
        hits = sum(is_match for _, is_match, _ in found[name])
        room = min(most, limit - data["shown"]) if size <= MAX_HITS else 0
        text, shown = _listed(found[name], room, MAX_HITS - size)
        if shown < hits:
            left.append(f"{listed} ({hits - shown})")
        if shown:
            answer += [listed, *text]
            size += sum(map(len, text))
            data["shown"] += shown
    head = f"{counted(total, 'match')} in {counted(len(found), 'file')}"
    if left:
        head += (
            f"; {data['shown']} are shown, {total - data['shown']} left out: narrow with path or glob, or raise "
            "max_results"
        )
        more = f" and {len(left) - MAX_LEFT} more files" if len(left) > MAX_LEFT else ""
        answer.append(f"left out: {', '.join(left[:MAX_LEFT])}{more}")
    return Result("\n".join([head, *answer]), data)


def _by_file(lines: list[bytes]) -> dict[bytes, list[tuple[bytes, bool, bytes]]]:
    """ripgrep's lines as (number, whether it matches, text) by path; an empty number parts stretches of context."""
    found: dict[bytes, list[tuple[bytes, bool, bytes]]] = {}
    parted = False
    for line in lines:
        name, separator, rest = line.partition(b"\0")
        if not separator:  # "--" between stretches of context
            parted = True
            continue
        number = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
        if parted and name in found:
            found[name].append((b"", False, b""))
        parted = False
        is_match = rest[len(number) : len(number) + 1] == b":"
        found.setdefault(name, []).append((number, is_match, rest[len(number) + 1 :]))
    return found


def _rank(name: bytes, hits: list[tuple[bytes, bool, bytes]]) -> int:
    """What a file's hits most likely say of a fault: 0 code that defines something there, 1 code that uses it, 2 tests,
    3 prose and data."""
    if not name.endswith(CODE):
        return 3
    if _TESTS.search(name):
        return 2
    return 0 if any(is_match and _DEFINES.match(text) for _, is_match, text in hits) else 1


def _listed(hits: list[tuple[bytes, bool, bytes]], room: int, size: int) -> tuple[list[str], int]:
    """The lines of a file's first hits, at most `room` of them in about `size` characters, and how many these are."""
    text: list[str] = []
    shown = 0
    for number, is_match, line in hits:
        if (is_match and shown >= room) or size < 0:
            break
        mark = f"{number.decode()}{':' if is_match else '-'} " if number else "--"
        text.append(f"  {mark}{short_line(readable(line.removesuffix(bytes([13]))))}")
        size -= len(text[-1])
        shown += is_match
    return text, shown


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
        "themselves). Hits are grouped by file with line numbers: first files that define something there, then other "
        "code, tests, the rest. Ignored and binary files are skipped.",
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
