"""What GitHub says of its own REST API: which requests it takes, what its answers look like."""

from __future__ import annotations

import functools
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.loopback.github_cut import OPENAPI


def _nullable(item: Any) -> Any:
    """OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    if isinstance(item, list):
        return [_nullable(one) for one in item]
    if not isinstance(item, dict):
        return item
    made = {
        key: _nullable(value) for key, value in item.items() if key != "nullable" or isinstance(value, dict)
    }
    return {"anyOf": [made, {"type": "null"}]} if item.get("nullable") is True else made


@functools.cache
def description() -> dict[str, Any]:
    described: dict[str, Any] = _nullable(json.loads(gzip.decompress(OPENAPI.read_bytes())))
    return described


@functools.cache
def _registry() -> Registry:
    return Registry().with_resource("urn:github", Resource(description(), DRAFT202012))


def _absolute(item: Any) -> Any:
    """A schema whose references lead into the whole description."""
    if isinstance(item, list):
        return [_absolute(one) for one in item]
    if isinstance(item, dict):
        return {
            key: f"urn:github{value}" if key == "$ref" and isinstance(value, str) else _absolute(value)
            for key, value in item.items()
        }
    return item


@dataclass(frozen=True)
class Operation:
    """One request that the API knows."""

    method: str
    template: str
    values: Mapping[str, str]
    """Of the path's parameters."""

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    found = []
    for template in description()["paths"]:
        # A ref and a comparison hold slashes.
        text = re.sub(r"\\\{(ref|basehead)\\\}", r"(?P<\1>.+)", re.escape(template))
        found.append((re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", text)), template))
    return found


def operation(method: str, path: str) -> Operation | None:
    """The operation that a request is for; None where GitHub has none (of those that the subset has)."""
    for pattern, template in _patterns():
        if (found := pattern.fullmatch(path)) and method.lower() in description()["paths"][template]:
            values = {name: unquote(value) for name, value in found.groupdict().items()}
            return Operation(method, template, values)
    return None


def _operation(op: Operation) -> dict[str, Any]:
    return description()["paths"][op.template][op.method.lower()]


def _resolved(item: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in item:
        return item
    _, _, kind, name = item["$ref"].split("/", 3)
    return description()["components"][kind][name]


@functools.cache
def _validator(method: str, template: str, what: str) -> Draft202012Validator | None:
    """`what`: body, a parameter of the query by its name, or an answer's status."""
    described = description()["paths"][template][method.lower()]
    if what == "body":
        part = described.get("requestBody", {})
        schema = part.get("content", {}).get("application/json", {}).get("schema")
    elif what.isdigit():
        part = _resolved(described["responses"][what])
        schema = part.get("content", {}).get("application/json", {}).get("schema")
    else:
        parameters = [_resolved(one) for one in described.get("parameters", [])]
        schema = next(
            (one["schema"] for one in parameters if one["name"] == what and one["in"] == "query"), None
        )
    return None if schema is None else Draft202012Validator(_absolute(schema), registry=_registry())


def request_faults(op: Operation, query: str, body: Any) -> list[str]:
    """Everything in a request that its description does not allow. GitHub passes over what it doesn't know; a client
    that sends it means something by it."""
    found = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        validator = _validator(op.method, op.template, name)
        if validator is None:
            found.append(f"unknown parameter {name}")
        elif not (validator.is_valid(value) or (value.isdigit() and validator.is_valid(int(value)))):
            found.append(f"parameter {name}: {value!r}")
    validator = _validator(op.method, op.template, "body")
    if validator is None:
        return [*found, *(["a body where none is taken"] if body is not None else [])]
    schema = _resolved_body(op)
    if unknown := set(body or {}) - set(schema.get("properties", {})):
        found.append(f"unknown in the body: {', '.join(sorted(unknown))}")
    return found + [
        f"body: {error.json_path}: {error.message[:300]}" for error in validator.iter_errors(body)
    ]


def _resolved_body(op: Operation) -> dict[str, Any]:
    return _resolved(_operation(op)["requestBody"]["content"]["application/json"]["schema"])


def answer_faults(op: Operation, status: int, data: Any) -> list[str]:
    """Everything in an answer of the double that GitHub's would not have."""
    if str(status) not in _operation(op)["responses"]:
        # Limits, and what goes wrong in front of the API, may answer any request.
        return (
            []
            if status in (401, 403, 404, 410, 422, 429, 500, 502, 503)
            else [f"status {status} is not described"]
        )
    validator = _validator(op.method, op.template, str(status))
    if validator is None:
        return []
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(data)]


def example(name: str) -> dict[str, Any]:
    """The least that a component's schema asks for, with empty values."""
    return json.loads(_example_text(name))


@functools.cache
def _example_text(name: str) -> str:
    return json.dumps(_example(description()["components"]["schemas"][name]))


def _example(schema: dict[str, Any]) -> Any:
    schema = _resolved(schema)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            if {"type": "null"} in schema[choice]:
                return None
            return _example(schema[choice][0])
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {key: _example(properties[key]) for key in schema.get("required", []) if key in properties}
    if kind == "string":
        made = {"date-time": "2026-01-01T00:00:00Z", "uri": "https://github.invalid/"}
        return made.get(schema.get("format", ""), "")
    return {"integer": 0, "number": 0, "boolean": False, "array": [], "null": None}[kind]
