"""JUnit reports: from XML that anyone may have written to outcomes by test id."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar
from xml.parsers import expat

MAX_DETAIL = 20_000
"""Characters kept of one failure's text; of longer ones the start and the end."""
MAX_MESSAGE = 2_000
COLLECTION = "assay.collection"
"""The type of an error in our own reports that stands for a file which could not be loaded."""


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """What became of one test."""

    id: str
    outcome: str
    """passed, failed, error (set-up, teardown or collection), skipped, xfailed or xpassed."""
    message: str
    """One or a few lines: the assertion or exception, or why it was skipped."""
    detail: str
    """The traceback as the runner wrote it."""
    seconds: float
    collection: bool = False
    """The id stands for a file or class that the runner failed (error) or declined (skipped) to collect."""
    __test__: ClassVar[bool] = False  # pytest shall not collect this class


# The worst first. A test that failed and whose teardown broke as well counts as failed: its body ran.
_RANK = {name: i for i, name in enumerate(("failed", "error", "skipped", "xfailed", "xpassed", "passed"))}


def parse_junit(xml: bytes) -> dict[str, TestOutcome]:
    """Read a JUnit report into outcomes by test id, in the report's order. Where an id stands twice, the worst wins.

    For pytest (`junit_family=xunit1`) the id is pytest's node id, `tests/test_x.py::Class::test[param]`; a
    collection error has its file's path as id. What the XML does not tell:
    - pytest writes characters that XML forbids as `#x1B`, and so do the ids (only where a project turned pytest's
      escaping of parameters off);
    - `file` is where the function's code stands. For an inherited or wrapped test that is another file; then the
      file is found by the module names of the report's other tests, else guessed from the dotted name;
    - a test that passed against a non-strict xfail mark is `passed`, against a strict one `failed`;
    - a test one of whose subtests was skipped is `skipped`.
    For other runners the id is `classname::name` as far as there is no `file`.

    Raises ValueError when this is not a JUnit report, or one with a document type (which could hold entities).
    """
    cases = read_cases(xml)
    files = {
        _dotted(case.file): case.file for case in cases if case.file and _covers(_dotted(case.file), case)
    }
    outcomes: dict[str, TestOutcome] = {}
    for case in cases:
        new = case.outcome(_node_id(case, files))
        old = outcomes.get(new.id)
        if old is not None:
            worst = min(old, new, key=lambda o: _RANK[o.outcome])
            new = replace(worst, seconds=old.seconds + new.seconds)
        outcomes[new.id] = new
    return outcomes


@dataclass(slots=True)
class RawCase:
    """One testcase as it stands in the XML."""

    classname: str
    name: str
    file: str
    seconds: float
    results: list[tuple[str, Mapping[str, str], str]]
    """Tag, attributes and text of each failure, error or skipped element."""

    @property
    def collection(self) -> bool:
        internal = (self.classname, self.name) == ("pytest", "internal")
        return internal or any(
            attributes.get("message") in ("collection failure", "collection skipped")
            or attributes.get("type") == COLLECTION
            for _, attributes, _ in self.results
        )

    def outcome(self, test_id: str) -> TestOutcome:
        worst, message, detail = "passed", "", ""
        for tag, attributes, text in self.results:
            said = attributes.get("message", "")
            if tag == "skipped":
                name = "xfailed" if attributes.get("type") == "pytest.xfail" else "skipped"
                if said == "xfail-marked test passes unexpectedly":
                    name = "xpassed"
            else:
                name = "failed" if tag == "failure" else "error"
            if _RANK[name] < _RANK[worst]:
                worst, detail = name, cut(text, MAX_DETAIL)
                if not said or said.startswith("collection "):
                    said = text.strip().rpartition("\n")[2].removeprefix("E  ").strip()
                message = cut(said, MAX_MESSAGE)
        return TestOutcome(test_id, worst, message, detail, self.seconds, self.collection)


def read_cases(xml: bytes) -> list[RawCase]:
    """The testcases in their order. Raises ValueError as parse_junit does."""
    cases: list[RawCase] = []
    open_tags: list[str] = []
    text: list[str] = []

    def doctype(*_: object) -> None:
        raise ValueError("the report has a document type, which JUnit XML never has")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not open_tags and tag not in ("testsuites", "testsuite"):
            raise ValueError(f"not a JUnit report: its root is <{tag[:50]}>")
        open_tags.append(tag)
        if tag == "testcase":
            if "testcase" in open_tags[:-1]:
                raise ValueError("not a JUnit report: a testcase inside a testcase")
            get = attributes.get
            file = get("file", "").replace("\\", "/")
            cases.append(RawCase(get("classname", ""), get("name", ""), file, _seconds(get("time", "")), []))
        elif tag in ("failure", "error", "skipped") and open_tags[-2:-1] == ["testcase"]:
            cases[-1].results.append((tag, attributes, ""))
            text.clear()

    def end(tag: str) -> None:
        open_tags.pop()
        if tag in ("failure", "error", "skipped") and open_tags[-1:] == ["testcase"]:
            _, attributes, _ = cases[-1].results[-1]
            cases[-1].results[-1] = (tag, attributes, "".join(text))

    def characters(data: str) -> None:
        if open_tags[-1] in ("failure", "error", "skipped"):
            text.append(data)

    parser = expat.ParserCreate("utf-8")  # whatever encoding the document claims
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise ValueError(f"the report is not well-formed XML: {error}") from error
    return cases


def _seconds(text: str) -> float:
    try:
        seconds = float(text.replace(",", ""))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def cut(text: str, limit: int) -> str:
    """Of a longer text the start and the end."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters cut ...]\n{text[-half:]}"


def _dotted(file: str) -> str:
    return re.sub(r"\.py$", "", file.replace("/", "."))


def _covers(dotted: str, case: RawCase) -> bool:
    return case.classname == dotted or case.classname.startswith(dotted + ".")


def _node_id(case: RawCase, files: Mapping[str, str]) -> str:
    classname, name, file = case.classname, case.name, case.file
    if not file:
        return f"{classname}::{name}" if classname else name
    if not classname:
        return file if case.collection or name == _dotted(file) else f"{file}::{name}"
    parts = classname.split(".")
    for length in range(len(parts), 0, -1):
        path = files.get(".".join(parts[:length]))
        if path is not None:
            return "::".join([path, *parts[length:], name])
    if not file.endswith(".py"):
        return f"{file}::{classname}::{name}"
    # Written in another file than it runs in: the module is the last part named like one.
    named = [i for i, part in enumerate(parts) if re.fullmatch(r"test_.*|.*_test", part)]
    lower = [i for i, part in enumerate(parts) if not part[:1].isupper()]
    module = (named or lower or [len(parts) - 1])[-1]
    return "::".join(["/".join(parts[: module + 1]) + ".py", *parts[module + 1 :], name])
