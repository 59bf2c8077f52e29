"""What a Python repository says of its own set-up. Reads manifests only; nothing of the repository is run."""

from __future__ import annotations

import ast
import configparser
import hashlib
import re
import tarfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

LARGEST_MANIFEST = 1 << 20
TEST_NAME = re.compile(r"(unit-?)?tests?(ing)?|pytest|dev(el|elop|elopment)?|ci", re.I)
REQUIREMENTS_NAME = re.compile(r"(requirements|reqs?|deps|dependencies)", re.I)
COMPILED = (".c", ".h", ".cc", ".cpp", ".hpp", ".pyx", ".pxd", ".rs", ".f", ".f90")
VERSION_LINE = re.compile(rb"^\s*(?:__version__|version|VERSION)\s*(?::[^=\n]*)?=.*$", re.M)


@dataclass(frozen=True, slots=True)
class Repository:
    """What one pass over a tree found."""

    names: tuple[str, ...]
    """Path of every file and symlink."""
    manifests: Mapping[str, bytes]
    """The files that say what to install, by path."""
    layout: tuple[str, ...]
    """What an editable install was seen to depend on: package directories, versions, sources to compile."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to install for a Python repository."""

    installable: bool
    """Whether `pip install .` means anything."""
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    """Dependency groups of pyproject.toml (PEP 735)."""
    files: Mapping[str, tuple[str, ...]]
    """Requirements files, with the single requirements that stand in them."""
    loose: tuple[str, ...]
    """Single requirements, from tox, Poetry, PDM, Hatch, uv or tests_require."""
    dependencies: tuple[str, ...]
    """The project's own static dependencies, for when it cannot be installed itself."""
    version: str
    """What to tell build back-ends that would ask git."""
    compiles: bool
    warnings: tuple[str, ...]


