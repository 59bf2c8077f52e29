"""Record the sessions that `context_cost` prices: `python -m tests.benchmarks.context_record CASES.PY PYTHON`.

Each is a repair of a real bug of a published package, of 15 and of 30 turns. The calls are written down below, for all
cases alike; what they answer is real: the tools of the server, run here on the package's source distribution with the
test that shows the bug laid in. No live model speaks. CASES.PY lays out the cases (`materialise`, `test-patch`,
`gold`), PYTHON has their dependencies. Writes `context_sessions.jsonl.gz` beside this file.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.server import run_tool
from tools.tool import Call
from tools.workspace import Workspace

SESSIONS = Path(__file__).parent / "context_sessions.jsonl.gz"
ROOT, SCRATCH = Path("/workspace"), Path("/tmp")
MAX_HUNKS = 3
"""Of the fix: releases change more than the one fault."""
CASES = (
    *("croniter-zero-step", "wcwidth-n-exceeds", "natsort-path-dot", "tinydb-unhashable-query"),
    *(
        "furl-semicolon",
        "prettytable-addrows-empty",
        "soupsieve-attr-newline",
        "validators-isin",
        "validators-cron",
    ),
    "icalendar-end-without-begin",
)
Reply = tuple[str, Sequence[tuple[str, Mapping[str, Any]]]]


@dataclass(frozen=True)
class Bug:
    """What the written calls are filled with."""

    issue: str
    file: str
    """Of the product, where the fix lies."""
    line: int
    edits: Sequence[tuple[str, str, str]]
    """The fix: file, old text, new text, that of `file` first."""
    symbol: str
    """The function or class that the fix lies in."""
    tests: Sequence[str]
    others: Sequence[str]
    """Further files of the product."""

    @property
    def test_file(self) -> str:
        return self.tests[0].partition("::")[0]

    def fix(self) -> list[tuple[str, dict[str, Any]]]:
        return [("edit_file", {"path": path, "old": old, "new": new}) for path, old, new in self.edits]


def short(bug: Bug, test_line: int) -> Iterator[Reply]:
    """A repair in 15 turns."""
    around = {"path": bug.file, "start": max(1, bug.line - 35), "end": bug.line + 35}
    tests = {"path": bug.test_file, "start": max(1, test_line - 20), "end": test_line + 45}
    yield "I run the failing test first, to see how it fails.", [("run_tests", {"ids": list(bug.tests)})]
    yield (
        f"It fails as the issue says. Where is `{bug.symbol}` defined, and who uses it?",
        [_search(bug.symbol)],
    )
    yield f"I read the code around the definition in {bug.file}.", [("read_file", around)]
    yield "What does the test ask for exactly?", [("read_file", tests)]
    yield "The outline of the module shows what else could be involved.", [_outline(bug.file)]
    yield (
        "How does the module begin: imports, constants, helpers?",
        [("read_file", {"path": bug.file, "end": 70})],
    )
    yield "I look at the failure once more, with the locals.", [_pytest(bug.tests[0], "-l")]
    yield "Now I can say which lines are wrong.", [_cause(bug)]
    yield "I make the smallest change that mends it.", bug.fix()
    yield "Does the failing test pass now?", [("run_tests", {"ids": list(bug.tests)})]
    yield "I read the changed function again, as a whole.", [("read_file", around)]
    yield "Who else calls it, and does the change hold for them?", [_search(f"{bug.symbol}\\(", context=2)]
    yield "The whole file of tests.", [("run_tests", {"ids": [bug.test_file]})]
    yield "I look at what I hand in.", [("diff", {})]
    yield "The test passes, and so do the others.", [("submit", {"summary": "The cause is mended."})]


def long(bug: Bug, test_line: int) -> Iterator[Reply]:
    """A repair in 30 turns: more is read, and a first change does not help and is taken back."""
    around = {"path": bug.file, "start": max(1, bug.line - 35), "end": bug.line + 35}
    before = {"path": bug.file, "start": max(1, bug.line - 100), "end": max(60, bug.line - 36)}
    behind = {"path": bug.file, "start": bug.line + 36, "end": bug.line + 100}
    tests = {"path": bug.test_file, "start": max(1, test_line - 20), "end": test_line + 45}
    first, second, third = (*bug.others, bug.file, bug.file, bug.file)[:3]
    yield "What is in this repository?", [("find_files", {"pattern": "*.py"})]
    yield "I run the failing test first, to see how it fails.", [("run_tests", {"ids": list(bug.tests)})]
    yield f"Where is `{bug.symbol}` defined, and who uses it?", [_search(bug.symbol)]
    yield f"I read the code around the definition in {bug.file}.", [("read_file", around)]
    yield "What does the test ask for exactly?", [("read_file", tests)]
    yield "The outline of the module shows what else could be involved.", [_outline(bug.file)]
    yield "What stands before it?", [("read_file", before)]
    yield "And what behind it?", [("read_file", behind)]
    yield f"Perhaps {first} has a part in it.", [("read_file", {"path": first, "end": 70})]
    yield (
        "I look for tests that are like the failing one.",
        [_search("def test_", path=bug.test_file, most=30)],
    )
    yield "I look at the failure once more, with the locals.", [_pytest(bug.tests[0], "-l")]
    yield f"How does {second} use it?", [("read_file", {"path": second, "start": 20, "end": 90})]
    yield "Now I can say which lines are wrong.", [_cause(bug)]
    yield "A first try: I make the condition explicit.", [("edit_file", _no_help(bug))]
    yield "Does it help?", [("run_tests", {"ids": list(bug.tests)})]
    yield "It does not. I take it back.", [("edit_file", _no_help(bug, back=True))]
    yield "I read the function again, line by line.", [("read_file", around)]
    yield "What do its callers expect?", [_search(f"{bug.symbol}\\(", context=2)]
    yield f"The outline of {third}.", [_outline(third)]
    yield f"And its first lines, in {third}.", [("read_file", {"path": third, "end": 70})]
    yield "What was said of it in the documents?", [_search(bug.symbol, glob="*.{md,rst,txt}")]
    yield "The cause stands. I state it anew, since the first change did not follow from it.", [_cause(bug)]
    yield "I make the smallest change that mends it.", bug.fix()
    yield "Does the failing test pass now?", [("run_tests", {"ids": list(bug.tests)})]
    yield "I read the changed function again, as a whole.", [("read_file", around)]
    yield "The test once more: does the change hold for all that it asks?", [("read_file", tests)]
    yield "The whole file of tests.", [("run_tests", {"ids": [bug.test_file]})]
    yield "The same by pytest itself, with the slowest tests.", [_pytest(bug.test_file, "--durations=20")]
    yield "I look at what I hand in.", [("diff", {})]
    yield "The test passes, and so do the others.", [("submit", {"summary": "The cause is mended."})]


def _search(pattern: str, *, path: str = ".", most: int = 20, **more: Any) -> tuple[str, dict[str, Any]]:
    return "search", {"pattern": pattern, "path": path, "max_results": most, **more}


def _outline(path: str) -> tuple[str, dict[str, Any]]:
    return "shell", {"command": f"grep -nE '^ *(def|class|async def) ' {path} | head -60"}


def _pytest(test: str, option: str) -> tuple[str, dict[str, Any]]:
    return "shell", {"command": f"python -m pytest -q -p no:cacheprovider {option} '{test}' | tail -70"}


def _no_help(bug: Bug, *, back: bool = False) -> dict[str, Any]:
    """A change of nothing but a comment, or its undoing."""
    old = bug.edits[0][1]
    line = next(line for line in reversed(old.split("\n")) if line.strip())
    indent = line[: len(line) - len(line.lstrip())]
    new = old.replace(line, f"{indent}# every value is looked at\n{line}")
    return {"path": bug.file, "old": new, "new": old} if back else {"path": bug.file, "old": old, "new": new}


def _cause(bug: Bug) -> tuple[str, dict[str, Any]]:
    return "root_cause", {
        "cause": f"`{bug.symbol}` does not provide for the case that the issue names",
        "where": [f"{bug.file}:{bug.line}"],
        "test": bug.tests[0],
        "observed": "Error",
        "expected": "what the test asks for",
        "explains": "the test calls it with just that case, and nothing on the way looks at it",
    }


def laid_out(case: str, cases: str) -> Bug:
    """Put the case into ROOT, with its test, and read its fix."""

    # Source distributions keep their authors' user ids, which git else takes for somebody else's repository.
    trusting = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}

    def told(name: str, *more: str) -> bytes:
        command = [sys.executable, cases, name, case, *more]
        return subprocess.run(command, check=True, capture_output=True, env={**os.environ, **trusting}).stdout

    for folder in (ROOT, SCRATCH / ".agent-tools"):  # the latter knows the base commit of the session before
        if folder.exists():
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    checkout = SCRATCH / f"case-{case}"
    if not checkout.exists():
        told("materialise", str(checkout))
        subprocess.run(["git", "apply", "-"], input=told("test-patch"), cwd=checkout, check=True)
        shutil.rmtree(checkout / ".git")
        checkout.with_suffix(".gold").write_bytes(told("gold"))
    shutil.copytree(checkout, ROOT, dirs_exist_ok=True)
    spec = spec_of(case, cases)
    issue = checkout.with_name(f"{checkout.name}.issue.md").read_text()
    return bug_of(spec, checkout.with_suffix(".gold").read_text(), issue)


def spec_of(case: str, cases: str) -> Mapping[str, Any]:
    told = json.loads(Path(cases).with_suffix(".json").read_text())["cases"]
    return next(one for one in told if one["id"] == case)


def recorded(case: str, cases: str, python: str, script: Any, turns: int) -> dict[str, Any]:
    """One session."""
    bug, spec = laid_out(case, cases), spec_of(case, cases)
    name = re.split(r"::", bug.tests[0])[-1].partition("[")[0]
    lines = (ROOT / bug.test_file).read_text().split("\n")
    test_line = next((n for n, line in enumerate(lines, 1) if f"def {name}(" in line), 1)
    workspace = Workspace(str(ROOT), str(SCRATCH), f"{python} -m pytest {spec['env']['args']}")
    workspace.environment |= {
        "PATH": f"{Path(python).parent}:{workspace.environment['PATH']}",
        "PYTHONPATH": str(ROOT / spec["env"]["path"]),
    }
    workspace.base.begin()
    replies = []
    for text, calls in script(bug, test_line):
        results = [answered(workspace, name, arguments) for name, arguments in calls]
        made = [{"name": name, "arguments": arguments} for name, arguments in calls]
        replies.append({"text": text, "calls": made, "results": results})
    workspace.processes.end_all()
    assert len(replies) == turns
    return {"case": case, "package": f"{spec['pypi']} {spec['base']}", "issue": bug.issue, "replies": replies}


def answered(workspace: Workspace, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if name == "root_cause":  # the runtime's own tool
        text = "taken: the lines exist, and the output was seen. Now make the smallest change that mends this cause."
        return {"text": text, "is_error": False, "data": None}
    result = run_tool(workspace, Call(), name, dict(arguments))
    data = {k: v for k, v in (result.data or {}).items() if k in KEPT}
    if "outcomes" in data:  # the runtime looks at those that failed, and whether there are others
        failed = {test: how for test, how in data["outcomes"].items() if how in ("failed", "error")}
        data["outcomes"] = failed | dict(list(data["outcomes"].items())[:1])
    return {"text": result.text, "is_error": result.is_error, "data": data or None}


KEPT = (
    "start",
    "end",
    "lines",
    "outcomes",
    "exit_code",
    "output_file",
    "path",
    "before",
    "after",
    "submitted",
)


def bug_of(spec: Mapping[str, Any], gold: str, issue: str) -> Bug:
    """The first hunk of the fix in a function that the case names, and what is around it."""
    names = [one.rpartition(".")[2] for one in spec["functions"]]
    found = []
    for part in re.split(r"(?m)^diff --git ", gold)[1:]:
        path = re.search(r"(?m)^\+\+\+ b/(.+)$", part)
        for hunk in re.split(r"(?m)^@@ -", part)[1:]:
            head, *lines = hunk.rstrip("\n").split("\n")
            if path and path[1] in spec["product_files"]:
                old = [line[1:] for line in lines if line[:1] in (" ", "-")]
                new = [line[1:] for line in lines if line[:1] in (" ", "+")]
                near = any(name in hunk for name in names)
                place = int(head.partition(",")[0]) + 3
                found.append((not near, path[1], place, "\n".join(old), "\n".join(new)))
    found.sort(key=lambda one: one[0])
    _, path, line, _, _ = found[0]
    source = sorted(
        (len((ROOT / name).read_bytes()), str(name))
        for name in (p.relative_to(ROOT) for p in (ROOT / path).parent.glob("*.py"))
        if str(name) != path
    )
    others = [name for size, name in reversed(source) if size > 2000][:3]
    near = [one for one in found if not one[0]] or found
    edits = [(name, old, new) for _, name, _, old, new in near[:MAX_HUNKS]]
    return Bug(issue, path, line, edits, names[0], spec["f2p"][:3], others)


def main() -> None:
    cases, python, *only = sys.argv[1:]
    with gzip.GzipFile(SESSIONS.with_stem(only[0]) if only else SESSIONS, "wb", mtime=0) as file:
        for case in only or CASES:
            for script, turns in ((short, 15), (long, 30)):
                session = recorded(case, cases, python, script, turns)
                # The environment's place on this machine is the one that it has in a sandbox.
                session = json.loads(json.dumps(session).replace(str(Path(python).parents[1]), "/opt/env"))
                sizes = [len(one["text"]) for reply in session["replies"] for one in reply["results"]]
                print(
                    f"{case:<30} {turns} turns, outputs of {min(sizes)} to {max(sizes)}: {sizes}", flush=True
                )
                file.write(json.dumps(session).encode() + b"\n")


if __name__ == "__main__":
    main()
