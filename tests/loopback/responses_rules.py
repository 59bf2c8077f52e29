"""What the Responses API refuses, and how OpenAI's prompt cache counts. Pure functions on request bodies."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Item = dict[str, Any]

TOP_KEYS = {
    *("access_programs", "background", "background_options", "context_management", "conversation", "image"),
    *("include", "input", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model"),
    *("moderation", "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key"),
    *("prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier"),
    *("store", "stream", "stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs"),
    *("top_p", "truncation", "user"),
}
ITEM_KEYS = {
    "message": {"type", "id", "role", "content", "status", "phase"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
    "function_call": {
        *("type", "id", "call_id", "name", "arguments", "status", "caller", "namespace", "async"),
    },
    "function_call_output": {"type", "id", "call_id", "output", "status", "caller", "name", "namespace"},
}
TOOL_KEYS = {
    *("type", "name", "description", "parameters", "strict"),
    *("allowed_callers", "async", "defer_loading", "output_schema"),
}
PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc"}
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
NAME = r"[a-zA-Z0-9_-]{1,64}"
LONGEST = 10_485_760
"""Characters of one text."""
STRICT_KEYS = {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"),
    *("$ref", "$defs", "title", "description", "pattern", "format", "multipleOf", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "definitions"),
}


def faults(body: Mapping[str, Any], issued: Sequence[Sequence[Item]] = ()) -> list[str]:
    """Everything in a request that the API would refuse; `issued` are the output items of the server's answers."""
    items = body.get("input")
    if not isinstance(items, list) or not items:
        return [*_top(body), "input: must be a list that is not empty"]
    return [
        *_top(body),
        *tool_faults(body.get("tools", [])),
        *(fault for place, item in enumerate(items) for fault in _item(f"input[{place}]", item)),
        *_ids(items),
        *_pairs(items),
        *_reasoning(items, issued),
    ]


def _top(body: Mapping[str, Any]) -> Iterator[str]:
    for key in body.keys() - TOP_KEYS:
        yield f"Unknown parameter: '{key}'."
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "Missing required parameter: 'model'."
    if body.get("stream") is not True:
        yield "stream: this agent always streams"
    include = body.get("include", ["reasoning.encrypted_content"])
    if body.get("store") is not False or include != ["reasoning.encrypted_content"]:
        yield "store: this agent keeps nothing at the provider's"
    if not isinstance(body.get("max_output_tokens", 16), int) or body.get("max_output_tokens", 16) < 16:
        yield "max_output_tokens: integer below minimum value"
    if len(body.get("prompt_cache_key", "")) > 64:
        yield "prompt_cache_key: string too long"
    reasoning = body.get("reasoning", {"effort": "low"})
    if reasoning.keys() - {"effort", "summary"} or reasoning.get("effort", "low") not in EFFORTS:
        yield f"reasoning: Unsupported value: {reasoning}"
    if "parallel_tool_calls" in body and not body.get("tools"):
        yield "'parallel_tool_calls' is only allowed when 'tools' are specified."
    if not isinstance(body.get("instructions", ""), str):
        yield "instructions: must be a text"
    if (form := body.get("text", {}).get("format")) is not None:
        keys = {"type", "name", "schema", "strict", "description"}
        if form.get("type") != "json_schema" or form.keys() - keys:
            yield f"text.format: {sorted(form)}"
        yield from form_faults(form)
    yield from too_long(body)


def too_long(value: Any) -> Iterator[str]:
    if isinstance(value, str) and len(value) > LONGEST:
        yield f"string too long: Expected a maximum length of {LONGEST}"
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from too_long(one)
    elif isinstance(value, list):
        for one in value:
            yield from too_long(one)


def form_faults(form: Mapping[str, Any]) -> Iterator[str]:
    """A structured answer's form: its name, and a schema that strict mode takes where it is strict."""
    if not re.fullmatch(NAME, form.get("name", "")):
        yield "json_schema.name: does not match the pattern"
    schema = form.get("schema")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        yield "Invalid schema for response_format: schema must be of type object"
    elif form.get("strict"):
        yield from strict_faults(schema)


def strict_faults(schema: Mapping[str, Any], where: str = "()") -> Iterator[str]:
    """What strict mode refuses in a schema."""
    if unknown := schema.keys() - STRICT_KEYS:
        yield f"In context={where}, {sorted(unknown)} is not permitted."
    if not schema.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
        yield f"In context={where}, schema must have a 'type' key."
    kinds = schema.get("type", [])
    if "object" in ([kinds] if isinstance(kinds, str) else kinds):
        if schema.get("additionalProperties") is not False:
            yield f"In context={where}, 'additionalProperties' is required to be supplied and to be false."
        if sorted(schema.get("required", [])) != sorted(schema.get("properties", {})):
            yield f"In context={where}, 'required' must include every key in properties."
    for key in ("properties", "$defs", "definitions"):
        for name, one in schema.get(key, {}).items():
            yield from strict_faults(one, f"{where}.{name}")
    for one in [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]:
        yield from strict_faults(one, f"{where}[]")