def scan(tree_tar: Path) -> Repository:
    """Read a tar of the tree once. Raises tarfile.TarError for a broken one."""
    names: list[str] = []
    manifests: dict[str, bytes] = {}
    layout: set[str] = set()
    with tarfile.open(tree_tar, "r:", encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            if member.isdir():
                continue
            path = PurePosixPath(member.name)
            name = str(path)
            names.append(name)
            if not member.isreg():
                continue
            small = member.size <= LARGEST_MANIFEST
            if small and _is_manifest(path):
                manifests[name] = _content(tar, member)
            if path.suffix == ".py":
                layout.add("/".join(path.parts[:-1][:2]) if len(path.parts) > 1 else name)
            if path.suffix in COMPILED:
                layout.add(f"{name} {hashlib.sha256(_content(tar, member)).hexdigest()}")
            elif small and _may_hold_version(path):
                lines = b"\n".join(VERSION_LINE.findall(_content(tar, member)))
                layout.add(f"{name} {lines!r}")
    return Repository(tuple(names), manifests, tuple(sorted(layout)))


def plan(repository: Repository) -> Plan | None:
    """What to install, or None for a repository that is no Python project."""
    manifests = repository.manifests
    warnings: list[str] = []
    pyproject = _toml(manifests.get("pyproject.toml", b""), warnings)
    setup_cfg = _ini(_text(manifests.get("setup.cfg", b"")))
    setup_py = _text(manifests.get("setup.py", b""))
    installable = bool(
        "project" in pyproject
        or "build-system" in pyproject
        or "poetry" in _table(pyproject, "tool")
        or "setup.py" in manifests
        or setup_cfg.has_option("metadata", "name")
    )
    if not installable and not manifests and not any(name.endswith(".py") for name in repository.names):
        return None
    tox = _Tox.read(manifests, pyproject)
    project = _table(pyproject, "project")
    extras = [
        *_table(project, "optional-dependencies"),
        *_table(_table(_table(pyproject, "tool"), "poetry"), "extras"),
        *(
            setup_cfg.options("options.extras_require")
            if setup_cfg.has_section("options.extras_require")
            else ()
        ),
        *re.findall(r"""['"]([A-Za-z][\w-]*)['"]\s*[\]:]""", setup_py),
    ]
    groups = [name for name in _table(pyproject, "dependency-groups") if TEST_NAME.fullmatch(name)]
    files = [name for name in sorted(manifests) if _is_requirements(PurePosixPath(name), installable)]
    loose = [*_tool_requirements(pyproject), *_tests_require(setup_py), *tox.requirements]
    if setup_cfg.has_option("options", "tests_require"):
        loose += setup_cfg.get("options", "tests_require").splitlines()
    return Plan(
        installable=installable,
        extras=_unique(
            name for name in [*extras, *tox.extras] if TEST_NAME.fullmatch(name) or name in tox.extras
        ),
        groups=_unique([*groups, *tox.groups]),
        files={
            name: tuple(_requirement_lines(_text(manifests[name]).splitlines()))
            for name in _unique([*files, *(name for name in tox.files if name in manifests)])
        },
        loose=_unique(_requirement_lines(loose)),
        dependencies=_unique(_requirement_lines(_dependencies(pyproject, setup_cfg))),
        version=_version(manifests.get("PKG-INFO", b"")),
        compiles=any(
            " " in item and item.rpartition(" ")[0].endswith(COMPILED) for item in repository.layout
        ),
        warnings=tuple(warnings),
    )


def _is_manifest(path: PurePosixPath) -> bool:
    if len(path.parts) == 1 and path.name in (
        "pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "PKG-INFO", "MANIFEST.in", "Pipfile",
    ):  # fmt: skip
        return True
    # a requirements file may include another one of any name, so all of them count
    near = len(path.parts) <= 3 and path.suffix in (".txt", ".in")
    return near and any(REQUIREMENTS_NAME.search(part) for part in path.parts)


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


def _may_hold_version(path: PurePosixPath) -> bool:
    return len(path.parts) <= 3 and (
        path.name in ("__init__.py", "__about__.py", "VERSION", "VERSION.txt")
        or "version" in path.stem.lower()
    )


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _toml(data: bytes, warnings: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        warnings.append(f"pyproject.toml cannot be read: {error}")
        return {}


def _ini(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return configparser.RawConfigParser()
    return parser


def _table(value: Any, key: str) -> dict[str, Any]:
    """A sub-table, or {} when it is missing or something else."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def _requirement_lines(lines: Iterable[str]) -> Iterator[str]:
    """Lines that name a package: no options, paths, comments or placeholders."""
    for line in lines:
        bare = re.split(r"\s#|^#", line.strip())[0].strip()
        if (
            re.match(r"[A-Za-z0-9]", bare)
            and not re.search(r"[{}\r\n\0]", bare)
            and "/" not in bare.partition("@")[0]
        ):
            yield bare


def _dependencies(pyproject: dict[str, Any], setup_cfg: configparser.RawConfigParser) -> list[str]:
    found = _strings(_table(pyproject, "project").get("dependencies"))
    found += _poetry(_table(_table(_table(pyproject, "tool"), "poetry"), "dependencies"))
    if setup_cfg.has_option("options", "install_requires"):
        found += setup_cfg.get("options", "install_requires").splitlines()
    return found


def _tool_requirements(pyproject: dict[str, Any]) -> list[str]:
    """Test requirements that live under [tool], where pip does not look."""
    tool = _table(pyproject, "tool")
    poetry = _table(tool, "poetry")
    found = _poetry(_table(poetry, "dev-dependencies"))
    for name, group in _table(poetry, "group").items():
        if TEST_NAME.fullmatch(name):
            found += _poetry(_table(group, "dependencies"))
    for name, group in _table(_table(tool, "pdm"), "dev-dependencies").items():
        if TEST_NAME.fullmatch(name):
            found += _strings(group)
    for name, env in _table(_table(tool, "hatch"), "envs").items():
        if TEST_NAME.fullmatch(name.removeprefix("hatch-")) and isinstance(env, dict):
            found += _strings(env.get("dependencies")) + _strings(env.get("extra-dependencies"))
    return found + _strings(_table(tool, "uv").get("dev-dependencies"))


def _poetry(table: Mapping[str, Any]) -> list[str]:
    """Poetry's dependencies as pip writes them; those by path, URL or git are left out."""
    found = []
    for name, value in table.items():
        spec = value[0] if isinstance(value, list) and value else value
        extras = ""
        if isinstance(spec, dict):
            if spec.get("optional"):
                continue
            extras = ",".join(_strings(spec.get("extras")))
            spec = spec.get("version")
        if name.lower() != "python" and isinstance(spec, str):
            found.append(
                f"{name}[{extras}]{_poetry_version(spec)}" if extras else name + _poetry_version(spec)
            )
    return found


def _poetry_version(spec: str) -> str:
    """`^1.2` and `~1.2` as ranges; what pip knows as it is; anything else as no bound."""
    bounds = []
    for part in spec.replace(" ", "").split(","):
        match = re.fullmatch(r"([\^~])(\d+(?:\.\d+)*)[\w.]*", part)
        if match:
            numbers = [int(number) for number in match[2].split(".")]
            if match[1] == "^":
                at = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1)
            else:
                at = min(1, len(numbers) - 1)
            upper = ".".join(str(number) for number in [*numbers[:at], numbers[at] + 1])
            bounds.append(f">={match[2]},<{upper}")
        elif re.fullmatch(r"\d+(\.\d+)*(\.\*)?", part):
            bounds.append(f"=={part}")
        elif re.fullmatch(r"(==|!=|>=|<=|~=|>|<)[\w.*+!-]+", part):
            bounds.append(part)
        else:
            return ""
    return ",".join(bounds)


def _tests_require(setup_py: str) -> list[str]:
    """Literal `tests_require` lists of a setup.py, also by way of a plain variable."""
    try:
        tree = ast.parse(setup_py)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    lists: dict[str, ast.expr] = {}
    wanted: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            lists[node.targets[0].id] = node.value
        elif isinstance(node, ast.keyword) and node.arg == "tests_require":
            wanted.append(node.value)
    found = []
    for value in wanted:
        source = lists.get(value.id, value) if isinstance(value, ast.Name) else value
        if isinstance(source, ast.List | ast.Tuple):
            items = [item.value for item in source.elts if isinstance(item, ast.Constant)]
            found += [item for item in items if isinstance(item, str)]
    return found


@dataclass(frozen=True, slots=True)
class _Tox:
    """What tox would install before it runs the tests."""

    requirements: tuple[str, ...]
    files: tuple[str, ...]
    extras: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def read(cls, manifests: Mapping[str, bytes], pyproject: dict[str, Any]) -> _Tox:
        settings = _table(_table(pyproject, "tool"), "tox")
        legacy = settings.get("legacy_tox_ini")
        ini = _ini(_text(manifests.get("tox.ini", b"")) or (legacy if isinstance(legacy, str) else ""))
        base = _table(settings, "env_run_base")

        def values(option: str) -> list[str]:
            text = ini.get("testenv", option, fallback="") or ""
            return [line.strip() for line in text.splitlines()] + _strings(base.get(option.replace("-", "_")))

        lines = [re.sub(r"\{(toxinidir|tox_root)\}/?", "", line) for line in values("deps")]
        # a condition such as `py27: mock` is not ours, `tests: mock` is
        conditional = [re.fullmatch(r"([\w{},.!-]+):\s+(.*)", line) for line in lines]
        lines = [
            match[2] if match else line
            for line, match in zip(lines, conditional, strict=True)
            if not match or "test" in match[1]
        ]
        lines = [re.split(r"\s#", line)[0].strip() for line in lines]
        project = [
            re.fullmatch(r"(?:(?:-e|--editable)[ =]?\s*)?(?:file:)?(?:\./?)?\[([^\]]*)\]", line)
            for line in lines
        ]
        included = [re.fullmatch(r"(?:-r|--requirement[ =])\s*(\S+)", line) for line in lines]
        split = re.compile(r"[,\s]+")
        return cls(
            tuple(_requirement_lines(lines)),
            tuple(str(PurePosixPath(match[1])) for match in included if match),
            tuple(
                name
                for line in [*values("extras"), *(match[1] for match in project if match)]
                for name in split.split(line)
                if re.fullmatch(r"[\w.-]+", name)
            ),
            tuple(
                name
                for line in values("dependency_groups")
                for name in split.split(line)
                if re.fullmatch(r"[\w.-]+", name)
            ),
        )


def _version(pkg_info: bytes) -> str:
    match = re.search(rb"^Version: *([0-9A-Za-z.+!_-]{1,60})\s*$", pkg_info, re.M)
    return match[1].decode() if match else "0.0.0"
