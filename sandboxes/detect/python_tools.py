"""How Python's tools write requirements: tables of pyproject.toml, tox, setup.py and the lock files."""

from __future__ import annotations

import ast
import configparser
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sandboxes.detect.tree import Repository

TEST_NAME = re.compile(r"(unit-?)?tests?(ing)?|pytest|dev(el|elop|elopment)?|ci", re.I)
LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock")


def read_toml(repository: Repository, warnings: list[str], name: str = "pyproject.toml") -> dict[str, Any]:
    """A manifest in TOML; {} with a warning for one that is broken."""
    try:
        return tomllib.loads(repository.manifests.get(name, b"").decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        warnings.append(f"{name} cannot be read: {error}")
        return {}


def read_ini(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return configparser.RawConfigParser()
    return parser


def table(value: Any, key: str) -> dict[str, Any]:
    """A sub-table, or {} when it is missing or something else."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def requirement_lines(lines: Iterable[str]) -> Iterator[str]:
    """Lines that name a package: no options, paths, comments or placeholders."""
    for line in lines:
        bare = re.split(r"\s#|^#", line.strip())[0].strip()
        if (
            re.match(r"[A-Za-z0-9]", bare)
            and not re.search(r"[{}\r\n\0]", bare)
            and "/" not in bare.partition("@")[0]
        ):
            yield bare


def tool_requirements(pyproject: dict[str, Any]) -> list[str]:
    """Test requirements that live under [tool], where pip does not look."""
    tool = table(pyproject, "tool")
    settings = table(tool, "poetry")
    found = poetry(table(settings, "dev-dependencies"))
    for name, group in table(settings, "group").items():
        if TEST_NAME.fullmatch(name):
            found += poetry(table(group, "dependencies"))
    for name, group in table(table(tool, "pdm"), "dev-dependencies").items():
        if TEST_NAME.fullmatch(name):
            found += strings(group)
    for name, env in table(table(tool, "hatch"), "envs").items():
        if TEST_NAME.fullmatch(name.removeprefix("hatch-")) and isinstance(env, dict):
            found += strings(env.get("dependencies")) + strings(env.get("extra-dependencies"))
    return found + strings(table(tool, "uv").get("dev-dependencies"))


def poetry(table: Mapping[str, Any]) -> list[str]:
    """Poetry's dependencies as pip writes them; those by path, URL or git are left out."""
    found = []
    for name, value in table.items():
        spec = value[0] if isinstance(value, list) and value else value
        extras = ""
        if isinstance(spec, dict):
            if spec.get("optional"):
                continue
            extras = ",".join(strings(spec.get("extras")))
            spec = spec.get("version")
        if name.lower() != "python" and isinstance(spec, str):
            found.append(f"{name}[{extras}]{poetry_version(spec)}" if extras else name + poetry_version(spec))
    return found


def poetry_version(spec: str) -> str:
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


def tests_require(setup_py: str) -> list[str]:
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
class Tox:
    """What tox would install before it runs the tests."""

    requirements: tuple[str, ...]
    files: tuple[str, ...]
    extras: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def read(cls, manifests: Mapping[str, bytes], pyproject: dict[str, Any]) -> Tox:
        settings = table(table(pyproject, "tool"), "tox")
        legacy = settings.get("legacy_tox_ini")
        text = manifests.get("tox.ini", b"").decode("utf-8", "replace")
        ini = read_ini(text or (legacy if isinstance(legacy, str) else ""))
        base = table(settings, "env_run_base")

        def values(option: str) -> list[str]:
            text = ini.get("testenv", option, fallback="") or ""
            return [line.strip() for line in text.splitlines()] + strings(base.get(option.replace("-", "_")))

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
            tuple(requirement_lines(lines)),
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


def locked(name: str, data: bytes) -> tuple[str, ...]:
    """The versions that a lock file settles on, as constraints; none for a package that it has in several versions."""
    try:
        if name.endswith(".json") or name == "Pipfile.lock":
            read = json.loads(data)
            pairs = [
                (package, str(entry["version"]).removeprefix("=="))
                for section in ("default", "develop")
                for package, entry in table(read, section).items()
                if isinstance(entry, dict) and "version" in entry
            ]
        else:
            read = tomllib.loads(data.decode("utf-8"))
            entries = read.get("packages" if name == "pylock.toml" else "package")
            pairs = [
                (entry["name"], entry["version"])
                for entry in (entries if isinstance(entries, list) else ())
                if isinstance(entry, dict) and _from_index(entry)
            ]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    found: dict[str, set[str]] = {}
    for package, version in pairs:
        if re.fullmatch(r"[\w.-]+", str(package)) and re.fullmatch(r"[\w.!+-]+", str(version)):
            found.setdefault(re.sub(r"[-_.]+", "-", str(package)).lower(), set()).add(str(version))
    return tuple(
        f"{package}=={next(iter(versions))}"
        for package, versions in sorted(found.items())
        if len(versions) == 1
    )


def _from_index(entry: Mapping[str, Any]) -> bool:
    """Whether a locked package comes from an index: not the project itself, a folder, a repository or an archive."""
    source = entry.get("source")
    if isinstance(source, dict) and source:  # uv has {registry = URL}, Poetry {type = "legacy", url = URL}
        return "registry" in source or source.get("type") == "legacy"
    return "version" in entry and not {"path", "git", "url", "directory", "vcs", "archive"} & set(entry)
