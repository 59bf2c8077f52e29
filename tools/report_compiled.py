"""Reports of compiled languages: `go test -json`, cargo's and libtest's words, surefire's files (Maven, Gradle)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.junit import RawCase, read_cases
from tools.report import Case, Told, first_line

# --- Go ----------------------------------------------------------------------------------------------------

_GO_RESULTS = {"pass": "passed", "fail": "failed", "skip": "skipped"}
_GO_UNBUILT = re.compile(r"^FAIL\s+(\S+) \[(?:build|setup) failed\]", re.M)


@dataclass(slots=True)
class _GoTest:
    package: str
    name: str
    result: str = ""
    seconds: float = 0.0
    output: list[str] = field(default_factory=list)


def _event(line: bytes | str) -> dict[str, Any] | None:
    """A line of JSON that holds an object."""
    if line[:1] not in (b"{", "{"):
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def go_line(line: bytes) -> bytes:
    """What `go test -v` would have printed."""
    event = _event(line)
    if event is None or "Action" not in event:
        return line
    return str(event.get("Output", "")).encode("utf-8", "replace")


def from_go(told: Told) -> list[Case]:
    tests: dict[tuple[str, str], _GoTest] = {}
    plain: list[str] = []
    for line in told.text.splitlines():
        event = _event(line)
        if event is None or "Action" not in event:
            plain.append(line)
            continue
        package, name = str(event.get("Package", "")), str(event.get("Test", ""))
        if event["Action"] == "build-output":
            plain.append(str(event.get("Output", "")).rstrip("\n"))
            continue
        found = tests.setdefault((package, name), _GoTest(package, name))
        if event["Action"] == "output":
            found.output.append(str(event.get("Output", "")))
        elif event["Action"] in _GO_RESULTS:
            found.result = _GO_RESULTS[event["Action"]]
            elapsed = event.get("Elapsed")
            found.seconds = float(elapsed) if isinstance(elapsed, int | float) else 0.0
    sources = _GoSources(told)
    named = [test for test in tests.values() if test.name]
    cases = [_go_case(test, sources) for test in named]
    failing = {test.package for test in named if test.result not in ("passed", "skipped")}
    words = "\n".join(plain)
    unbuilt = {match[1] for match in _GO_UNBUILT.finditer(words)}
    for whole in tests.values():
        said = "".join(whole.output)
        if not whole.name and whole.result == "failed" and whole.package not in failing:
            unbuilt.add(whole.package)
            words += f"\n{said}" if said else ""
    for name in sorted(unbuilt):
        cases += told.broken(sources.tests_of(name), _go_build_text(words, name))
    return cases


def _go_case(test: _GoTest, sources: _GoSources) -> Case:
    text = "".join(test.output)
    outcome = test.result or "failed"  # the program ended while it ran
    said = [line.strip() for line in text.splitlines() if not re.match(r"\s*(===|---) ", line)]
    otherwise = "a subtest failed" if test.result else "the test did not end"
    message = "" if outcome == "passed" else next((line for line in said if line), otherwise)
    file = sources.file_of(test.package, test.name)
    return Case(file, test.name, outcome, message, text, test.seconds, classname=test.package)


def _go_build_text(words: str, package: str) -> str:
    """What is said of this package: its part of the compiler's words, else all."""
    parts = re.split(r"^(?=# )", words, flags=re.M)
    own = [part for part in parts if re.match(rf"# {re.escape(package)}(?:_test)?(?:[ .]|$)", part, re.M)]
    return "".join(own) or words


