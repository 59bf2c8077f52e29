"""Tool calls as models make them: mended where that is sure, and the same failing call noticed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent.models.extract import repaired_arguments
from agent.models.provider import INVALID_JSON
from agent.types import ToolCall, ToolResult, ToolSpec


def mended(call: ToolCall, spec: ToolSpec) -> ToolCall:
    """`call` with arguments that its tool takes, if nothing has to be guessed for it; else `call` itself.

    JSON is dug out of fences, prose or a second encoding, and a value sent as its JSON text ("5", "true", "[...]")
    becomes that value where the schema asks for one.
    """
    schema = spec.input_schema
    if INVALID_JSON in call.arguments:
        found = repaired_arguments(str(call.arguments[INVALID_JSON]), schema)
        return call if found is None else replace(call, arguments=found)
    properties = schema.get("properties", {})
    changed = {}
    for name, value in call.arguments.items():
        wanted = properties.get(name, {}).get("type")
        if isinstance(value, str) and wanted in ("integer", "number", "boolean", "array", "object"):
            meant = _meant(value, properties[name])
            if meant is not None:
                changed[name] = meant
    return replace(call, arguments={**call.arguments, **changed}) if changed else call


def _meant(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON value that a string holds, if the schema takes it; else None."""
    from jsonschema import Draft202012Validator

    try:
        value = json.loads(text)
        # NaN and lone surrogates can be read, but not sent
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if Draft202012Validator(schema).is_valid(value) else None


def not_json(call: ToolCall, spec: ToolSpec) -> ToolResult:
    """The answer to a call whose arguments no mending makes a JSON object: what came, and what was expected."""
    raw = str(call.arguments[INVALID_JSON])
    try:
        json.loads(raw)
        fault = "they are not an object"
    except (ValueError, RecursionError) as error:
        fault = str(error)
    required = spec.input_schema.get("required", ())
    names = ", ".join(
        f"{name} ({property.get('type', 'any')}{', required' if name in required else ''})"
        for name, property in spec.input_schema.get("properties", {}).items()
    )
    shown = raw if len(raw) <= 300 else f"{raw[:200]} … {raw[-80:]}"
    text = (
        f"{call.name}: the arguments are not valid JSON: {fault}. What came, {len(raw)} characters: {shown}\n"
        f"Send one JSON object with {names or 'no arguments'}."
    )
    return ToolResult(call.id, call.name, text, is_error=True, refused=True)


_AGAIN = "\n\n[This same call has now failed {} times in the same way. Sending it again will not help.]"
_AGAIN_RE = re.compile(re.escape(_AGAIN).replace(re.escape("{}"), r"\d+") + r"\Z")


def digest(*parts: Any) -> str:
    """Equal for equal JSON-like values, of any size; by it calls and results are told apart."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class Repeats:
    """Calls of one attempt that failed, and how often the same one failed in the same way."""

    _failed: dict[str, int] = field(default_factory=dict)

    def noticed(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """`result`, with a word on it when this very call has failed with this very text before."""
        if not result.is_error:
            return result
        key = digest(call.name, call.arguments, result.text)
        times = self._failed[key] = self._failed.get(key, 0) + 1
        return result if times == 1 else replace(result, text=result.text + _AGAIN.format(times))


def without_word(text: str) -> str:
    """A logged result's text as the tool gave it, without the word of `Repeats`."""
    return _AGAIN_RE.sub("", text)
