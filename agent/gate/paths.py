"""What a path of a repository is to the gate: control, test configuration, test, documentation or product."""

from __future__ import annotations

import configparser
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

from agent.gate import ecosystems
from tools.shellwords import NotASuite, Word, after_lead_in, simple_commands

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
    r"(ba|da|z|k|fi)?sh|busybox|python[\d.]*|node|deno|bun|perl|ruby|php|Rscript|\.|source|timeout|nice|ionice|nohup|"
    r"xargs|sudo|stdbuf|xvfb-run|coverage|run|uv|poetry|pdm|hatch|pipenv|env|exec|time"
)
"""What may stand before a script."""
_SHELL = re.compile(r"(^|/)(GNU)?[Mm]akefile$|\.(mk|sh|bash)$|(^|/)[^./]+$|(^|/)\.?[Jj]ustfile$")
"""Files of which each line may be a command."""
CHECKERS = re.compile(
    r"\.?ruff\.toml|\.flake8|\.?mypy\.ini|\.?pylintrc|\.eslintrc.*|eslint\.config\..*|\.?pyrightconfig\.json|"
    r"tsconfig.*\.json|\.golangci\..*|\.?clippy\.toml|\.?rustfmt\.toml|biome\.json|\.prettierrc.*|"
    r"\.pre-commit-config\.yaml|\.sqlfluff"
)
"""Settings of what lints, checks types and builds."""
MAX_PROGRAMS = 50
MAX_LINES = 400
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


def programs_of(
    commands: Iterable[str], base: Iterable[str], text: Callable[[str], str] = lambda path: ""
) -> set[str]:
    """The files of the base that test commands run: scripts that they name, what tools such as make read, and what
    those name in their turn, where they are shell scripts or makefiles (`text` gives a file's)."""
    base = frozenset(base)
    found: set[str] = set()
    todo = list(commands)
    while todo and len(found) < MAX_PROGRAMS:
        try:
            named = [path for words in simple_commands(todo.pop()) for path in _programs(words, base)]
        except NotASuite:
            continue  # no line of shell
        for path in named:
            if path not in found and _SHELL.search(path):
                todo += [line.strip().lstrip("@-+ ") for line in text(path).splitlines()[:MAX_LINES]]
            found.add(path)
    return found


def _programs(words: Sequence[Word], base: frozenset[str]) -> Iterator[str]:
    texts = [word.text for word in words[after_lead_in(words) :]]
    for i, text in enumerate(texts):
        name = text.rpartition("/")[2]
        if i and texts[i - 1] == "-m":
            inside = text.replace(".", "/")
            yield from _ending(base, f"{inside}.py", f"{inside}/__main__.py")
            return
        if read := _READ_BY.get(name):
            yield from (path for path in base if re.fullmatch(read, path.rpartition("/")[2]))
            yield from _ending(base, *texts[i + 1 :])  # -f FILE
            return
        if scripts := list(_ending(base, text)):
            yield from scripts
            return
        # Before the script there may be interpreters and wrappers with their options, and numbers, as for timeout.
        if not (
            _INTERPRETER.fullmatch(name) or text.startswith("-") or (i and texts[i - 1].startswith("-"))
        ) and not re.fullmatch(r"[\d.]+[smhd]?", text):
            return


def _ending(base: frozenset[str], *names: str) -> Iterator[str]:
    """The files that a relative path may mean, whatever folder it is seen from."""
    for name in names:
        wanted = posixpath.normpath(name) if name else ""
        if wanted and not wanted.startswith(("/", "..", "-")):
            yield from (path for path in base if path == wanted or path.endswith("/" + wanted))


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
