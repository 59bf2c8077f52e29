"""What a devcontainer.json says of the image to develop in. Reads text only; nothing of it is run here."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandboxes.errors import SetupFailed

PATHS = (".devcontainer/devcontainer.json", ".devcontainer.json")
"""Where it stands in a repository; the first that is there counts."""
LARGEST = 1 << 18
"""Bytes."""
WORKSPACE = "/workspace"
COMMANDS = ("onCreateCommand", "updateContentCommand", "postCreateCommand")
"""What prepares a new container, in the order of the specification (https://containers.dev/implementors/json_reference)."""
NEVER_RUN = ("initializeCommand", "postStartCommand", "postAttachCommand")
"""Commands for the host, and for containers that a person works in."""
IGNORED = (
    "features",
    "remoteUser",
    "containerUser",
    "mounts",
    "workspaceMount",
    "workspaceFolder",
    "runArgs",
)
"""Fields that would change what the tests see, and have no place here."""
LONGEST = 1 << 15
"""Characters of a variable's value; Linux takes 131,071 bytes."""
OURS = ("PATH", "HOME", "LANG")
"""Variables that a sandbox sets itself."""

_TOKEN = re.compile(r'(?P<string>"(?:[^"\\\n]|\\.)*+"?)|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?', re.DOTALL)
_COMMA = re.compile(r'(?P<string>"(?:[^"\\\n]|\\.)*+"?)|,(?=\s*+[}\]])', re.DOTALL)
_VARIABLE = re.compile(r"\$\{([A-Za-z]+)(?::([^}:]*))?(?::([^}]*))?\}")
_FOLDERS = {
    "containerWorkspaceFolder": WORKSPACE,
    "localWorkspaceFolder": WORKSPACE,
    "containerWorkspaceFolderBasename": "workspace",
    "localWorkspaceFolderBasename": "workspace",
}


class NotUsable(SetupFailed):
    """A file of the repository from which no image is to be had."""


@dataclass(frozen=True, slots=True)
class Build:
    """An image to build from a Dockerfile of the repository."""

    dockerfile: str
    """Its path in the repository."""
    context: str = ""
    """The folder that the build sees, "" for all of the repository."""
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    """The stage to build; None for the last one."""


@dataclass(frozen=True, slots=True)
class Devcontainer:
    """An image by name, or one to build, and what is done in it."""

    image: str | None
    build: Build | None
    commands: tuple[str, ...]
    variables: Mapping[str, str]
    ignored: tuple[str, ...]
    """What it says that has no effect here, one line each."""


def parse(text: str, path: str) -> Devcontainer:
    """Read a devcontainer.json that stands at `path` of the repository. Raises NotUsable."""
    data = _json(text)
    if not isinstance(data, dict):
        raise NotUsable("it is not one JSON object")
    ignored = [f"{name} has no effect" for name in IGNORED if data.get(name)]
    ignored += [f"{name} is not run" for name in NEVER_RUN if data.get(name)]
    if data.get("dockerComposeFile"):
        raise NotUsable("it asks for Docker Compose, which is not supported")
    build = _build(data, posixpath.dirname(path))
    image = data.get("image")
    if build is None and not (isinstance(image, str) and re.fullmatch(r"[A-Za-z0-9][!-~]*", image)):
        raise NotUsable("it names neither an image nor a Dockerfile")
    variables: dict[str, str] = {}
    for name in ("containerEnv", "remoteEnv"):
        variables |= _literals(name, data.get(name), ignored)
    commands = [_substituted(line) for name in COMMANDS for line in _commands(data.get(name), name)]
    return Devcontainer(None if build else str(image), build, tuple(commands), variables, tuple(ignored))


def _json(text: str) -> Any:
    """JSON with comments and trailing commas."""

    def kept(match: re.Match[str]) -> str:
        return match["string"] or " "

    try:
        return json.loads(_COMMA.sub(kept, _TOKEN.sub(kept, text.removeprefix("\ufeff"))))
    except (ValueError, RecursionError) as error:
        raise NotUsable(f"it is not valid JSON: {error}") from error


def _build(data: Mapping[str, Any], folder: str) -> Build | None:
    """The newer `build` and the older `dockerFile` with `context`; paths are relative to the file's folder."""
    table = data.get("build")
    table = table if isinstance(table, dict) else {}
    name = table.get("dockerfile") or data.get("dockerFile")
    if not name:
        return None
    context = table.get("context") or data.get("context") or "."
    args, target = table.get("args") or {}, table.get("target")
    if not (isinstance(args, dict) and all(isinstance(value, str) for value in args.values())):
        raise NotUsable("build.args must hold strings")
    if not all(isinstance(value, str) for value in (name, context, target or "")):
        raise NotUsable("build.dockerfile, build.context and build.target must be strings")
    return Build(
        inside_repository(posixpath.join(folder, name)),
        inside_repository(posixpath.join(folder, context)),
        {key: _substituted(value) for key, value in args.items()},
        target or None,
    )


def inside_repository(path: str) -> str:
    """A path without detours, "" for the repository itself. Raises NotUsable for one that leaves it."""
    plain = posixpath.normpath(_substituted(path)).removeprefix(WORKSPACE + "/")
    if plain == WORKSPACE:
        return ""
    if plain.startswith(("/", "../")) or plain == ".." or "\0" in plain:
        raise NotUsable(f"{path!r} is not in the repository")
    return "" if plain == "." else plain


def _literals(name: str, table: Any, ignored: list[str]) -> dict[str, str]:
    """The variables whose values are known here: the host's environment is never given to a sandbox."""
    found = {}
    for key, value in table.items() if isinstance(table, dict) else ():
        if not isinstance(value, str):
            continue  # null takes a variable away from a person's terminal
        plain = _substituted(value)
        fine = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) and "\0" not in plain and len(plain) < LONGEST
        unknown = "${" in plain or re.search(r"\$\{localEnv:[^}:]*\}", value)
        if not fine or unknown or key in OURS:
            ignored.append(f"{name}.{key} has no effect")
        else:
            found[key] = plain
    return found


def _substituted(text: str) -> str:
    """The folders of the workspace for their names, and the default of what only the host would know."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "localEnv":
            return match[3] or ""
        return _FOLDERS.get(match[1], match[0])

    return _VARIABLE.sub(value, text)


def _commands(value: Any, name: str) -> Iterator[str]:
    """The shell lines of a command: a line, an argument list, or several of them by name."""
    if not value:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and all(isinstance(word, str) for word in value):
        yield shlex.join(value)
    elif isinstance(value, dict) and not any(isinstance(one, dict) for one in value.values()):
        for one in value.values():
            yield from _commands(one, name)
    else:
        raise NotUsable(f"{name} is neither a string, a list of strings nor a table of these")
