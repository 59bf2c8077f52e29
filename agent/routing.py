"""Where on its ladder a task begins, by its class. Classes are data: `routing.toml`, [[models.routes]] before it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from agent.errors import UsageError

_NUMBERS = ("files", "named", "failing")
_CONDITIONS: Mapping[str, type] = {
    **{f"{bound}_{name}": int for name in _NUMBERS for bound in ("min", "max")},
    "language": str,
    "test": bool,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a task before any model is asked."""

    files: int
    """Files of the repository at the base commit."""
    named: int
    """Of these, how many the issue names."""
    failing: int
    """Tests that fail at the base commit."""
    test: bool
    """Whether the user named a failing test."""
    language: str
    """Of most source files; empty when there is none that is known."""


@dataclass(frozen=True, slots=True)
class Route:
    """A class of tasks, and the rung that it begins at (from 1)."""

    task_class: str
    start: int | Literal["last"]
    when: Mapping[str, Any] = field(default_factory=dict)

    def holds(self, facts: Facts) -> bool:
        return all(_holds(key, value, facts) for key, value in self.when.items())


def task_facts(
    issue: str, paths: Collection[str], outcomes: Mapping[str, str], fail_to_pass: Sequence[str]
) -> Facts:
    """`paths` are the files at the base commit, `outcomes` those of its tests by id."""
    return Facts(
        len(paths),
        len(named_files(issue, paths)),
        sum(outcome in ("failed", "error") for outcome in outcomes.values()),
        bool(fail_to_pass),
        _language(paths),
    )


def choose(routes: Sequence[Route], facts: Facts, rungs: int) -> tuple[int, str]:
    """The place (from 0) on a ladder of `rungs` models where a task begins, and why. `routes` come before the
    package's own."""
    route = next(route for route in (*routes, *packaged()) if route.holds(facts))
    place = rungs if route.start == "last" else min(route.start, rungs)
    told = dict.fromkeys(_said(key, facts) for key in route.when)
    return place - 1, route.task_class + (f" ({', '.join(told)})" if told else "")


def named_files(text: str, paths: Collection[str]) -> set[str]:
    """The files that a text names: by their path, by the end of it, by a bare name that only one file has, or by a
    longer path that ends with theirs, as in a trace of an installed package."""
    by_name: dict[str, list[str]] = {}
    for path in paths:
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    found = set()
    for word in set(re.findall(r"[\w.@+/\\-]+", text)):
        token = word.replace("\\", "/").removeprefix("./").rstrip(".")
        _, slash, name = token.rpartition("/")
        if not slash and "." not in name:
            continue  # an ordinary word
        meant = [path for path in by_name.get(name, ()) if not slash or _same_end(path, token)]
        if len(meant) == 1:
            found.add(meant[0])
    return found


def parse_routes(value: Any, where: str) -> tuple[Route, ...]:
    """Routes as TOML has them. Raises UsageError that names the key at fault and the nearest known one."""
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        raise UsageError(f"{where} must be tables, [[models.routes]]")
    return tuple(_route(table, f"{where}, rule {number}") for number, table in enumerate(value, 1))


def _route(table: Mapping[str, Any], where: str) -> Route:
    _known(table, ("class", "start", "when"), where)
    name, start, when = table.get("class"), table.get("start"), table.get("when", {})
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"{where}: `class` is missing: a name for such tasks")
    if start != "last" and (not isinstance(start, int) or isinstance(start, bool) or start < 1):
        raise UsageError(f'{where}: `start` must be a rung, from 1, or "last"')
    if not isinstance(when, dict):
        raise UsageError(f"{where}: `when` must be a table of conditions")
    _known(when, tuple(_CONDITIONS), f"{where}: when")
    for key, wanted in when.items():
        if type(wanted) is not _CONDITIONS[key]:
            kind = {int: "a number", str: "a text", bool: "true or false"}[_CONDITIONS[key]]
            raise UsageError(f"{where}: when.{key} must be {kind}")
    if "language" in when and when["language"] not in _languages().values():
        raise UsageError(f"{where}: when.language is one of {', '.join(sorted(set(_languages().values())))}")
    return Route(name.strip(), start, dict(when))


def _known(table: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in table:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(keys)}"
            raise UsageError(f"{where}: unknown key {key}; {hint}")


def _holds(key: str, wanted: Any, facts: Facts) -> bool:
    bound, _, name = key.partition("_")
    if bound == "min":
        return bool(getattr(facts, name) >= wanted)
    if bound == "max":
        return bool(getattr(facts, name) <= wanted)
    return bool(getattr(facts, key) == wanted)


def _said(key: str, facts: Facts) -> str:
    name = key.removeprefix("min_").removeprefix("max_")
    if name == "test":
        return "a failing test is named" if facts.test else "no failing test is named"
    if name == "language":
        return f"mostly {facts.language}"
    count = getattr(facts, name)
    return {
        "files": f"{count:,} file{'s' * (count != 1)} in the repository",
        "named": f"{count} file{'s are' if count != 1 else ' is'} named",
        "failing": f"{count} test{'s fail' if count != 1 else ' fails'} on the base commit",
    }[name]


def _same_end(path: str, token: str) -> bool:
    return path == token or path.endswith(f"/{token}") or ("/" in path and token.endswith(f"/{path}"))


def _language(paths: Collection[str]) -> str:
    known = _languages()
    counts = Counter(known[suffix] for path in paths if (suffix := _suffix(path)) in known)
    return max(sorted(counts), key=counts.__getitem__, default="")


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2]
    return name[name.rfind(".") :] if "." in name else ""


@cache
def _data() -> Mapping[str, Any]:
    return tomllib.loads(files("agent").joinpath("routing.toml").read_text("utf-8"))


@cache
def packaged() -> tuple[Route, ...]:
    """The package's own routes, which come last."""
    return parse_routes(_data()["routes"], "routing.toml")


@cache
def _languages() -> Mapping[str, str]:
    """Suffix to language."""
    return {suffix: name for name, suffixes in _data()["languages"].items() for suffix in suffixes}
