"""What a Python repository says of its own set-up."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from sandboxes.detect.python_tools import (
    LOCKS,
    TEST_NAME,
    Tox,
    locked,
    poetry,
    poetry_version,
    read_ini,
    read_toml,
    requirement_lines,
    strings,
    table,
    tests_require,
    tool_requirements,
    unique,
)
from sandboxes.detect.tree import COMPILED, REQUIREMENTS_NAME, Repository

PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
CONDA = re.compile(r"environment[\w.-]*\.ya?ml|conda[\w.-]*\.ya?ml|meta\.yaml")
PYTHON_TEST = re.compile(r"(?:.*/)?(?:test_[^/]*|[^/]*_test|conftest)\.py")
_DEVELOPERS = re.compile(r"(?:^|[^a-z])dev", re.I)
ASIDE = frozenset(
    {"docs", "doc", "examples", "example", "benchmarks", "scripts", "tools", "requirements", ".github"}
)
"""Folders in which a project may lie that is not what the repository is about."""
MOST_MEMBERS = 30
"""Packages of one repository that are installed beside each other."""


@dataclass(frozen=True, slots=True)
class PythonPlan:
    """What to install for a Python repository."""

    folder: str
    """Where the project is, seen from the repository's root."""
    installable: bool
    """Whether `pip install .` means anything."""
    members: tuple[str, ...]
    """Folders of more packages of the same repository, seen from the project's."""
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    """Dependency groups of pyproject.toml (PEP 735)."""
    files: Mapping[str, tuple[str, ...]]
    """Requirements files, with the single requirements that stand in them."""
    loose: tuple[str, ...]
    """Single requirements, from tox, Poetry, PDM, Hatch, uv, nox, Pipfile or tests_require."""
    dependencies: tuple[str, ...]
    """The project's own static dependencies, for when it cannot be installed itself."""
    lock: str
    """The lock file that `constraints` are from, or ""."""
    constraints: tuple[str, ...]
    requires_python: str
    """What the project says of Python's version, as pip writes it; "" for nothing, or nothing that can be read."""
    python: str
    """The version in .python-version, or ""."""
    version: str
    """What to tell build back-ends that would ask git."""
    compiles: bool
    warnings: tuple[str, ...]


def python_plan(repository: Repository, *, alone: bool) -> PythonPlan | None:
    """What to install, or None for a repository that is no Python project.

    `alone` says that no other language was found: then a few bare files are taken for a project.
    """
    if _is_project(repository, alone):
        return _plan(repository, "", ())
    folders = _folders(repository)
    if not folders:
        return None
    if len(folders) == 1:
        return _plan(repository.below(folders[0]), folders[0], ())
    return _plan(repository, "", tuple(folders[:MOST_MEMBERS]))


def _is_project(repository: Repository, alone: bool) -> bool:
    """Whether the repository's root speaks of Python."""
    names = set(repository.names)
    if any(name in repository.manifests for name in (*PROJECT_FILES, "Pipfile", "tox.ini")):
        return True
    if any("/" not in name and CONDA.fullmatch(name) for name in names):
        return any(name.endswith(".py") for name in names)
    if any(name == "requirements.txt" or _is_requirements(PurePosixPath(name), True) for name in names):
        return True
    if _folders(repository):
        return False
    return any(name.endswith(".py") if alone else PYTHON_TEST.fullmatch(name) for name in names)


def _folders(repository: Repository) -> list[str]:
    """The folders near the root that hold a Python project."""
    found = set()
    for name in repository.manifests:
        path = PurePosixPath(name)
        if ASIDE & set(path.parts):
            continue
        if len(path.parts) in (2, 3) and path.name in ("pyproject.toml", "setup.py", "requirements.txt"):
            folder = str(path.parent)
            inside = repository.below(folder)
            if path.name == "requirements.txt" or _installable(inside, read_toml(inside, [])):
                found.add(folder)
    # of a project and a folder in it, the project
    return sorted(folder for folder in found if not any(folder.startswith(f"{other}/") for other in found))


