"""Settings: flags, then agent.toml of the base commit, then defaults. Nothing else decides them.

The file is read from the base commit, never from the working tree or a patched tree: a patch can't
change the policy that it is judged by.
"""

from __future__ import annotations

import difflib
import math
import os
import posixpath
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.budget import Limit
from agent.errors import UsageError
from agent.routing import Route, parse_routes
from agent.servers.config import Server, from_table
from sandboxes.proxy import Host
from sandboxes.types import DRIVERS
from tools.suite import DEFAULT_TEST_COMMAND, NotASuite, suite_command

if TYPE_CHECKING:
    from agent.git import Repository


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a run can be told, with its defaults."""

    test: str = DEFAULT_TEST_COMMAND
    test_from: str = ""
    """Where the test command was given; empty when it was not, so that it is to be detected."""
    test_timeout: float = 1800.0
    """Seconds for one run of the whole suite."""
    checks: tuple[str, ...] = ()
    """Commands (lint, types, build) that must say no worse with the patch than without it."""
    driver: str = "auto"
    """What makes sandboxes: docker, bubblewrap, or auto, the first of them that can."""
    runtime: str | None = None
    """The OCI runtime that a Docker engine runs sandboxes by; None for its own choice."""
    image: str | None = None
    dockerfile: str | None = None
    """A path in the repository; "" for neither a Dockerfile nor a devcontainer.json of the repository's."""
    setup: tuple[str, ...] | None = None
    memory_mb: int = 4096
    cpus: float = 2.0
    network: tuple[str, ...] = ()
    """Hosts that the repository's tests need, by what it says; only the user's own flag allows them."""
    hosts: tuple[Host, ...] = ()
    """Hosts that sandboxes may reach."""
    models: tuple[str, ...] = ()
    thinking: str | None = None
    """For the models that name no level of their own."""
    turns: int = 60
    """Model replies in one attempt."""
    minutes: float = 30.0
    """Wall time of all attempts; a gate that has begun is finished."""
    attempts: int = 3
    usd: Decimal | None = None
    """What all requests of the run may cost together."""
    tokens: int | None = None
    """What they may have, input (cached or not) and output."""
    best_of: int = 1
    """Attempts side by side on one rung of the ladder."""
    context: str = "map"
    """What a model is told of the repository before it reads: one of CONTEXTS."""
    routes: tuple[Route, ...] = ()
    """Where tasks of a class begin on the ladder, before the package's own rules."""
    servers: tuple[Server, ...] = ()
    """MCP servers whose tools models may use beside ours."""
    author: str | None = None
    """Of the commit of a pull request, as `Name <mail>`; None for whoever the token belongs to."""


_KEYS: dict[str, dict[str, tuple[str, type | tuple[type, ...]]]] = {
    "sandbox": {
        "driver": ("driver", str),
        "runtime": ("runtime", str),
        "image": ("image", str),
        "dockerfile": ("dockerfile", str),
        "setup": ("setup", list),
        "memory": ("memory_mb", (int, str)),
        "cpus": ("cpus", (int, float)),
        "network": ("network", list),
    },
    "gate": {"test": ("test", str), "timeout": ("test_timeout", (int, float)), "checks": ("checks", list)},
    "models": {
        "ladder": ("models", list),
        "thinking": ("thinking", str),
        "best_of": ("best_of", int),
        "context": ("context", str),
        "routes": ("routes", list),
    },
    "budget": {
        "usd": ("usd", (int, float)),
        "tokens": ("tokens", int),
        "turns": ("turns", int),
        "minutes": ("minutes", (int, float)),
        "attempts": ("attempts", int),
    },
    "github": {"author": ("author", str)},
}
"""File key to the setting and its type. What is not here is refused: a key that does nothing would mislead."""


AUTHOR = re.compile(r"([^<>\n\0]{1,100}) <([^<>@\s]{1,100}@[^<>@\s]{1,200})>")
CONTEXTS = ("map", "repo")
MOST_USD, MOST_TOKENS = 1_000_000, 10**12
_WEEK = 7 * 24 * 3600
_RANGES = (
    ("test_timeout", "gate.timeout", 1, _WEEK, "1 to 604800 seconds"),
    ("memory_mb", "sandbox.memory", 64, 1 << 20, '"64m" to "1024g"'),
    ("cpus", "sandbox.cpus", 0.1, 1024, "0.1 to 1024"),
    ("best_of", "models.best_of", 1, 16, "1 to 16"),
)
"""Setting, its key, and what may be asked for; below it no suite runs, above it is a slip of the pen."""


