"""Bugs that others collected, BugsInPy and Defects4J: what their folders say of each, read and never run.

    BugsInPy     projects/NAME/project.info, projects/NAME/bugs/N/{bug.info, run_test.sh}
    Defects4J    framework/projects/NAME/{active-bugs.csv, trigger_tests/N}, framework/core/Project/NAME.pm,
                 project_repos/REPOSITORY.git

Both name two commits and the tests that tell them apart. What the tests need they say too, for ways of running them
that are not ours: whether a bug shows itself here is for `verify` to see.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.errors import UsageError

MAX_FILE = 1 << 20
"""Bytes of a file that are read."""
_NUMBER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Bug:
    id: str
    repo: str
    """A URL, or a path."""
    buggy: str
    fixed: str
    """The two commits, or enough of their ids."""
    tests: tuple[str, ...]
    """What tells them apart, as the collection writes it; empty where that can't be read."""
    files: tuple[str, ...] = ()
    """The test files that it names."""


def bugs(folder: Path) -> Iterator[Bug]:
    """The bugs of a collection, or of one project of it. Raises UsageError where there is none."""
    folder = folder.absolute()
    for place, mark, read in (
        ("projects/*", "project.info", _of_bugsinpy),
        ("framework/projects/*", "active-bugs.csv", _of_defects4j),
    ):
        here = [folder] if (folder / mark).is_file() else []
        projects = here or [path.parent for path in sorted(folder.glob(f"{place}/{mark}"))]
        if projects:
            for project in projects:
                yield from read(project)
            return
    raise UsageError(
        f"{folder}: neither BugsInPy nor Defects4J, nor a project of theirs; name the folder that has `projects` or "
        "`framework` in it"
    )


def missing(bug: Bug, seen: Collection[str]) -> list[str]:
    """The tests that should tell the two commits apart and are none of the ids `seen`, nor have any of them in them."""
    there = [f".{_dotted(test)}." for test in seen]
    return [test for test in bug.tests if not any(f".{_dotted(test)}." in one for one in there)]


def _of_bugsinpy(project: Path) -> Iterator[Bug]:
    url = _settings(project / "project.info").get("github_url", "")
    url = url if "://" in url else ""  # a path would be one of this machine's
    for folder in sorted(_numbered(project / "bugs"), key=lambda one: int(one.name)):
        said = _settings(folder / "bug.info")
        yield Bug(
            f"{project.name}-{folder.name}",
            url,
            said.get("buggy_commit_id", ""),
            said.get("fixed_commit_id", ""),
            _named_in(_text(folder / "run_test.sh")),
            tuple(filter(None, said.get("test_file", "").split(";"))),
        )


def _settings(path: Path) -> dict[str, str]:
    """The `name="value"` lines of a file."""
    found = re.findall(r'^\s*(\w+)\s*=\s*"([^"\n]*)"', _text(path), re.M)
    return {name: value.strip() for name, value in found}


def _named_in(script: str) -> tuple[str, ...]:
    """The tests that the commands of a script run: ids of pytest, names of unittest."""
    tests: list[str] = []
    for line in script.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        named = [word for word in words if not word.startswith("-")]
        if "unittest" in named:
            tests += [word for word in named[named.index("unittest") + 1 :] if "." in word]
        else:
            tests += [word for word in named if "::" in word or word.endswith(".py")]
    return tuple(dict.fromkeys(tests))


def _of_defects4j(project: Path) -> Iterator[Bug]:
    root = Path(*project.parts[:-3])
    named = re.search(
        r'^\s*my \$name\s*=\s*"([\w.-]+)"', _text(root / f"framework/core/Project/{project.name}.pm"), re.M
    )
    repo = root / "project_repos" / f"{named[1] if named else project.name}.git"
    for line in _text(project / "active-bugs.csv").splitlines():
        number, buggy, fixed, *_ = [*line.split(","), "", "", ""]
        if _NUMBER.fullmatch(number):
            told = _text(project / "trigger_tests" / number)
            tests = re.findall(r"^--- (\S+)", told, re.M)
            yield Bug(f"{project.name}-{number}", str(repo), buggy, fixed, tuple(dict.fromkeys(tests)))


def _numbered(folder: Path) -> list[Path]:
    return [one for one in folder.iterdir() if _NUMBER.fullmatch(one.name)] if folder.is_dir() else []


def _text(path: Path) -> str:
    """Of a file that may not be there."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE).decode("utf-8", "replace").replace("\r", "")
    except OSError:
        return ""


def _dotted(test: str) -> str:
    """A test's name as a path of names, whichever runner's it is, without its parameters."""
    name = test.partition("[")[0].removesuffix(".py")
    return re.sub(r"\.(?:py|java)::|::|/", ".", name)