class _GoSources:
    """Finds the test files of packages."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._modules: list[tuple[str, str]] = []
        for file in told.files:
            if file.rpartition("/")[2] == "go.mod":
                text = (told.root / file).read_text("utf-8", "replace")
                if match := re.search(r'^module\s+"?([^\s"]+)', text, re.M):
                    self._modules.append((match[1], file.rpartition("/")[0]))
        self._modules.sort(key=lambda module: -len(module[0]))
        self._functions: dict[str, dict[str, str]] = {}

    def _folder(self, package: str) -> str | None:
        for module, folder in self._modules:
            if package == module or package.startswith(module + "/"):
                return os.path.normpath(os.path.join(folder, package[len(module) + 1 :]))  # noqa: PTH118
        return None

    def tests_of(self, package: str) -> list[str]:
        folder = self._folder(package.removesuffix("_test"))
        if folder is None:
            return []
        prefix = "" if folder == "." else f"{folder}/"
        return [
            file
            for file in self._told.files
            if file.endswith("_test.go") and file.rpartition("/")[0] == prefix.rstrip("/")
        ]

    def file_of(self, package: str, test: str) -> str:
        """The file that has this function; empty if none is found."""
        if package not in self._functions:
            functions: dict[str, str] = {}
            for file in self.tests_of(package):
                text = (self._told.root / file).read_text("utf-8", "replace")
                for match in re.finditer(
                    r"^func\s+(?:\([^)]*\)\s*)?((?:Test|Example|Fuzz|Benchmark)\w*)", text, re.M
                ):
                    functions.setdefault(match[1], file)
            self._functions[package] = functions
        return self._functions[package].get(test.partition("/")[0], "")


# --- Rust --------------------------------------------------------------------------------------------------

_RUST_PROGRAM = re.compile(r"^ +Running (?:unittests )?(?:(\S+) \()?([^()]+?)\)?$")
_RUST_TEST = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. (.*)$")
_RUST_RESULT = re.compile(r"(ok|FAILED|failed|bench|ignored)(?:, (.*))?$")
_RUST_DOC = re.compile(r"^(\S+) - (.*?)\s*\(line \d+\)(?: - .*)?$")
_RUST_SECTION = re.compile(r"^---- (.+?) (?:stdout|stderr) ----$")


def cargo_line(line: bytes) -> bytes:
    return b"" if line.startswith(b'{"reason":') else line


@dataclass(slots=True)
class _RustProgram:
    """A program of tests: where its source is, and what it told."""

    source: str
    results: dict[str, tuple[str, str]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    failures: bool = False
    """Whether the list of them was begun."""
    ended: bool = False
    pending: str = ""
    words: list[str] = field(default_factory=list)


def from_cargo(told: Told) -> list[Case]:
    sources: dict[str, str] = {}
    programs: list[_RustProgram] = []
    section: list[str] | None = None
    for line in told.text.splitlines():
        event = _event(line) if line.startswith('{"reason":') else None
        if event is not None:
            target = event.get("target")
            if isinstance(target, dict) and isinstance(event.get("executable"), str):
                sources[Path(event["executable"]).name] = told.relative(str(target.get("src_path", "")))
            continue
        if match := _RUST_PROGRAM.match(line):
            name = Path(match[2]).name
            programs.append(_RustProgram(sources.get(name) or told.relative(match[1] or "")))
            section = None
            continue
        if re.match(r"^ +Doc-tests ", line):
            programs.append(_RustProgram(""))
            section = None
            continue
        if not programs:
            continue
        program = programs[-1]
        program.words.append(line)
        if match := _RUST_SECTION.match(line):
            section = program.texts.setdefault(match[1].removesuffix(" - should panic"), [])
        elif (
            line.startswith("    ")
            and line.strip() in program.results
            and section is None
            and program.failures
        ):
            program.results[line.strip()] = ("failed", "")  # whatever a test printed in place of its result
        elif line.startswith("test result: ") or line == "failures:":
            section = None
            program.failures = True
            program.ended = program.ended or line.startswith("test result: ")
        elif section is not None:
            section.append(line)
        else:
            _rust_test(program, line)
    cases = [case for program in programs for case in _rust_cases(told, program)]
    if not cases and told.code:
        return told.broken(told.named(r"^ *--> (\S+?\.rs):\d+"))
    return cases


def _rust_test(program: _RustProgram, line: str) -> None:
    """Note a test's result; what a test prints may stand between its name and that."""
    if match := _RUST_TEST.match(line):
        name, rest = match[1], match[2]
        program.results[name] = ("failed", "the test did not end")
        program.pending = name
    else:
        name, rest = program.pending, line
    result = _RUST_RESULT.search(rest.rstrip()) if name else None
    if result:
        outcome = {"ok": "passed", "bench": "passed", "ignored": "skipped"}.get(result[1], "failed")
        program.results[name] = (outcome, result[2] or "")
        program.pending = ""


def _rust_cases(told: Told, program: _RustProgram) -> Iterator[Case]:
    failing = False
    for name, (outcome, said) in program.results.items():
        text = "\n".join(program.texts.get(name, ()))
        if outcome == "failed":
            failing = True
            text = text or "\n".join(program.words)
            said = said or _panic(text)
        doc = _RUST_DOC.match(name)
        if doc:
            file = _rust_doc_file(told, doc[1])
            yield Case(file, f"doctest {doc[2]}".strip(), outcome, said, text, classname=doc[1])
        else:
            yield Case(_rust_file(told, program.source, name), name, outcome, said, text, classname="rust")
    if not program.ended and not failing and program.source:
        yield from told.broken([program.source], "\n".join(program.words))


