"""The tool `run_tests`."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.processes import Finished, Output
from tools.shell import MAX_TIMEOUT, shell_program
from tools.suite import EXIT_CODE, NotASuite, Place, TestOutcome, parse_junit, runner_of, suite_command
from tools.text import MAX_TEXT, counted, cut_middle, nearest, safe, short_line
from tools.tool import Call, Result, Tool, ToolError

if TYPE_CHECKING:
    from tools.workspace import Workspace

DEFAULT_TIMEOUT = 900
MAX_REPORT = 64 * 1024 * 1024
MAX_DETAILS = 500_000
"""Characters of all failures' texts in the structured result."""
MAX_ALIKE = 20
"""Tests named that failed just as another one did."""
HERE = Place(sys.executable, str(Path(__file__).parent.parent))
MAX_FAILURES = 12_000
"""Characters of all failures in the text, about."""
DETAIL_LINES = 30
"""Lines of one failure shown in the text: the end, where the assertion stands."""
IN_DETAIL = 3
"""Failures that are shown so; of the next ones the assertion and these lines: where it stands."""
FEW_LINES = 4


def _run_tests(workspace: Workspace, call: Call, arguments: dict[str, Any]) -> Result:
    import tempfile

    ids: list[str] = arguments.get("ids", [])
    timeout = arguments.get("timeout", DEFAULT_TIMEOUT)
    # Before they run: what they leave is not what was tested.
    tree, untaken = workspace.checkpoints.take(call)
    place = Path(tempfile.mkdtemp(prefix="tests-", dir=workspace.private))
    output = Output(workspace.private)
    try:
        report = place / "report.xml"
        script = place / "command"
        # In a file, since thousands of ids don't fit on a command line of the system.
        runner = runner_of(workspace.test_command)
        script.write_text(suite_command(workspace.test_command, str(report), ids, HERE), encoding="utf-8")
        finished = workspace.processes.run(
            [*shell_program(), str(script)],
            cwd=workspace.root,
            env=workspace.environment,
            timeout=timeout,
            call=call,
            write=output.write,
        )
        outcomes, fault = _outcomes(report)
    except NotASuite as error:
        raise ToolError(str(error)) from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
    # Judged by its exit code alone, the command is one test and runs as a whole.
    whole = runner == EXIT_CODE or any(found.startswith(f"{EXIT_CODE}::") for found in outcomes)
    unknown = (
        [] if whole else [test_id for test_id in ids if not any(_names(test_id, found) for found in outcomes)]
    )
    data = _data(outcomes, finished)
    data |= {"not_found": unknown, "checkpoint": None}
    said: list[str] = []
    if finished.timed_out:
        said.append(f"timed out after {timeout:g} s: the tests and all that they started were killed")
    if unknown and not finished.timed_out:
        said.append(_unknown_text(workspace, unknown))
    if whole and outcomes:
        note = (
            "judged by the exit code of the whole command alone: which test failed is for the output to tell"
        )
        said.append(note + ("; ids were not looked at" if ids else ""))
    if outcomes:
        said.append(_text(outcomes, data, finished))
        data["checkpoint"], note = _checkpoint(workspace, tree, untaken, data["outcomes"])
        said.append(note)
        if data["failures"] or data["collection_errors"]:
            output.save()
            said.append(f"[all that the tests printed is in {output.path}]")
    else:
        reason = fault or "no test ran"
        tail = cut_middle(output.text(), MAX_TEXT // 2).strip()
        said.append(f"{reason} (exit code {finished.exit_code}). The end of the output:\n{tail}")
    failed_to_run = bool(unknown) or finished.timed_out or not outcomes
    return Result("\n".join(said), data, is_error=failed_to_run)


def _checkpoint(
    workspace: Workspace, tree: str, untaken: str, outcomes: Mapping[str, str]
) -> tuple[int | None, str]:
    """The number that `undo` knows the tested state by, and what to say of it."""
    if tree:
        try:
            number, broken = workspace.checkpoints.record(tree, outcomes)
            told = f": {counted(len(broken), 'test')} that passed before now fail" if broken else ""
            return number, f"[checkpoint {number}{told}]"
        except (ToolError, OSError) as error:
            untaken = str(error)
    return None, f"[no checkpoint for undo: {untaken}]"


def _outcomes(report: Path) -> tuple[dict[str, TestOutcome], str]:
    """What the report says, and why if it says nothing."""
    try:
        with report.open("rb") as file:
            xml = file.read(MAX_REPORT + 1)
    except OSError:
        return {}, "the tests left no report"
    if len(xml) > MAX_REPORT:
        return {}, f"the tests' report is larger than {MAX_REPORT >> 20} MB"
    try:
        return parse_junit(xml), ""
    except ValueError as error:
        return {}, str(error)


def _data(outcomes: dict[str, TestOutcome], finished: Finished) -> dict[str, Any]:
    left = MAX_DETAILS
    failures: list[dict[str, str]] = []
    errors: list[dict[str, str]] = []
    for found in outcomes.values():
        if found.outcome in ("failed", "error"):
            detail = safe(found.detail[-left:]) if left > 0 else ""
            left -= len(detail)
            entry = {"id": found.id, "message": safe(found.message), "detail": detail}
            (errors if found.collection else failures).append(entry)
    return {
        "outcomes": {test_id: found.outcome for test_id, found in outcomes.items()},
        "failures": failures,
        "collection_errors": errors,
        "counts": dict(Counter(found.outcome for found in outcomes.values())),
        "exit_code": finished.exit_code,
        "timed_out": finished.timed_out,
        "seconds": round(finished.seconds, 3),
    }


def _text(outcomes: dict[str, TestOutcome], data: dict[str, Any], finished: Finished) -> str:
    counts = ", ".join(f"{n} {name}" for name, n in sorted(data["counts"].items()))
    head = f"{counts} in {finished.seconds:.1f} s (exit code {finished.exit_code})"
    parts: list[str] = []
    size = 0
    bad = [*data["collection_errors"], *data["failures"]]
    alike: dict[tuple[str, str], list[str]] = {}
    for entry in bad:
        # Where the code under test breaks, every test tells the same: once is enough.
        end = entry["detail"].strip("\n").rpartition("\n")[2]
        same = alike.setdefault((entry["message"], end), [])
        same.append(safe(entry["id"]))
    first = {ids[0]: ids[1:] for ids in alike.values()}
    bad = [entry for entry in bad if safe(entry["id"]) in first]
    for number, entry in enumerate(bad):
        lines = entry["detail"].strip("\n").split("\n")
        shown = lines[-(DETAIL_LINES if number < IN_DETAIL else FEW_LINES) :]
        cut = [f"[... {len(lines) - len(shown)} lines cut ...]"] if len(shown) < len(lines) else []
        title = f"{outcomes[entry['id']].outcome.upper()} {safe(entry['id'])}"
        others = first[safe(entry["id"])]
        if others:
            more = f" and {len(others) - MAX_ALIKE} more" if len(others) > MAX_ALIKE else ""
            title += f"\nin the same way: {', '.join(others[:MAX_ALIKE])}{more}"
        part = "\n".join([title, *(short_line(line) for line in [entry["message"], *cut, *shown])])
        size += len(part)
        if size > MAX_FAILURES and parts:
            break
        parts.append(cut_middle(part, MAX_FAILURES))
    if len(parts) < len(bad):
        left = [safe(entry["id"]) for entry in bad[len(parts) :]]
        names = [name for one in left for name in (one, *first[one])]
        more = f" and {len(names) - 50} more" if len(names) > 50 else ""
        parts.append(f"{counted(len(names), 'further failure')}: {', '.join(names[:50])}{more}")
    return "\n\n".join([head, *parts])


def _names(wanted: str, found: str) -> bool:
    """Whether the id or path `wanted` stands for the test `found`."""
    wanted = os.path.normpath(wanted) if "::" not in wanted else wanted.removeprefix("./")
    return wanted == "." or found == wanted or (found.startswith(wanted) and found[len(wanted)] in ":[/@")


def _unknown_text(workspace: Workspace, unknown: Sequence[str]) -> str:
    lines = []
    for test_id in unknown[:10]:
        path, _, rest = test_id.partition("::")
        if not Path(workspace.resolve(path)).exists():
            files = [file for file in workspace.files() if re.search(r"tests?\b|test_|_test", file)]
            near = [file for file in files if file.endswith("/" + path)] or nearest(path, files)
        else:
            names = _tests_in(workspace, path)
            wanted = rest.partition("[")[0]
            same = [name for name in names if name.split("::")[-1] == wanted.split("::")[-1]]
            near = [f"{path}::{name}" for name in same or nearest(wanted, names)]
        lines.append(
            f"not found: {safe(test_id)}" + (f"; near are {', '.join(map(safe, near))}" if near else "")
        )
    if len(unknown) > 10:
        lines.append(f"and {len(unknown) - 10} more were not found")
    return "\n".join(lines)


def _tests_in(workspace: Workspace, path: str) -> list[str]:
    """Names of the functions and methods in a Python file, as they stand in ids."""
    names: list[str] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}::")
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and "test" in child.name.lower():
                names.append(f"{prefix}{child.name}")

    try:
        visit(ast.parse(Path(workspace.resolve(path)).read_bytes()), "")
    except (OSError, ValueError, SyntaxError, RecursionError):
        return []
    return names


TOOLS = [
    Tool(
        "run_tests",
        "Run the project's tests and show each failure with its message and the end of its trace. Give `ids` (files, "
        "or ids such as tests/test_x.py::TestClass::test_name[param]) to run only those: while you work run the few "
        "that matter, before you submit run all. Killed after `timeout` seconds.",
        _run_tests,
        {
            "ids": {
                "type": "array",
                "items": {"type": "string"},
                "description": "test ids or files; all tests if not given",
            },
            "timeout": {
                "type": "number",
                "minimum": 1,
                "maximum": MAX_TIMEOUT,
                "description": f"seconds, {DEFAULT_TIMEOUT} if not given",
            },
        },
        changes=True,
    )
]