def repository_settings(repository: Repository, base: str) -> Settings:
    """What agent.toml, or [tool.agent] of pyproject.toml, says at the base commit."""
    files = repository.files(repository.tree_of(base))
    settings = Settings()
    if "pyproject.toml" in files:
        text = repository.blob(files["pyproject.toml"][1]).decode("utf-8", "replace")
        settings = from_pyproject(text, settings)
    if "agent.toml" in files:
        text = repository.blob(files["agent.toml"][1]).decode("utf-8", "replace")
        settings = from_toml(text, "agent.toml", settings)
    return settings


def from_toml(text: str, where: str, settings: Settings | None = None) -> Settings:
    """`settings` with what an agent.toml sets. Raises UsageError that names the key and the nearest known one."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not valid TOML: {error}") from error
    return _apply(data, where, settings or Settings())


def from_pyproject(text: str, settings: Settings | None = None) -> Settings:
    """The same for the [tool.agent] table of a pyproject.toml; a broken pyproject is the repository's own affair."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError):
        return settings or Settings()
    tool = data.get("tool")
    table = tool.get("agent", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(f"pyproject.toml: tool.agent must be a table, not {_shown(table)}")
    return _apply(table, "pyproject.toml [tool.agent]", settings or Settings())


def _apply(data: Mapping[str, Any], where: str, settings: Settings) -> Settings:
    changes: dict[str, Any] = {}
    for section, table in data.items():
        if section not in _KEYS and section != "mcp":
            known = {**_KEYS, "mcp": {}}
            raise UsageError(f"{where}: unknown section [{section}]{_nearest(section, known)}")
        if not isinstance(table, dict):
            raise UsageError(f"{where}: {section} must be a table, [{section}], not {_shown(table)}")
        if section == "mcp":
            changes["servers"] = from_table(table, where)
            continue
        for key, value in table.items():
            if key not in _KEYS[section]:
                raise UsageError(f"{where}: unknown key {section}.{key}{_nearest(key, _KEYS[section])}")
            name, kind = _KEYS[section][key]
            if name == "dockerfile" and value is False:
                value = ""
            if not isinstance(value, kind) or isinstance(value, bool):
                raise UsageError(f"{where}: {section}.{key} has the wrong type: {_shown(value)}")
            changes[name] = _value(name, value, where, f"{section}.{key}")
            if name == "test":
                changes["test_from"] = f"from {where}"
    return checked(replace(settings, **changes), where)


def _value(name: str, value: Any, where: str, key: str) -> Any:
    if name in ("setup", "models", "checks", "network"):
        if not all(isinstance(item, str) for item in value):
            raise UsageError(f"{where}: {key} must be a list of strings")
        for item in value if name == "network" else ():
            try:
                Host.parse(item)
            except ValueError as error:
                raise UsageError(f"{where}: {key}: {error}") from error
        return tuple(value)
    if name == "routes":
        return parse_routes(value, f"{where}: {key}")
    if name == "memory_mb" and isinstance(value, str):
        size = re.fullmatch(r"([0-9]{1,40})([mMgG])", value)
        if size is None:
            raise UsageError(f'{where}: {key} must be a size such as "512m" or "4g", not {_shown(value)}')
        return int(size[1]) * (1024 if size[2] in "gG" else 1)
    return _dollars(value) if name == "usd" else value


def _dollars(value: float) -> Decimal:
    """A number of a file as it was written."""
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))


