"""The test command of a repository that names none, found in the names of its files and in a few small ones.

Nothing is run, and nothing but the base commit is read: a patch can't change how it is judged.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from tools.suite import DEFAULT_TEST_COMMAND, EXIT_CODE, NotASuite, runner_of

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
_PROJECT = re.compile(
    r"[^/]+/(?:[^/]+/)?(?:package\.json|go\.mod|go\.work|Cargo\.toml|pom\.xml|build\.gradle(?:\.kts)?)"
)
"""The manifest of a project in a folder near the root."""
_OTHER_SCRIPT = re.compile(r"\b(?:npm run|yarn run|yarn|pnpm run|pnpm) (?:-s |--silent )?([\w:-]+)")
_MAKE_TARGET = re.compile(r"^(test|check)\s*:(?!=)", re.M)


@dataclass(frozen=True, slots=True)
class Detected:
    """A test command, and the sign that speaks for it."""

    command: str
    why: str


def detect(names: Collection[str], read: Read) -> Detected:
    """The test command of a tree of these files: Python's first, then by the order below; where the root has no
    project, that of the one folder near it which has; else pytest's."""
    names = frozenset(names)
    if found := next(_found(names, read), None):
        return found
    folders = {name.rpartition("/")[0] for name in names if _PROJECT.fullmatch(name)}
    if len(folders) == 1:
        start = f"{folders.pop()}/"
        inside = frozenset(name.removeprefix(start) for name in names if name.startswith(start))
        for one in _found(inside, lambda name: read(start + name)):
            return Detected(f"cd {shlex.quote(start[:-1])} && {one.command}", f"{one.why}, in {start}")
    return Detected(DEFAULT_TEST_COMMAND, "nothing in the repository names another")


def _found(names: frozenset[str], read: Read) -> Iterator[Detected]:
    for language in (_python, _javascript, _go, _rust, _java, _make):
        yield from language(names, read)


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
    scripts = scripts if isinstance(scripts, dict) else {}
    script = scripts.get("test")
    if isinstance(script, str) and script.strip() and not _NO_TEST_SCRIPT.search(script):
        yield _npm_test(script, scripts, read)
    for key in ("dependencies", "devDependencies"):
        table = package.get(key)
        used |= set(table) if isinstance(table, dict) else set()
    for runner, command in (("vitest", "npx vitest run"), ("jest", "npx jest"), ("mocha", "npx mocha")):
        if runner in used:
            yield Detected(command, f"package.json depends on {runner}")
    for name in sorted(filter(_NODE_TEST.fullmatch, names))[:MAX_READ]:
        if re.search(r"[\"']node:test[\"']", read(name)):
            yield Detected("node --test", f"{name} uses node:test")


def _npm_test(script: str, scripts: dict[str, object], read: Read) -> Detected:
    """`npm test`; where that runs several runners, the first of the scripts that it names which runs a known one."""
    try:
        runner_of("npm test", read)
    except NotASuite:
        for name in _OTHER_SCRIPT.findall(script):
            try:
                known = name in scripts and runner_of(f"npm run {name}", read) not in (EXIT_CODE, "script")
            except NotASuite:
                continue
            if known:
                return Detected(
                    f"npm run {name}", f"package.json scripts.{name}, of the several that scripts.test runs"
                )
    return Detected("npm test", "package.json scripts.test")


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
    for name in ("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"):
        if name in names:
            yield Detected("./gradlew test" if "gradlew" in names else "gradle test", name)


def _make(names: frozenset[str], read: Read) -> Iterator[Detected]:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if name in names and (target := _MAKE_TARGET.search(read(name))):
            yield Detected(
                f"make {target[1]}", f"{name} has the target {target[1]}; judged by its exit code alone"
            )
