"""Which files other runners than pytest take for tests and for their settings: Node, Go, Cargo, Maven, Gradle."""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Collection, Container
from fnmatch import fnmatchcase
from typing import Any

from agent.gate.source_text import closing, text_of

CONFIG_FILES = (
    *("jest.config.*", "jest.setup.*", "jest-setup.*", "setupTests.*", "jest-preset.*", "jest.preset.*"),
    *("vitest.config.*", "vitest.workspace.*", "vitest.setup.*", ".mocharc*", "mocha.opts", "karma.conf.*"),
    *(
        "ava.config.*",
        ".nycrc*",
        "nyc.config.*",
        ".c8rc*",
        ".taprc",
        "playwright.config.*",
        "cypress.config.*",
    ),
    *("wdio.conf.*", ".npmrc", ".yarnrc", ".yarnrc.yml", "go.work", "go.work.sum", "nextest.toml"),
    *("junit-platform.properties", "testng.xml"),
)
_CONFIG_PATHS = re.compile(r"(?:^|/)(?:\.cargo/config(?:\.toml)?|\.mvn/[^/]+)$")
_JS = r"\.[cm]?[jt]sx?$"
_NAMED = re.compile(rf"[.](?:test|spec){_JS}")
_NODE = re.compile(rf"(?:^|/)(?:[^/]*[-_]test|test-[^/]*|test){_JS}")
_IN_FOLDER = re.compile(rf"(?:^|/)(?P<folder>test|tests|__tests__)/(?:[^/]+/)*[^/]+{_JS}")
_HELPERS = re.compile(
    r"(?i)/(?:__)?(?:fixtures?|helpers?|support|mocks?|data|snapshots|assets|setup|common)(?:__)?[/.]|\.d\.[cm]?ts$"
)
_MODULES = re.compile(
    r"_test\.go$|(?:^|/)tests/(?:[^/]+|[^/]+/main)\.rs$|(?:^|/)tests\.rs$|_tests?\.rs$"
    r"|^(?!.*(?:^|/)src/main/).*(?:(?:Tests?|IT|TestCase)|/Test[A-Z][^/]*)\.java$"
)
_TESTS = re.compile(
    r"(?:^|/)src/(?:test|it|integrationTest|testFixtures|androidTest)/|(?:^|/)__(?:mocks|fixtures|tests|snapshots)__/"
    r"|\.(?:snap|golden)$|(?:^|/)testdata/"
)
_MIXED = re.compile(
    r"(?:^|/)(?:package\.json|Cargo\.toml|pom\.xml|(?:build|settings)\.gradle(?:\.kts)?|vite\.config\.\w+)$"
)
_SCRIPT_RUN = re.compile(
    r"\b(?:npm|pnpm|yarn|bun)\s+(?:run(?:-script)?\s+)?([\w:.-]+)|\brun-[sp]\s+([\w:. -]+)"
)
_HOOK = re.compile(
    r"(?:--(?:require|import|loader|experimental-loader|file|setup-files)|(?<![\w-])-r)"
    r"(?:[= ]+|\",\s*\")[\"']?([\w./@-]+)"
)
_SETTING = re.compile(
    r"[\"']?\b(?:setupFiles\w*|globalSetup|globalTeardown|require|import|file|loader|testEnvironment|runner|reporters?"
    r"|environment|setupFilesAfterEnv)\b[\"']?\s*[:=]\s*(\[[^\]]*\]|\"[^\"\n]*\"|'[^'\n]*')"
)
_POM_PLUGIN = re.compile(
    r"<plugin>(?:(?!</plugin>).)*?(?:surefire|failsafe|junit|jacoco|testng)(?:(?!</plugin>).)*</plugin>", re.S
)
_POM_SETTING = re.compile(
    r"<((?:\w+\.)?(?:skip\w*Tests?|skipITs|maven\.test[\w.]*|surefire[\w.]*|failsafe[\w.]*|argLine|testFailureIgnore"
    r"|testSourceDirectory|testOutputDirectory|testResources?))>.*?</\1>",
    re.S,
)
_GRADLE_BLOCK = re.compile(
    r"(?:\b(?:test|integrationTest|functionalTest|check|testing)\b|\bwithType\s*[(<]\s*Test\b|['\"]\s*test\s*['\"])[^{}\n]*\{"
    r"|\btasks\.(?:named|getByName)\s*\([^)\n]*\)[^{}\n]*\{"
)
_GRADLE_LINE = re.compile(
    r"^.*\b(?:ignoreFailures|useJUnit\w*|useTestNG|excludeTestsMatching|test\.\w+|onlyIf|enabled)\b.*$", re.M
)


