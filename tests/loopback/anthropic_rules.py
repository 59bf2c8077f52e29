"""What the Messages API refuses, and how its prompt cache counts. Pure functions on request bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Block = dict[str, Any]

TOP_KEYS = {
    *(
        "model",
        "max_tokens",
        "messages",
        "stream",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
    ),
    *("cache_control", "stop_sequences", "metadata", "service_tier", "speed", "container", "diagnostics"),
    "inference_geo",
}
BLOCK_KEYS = {
    "text": {"type", "text", "cache_control", "citations"},
    "tool_use": {"type", "id", "name", "input", "cache_control", "caller"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
}
ROLE_TYPES = {
    "user": {"text", "tool_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
}
TOOL_KEYS = {"name", "description", "input_schema", "cache_control", "type", "strict"}
THINKING = {"thinking", "redacted_thinking"}
EFFORTS = ("low", "medium", "high", "xhigh", "max")


def faults(body: Mapping[str, Any], issued: Sequence[Sequence[Block]] = ()) -> list[str]:
    """Everything in a request that the API would refuse.

    `issued` are the contents of the server's earlier answers: thinking must come back as it was given.
    """
    return [
        *_top(body),
        *_tools(body.get("tools", [])),
        *_messages(body.get("messages", [])),
        *_pairs(body.get("messages", [])),
        *_cache_controls(body),
        *_thinking(body.get("messages", []), issued),
    ]


def _top(body: Mapping[str, Any]) -> Iterator[str]:
    for key in body.keys() - TOP_KEYS:
        yield f"{key}: Extra inputs are not permitted"
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "model: Field required"
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        yield "max_tokens: must be a positive integer"
    if body.get("stream") is not True:
        yield "stream: this agent always streams"
    thinking = body.get("thinking") or {"type": "disabled"}
    if thinking.get("type") == "enabled":
        if not 1024 <= thinking.get("budget_tokens", 0) < body.get("max_tokens", 0):
            yield f"thinking.budget_tokens: {thinking} must be at least 1024 and less than max_tokens"
    elif thinking not in ({"type": "disabled"}, {"type": "adaptive"}):
        yield f"thinking: {thinking}"
    schema = body.get("output_config", {}).get("format", {"type": "json_schema", "schema": {}})
    if schema.keys() != {"type", "schema"} or schema["type"] != "json_schema":
        yield f"output_config.format: {schema}"
    if body.get("output_config", {}).get("effort", "low") not in EFFORTS:
        yield f"output_config: {body['output_config']}"
    for block in body.get("system", []):
        yield from _block("system", block)


def _tools(tools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = [tool.get("name", "") for tool in tools]
    if len(set(names)) != len(names):
        yield "tools: Tool names must be unique."
    for tool in tools:
        where = f"tools.{tool.get('name')}"
        if tool.keys() - TOOL_KEYS:
            yield f"{where}: Extra inputs are not permitted: {sorted(tool.keys() - TOOL_KEYS)}"
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool.get("name", "")):
            yield f"{where}: name does not match the pattern"
        if not isinstance(tool.get("input_schema"), dict) or tool["input_schema"].get("type") != "object":
            yield f"{where}: input_schema.type must be object"


def _messages(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not messages or messages[0].get("role") != "user":
        yield "messages: first message must use the user role"
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        if message.keys() != {"role", "content"} or message["role"] not in ROLE_TYPES:
            yield f"{where}: not a message: {sorted(message)}"
            continue
        if number and message["role"] == messages[number - 1].get("role"):
            yield f"{where}: roles must alternate"
        content = message["content"]
        if not isinstance(content, list) or not content:
            yield f"{where}: content must be a list that is not empty"
            continue
        for block in content:
            if block.get("type") not in ROLE_TYPES[message["role"]]:
                yield f"{where}: {message['role']} message with a {block.get('type')} block"
            else:
                yield from _block(where, block)
        if content[-1].get("type") in THINKING:
            yield f"{where}: the final block in an assistant message cannot be thinking"


def _block(where: str, block: Mapping[str, Any]) -> Iterator[str]:
    kind = block["type"]
    if block.keys() - BLOCK_KEYS[kind]:
        yield f"{where}.{kind}: Extra inputs are not permitted: {sorted(block.keys() - BLOCK_KEYS[kind])}"
    if kind == "text" and not block.get("text", "").strip():
        yield f"{where}: text content blocks must contain non-whitespace text"
    if kind == "tool_use" and not isinstance(block.get("input"), dict):
        yield f"{where}: tool_use.input must be an object"
    if kind == "tool_result" and (not isinstance(block.get("content"), str) or not block["content"].strip()):
        yield f"{where}: tool_result without content"
    if kind == "thinking" and not block.get("signature"):
        yield f"{where}: thinking.signature: Field required"


def _pairs(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    asked: list[str] = []
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        kinds = [block.get("type") for block in message["content"]]
        results = [block.get("tool_use_id") for block in message["content"] if block["type"] == "tool_result"]
        if sorted(results) != sorted(asked):
            yield f"{where}: tool_use ids {asked} were answered by tool_result blocks {results}"
        if results and "tool_result" in kinds[len(results) :]:
            yield f"{where}: tool_result blocks must come first"
        asked = [block.get("id") for block in message["content"] if block["type"] == "tool_use"]
        if len(set(asked)) != len(asked) or seen & set(asked):
            yield f"{where}: tool_use ids must be unique"
        seen.update(asked)
    if asked:
        yield f"messages: tool_use ids without tool_result blocks: {asked}"


def _cache_controls(body: Mapping[str, Any]) -> Iterator[str]:
    marks = [block["cache_control"] for _, block in _prefix(body) if "cache_control" in block]
    if len(marks) > 4:
        yield f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}."
    for mark in marks:
        if mark.get("type") != "ephemeral" or mark.keys() - {"type", "ttl"}:
            yield f"cache_control: {mark}"
        if mark.get("ttl", "5m") not in ("5m", "1h"):
            yield f"cache_control.ttl: {mark['ttl']}"
    lives = [mark.get("ttl", "5m") for mark in marks]
    if lives != sorted(lives):
        yield "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"


def _thinking(messages: Sequence[Mapping[str, Any]], issued: Sequence[Sequence[Block]]) -> Iterator[str]:
    for number, message in enumerate(messages):
        thinking = [block for block in message["content"] if block["type"] in THINKING]
        ids = {block["id"] for block in message["content"] if block["type"] == "tool_use"}
        sources = [
            [block for block in content if block["type"] in THINKING]
            for content in issued
            if ids & {block.get("id") for block in content} or any(block in content for block in thinking)
        ]
        if (thinking or sources) and thinking != [block for source in sources for block in source]:
            yield f"messages.{number}: thinking blocks in an assistant message cannot be modified"


def _prefix(body: Mapping[str, Any]) -> Iterator[tuple[str, Block]]:
    """All blocks in the order in which the cache reads them."""
    yield from (("tools", tool) for tool in body.get("tools", []))
    yield from (("system", block) for block in body.get("system", []))
    for message in body.get("messages", []):
        yield from ((message["role"], block) for block in message["content"])


def cached_usage(body: Mapping[str, Any], cache: set[str], least: int = 0) -> dict[str, Any]:
    """Input tokens (a quarter of the characters) by the cache's rules; `cache` holds prefixes and is updated.

    A breakpoint writes the prefix up to it, for five minutes or an hour. It reads the longest prefix written before
    that ends at most 20 blocks in front of it. Each model has its own, and what is shorter than `least` tokens is not
    cached.
    """
    own = json.dumps(body["model"])
    prefixes: list[str] = [""]
    ends = [0]
    marks = []
    hour = 0
    for where, block in _prefix(body):
        plain = {key: value for key, value in block.items() if key != "cache_control"}
        prefixes.append(prefixes[-1] + json.dumps([where, plain], sort_keys=True))
        ends.append(len(prefixes[-1]) // 4)
        if "cache_control" in block and ends[-1] >= least:
            marks.append(len(ends) - 1)
            if block["cache_control"].get("ttl") == "1h":
                hour = ends[-1]
    near = {place for mark in marks for place in range(max(1, mark - 20), mark + 1)}
    read = max((ends[place] for place in near if own + prefixes[place] in cache), default=0)
    written = ends[marks[-1]] if marks else 0
    cache.update(own + prefixes[mark] for mark in marks)
    return {
        "input_tokens": ends[-1] - written,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written - read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written - max(read, hour),
            "ephemeral_1h_input_tokens": max(0, hour - read),
        },
    }