def _installable(repository: Repository, pyproject: dict[str, Any]) -> bool:
    return bool(
        "project" in pyproject
        or "build-system" in pyproject
        or "poetry" in table(pyproject, "tool")
        or "setup.py" in repository.manifests
        or read_ini(repository.text("setup.cfg")).has_option("metadata", "name")
    )


def _plan(repository: Repository, folder: str, members: tuple[str, ...]) -> PythonPlan:
    manifests = repository.manifests
    warnings: list[str] = []
    pyproject = read_toml(repository, warnings)
    setup_cfg = read_ini(repository.text("setup.cfg"))
    setup_py = repository.text("setup.py")
    installable = _installable(repository, pyproject)
    tox = Tox.read(manifests, pyproject)
    project = table(pyproject, "project")
    settings = table(table(pyproject, "tool"), "poetry")
    extras = [
        *table(project, "optional-dependencies"),
        *table(settings, "extras"),
        *(
            setup_cfg.options("options.extras_require")
            if setup_cfg.has_section("options.extras_require")
            else ()
        ),
        *re.findall(r"""['"]([A-Za-z][\w-]*)['"]\s*[\]:]""", setup_py),
    ]
    groups = _for_tests(name for name in table(pyproject, "dependency-groups") if TEST_NAME.fullmatch(name))
    files = [name for name in sorted(manifests) if _is_requirements(PurePosixPath(name), installable)]
    wanted = _for_tests(name for name in extras if TEST_NAME.fullmatch(name))
    loose = [*tool_requirements(pyproject), *tests_require(setup_py), *tox.requirements]
    loose += [*_pipfile(repository, warnings), *_nox(repository.text("noxfile.py"))]
    if setup_cfg.has_option("options", "tests_require"):
        loose += setup_cfg.get("options", "tests_require").splitlines()
    condas = sorted(name for name in repository.names if CONDA.fullmatch(name))
    if condas and not installable and not files and not loose:
        warnings.append(
            f"{' and '.join(condas)}: conda is not supported, and nothing of it was installed; put the packages into "
            "requirements.txt, or name an image that has them: --image"
        )
    lock, constraints = _locked(manifests)
    return PythonPlan(
        folder=folder,
        installable=installable,
        members=members or _uv_members(repository, pyproject),
        extras=unique(name for name in [*extras, *tox.extras] if name in wanted or name in tox.extras),
        groups=unique([*groups, *tox.groups]),
        files={
            name: tuple(requirement_lines(repository.text(name).splitlines()))
            for name in unique([*_for_tests(files), *(name for name in tox.files if name in manifests)])
        },
        loose=unique(requirement_lines(loose)),
        dependencies=unique(requirement_lines(_dependencies(pyproject, setup_cfg))),
        lock=lock,
        constraints=constraints,
        requires_python=_requires_python(pyproject, setup_cfg, setup_py),
        python=_python_version(repository.text(".python-version")),
        version=_version(manifests.get("PKG-INFO", b"")),
        compiles=any(
            " " in item and item.rpartition(" ")[0].endswith(COMPILED) for item in repository.layout
        ),
        warnings=tuple(warnings),
    )


def _for_tests(names: Iterable[str]) -> list[str]:
    """Of what tests and what developers need, the former alone where there are both: the latter adds what checks
    style, builds documentation, and takes long to install."""
    found = list(names)
    tests = [name for name in found if re.search(r"test", name, re.I)]
    return [name for name in found if name in tests or not _DEVELOPERS.search(name)] if tests else found


