"""Reports of Python's other runners (unittest, doctest, nose) and of JavaScript's (node:test, jest, vitest, mocha)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tools.junit import read_cases
from tools.report import Case, Told, first_line, reason

SEPARATOR = " > "
MAX_DEPTH = 100
_STATES = {"passed": "passed", "failed": "failed"}


def _json(told: Told, name: str) -> Any:
    """What the runner wrote, or None where it wrote nothing that can be read."""
    data = told.read(name)
    try:
        return None if data is None else json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of a list that is to hold objects."""
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def from_unittest(told: Told) -> list[Case]:
    cases = []
    for note in _objects(_json(told, "tests.json")):
        file, text = told.relative(str(note["file"])), str(note["text"])
        broken = bool(note["collection"]) and bool(file)
        message = text.strip().rpartition("\n")[2] if broken else str(note["message"])
        name = str(note["name"]) or file
        cases.append(
            Case(
                file, name, str(note["outcome"]), message, text, _number(note["seconds"]), broken, "unittest"
            )
        )
    return cases


def from_nose(told: Told) -> list[Case]:
    """The runner's own report, whose class names say in which module a test is."""
    data = told.read("nose.xml")
    if data is None:
        return []
    try:
        raw = read_cases(data)
    except ValueError:
        return []
    cases = []
    for case in raw:
        result = case.outcome("")
        module, name = case.classname, case.name
        if module.startswith("nose.failure") or module.endswith("_FailedTest"):
            # The module did not load: its name stands in the text, if anywhere.
            named = re.search(
                r"[Ff]ailed to import test module: ([\w.]+)|No module named '?([\w.]+)", result.detail
            )
            module = (named[1] or "") if named else name
        file, rest = _python_file(told, module)
        broken = result.outcome == "error" and bool(file) and (name == "Failure" or module != case.classname)
        outcome = "failed" if result.outcome == "error" and not broken else result.outcome
        message = reason(result.detail) if broken else result.message
        full = "::".join([*rest, name])
        cases.append(
            Case(
                file,
                file if broken else full,
                outcome,
                message,
                result.detail,
                case.seconds,
                broken,
                case.classname,
            )
        )
    return cases


def _python_file(told: Told, dotted: str) -> tuple[str, list[str]]:
    """The file of a dotted name, and the parts that come after its module."""
    parts = dotted.split(".")
    files = [file for file in told.files if file.endswith(".py")]
    for length in range(len(parts), 0, -1):
        path = "/".join(parts[:length]) + ".py"
        found = [file for file in files if f"/{file}".endswith("/" + path)]
        if found:
            return min(found, key=len), parts[length:]
    return "", parts


def from_jest(told: Told) -> list[Case]:
    """The result of jest, which vitest writes as well."""
    data = _json(told, "jest.json") or _json(told, "vitest.json")
    cases: list[Case] = []
    for suite in _objects(data.get("testResults") if isinstance(data, dict) else None):
        file = told.relative(str(suite.get("name", "")))
        found = [_jest_case(file, test) for test in _objects(suite.get("assertionResults"))]
        failing = any(case.outcome == "failed" for case in found)
        if suite.get("status") == "failed" and not failing and file:
            found += told.broken([file], str(suite.get("message") or suite.get("failureMessage") or ""))
        cases += found
    return cases


def _jest_case(file: str, test: dict[str, Any]) -> Case:
    titles = [str(title) for title in test.get("ancestorTitles") or [] if title]
    name = SEPARATOR.join([*titles, str(test.get("title", ""))])
    texts = [str(text) for text in test.get("failureMessages") or []]
    outcome = _STATES.get(str(test.get("status")), "skipped")
    text = "\n".join(texts)
    seconds = _number(test.get("duration")) / 1000
    return Case(file, name, outcome, first_line(text), text, seconds, classname="jest")


def from_mocha(told: Told) -> list[Case]:
    data = _json(told, "mocha.json")
    if data is None:
        # One file that does not load ends mocha before any test; the trace names it first.
        return (
            told.broken(told.named(r"(?:file://|[\s(])(/[^\s():]+\.[cm]?[jt]sx?):\d+")[:1])
            if told.code
            else []
        )
    cases = []
    for test in _objects(data):
        name = SEPARATOR.join(map(str, test.get("titles") or []))
        outcome = "error" if test.get("hook") else str(test.get("outcome"))
        text, seconds = str(test.get("text", "")), _number(test.get("ms")) / 1000
        file = told.relative(str(test["file"])) if test.get("file") else ""
        message = str(test.get("message", ""))
        cases.append(Case(file, name, outcome, message, text, seconds, classname="mocha"))
    return cases


def from_node(told: Told) -> list[Case]:
    """Events of node:test. Those of one file come together, and each test's start before its subtests'."""
    cases: list[Case] = []
    open_names: list[str] = []
    broken: dict[str, str] = {}
    current = ""
    for line in (told.read("node.jsonl") or b"").decode("utf-8", "replace").splitlines():
        try:
            event = json.loads(line)
            kind, name, depth = (
                event["type"],
                str(event["name"]),
                min(max(int(event["nesting"]), 0), MAX_DEPTH),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # cut off in the middle: what is missing is missing in the report too
        # Up to version 20 each file is itself a test, which its tests are part of or follow.
        own = told.relative(name) if re.search(r"\.[cm]?[jt]sx?$", name) else ""
        is_file = bool(own) and (told.root / own).is_file()
        file = told.relative(str(event["file"])) if event.get("file") else ""
        current = own if is_file else file or current
        del open_names[depth:]
        open_names += [""] * (depth - len(open_names)) + ["" if is_file else name]
        if kind == "test:start":
            continue
        error = event.get("error") or {}
        text = str(error.get("text", ""))
        if is_file:
            if kind == "test:fail":
                broken[own] = text
            continue
        if event.get("suite") and (kind == "test:pass" or error.get("kind") == "subtestsFailed"):
            continue  # it only groups others
        outcome = "skipped" if event.get("skip") or event.get("todo") else _STATES["passed"]
        if kind == "test:fail" and outcome == "passed":
            outcome = "failed"
        path = SEPARATOR.join(filter(None, open_names))
        seconds = _number(event.get("ms")) / 1000
        cases.append(
            Case(current, path, outcome, str(error.get("message", "")), text, seconds, classname="node")
        )
    failing = {case.file for case in cases if case.outcome == "failed"}
    for file, text in broken.items():
        if file not in failing:
            cases += told.broken([file], f"{text}\n{told.text}")
    return cases
