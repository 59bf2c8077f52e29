"""A server's tools as a model may see them: named apart, with descriptions and schemas that every provider takes.

All of it is the server's word, so it is bounded, and nothing of it is used on the host but types and names of
arguments: no pattern that could run for ever, no reference that could be fetched.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.servers.config import ALL
from agent.text import printable
from agent.types import APART, ToolSpec

MAX_NAME = 63
"""Characters: Gemini takes 64 and documents 63, OpenAI 64, Anthropic 128."""
MAX_DESCRIPTION = 1024
"""Characters: what OpenAI takes of a function's."""
MAX_SCHEMA = 16_000
"""Characters of one tool's schema as JSON."""
MAX_DEPTH = 10
MAX_PARTS = 500
"""Schemas within a schema: references can make much of little."""
MAX_TOOLS = 64
"""Of all servers together: providers take 128, and models choose worse among many."""
MAX_LOOKED_AT = 256
"""Of one server: a hostile list shall not keep the host busy."""
MAX_LISTED = 120_000
"""Characters of all their names, descriptions and schemas: each request carries them, at about 30,000 tokens."""

_TOOL = re.compile(r"[A-Za-z0-9_./-]{1,128}")
"""Names of tools by the protocol's 2025-11-25 version, and a slash, which older servers use."""
_ARGUMENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What Anthropic takes as the name of an argument."""
_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_NUMBERS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool as its server lists it."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool that a model may call, and the server's own name of it."""

    spec: ToolSpec
    name: str


class _Unfit(Exception):
    """Why a tool can't be offered."""


def offered(server: str, allowed: Sequence[str], listed: Sequence[Listed]) -> tuple[list[Offered], list[str]]:
    """The tools of a server that a model may call, by name, and why others can't be: one line each.

    Those that are not allowed are passed over without a word; an allowed one that isn't there is told.
    """
    tools: dict[str, Offered] = {}
    skipped: list[str] = []
    wanted = [tool for tool in listed if ALL in allowed or tool.name in allowed]
    for tool in sorted(wanted, key=lambda one: one.name)[:MAX_LOOKED_AT]:
        try:
            spec = _spec(tool, _name(server, tool.name), f"[from the MCP server {server}] ")
            if spec.name in tools:
                raise _Unfit("another one has that name")
        except _Unfit as unfit:
            skipped.append(f"{_shown(tool.name)}: {unfit}")
        else:
            tools[spec.name] = Offered(spec, tool.name)
    if len(wanted) > MAX_LOOKED_AT:
        skipped.append(f"{len(wanted) - MAX_LOOKED_AT:,} more tools: at most {MAX_LOOKED_AT} are looked at")
    names = {tool.name for tool in listed}
    if missing := [name for name in allowed if name != ALL and name not in names]:
        there = ", ".join(_shown(name) for name in sorted(names)[:20]) or "none"
        skipped += [f"{_shown(name)}: the server has no such tool; it has {there}" for name in missing]
    return list(tools.values()), skipped


def within_bounds(tools: Iterable[Offered], count: int, size: int) -> tuple[list[Offered], list[str]]:
    """The first tools that fit into what is left of MAX_TOOLS and MAX_LISTED, and a line on those that don't."""
    kept: list[Offered] = []
    left = 0
    for tool in tools:
        size -= size_of(tool.spec)
        if len(kept) < count and size >= 0 and not left:
            kept.append(tool)
        else:
            left += 1
    if not left:
        return kept, []
    why = f"all servers together may list {MAX_TOOLS} tools and {MAX_LISTED:,} characters"
    return kept, [f"{left} more tools: {why}; choose with `tools`"]


def size_of(spec: ToolSpec) -> int:
    """Characters that a tool takes in each request, about."""
    return len(spec.name) + len(spec.description) + len(json.dumps(spec.input_schema))


def under_own_names(listed: Iterable[Listed]) -> tuple[dict[str, ToolSpec], dict[str, str]]:
    """Tools by the names that their server has for them, and for those that no model can call, why."""
    specs: dict[str, ToolSpec] = {}
    unfit: dict[str, str] = {}
    for tool in listed:
        try:
            if len(tool.name) > MAX_NAME or re.search("[./]", tool.name):
                raise _Unfit("its name is none that all providers take")
            if tool.name in specs:
                raise _Unfit("two tools have that name")
            specs[tool.name] = _spec(tool, tool.name, "")
        except _Unfit as error:
            specs.pop(tool.name, None)
            unfit[tool.name] = str(error)
    return {name: spec for name, spec in specs.items() if name not in unfit}, unfit


def _spec(tool: Listed, name: str, origin: str) -> ToolSpec:
    """Raises _Unfit."""
    if not _TOOL.fullmatch(tool.name):
        raise _Unfit("its name is none that providers take")
    schema = _Cleaner(tool.schema).arguments()
    if len(json.dumps(schema)) > MAX_SCHEMA:
        raise _Unfit(f"its schema is longer than {MAX_SCHEMA:,} characters")
    text = origin + printable(tool.description[: 2 * MAX_DESCRIPTION]).strip()
    text = text.strip() if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 1] + "…"
    return ToolSpec(name, text, schema)