def _is_requirements(path: PurePosixPath, installable: bool) -> bool:
    """Whether a manifest is a requirements file that the tests need."""
    if path.suffix != ".txt" or len(path.parts) > 2:
        return False
    folder = path.parts[0] if len(path.parts) == 2 else ""
    if REQUIREMENTS_NAME.fullmatch(path.stem):
        # the project's own are its back-end's business, where it has one
        return not installable if not folder else bool(TEST_NAME.fullmatch(folder))
    words = [word for word in re.split(r"[-_.]", path.stem) if not REQUIREMENTS_NAME.fullmatch(word)]
    named = len(words) == 1 and bool(TEST_NAME.fullmatch(words[0]))
    about = (
        REQUIREMENTS_NAME.search(path.stem) is not None if not folder else REQUIREMENTS_NAME.fullmatch(folder)
    )
    return named and bool(about)


def _dependencies(pyproject: dict[str, Any], setup_cfg: configparser.RawConfigParser) -> list[str]:
    found = strings(table(pyproject, "project").get("dependencies"))
    found += poetry(table(table(table(pyproject, "tool"), "poetry"), "dependencies"))
    if setup_cfg.has_option("options", "install_requires"):
        found += setup_cfg.get("options", "install_requires").splitlines()
    return found


def _version(pkg_info: bytes) -> str:
    match = re.search(rb"^Version: *([0-9A-Za-z.+!_-]{1,60})\s*$", pkg_info, re.M)
    return match[1].decode() if match else "0.0.0"


def _locked(manifests: Mapping[str, bytes]) -> tuple[str, tuple[str, ...]]:
    """The lock file at the root, and its versions."""
    for name in LOCKS:
        if name in manifests and (found := locked(name, manifests[name])):
            return name, found
    return "", ()


def _uv_members(repository: Repository, pyproject: dict[str, Any]) -> tuple[str, ...]:
    """The packages of a uv workspace, which need each other and are on no index."""
    workspace = table(table(table(pyproject, "tool"), "uv"), "workspace")
    wanted, left_out = strings(workspace.get("members")), strings(workspace.get("exclude"))
    found = []
    for name in sorted(repository.manifests):
        folder, _, file = name.rpartition("/")
        if file != "pyproject.toml" or not folder or any(fnmatchcase(folder, one) for one in left_out):
            continue
        if any(fnmatchcase(folder, pattern) for pattern in wanted):
            found.append(folder)
    return tuple(found[:MOST_MEMBERS])


def _pipfile(repository: Repository, warnings: list[str]) -> list[str]:
    read = read_toml(repository, warnings, "Pipfile")
    return [line for section in ("packages", "dev-packages") for line in poetry(table(read, section))]


def _nox(noxfile: str) -> list[str]:
    """What sessions for tests install: the plain words of `session.install(...)`."""
    found: list[str] = []
    for session in re.split(r"^@nox\.session", noxfile, flags=re.M)[1:]:
        named = re.search(r"^def\s+(\w+)", session, re.M)
        if named and re.search(r"tests?(?![a-z])|pytest", named[1]):
            for call in re.findall(r"\.install\(([^()]*)\)", session):
                words = re.findall(r"""["']([^"']*)["']""", call)
                pairs = zip(["", *words], words, strict=False)
                found += [word for before, word in pairs if before not in ("-r", "-c", "-e")]
    return found


def _requires_python(
    pyproject: dict[str, Any], setup_cfg: configparser.RawConfigParser, setup_py: str
) -> str:
    """What the project says of Python's version, or "" for what cannot be read."""
    said = table(pyproject, "project").get("requires-python")
    if not isinstance(said, str):
        settings = table(table(pyproject, "tool"), "poetry")
        named = table(settings, "dependencies").get("python")
        said = poetry_version(named) if isinstance(named, str) else None
    if not said:
        said = setup_cfg.get("options", "python_requires", fallback=None)
    if not said:
        literal = re.search(r"""python_requires\s*=\s*["']([^"']*)["']""", setup_py)
        said = literal[1] if literal else ""
    try:
        return str(SpecifierSet(said))
    except InvalidSpecifier:
        return ""


def _python_version(text: str) -> str:
    match = re.match(r"\s*(?:cpython-)?(\d+\.\d+(?:\.\d+)?)\s*$", text, re.M)
    return match[1] if match else ""
