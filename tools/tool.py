"""What a tool is, and the check of its arguments."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tools.text import nearest

if TYPE_CHECKING:
    from tools.workspace import Workspace


class ToolError(Exception):
    """What the model can mend. Its text says the fault and the way."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool answers: text for a model, data for a program."""

    text: str
    data: Mapping[str, Any] | None = None
    is_error: bool = False


class Call:
    """One call under way; `cancelled` is set when the client no longer wants it."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    run: Callable[[Workspace, Call, dict[str, Any]], Result]
    properties: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """JSON Schema by argument; of it `type`, `items.type`, `minimum` and `maximum` are checked."""
    required: tuple[str, ...] = ()
    changes: bool = False
    """True when it may change the workspace."""

    def listed(self) -> dict[str, Any]:
        """The tool as `tools/list` tells it."""
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": self.properties,
                "required": list(self.required),
                "additionalProperties": False,
            },
            "annotations": {"readOnlyHint": not self.changes, "openWorldHint": False},
        }

    def checked(self, arguments: object) -> dict[str, Any]:
        """As the function `checked`."""
        return checked(self.name, self.properties, self.required, arguments)


def checked(
    tool: str, properties: Mapping[str, Mapping[str, Any]], required: Sequence[str], arguments: object
) -> dict[str, Any]:
    """The arguments of a call, valid by the tool's schema and without those that are null.

    Raises ToolError that names each fault and what is expected.
    """
    parts = [
        f"{name}: {_type_name(schema)}" + ("" if name in required else " (optional)")
        for name, schema in properties.items()
    ]
    usage = f"{tool}({', '.join(parts)})"
    if not isinstance(arguments, dict):
        raise ToolError(f"{tool} takes an object of arguments: {usage}")
    faults: list[str] = []
    good: dict[str, Any] = {}
    for name, value in arguments.items():
        schema = properties.get(name)
        if schema is None:
            near = nearest(name, properties, 1)
            faults.append(f"there is no argument {name!r}" + (f", perhaps {near[0]!r}" if near else ""))
        elif value is not None:
            fault, value = _check(value, schema)
            if fault:
                faults.append(f"{name!r} {fault}")
            good[name] = value
    faults += [f"{name!r} is missing" for name in required if arguments.get(name) is None]
    if faults:
        raise ToolError(f"{tool}: {'; '.join(faults)}. Usage: {usage}")
    return good


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
}


def _type_name(schema: Mapping[str, Any]) -> str:
    return f"array of {schema['items']['type']}s" if schema["type"] == "array" else str(schema["type"])


def _check(value: Any, schema: Mapping[str, Any]) -> tuple[str, Any]:
    """The fault ("" when there is none), and the value as the tool takes it."""
    kind = schema["type"]
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if fits and kind == "array":
        fits = all(_check(item, schema["items"])[0] == "" for item in value)
    if not fits:
        got = {dict: "object", list: "array", str: "string", bool: "boolean"}.get(type(value), "number")
        came = json.dumps(value)
        came = came if len(came) <= 60 else f"{came[:59]}…"
        return f"must be {_article(_type_name(schema))}, not {_article(got)}: {came}", value
    if kind == "string":
        try:
            value.encode()
        except UnicodeEncodeError:
            return "holds a lone surrogate, which is no valid text", value
    if kind in ("integer", "number"):
        low, high = schema.get("minimum"), schema.get("maximum")
        # Written so that NaN does not fit either.
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = f"at least {low}" if high is None else f"from {low} to {high}"
            return f"must be {bounds}, not {value}", value
    return "", value


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
