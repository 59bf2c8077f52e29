"""From what a runner tells to one JUnit report, in which `file` is where a test is written and `name` its name there.

The text is hostile: huge, no UTF-8, with control characters. Nothing here may fail because of that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.sax.saxutils import quoteattr

from tools.junit import COLLECTION, MAX_DETAIL, MAX_MESSAGE, cut

MAX_NAME = 1000
MAX_FILES = 200_000
"""Files of a repository that are looked at to find a test's."""
IGNORED = frozenset({".git", "node_modules", "target", "build", "__pycache__", ".gradle", ".tox", ".venv"})

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
_REASON = re.compile(r"\b\w*Error: |\berror(?:\[E\d+\])?: |Cannot find |: undefined: |Failed to |^panic: ")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ELEMENTS = {"failed": "failure", "error": "error", "skipped": "skipped", "xfailed": "skipped"}


@dataclass(frozen=True, slots=True)
class Case:
    """One test as its runner told of it."""

    file: str
    """Relative to the repository; empty when that could not be found out."""
    name: str
    outcome: str
    """passed, failed, error, skipped or xfailed."""
    message: str = ""
    text: str = ""
    seconds: float = 0.0
    collection: bool = False
    """The file could not be loaded, and the case stands for it."""
    classname: str = ""
    """Stands in for the file where that is not known."""

    @property
    def id(self) -> str:
        """As parse_junit gives it."""
        place = self.file or _clean(self.classname)
        return place if self.collection else f"{place}::{_name(self.name)}" if place else _name(self.name)


@dataclass(frozen=True)
class Told:
    """A finished run, and where to look for what it tells."""

    command: str
    folder: Path
    """Where the runner was told to write."""
    root: Path
    """The repository."""
    cwd: Path
    """Where the runner ran, as far as that is known."""
    began: float
    code: int
    output: bytes

    @cached_property
    def text(self) -> str:
        return plain(self.output.decode("utf-8", "replace"))

    @cached_property
    def files(self) -> list[str]:
        """The repository's files, without what builds and package managers put there."""
        return list(_walk(str(self.root), IGNORED))

    def read(self, name: str) -> bytes | None:
        """What the runner wrote under this name, or None."""
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return None

    def relative(self, path: str) -> str:
        """A path as test ids have it; empty for one outside of the repository."""
        path = path.removeprefix("file://")
        absolute = os.path.normpath(self.cwd / path)
        for root in (str(self.root), os.path.realpath(self.root)):
            if absolute.startswith(root + "/"):
                return absolute[len(root) + 1 :]
        return ""

    def named(self, pattern: str) -> list[str]:
        """The repository's files that the output names, as the first group of `pattern`."""
        found = (self.relative(match[1]) for match in re.finditer(pattern, self.text, re.M))
        return list(dict.fromkeys(file for file in found if file and (self.root / file).is_file()))

    def broken(self, files: Iterable[str], text: str = "") -> list[Case]:
        """Files that could not be loaded."""
        text = text or self.text
        return [Case(file, file, "error", reason(text), text, collection=True) for file in files]


def cases(runner: str, told: Told) -> list[Case]:
    """What became of each test; nothing when that can't be told."""
    from tools import report_compiled, report_scripts

    readers: dict[str, Callable[[Told], list[Case]]] = {
        "unittest": report_scripts.from_unittest,
        "doctest": report_scripts.from_unittest,
        "nose": report_scripts.from_nose,
        "nose2": report_scripts.from_nose,
        "node": report_scripts.from_node,
        "jest": report_scripts.from_jest,
        "vitest": report_scripts.from_jest,
        "mocha": report_scripts.from_mocha,
        "go": report_compiled.from_go,
        "cargo": report_compiled.from_cargo,
        "maven": report_compiled.from_java,
        "gradle": report_compiled.from_java,
    }
    try:
        return readers.get(runner, _from_exit_code)(told)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        # The code under test may write there too: what has another form than the runner's is no report.
        print(f"\nwhat {runner} told has not its form: {type(error).__name__}: {error}", flush=True)
        return []


def _from_exit_code(told: Told) -> list[Case]:
    """The whole command as one test: weaker than any runner's word, since what failed is not told."""
    if told.code in (126, 127):
        return []  # there is no such program
    passed = told.code == 0
    message = "" if passed else f"exit code {told.code}"
    text = "" if passed else told.text
    return [Case("", told.command, "passed" if passed else "failed", message, text, classname="exit code")]


def visible(runner: str) -> Callable[[bytes], bytes]:
    """What a person shall see of a line that the runner prints."""
    from tools import report_compiled

    shown = {"go": report_compiled.go_line, "cargo": report_compiled.cargo_line}
    return shown.get(runner, lambda line: line)


def plain(text: str) -> str:
    """Without colours."""
    return _ANSI.sub("", text)


def first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def reason(text: str) -> str:
    """The line that says why a file could not be loaded."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if _REASON.search(line)), lines[-1] if lines else "")


def write(found: Sequence[Case], target: Path) -> None:
    """Write the report, whole or not at all."""
    new = target.with_name(target.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<testsuites><testsuite>\n')
        file.writelines(map(_element, found))
        file.write("</testsuite></testsuites>\n")
    new.replace(target)


def _element(case: Case) -> str:
    place = f" file={_attribute(case.file)}" if case.file else f" classname={_attribute(case.classname)}"
    head = f"<testcase{place} name={_attribute(_name(case.name))} time={_attribute(f'{case.seconds:.4f}')}"
    tag = _ELEMENTS.get(case.outcome)
    if tag is None:
        return f"{head}/>\n"
    kind = ' type="pytest.xfail"' if case.outcome == "xfailed" else ""
    kind = f' type="{COLLECTION}"' if case.collection else kind
    message = _attribute(cut(plain(case.message), MAX_MESSAGE))
    text = _clean(cut(plain(case.text), MAX_DETAIL))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    return f"{head}><{tag}{kind} message={message}>{text}</{tag}></testcase>\n"


def _name(text: str) -> str:
    return cut(" ".join(_clean(plain(text)).split()), MAX_NAME).replace("\n", " ")


def _clean(text: str) -> str:
    """As pytest writes what XML forbids."""
    return _FORBIDDEN.sub(lambda match: f"#x{ord(match[0]):02X}", text)


def _attribute(text: str) -> str:
    return quoteattr(_clean(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _walk(root: str, ignored: frozenset[str]) -> Iterator[str]:
    left = MAX_FILES
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in ignored)
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118 (many of them)
            left -= 1
            if not left:
                return