def checked(settings: Settings, where: str) -> Settings:
    """`settings` unchanged, or UsageError for a value that can't work."""
    for name in ("turns", "attempts"):
        if not (0 < getattr(settings, name) < math.inf):
            raise UsageError(
                f"{where}: {name} must be a number above 0, not {_shown(getattr(settings, name))}"
            )
    _check_limit(Limit(settings.usd, settings.tokens), where, "usd", "tokens")
    if not 0 < settings.minutes <= _WEEK / 60:
        raise UsageError(
            f"{where}: minutes must be a number above 0, at most {_WEEK // 60}, not {_shown(settings.minutes)}"
        )
    for name, key, least, most, said in _RANGES:
        unit = "m" if name == "memory_mb" else ""
        if not least <= getattr(settings, name) <= most:
            raise UsageError(
                f"{where}: {key} must be from {said}, not {_shown(getattr(settings, name))}{unit}"
            )
    if settings.context not in CONTEXTS:
        raise UsageError(f"{where}: context must be map or repo, not {_shown(settings.context)}")
    if not all(command.strip() for command in settings.checks):
        raise UsageError(f"{where}: gate.checks has an empty command; take it out")
    _check_sandbox(settings, where)
    if settings.author is not None and not AUTHOR.fullmatch(settings.author):
        raise UsageError(
            f'{where}: github.author must be as "Name <mail@host>", not {_shown(settings.author)}'
        )
    if settings.image is not None and not re.fullmatch(r"[A-Za-z0-9][!-~]*", settings.image):
        raise UsageError(
            f"{where}: image must be the name of an image, such as python:3.12, not {_shown(settings.image)}"
        )
    if settings.dockerfile and not _is_inside(settings.dockerfile):
        raise UsageError(
            f"{where}: dockerfile must be a path in the repository, such as docker/Dockerfile, or empty for none, not "
            f"{_shown(settings.dockerfile)}"
        )
    try:
        suite_command(settings.test, "/tmp/report.xml")  # noqa: S108 (a path inside the sandbox)
    except NotASuite as error:
        raise UsageError(f"{where}: {error}") from error
    return settings


def _check_sandbox(settings: Settings, where: str) -> None:
    if settings.driver not in DRIVERS:
        raise UsageError(
            f"{where}: sandbox.driver must be one of {', '.join(DRIVERS)}, not {_shown(settings.driver)}"
        )
    if settings.runtime is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/+-]*", settings.runtime):
        raise UsageError(
            f"{where}: runtime must be the name of an OCI runtime, such as runsc, not {_shown(settings.runtime)}"
        )
    if settings.driver == "bubblewrap":
        for name, what in (("image", "images"), ("dockerfile", "images"), ("runtime", "OCI runtimes")):
            if value := getattr(settings, name):
                raise UsageError(
                    f"{where}: bubblewrap has no {what}, so {name} {_shown(value)} cannot be used: leave it out, or "
                    "use --sandbox docker"
                )


def _is_inside(path: str) -> bool:
    """Whether a path, with no detour, stays in the repository that it is relative to."""
    return path == posixpath.normpath(path) and not path.startswith(("/", "../")) and path not in (".", "..")


def _check_limit(limit: Limit, where: str, usd: str, tokens: str) -> None:
    if limit.usd is not None and not (limit.usd.is_finite() and 0 < limit.usd <= MOST_USD):
        raise UsageError(
            f"{where}: {usd} must be dollars above 0, at most {MOST_USD:,}, not {_shown(str(limit.usd))}"
        )
    if limit.tokens is not None and not 0 < limit.tokens <= MOST_TOKENS:
        raise UsageError(
            f"{where}: {tokens} must be a number above 0, at most {MOST_TOKENS:,}, not {_shown(limit.tokens)}"
        )


def _shown(value: Any) -> str:
    """A value for one line of a message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits, written in hexadecimal
        return "what it is"
    return text if len(text) <= 80 else text[:79] + "…"


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, known, 1, 0.5)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"


def home(environ: Mapping[str, str] | None = None) -> Path:
    """Where runs are kept: $AGENT_HOME, else ~/.local/state/agent."""
    value = (os.environ if environ is None else environ).get("AGENT_HOME")
    try:
        return Path(value).expanduser().absolute() if value else Path.home() / ".local" / "state" / "agent"
    except RuntimeError as error:
        raise UsageError(f"{error}; set AGENT_HOME to a folder that can be written") from error


def per_day() -> Limit:
    """What all runs of this user may spend on one day (UTC), by $AGENT_HOME/budget.toml: `usd_per_day`,
    `tokens_per_day`. No repository and no flag can raise it. Raises UsageError that names the fault."""
    path = home() / "budget.toml"
    known = {"usd_per_day": (int, float), "tokens_per_day": (int,)}
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Limit()
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: can't be read: {error}") from error
    for key, value in data.items():
        if key not in known:
            raise UsageError(f"{path}: unknown key {key}{_nearest(key, known)}")
        if not isinstance(value, known[key]) or isinstance(value, bool):
            raise UsageError(f"{path}: {key} has the wrong type: {_shown(value)}")
    usd = data.get("usd_per_day")
    limit = Limit(None if usd is None else _dollars(usd), data.get("tokens_per_day"))
    _check_limit(limit, str(path), "usd_per_day", "tokens_per_day")
    return limit