def _name(server: str, tool: str) -> str:
    """`SERVER__TOOL`; what had to be changed in it ends with a digest, so that two names stay two."""
    name = f"{server}{APART}{tool}"
    plain = re.sub(r"[./]", "_", name)
    if plain == name and len(name) <= MAX_NAME:
        return name
    return f"{plain[: MAX_NAME - 7]}_{hashlib.sha256(tool.encode()).hexdigest()[:6]}"


class _Cleaner:
    """A tool's input schema with what every provider takes, and references to its own definitions put in."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._left = MAX_PARTS

    def arguments(self) -> dict[str, Any]:
        """Raises _Unfit."""
        schema = self._cleaned(self._schema, 0)
        if schema.get("type", "object") != "object":
            raise _Unfit("its arguments are no object")
        if any(key in schema for key in ("anyOf", "enum")):
            raise _Unfit("its arguments are a choice between forms, which providers don't take")
        # OpenAI refuses an object without properties.
        return {**schema, "type": "object", "properties": schema.get("properties", {})}

    def _cleaned(self, schema: Any, depth: int) -> dict[str, Any]:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise _Unfit("its schema is too deep or too large, or refers to itself")
        if isinstance(schema, bool):  # true takes anything; false takes nothing, which no argument can be
            schema = {}
        if not isinstance(schema, Mapping):
            raise _Unfit("its schema is no JSON Schema")
        if "$ref" in schema:
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**self._definition(schema["$ref"]), **rest}
            return self._cleaned(schema, depth + 1)
        clean: dict[str, Any] = {**self._type(schema), **self._texts(schema), **_limits(schema)}
        if "properties" in schema:
            clean["properties"] = self._properties(schema["properties"], depth)
            known = schema.get("required", [])
            required = [name for name in clean["properties"] if isinstance(known, list) and name in known]
            clean |= {"required": required} if required else {}
        if "additionalProperties" in schema:
            more = schema["additionalProperties"]
            clean["additionalProperties"] = more if isinstance(more, bool) else self._cleaned(more, depth + 1)
        kind = clean.get("type")
        if "items" in schema or kind == "array" or (isinstance(kind, list) and "array" in kind):
            # OpenAI refuses an array without items.
            clean["items"] = self._cleaned(schema.get("items", {}), depth + 1)
        return clean | self._choice(schema, depth)

    def _definition(self, reference: Any) -> Mapping[str, Any]:
        found: Any = self._schema
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise _Unfit("its schema refers to another document")
        for part in reference[2:].split("/"):
            found = (
                found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
            )
        if not isinstance(found, Mapping):
            raise _Unfit("its schema refers to what isn't there")
        return found

    def _properties(self, properties: Any, depth: int) -> dict[str, Any]:
        if not isinstance(properties, Mapping):
            raise _Unfit("its schema is no JSON Schema")
        for name in properties:
            if not isinstance(name, str) or not _ARGUMENT.fullmatch(name):
                raise _Unfit(f"its argument {_shown(str(name))} has a name that providers don't take")
        return {name: self._cleaned(schema, depth + 1) for name, schema in properties.items()}

    def _choice(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """`anyOf`, also for `oneOf`, which not all providers take; a part of an `allOf` that stands alone."""
        forms = schema.get("anyOf", schema.get("oneOf"))
        if isinstance(forms, list) and forms:
            return {"anyOf": [self._cleaned(form, depth + 1) for form in forms]}
        parts = schema.get("allOf")
        if isinstance(parts, list) and len(parts) == 1:
            return self._cleaned(parts[0], depth + 1)
        if parts or forms or any(key in schema for key in ("if", "not", "$dynamicRef")):
            raise _Unfit("its schema combines others in a way that providers don't take")
        return {}

    def _type(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        kind = schema.get("type")
        known = kind if isinstance(kind, list) else [] if kind is None else [kind]
        if not all(isinstance(one, str) and one in _TYPES for one in known):
            raise _Unfit(f"its schema has a type {_shown(str(kind))}")
        values = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if values is not None and not (
            isinstance(values, list) and values and all(map(_is_plain, values)) and len(values) <= 200
        ):
            raise _Unfit("its schema lists values that providers don't take")
        return ({"type": kind} if known else {}) | ({} if values is None else {"enum": list(values)})

    def _texts(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if isinstance(text := schema.get("description"), str) and text:
            found["description"] = printable(text[:MAX_DESCRIPTION]).strip()
        if "default" in schema and _is_plain(schema["default"]):
            found["default"] = schema["default"]
        return found


def _limits(schema: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {name: schema[name] for name in _NUMBERS if name in schema}
    return {
        name: number
        for name, number in numbers.items()
        if isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < 1 << 53
    }


def _is_plain(value: Any) -> bool:
    """A value that can stand in a schema as it is."""
    if isinstance(value, str):
        return len(value) <= 200 and printable(value) == value
    return (
        value is None or isinstance(value, bool) or (isinstance(value, int | float) and abs(value) < 1 << 53)
    )


def _shown(text: str) -> str:
    """A server's text on one line of the runtime's own words."""
    text = " ".join(printable(text[:200]).split())
    return f"'{text if len(text) <= 80 else text[:79] + '…'}'"
