"""What a path of a repository is to the gate: control, test configuration, test, documentation or product."""

from __future__ import annotations

import configparser
import posixpath
import re
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from agent.gate import ecosystems
from tools.shellwords import after_lead_in, simple_commands

Kind = Literal["control", "config", "test", "docs", "product"]

CI_FOLDERS = (".github", ".circleci", ".buildkite", ".gitlab", ".woodpecker", ".ci", ".azure-pipelines")
CI_FILES = frozenset(
    {".gitlab-ci.yml", ".travis.yml", ".appveyor.yml", "appveyor.yml", "azure-pipelines.yml", ".drone.yml"}
    | {"Jenkinsfile", "bitbucket-pipelines.yml", ".cirrus.yml", ".woodpecker.yml"}
)
CONTROL_NAMES = frozenset({".gitmodules", ".gitattributes", ".lfsconfig"})
STARTUP = ("sitecustomize.py", "usercustomize.py", "*.pth")
COMPILED = (".pyc", ".pyo", ".so", ".dll", ".dylib", ".exe", ".pyd", ".class", ".jar", ".wasm", ".node")
RUNNER_MODULES = ("pytest", "_pytest", "pluggy", "iniconfig", "py", "unittest", "xdist")
CONFIG_NAMES = frozenset(
    {"conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "noxfile.py"}
    | {".coveragerc"}
)
MIXED = frozenset({"pyproject.toml", "setup.cfg"})
"""Python's files that hold both product settings and the test runner's."""
TEST_FILES = ("test_*.py", "*_test.py", "tests.py")
TEST_FOLDERS = frozenset({"tests", "__tests__", "__snapshots__", "testdata"})
MAYBE_TEST_FOLDERS = frozenset({"test", "testing"})
"""Folders that some products have as a part of themselves: they count when test files of the base are in them."""
DOC_NAMES = re.compile(
    r"(readme|changelog|changes|history|news|authors|contributors|licen[cs]e|copying|contributing|todo)\b.*",
    re.I,
)
DOC_FOLDERS = frozenset({"docs", "doc", "changelog.d", "newsfragments", "news"})


_INTERPRETER = re.compile(
    r"(ba|da|z|k|fi)?sh|busybox|python[\d.]*|node|deno|bun|perl|ruby|php|Rscript|\.|source"
)
_READ_BY = {
    "make": r"(GNU)?[Mm]akefile|.*\.mk",
    "gmake": r"(GNU)?[Mm]akefile|.*\.mk",
    "just": r"\.?[Jj]ustfile",
    "task": r"[Tt]askfile(\.dist)?\.ya?ml",
    "rake": r"[Rr]akefile(\.rb)?",
    "ant": r"build\.xml",
}


class Paths:
    """The kinds of a repository's paths, as its base tree has them: `base` is every path of that tree.

    `python_files` are the base's own patterns of test files, as pytest's option of that name; `start_up` its files
    that a runner loads before any test.
    """

    def __init__(
        self, base: Iterable[str], python_files: Iterable[str] = (), start_up: Iterable[str] = ()
    ) -> None:
        base, self.start_up = frozenset(base), frozenset(start_up)
        self.by_folder = ecosystems.goes_by_folder(base)
        self.patterns = (*TEST_FILES, *(p for p in python_files if p not in ("*", "*.py")))
        self.folders: set[str] = set()
        for path in base:
            if self.is_module(path) or path.rpartition("/")[2] == "conftest.py":
                parts = path.split("/")[:-1]
                for length, part in enumerate(parts, 1):
                    if part.lower() in MAYBE_TEST_FOLDERS:
                        self.folders.add("/".join(parts[:length]))

    def is_module(self, path: str) -> bool:
        """Whether a runner would look for tests in this file."""
        name = path.rpartition("/")[2]
        if any(fnmatchcase(name, pattern) or fnmatchcase(path, pattern) for pattern in self.patterns):
            return True
        return ecosystems.is_module(path, by_folder=self.by_folder)

    def kind(self, path: str) -> Kind:
        folders, name = path.split("/")[:-1], path.rpartition("/")[2]
        if refusal(path):
            return "control"
        if name in CONFIG_NAMES or path in self.start_up or ecosystems.is_config(path):
            return "config"
        if self.is_module(path) or ecosystems.is_test(path):
            return "test"
        if any(folder.lower() in TEST_FOLDERS for folder in folders):
            return "test"
        if any("/".join(folders[:length]) in self.folders for length in range(1, len(folders) + 1)):
            return "test"
        if DOC_NAMES.fullmatch(name) or name.lower().endswith((".md", ".rst")) or name == ".gitignore":
            return "docs"
        return "docs" if folders and folders[0].lower() in DOC_FOLDERS else "product"


def refusal(path: str) -> str | None:
    """Why no patch may touch this path, or None."""
    folders, name = path.split("/")[:-1], path.rpartition("/")[2]
    if name in CONTROL_NAMES:
        return "it changes what git does with other files"
    if name == "agent.toml" and not folders:
        return "it is the gate's own policy"
    if name in CI_FILES or (folders and folders[0] in CI_FOLDERS and not name.endswith(".md")):
        return "it is a CI file"
    if any(fnmatchcase(name, pattern) for pattern in STARTUP):
        return "Python runs it by itself at start-up"
    if any(folder.endswith((".dist-info", ".egg-info")) for folder in folders):
        return "it tells the test runner which plugins to load"
    if "node_modules" in folders and not TEST_FOLDERS & set(folders[: folders.index("node_modules")]):
        return "it takes the place of an installed package"
    if name.endswith(COMPILED) or "__pycache__" in folders:
        return "it is compiled code, which nobody can read"
    return None


def is_mixed(path: str) -> bool:
    """Whether a file holds both the product's settings and the test runner's."""
    return path.rpartition("/")[2] in MIXED or ecosystems.is_mixed(path)


def programs_of(test_command: str, base: Iterable[str]) -> set[str]:
    """The files of the base that a test command runs: scripts that it names, and what tools such as make read."""
    found: set[str] = set()
    base = frozenset(base)
    for words in simple_commands(test_command):
        texts = [word.text for word in words[after_lead_in(words) :]]
        name = texts[0].rpartition("/")[2] if texts else ""
        scripts = texts[:1]
        if _INTERPRETER.fullmatch(name):
            scripts += [text for text in texts[1:] if not text.startswith("-")][:1]
        found |= {posixpath.normpath(script) for script in scripts} & base
        read = _READ_BY.get(name)
        found |= {path for path in base if read and re.fullmatch(read, path)}
    return found


def runner_settings(path: str, data: bytes) -> tuple[Any, Any]:
    """What a mixed file says to the test runner and what to this agent; raises ValueError when it is broken."""
    if ecosystems.is_mixed(path):
        return ecosystems.settings(path, data), None
    if path.rpartition("/")[2] == "pyproject.toml":
        try:
            tool = tomllib.loads(data.decode("utf-8")).get("tool", {})
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        tool = tool if isinstance(tool, dict) else {}
        return [tool.get(name) for name in ("pytest", "coverage", "tox", "nox")], tool.get("agent")
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(data.decode("utf-8", "replace"))
    except configparser.Error as error:
        raise ValueError(str(error).splitlines()[0]) from error
    names = ("tool:pytest", "pytest", "aliases", "coverage:run", "coverage:report")
    return [dict(parser[name]) if name in parser else None for name in names], None


def python_files(sources: Mapping[str, bytes]) -> tuple[str, ...]:
    """The base's `python_files` patterns, from those of its configuration files (path -> bytes) at the root."""
    found: list[str] = []
    for data in sources.values():
        for line in re.finditer(
            rb"^[ \t]*python_files[ \t]*=[ \t]*(\[[^\]]*\]|[^\n]*(?:\n[ \t]+[^\n]+)*)", data, re.M
        ):
            words = re.split(r"[\s,\[\]\"']+", line[1].decode("utf-8", "replace"))
            found += [word for word in words if re.fullmatch(r"[\w.*?/-]+", word)]
    return tuple(found)