def _panic(text: str) -> str:
    """What a panic says, as old and new versions of Rust write it."""
    _, found, said = text.partition(" panicked at ")
    if not found:
        return first_line(text)
    place, _, rest = said.partition(":\n")
    said = rest if rest and "\n" not in place else said
    return re.split(r"\nnote: |\nstack backtrace:|\n\n", said)[0].strip()


def _rust_file(told: Told, source: str, name: str) -> str:
    """The file of the innermost module of `a::b::tests::name` that has one of its own."""
    folder = source.rpartition("/")[0]
    modules = name.split("::")[:-1]
    for length in range(len(modules), 0, -1):
        path = "/".join(filter(None, (folder, *modules[:length])))
        for file in (f"{path}.rs", f"{path}/mod.rs"):
            if re.fullmatch(r"[\w./ -]+", file) and (told.root / file).is_file():
                return file
    return source


def _rust_doc_file(told: Told, name: str) -> str:
    """A documentation test's file: cargo names it relative to the package or to the workspace."""
    if (told.root / name).is_file():
        return name
    ends = [file for file in told.files if file.endswith("/" + name)]
    return ends[0] if len(ends) == 1 else ""


# --- Java --------------------------------------------------------------------------------------------------

_JAVA_REPORT = re.compile(
    r"(?:.*/)?(?:target/(?:surefire|failsafe)-reports|build/test-results/[^/]+)/TEST-[^/]*\.xml"
)
_JAVA_ERROR = r"^(?:\[ERROR\] |e: (?:file://)?)?(/?[^\s:\[]+\.(?:java|kt|groovy|scala)):\[?\d+"
_JAVA_SOURCE = re.compile(r".*\.(?:java|kt|groovy|scala)")
MAX_REPORT = 32 * 1024 * 1024


def from_java(told: Told) -> list[Case]:
    sources = [file for file in told.files if _JAVA_SOURCE.fullmatch(file)]
    cases: list[Case] = []
    for path in _java_reports(told):
        module = re.split(r"/?(?:target|build)/", path)[0]
        near = [file for file in sources if file.startswith(f"{module}/" if module else "")] or sources
        try:
            raw = read_cases((told.root / path).read_bytes()[:MAX_REPORT])
        except (OSError, ValueError) as error:
            cases.append(
                Case("", path, "error", f"the runner's report is not usable: {error}", classname="report")
            )
            continue
        cases += [_java_case(case, near) for case in raw]
    if told.code and not any(case.outcome in ("failed", "error") for case in cases):
        cases += told.broken(told.named(_JAVA_ERROR))
    return cases


def _java_reports(told: Told) -> list[str]:
    """The reports that this run wrote: older ones are of other code."""
    found = []
    for folder, folders, names in os.walk(told.root):
        folders[:] = sorted(name for name in folders if name not in (".git", "node_modules", "classes"))
        for name in sorted(names):
            path = Path(folder, name)
            relative = str(path.relative_to(told.root))
            # Some file systems tell the time of a change in whole seconds.
            if _JAVA_REPORT.fullmatch(relative) and path.stat().st_mtime >= int(told.began) - 1:
                found.append(relative)
    return found


def _java_case(case: RawCase, sources: list[str]) -> Case:
    top = re.split(r"[$\s]", case.classname)[0]
    inner = case.classname[len(top) + 1 :].replace("$", " > ")
    path = top.replace(".", "/")
    ends = tuple(f"/{path}.{kind}" for kind in ("java", "kt", "groovy", "scala"))
    file = next((file for file in sources if f"/{file}".endswith(ends)), "")
    result = case.outcome("")
    # Where a class can't be initialised it stands for its tests, under a name that no test has.
    whole = case.name in ("", case.classname, "classMethod", "initializationError", "executionError")
    broken = whole and result.outcome in ("failed", "error") and bool(file)
    outcome = "error" if broken else "failed" if result.outcome == "error" else result.outcome
    name = f"{inner} > {case.name}" if inner else case.name
    text = result.detail or result.message
    return Case(file, name or file, outcome, result.message, text, case.seconds, broken, case.classname)
