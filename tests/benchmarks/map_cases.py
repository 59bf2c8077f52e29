"""Cases for `map_quality`: what a map is made from, and which functions the real fix changed.

A function counts as gold if the fixed release changed it and the failing tests run it: a release may mend other things
too. Where they run none that changed (they start a process of their own), each changed one counts; the same holds for
files.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from agent.orientation.symbols import language_of, parsed

RECORDER = """
import json, os, sys
wanted, ran, told, base = set(json.loads(os.environ["MAP_WANTED"])), set(), {}, os.getcwd() + "/"
def call(frame, event, arg):
    if event == "call" and frame.f_code.co_filename.startswith(base):
        ran.add((frame.f_code.co_filename[len(base):], frame.f_code.co_firstlineno))
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.nodeid in wanted]
def pytest_runtest_setup(item):
    sys.setprofile(call)
def pytest_runtest_teardown(item):
    sys.setprofile(None)
def pytest_runtest_logreport(report):
    if report.failed:
        told[report.nodeid] = report.longreprtext
def pytest_collectreport(report):
    if report.failed:
        told[report.nodeid] = report.longreprtext
def pytest_sessionfinish():
    json.dump({"ran": sorted(ran), "told": told}, open(os.environ["MAP_TOLD"], "w"))
"""


@dataclass(frozen=True)
class Case:
    id: str
    issue: str
    tests: list[str]
    output: str
    files: dict[str, str]
    """The buggy release."""
    test_files: dict[str, str]
    """The newer release's tests, which show the bug."""
    gold: list[list[Any]]
    """(path, first line) of each definition that the fix changed."""
    narrowed: bool
    """Whether the failing tests run a part of what was changed, and `gold` is that part."""


def cases(tool: Path, kept: Path) -> Iterator[Case]:
    """All cases of a `cases.py`; each is made once, which runs its failing tests, and kept in a folder."""
    module = _module(tool)
    kept.mkdir(parents=True, exist_ok=True)
    for one in module.load().values():
        path = kept / f"{one['id']}.json"
        if not path.exists():
            path.write_text(json.dumps(asdict(_made(module, one))), "utf-8")
        yield Case(**json.loads(path.read_text("utf-8")))


def _module(tool: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("cases", tool)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{tool}: no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _made(module: ModuleType, one: Mapping[str, Any]) -> Case:
    with tempfile.TemporaryDirectory() as folder:
        before, after = f"{folder}/before", f"{folder}/after"
        module.tree(one, before, "base")
        module.tree(one, after, "fixed")
        files = dict(_texts(Path(before)))
        module.overlay_tests(one, before)
        laid = {path: text for path, text in _texts(Path(before)) if files.get(path) != text}
        told = _run(module, one, Path(before), Path(folder, "told.json"))
        changed = list(_changed(one, files, dict(_texts(Path(after)))))
    ran = [(path, line) for path, line, end in changed if _runs(told["ran"], path, line)]
    output = "\n\n".join(f"{test}\n{text}" for test, text in sorted(told["told"].items()))
    gold = ran or [(path, line) for path, line, _ in changed]
    issue: str = module.issue_text(one)
    return Case(one["id"], issue, one["f2p"], output, files, laid, [list(g) for g in gold], bool(ran))


def _texts(root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if b"\0" not in data and len(data) < 1_000_000:
                yield path.relative_to(root).as_posix(), data.decode("utf-8", "replace")


def _run(module: ModuleType, one: Mapping[str, Any], root: Path, told: Path) -> Mapping[str, Any]:
    env = dict(one["env"])
    (root / env["path"] / "map_recorder.py").write_text(RECORDER, "utf-8")
    env["args"] += " -p map_recorder"
    os.environ |= {"MAP_WANTED": json.dumps(one["f2p"]), "MAP_TOLD": str(told)}
    module.run({**one, "env": env}, str(root))
    found: Mapping[str, Any] = json.loads(told.read_text("utf-8"))
    return found


def _changed(
    one: Mapping[str, Any], before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[tuple[str, int, int]]:
    """(path, first line, last line) of definitions whose own text the fixed release changed."""
    for path, text in before.items():
        language = language_of(path)
        tests = any(path == test or path.startswith(f"{test}/") for test in one["test_paths"])
        if language is None or tests or path.startswith(("doc", "tests/")) or after.get(path, text) == text:
            continue
        old, new = parsed(language, text.encode()), parsed(language, after[path].encode())
        names = _qualified(new.symbols)
        texts: dict[str, list[Any]] = {}  # a property's getter and setter have one name
        for index, name in enumerate(names):
            texts.setdefault(name, []).append(new.own[index])
        for index, name in enumerate(_qualified(old.symbols)):
            if old.own[index] not in texts.get(name, []):
                symbol = old.symbols[index]
                yield path, symbol.line, symbol.end


def _qualified(symbols: Iterable[Any]) -> list[str]:
    names: list[str] = []
    for symbol in symbols:
        names.append(f"{names[symbol.parent]}.{symbol.name}" if symbol.parent >= 0 else symbol.name)
    return names


def _runs(ran: Iterable[Any], path: str, line: int) -> bool:
    """Whether a definition was entered; a decorated one begins a few lines above its name."""
    return any(p == path and line - 5 <= first <= line for p, first in ran)