def tool_faults(tools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = [tool.get("name", "") for tool in tools]
    if len(set(names)) != len(names):
        yield "tools: names must be unique"
    for tool in tools:
        where = f"tools.{tool.get('name')}"
        if tool.get("type") != "function" or tool.keys() - TOOL_KEYS:
            yield f"{where}: Unknown parameter: {sorted(tool.keys() - TOOL_KEYS)}"
        if not re.fullmatch(NAME, tool.get("name", "")):
            yield f"{where}: name does not match the pattern"
        parameters = tool.get("parameters")
        if not isinstance(parameters, dict) or parameters.get("type") != "object":
            yield f"{where}: Invalid schema for function: type must be object"
        elif tool.get("strict", True):  # the API's own default
            yield from strict_faults(parameters, where)


def _item(where: str, item: Mapping[str, Any]) -> Iterator[str]:
    kind = item.get("type", "message")
    if kind not in ITEM_KEYS:
        yield f"{where}: Invalid value: '{kind}'"
        return
    if item.keys() - ITEM_KEYS[kind]:
        yield f"Unknown parameter: '{where}.{sorted(item.keys() - ITEM_KEYS[kind])[0]}'."
    for key, value in item.items():
        if value is None:
            yield f"Invalid type for '{where}.{key}': got null instead."
    if "id" in item and not str(item["id"]).startswith(PREFIXES.get(kind, "")):
        yield f"Invalid '{where}.id': expected an ID that begins with '{PREFIXES[kind]}'."
    match kind:
        case "message":
            yield from _message(where, item)
        case "function_call":
            if not re.fullmatch(NAME, item.get("name", "")):
                yield f"{where}.name: does not match the pattern"
            if not isinstance(item.get("arguments"), str):
                yield f"Invalid type for '{where}.arguments': expected a string"
        case "function_call_output":
            if not isinstance(item.get("output"), str) or not item["output"].strip():
                yield f"{where}: an output without text"
        case "reasoning":
            if not isinstance(item.get("summary"), list):
                yield f"Missing required parameter: '{where}.summary'."


def _message(where: str, item: Mapping[str, Any]) -> Iterator[str]:
    if item.get("role") not in ("user", "assistant", "system", "developer"):
        yield f"{where}.role: {item.get('role')}"
    content = item.get("content")
    if isinstance(content, str):
        parts = [{"type": "input_text", "text": content}]
    elif isinstance(content, list) and content:
        parts = content
        wanted = {"output_text", "refusal"} if item.get("role") == "assistant" else {"input_text"}
        for part in parts:
            if part.get("type") not in wanted:
                yield f"{where}.content: Invalid value: '{part.get('type')}'"
    else:
        yield f"{where}.content: must be a text or a list that is not empty"
        return
    if not any(part.get("text", part.get("refusal", "")).strip() for part in parts):
        yield f"{where}: a blank message"


def _ids(items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    own = [item["id"] for item in items if "id" in item]
    for one in {one for one in own if own.count(one) > 1}:
        yield f"Duplicate item found with id {one}."
    calls = [item.get("call_id", "") for item in items if item.get("type") == "function_call"]
    for one in {one for one in calls if calls.count(one) > 1}:
        yield f"Duplicate call_id {one}."
    for one in calls:
        if not 1 <= len(one) <= 64:
            yield f"Invalid 'call_id': string too long. Expected a maximum length of 64, got {len(one)}."


def _pairs(items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    asked: list[str] = []
    for item in items:
        if item.get("type") == "function_call":
            asked.append(item.get("call_id", ""))
        elif item.get("type") == "function_call_output":
            if item.get("call_id") in asked:
                asked.remove(item["call_id"])
            else:
                yield f"No tool call found for function call output with call_id {item.get('call_id')}."
    for one in asked:
        yield f"No tool output found for function call {one}."


def _reasoning(items: Sequence[Mapping[str, Any]], issued: Sequence[Sequence[Item]]) -> Iterator[str]:
    """Reasoning comes back as it was given, before what it led to; a call that it led to never without it."""
    known = [
        (item, [_plain(one) for one in answer[place + 1 :]])
        for answer in issued
        for place, item in enumerate(answer)
        if item["type"] == "reasoning"
    ]
    for place, item in enumerate(items):
        if item.get("type") != "reasoning":
            continue
        found = [rest for one, rest in known if _plain(one) == _plain(item)]
        if not found:
            yield f"The encrypted content for item {item.get('id')} could not be verified."
        elif items[place + 1 : place + 2] != found[0][:1]:
            yield f"Item '{item['id']}' of type 'reasoning' was provided without its required following item."
    for answer in issued:
        for place, call in enumerate(answer):
            thoughts = [one["id"] for one in answer[:place] if one["type"] == "reasoning"]
            back = [at for at, item in enumerate(items) if item.get("call_id") == call.get("call_id")]
            if call["type"] != "function_call" or not back:
                continue
            before = [item.get("id") for item in items[: back[0]] if item.get("type") == "reasoning"]
            if missing := [one for one in thoughts if one not in before]:
                yield f"Item '{call['id']}' was provided without its required 'reasoning' item: '{missing[0]}'."


def _plain(item: Mapping[str, Any]) -> Item:
    return {key: value for key, value in item.items() if value is not None}


def cached_tokens(body: Mapping[str, Any], turns: Sequence[Any], cache: set[str]) -> tuple[int, int]:
    """Input tokens (a quarter of the characters), and those read from the cache, which is updated: prefixes of 1024
    tokens and more in steps of 128, apart for each prompt_cache_key."""
    head = [body.get("model"), body.get("instructions"), body.get("tools")]
    text = "".join(json.dumps(one, sort_keys=True) for one in [head, *turns])
    key = body.get("prompt_cache_key", "")
    steps = {
        tokens: hashlib.sha256(f"{key}\n{text[: tokens * 4]}".encode()).hexdigest()
        for tokens in range(1024, len(text) // 4 + 1, 128)
    }
    read = max((tokens for tokens, prefix in steps.items() if prefix in cache), default=0)
    cache.update(steps.values())
    return len(text) // 4, read