def is_config(path: str) -> bool:
    """Whether a file is a runner's settings and nothing else."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) for pattern in CONFIG_FILES) or bool(_CONFIG_PATHS.search(path))


def is_module(path: str, *, by_folder: bool = False) -> bool:
    """Whether a runner would look for tests in this file; `by_folder` when it goes by the folder `test` alone."""
    if _MODULES.search(path) or _NAMED.search(path):
        return True
    match = _IN_FOLDER.search(path)
    if match and not _HELPERS.search(path[match.end("folder") :]):
        return by_folder or match["folder"] == "__tests__"
    return by_folder and bool(_NODE.search(path))


def goes_by_folder(base: Collection[str]) -> bool:
    """Whether the base's runner knows its tests by their folder: a Node package with no file named as a test."""
    return "package.json" in base and not any(map(_NAMED.search, base))


def is_test(path: str) -> bool:
    """Whether a file is a part of the tests by its place, with tests in it or not."""
    return bool(_TESTS.search(path))


def is_mixed(path: str) -> bool:
    """Whether a file holds both the product's settings and the runner's."""
    return bool(_MIXED.search(path))


def settings(path: str, data: bytes) -> Any:
    """What a mixed file says to the runner, to be compared; raises ValueError when it is broken."""
    name, text = path.rpartition("/")[2], data.decode("utf-8", "replace")
    if name == "package.json":
        return _package(text)
    if name == "Cargo.toml":
        return _cargo(text)
    if name == "pom.xml":
        bare = re.sub(r"<!--.*?-->", "", text, flags=re.S)
        return [_squeezed(match[0]) for kind in (_POM_PLUGIN, _POM_SETTING) for match in kind.finditer(bare)]
    if name.startswith("vite.config."):
        return _blocks(text, re.compile(r"(?<![\w$.])test\s*:\s*\{"), "js")
    lines = [_squeezed(match[0]) for match in _GRADLE_LINE.finditer(text_of(text, "java").plain)]
    return [*_blocks(text, _GRADLE_BLOCK, "java"), *lines]


def start_up_files(path: str, data: bytes, base: Container[str]) -> set[str]:
    """The base's files that a runner's settings load before any test."""
    try:
        said = (
            json.dumps(settings(path, data))
            if path.endswith("package.json")
            else data.decode("utf-8", "replace")
        )
    except ValueError:
        return set()
    words = [match[1] for match in _HOOK.finditer(said)]
    for match in _SETTING.finditer(said):
        words += re.findall(r"[\"']([^\"'\n]+)[\"']", match[1])
    folder = path.rpartition("/")[0]
    found = set()
    for word in words:
        whole = posixpath.normpath(posixpath.join(folder, word.replace("<rootDir>", ".").lstrip("/")))
        ends = ("", ".js", ".ts", ".mjs", ".cjs", ".mts", ".json", "/index.js", "/index.ts")
        found |= {whole + end for end in ends if whole + end in base}
    return found


def has_start_up_files(path: str) -> bool:
    """Whether a file may name files to be loaded before the tests."""
    return path.rpartition("/")[2] == "package.json" or is_config(path)


def _package(text: str) -> Any:
    try:
        package = json.loads(text) if text.strip() else {}
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    package = package if isinstance(package, dict) else {}
    scripts = package.get("scripts")
    scripts = scripts if isinstance(scripts, dict) else {}
    waiting = [name for name in scripts if re.match(r"(?:pre|post)?(?:test|coverage)(?:$|[:.-])", name)]
    ours: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name in scripts and name not in ours:
            ours[name] = scripts[name]
            waiting += [f"pre{name}", f"post{name}"]
            for match in _SCRIPT_RUN.finditer(str(scripts[name])):
                waiting += (match[1] or match[2]).split()
    names = ("jest", "mocha", "ava", "nyc", "c8", "tap", "vitest", "karma")
    return [dict(sorted(ours.items())), [package.get(name) for name in names]]


def _cargo(text: str) -> Any:
    try:
        cargo = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error

    def part(table: Any, *names: str) -> Any:
        return {name: table[name] for name in names if name in table} if isinstance(table, dict) else table

    targets = cargo.get("bin")
    return [
        cargo.get("test"),
        part(cargo.get("lib", {}), "test", "doctest", "harness"),
        part(cargo.get("package", {}), "autotests"),
        part(cargo.get("profile", {}), "test"),
        [part(each, "test", "harness") for each in targets] if isinstance(targets, list) else None,
    ]


def _blocks(text: str, opening: re.Pattern[str], lang: Any) -> list[str]:
    """The blocks that begin so, without comments and layout."""
    read = text_of(text, lang)
    found = []
    for match in opening.finditer(read.plain):
        end = closing(read.code, match.end() - 1)
        found.append(_squeezed(read.plain[match.start() : len(text) if end is None else end + 1]))
    return found


def _squeezed(text: str) -> str:
    return " ".join(text.split())
