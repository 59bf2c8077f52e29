"""The test command of a repository that names none, found in the names of its files and in a few small ones.

Nothing is run, and nothing but the base commit is read: a patch can't change how it is judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from tools.suite import DEFAULT_TEST_COMMAND

MAX_READ = 40
"""Test files that are read for what they import."""

Read = Callable[[str], str]
"""Gives a file's text, "" for one that is no readable text."""

_PYTEST_FILES = frozenset({"conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"})
_PYTEST_TEXT = {
    "pyproject.toml": re.compile(r"^\[tool\.pytest|[\"']pytest\b|^pytest\b", re.M),
    "setup.cfg": re.compile(r"^\[tool:pytest\]|^\s*pytest\b", re.M),
    "tox.ini": re.compile(r"^\[pytest\]|\bpytest\b", re.M),
    "setup.py": re.compile(r"[\"']pytest\b"),
    "Pipfile": re.compile(r"^pytest\b", re.M),
}
_REQUIREMENTS = re.compile(r"(?:.*/)?[\w-]*requirements[\w-]*\.(?:txt|in)|requirements/[\w-]+\.(?:txt|in)")
_PYTHON_TEST = re.compile(r"(?:.*/)?(?:test_[^/]*|[^/]*_test|tests)\.py")
_USES_PYTEST = re.compile(
    r"^\s*(?:import|from)\s+pytest\b|^(?:async )?def test|^class Test\w*(?:\(\s*\))?:", re.M
)
_USES_UNITTEST = re.compile(r"^\s*(?:import|from)\s+unittest\b", re.M)
_NO_TEST_SCRIPT = re.compile(r"no test specified")
_NODE_TEST = re.compile(r"(?:.*/)?(?:[^/]+[.-]test|test-[^/]+|test)\.[cm]?js|(?:.*/)?test/[^/]+\.[cm]?js")
_MAKE_TARGET = re.compile(r"^(test|check)\s*:(?!=)", re.M)


@dataclass(frozen=True, slots=True)
class Detected:
    """A test command, and the sign that speaks for it."""

    command: str
    why: str


def detect(names: Collection[str], read: Read) -> Detected:
    """The test command of a tree of these files: Python's first, then by the order below; else pytest's."""
    names = frozenset(names)
    for language in (_python, _javascript, _go, _rust, _java, _make):
        for found in language(names, read):
            return found
    return Detected(DEFAULT_TEST_COMMAND, "nothing in the repository names another")


def _python(names: frozenset[str], read: Read) -> Iterator[Detected]:
    for name in sorted(names):
        if name.rpartition("/")[2] in _PYTEST_FILES:
            yield Detected(DEFAULT_TEST_COMMAND, name)
    for name, pattern in _PYTEST_TEXT.items():
        if name in names and pattern.search(read(name)):
            yield Detected(DEFAULT_TEST_COMMAND, f"{name} names pytest")
    for name in sorted(filter(_REQUIREMENTS.fullmatch, names)):
        if re.search(r"^pytest\b", read(name), re.M):
            yield Detected(DEFAULT_TEST_COMMAND, f"{name} names pytest")
    tests = sorted(filter(_PYTHON_TEST.fullmatch, names))[:MAX_READ]
    texts = [read(name) for name in tests]
    for name, text in zip(tests, texts, strict=True):
        if _USES_PYTEST.search(text):
            yield Detected(DEFAULT_TEST_COMMAND, f"{name} is written for pytest")
    for name, text in zip(tests, texts, strict=True):
        if _USES_UNITTEST.search(text):
            yield Detected(_unittest(name, names), f"{name} uses unittest, and nothing pytest")


def _unittest(test: str, names: frozenset[str]) -> str:
    """unittest looks for tests in packages only: elsewhere it must be told the folder."""
    folder = test.rpartition("/")[0]
    if not folder or f"{folder}/__init__.py" in names:
        return "python -m unittest"
    return (
        f"python -m unittest discover -s {folder}"
        if re.fullmatch(r"[\w./-]+", folder)
        else "python -m unittest"
    )


def _javascript(names: frozenset[str], read: Read) -> Iterator[Detected]:
    if "package.json" not in names:
        return
    try:
        package = json.loads(read("package.json"))
    except (ValueError, RecursionError):
        return
    if not isinstance(package, dict):
        return
    scripts, used = package.get("scripts"), set[str]()
    script = scripts.get("test") if isinstance(scripts, dict) else None
    if isinstance(script, str) and script.strip() and not _NO_TEST_SCRIPT.search(script):
        yield Detected("npm test", "package.json scripts.test")
    for key in ("dependencies", "devDependencies"):
        table = package.get(key)
        used |= set(table) if isinstance(table, dict) else set()
    for runner, command in (("vitest", "npx vitest run"), ("jest", "npx jest"), ("mocha", "npx mocha")):
        if runner in used:
            yield Detected(command, f"package.json depends on {runner}")
    for name in sorted(filter(_NODE_TEST.fullmatch, names))[:MAX_READ]:
        if re.search(r"[\"']node:test[\"']", read(name)):
            yield Detected("node --test", f"{name} uses node:test")


def _go(names: frozenset[str], read: Read) -> Iterator[Detected]:
    if "go.mod" in names:
        yield Detected("go test ./...", "go.mod")


def _rust(names: frozenset[str], read: Read) -> Iterator[Detected]:
    if "Cargo.toml" in names:
        whole = " --workspace" if re.search(r"^\[workspace\]", read("Cargo.toml"), re.M) else ""
        yield Detected(f"cargo test{whole}", "Cargo.toml")


def _java(names: frozenset[str], read: Read) -> Iterator[Detected]:
    if "pom.xml" in names:
        yield Detected("./mvnw test" if "mvnw" in names else "mvn test", "pom.xml")
    for name in ("build.gradle", "build.gradle.kts"):
        if name in names:
            yield Detected("./gradlew test" if "gradlew" in names else "gradle test", name)


def _make(names: frozenset[str], read: Read) -> Iterator[Detected]:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if name in names and (target := _MAKE_TARGET.search(read(name))):
            yield Detected(
                f"make {target[1]}", f"{name} has the target {target[1]}; judged by its exit code alone"
            )
