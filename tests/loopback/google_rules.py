"""What generateContent refuses, and how its implicit cache counts. Pure functions on request bodies."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Part = dict[str, Any]

TOP_KEYS = {
    *("contents", "tools", "toolConfig", "safetySettings", "systemInstruction", "generationConfig"),
    *("cachedContent", "model"),
}
"""`model` is in the path; the dialect puts it into the body."""
CACHE_KEYS = {
    "model",
    "displayName",
    "systemInstruction",
    "tools",
    "toolConfig",
    "contents",
    "ttl",
    "expireTime",
}
SKIP = base64.b64encode(b"skip_thought_signature_validator").decode()
LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
DATA = ("text", "functionCall", "functionResponse")


def faults(
    body: Mapping[str, Any], issued: Sequence[Sequence[Part]] = (), window: int = 1_048_576
) -> list[str]:
    """Everything in a request that the API would refuse.

    `issued` are the parts of the server's earlier answers: signatures must come back where they were.
    """
    contents = body.get("contents", [])
    found = [*_top(body), *_tools(body.get("tools", [])), *_contents(contents)]
    if not found:  # the rest reads parts that have their shape
        found = [*_pairs(contents), *_signatures(contents, issued), *_missing(body["model"], contents)]
    size = tokens(body)
    if size > window:
        found.append(
            f"The input token count ({size}) exceeds the maximum number of tokens allowed ({window})."
        )
    return found


def cache_faults(body: Mapping[str, Any], least: int) -> list[str]:
    """What cachedContents.create refuses."""
    found = [f"Unknown name {key!r}: Cannot find field." for key in sorted(body.keys() - CACHE_KEYS)]
    found += _tools(body.get("tools", []))
    if not re.fullmatch(r"\d+(\.\d+)?s", body.get("ttl", "")):
        found.append(f"ttl: not a duration: {body.get('ttl')}")
    if tokens(body) < least:
        found.append(
            f"Cached content is too small. total_token_count={tokens(body)}, min_total_token_count={least}"
        )
    return found


def _valid(kind: str, value: Any) -> Iterator[str]:
    """The SDK's own types know the fields; they forbid any other."""
    from google.genai import types
    from pydantic import ValidationError

    try:
        getattr(types, kind).model_validate_json(json.dumps(value))
    except ValidationError as error:
        for one in error.errors():
            yield f"Invalid value at {kind}.{'.'.join(map(str, one['loc']))}: {one['msg']}"


def _top(body: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(body.keys() - TOP_KEYS):
        yield f"Unknown name {key!r}: Cannot find field."
    config = body.get("generationConfig", {})
    yield from _valid("GenerationConfig", config)
    if "systemInstruction" in body:
        yield from _valid("Content", body["systemInstruction"])
    # Inside of what the SDK passes through, names have either spelling; the API takes both.
    thinking = {
        key.replace("_", "").lower(): value for key, value in config.get("thinkingConfig", {}).items()
    }
    if thinking.keys() >= {"thinkinglevel", "thinkingbudget"}:
        yield "You can only set only one of thinking budget and thinking level."
    if thinking.get("thinkinglevel", "LOW") not in LEVELS:
        yield f"Invalid value at thinking_level: {thinking['thinkinglevel']}"
    schema = {"responseSchema", "responseJsonSchema"} & config.keys()
    if schema and config.get("responseMimeType") != "application/json":
        yield "response_schema needs response_mime_type application/json"
    if body.get("tools") and config.get("responseMimeType", "text/plain") != "text/plain":
        yield "Function calling with a response mime type: 'application/json' is unsupported"
    if "cachedContent" in body and {"systemInstruction", "tools", "toolConfig"} & body.keys():
        yield (
            "CachedContent can not be used with GenerateContent request setting system_instruction, tools or"
            " tool_config."
        )


def _tools(tools: Sequence[Any]) -> Iterator[str]:
    for tool in tools:
        yield from _valid("Tool", tool)
    declared = [one for tool in tools for one in tool.get("functionDeclarations", [])]
    names = [one.get("name", "") for one in declared]
    for name in names:
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}", name):
            yield f"Invalid function name: {name!r}"
    if len(set(names)) != len(names):
        yield "Duplicate function declaration found"
    for one in declared:
        schema = one.get("parameters_json_schema") or one.get("parametersJsonSchema") or {"type": "object"}
        if schema.get("type") != "object":
            yield f"{one.get('name')}: parameters schema should be of type OBJECT"


def _contents(contents: Sequence[Any]) -> Iterator[str]:
    if not contents:
        yield "contents is not specified"
        return
    for number, content in enumerate(contents):
        yield from _valid("Content", content)
        if content.get("role") != ("user", "model")[number % 2]:
            yield f"contents[{number}]: roles must alternate, the user first"
        if not content.get("parts"):
            yield f"contents[{number}].parts must not be empty."
        for part in content.get("parts", []):
            data = [key for key in DATA if key in part]
            if len(data) != 1 or (part.get("text") == "" and "thoughtSignature" not in part):
                yield f"contents[{number}].parts: required oneof field 'data' must have one initialized field"
    if contents[-1].get("role") != "user":
        yield "Please ensure that the conversation ends with a user turn."


def _pairs(contents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    calls: list[Part] = []
    for number, content in enumerate(contents):
        answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        if len(answers) != len(calls):
            yield (
                f"contents[{number}]: Please ensure that the number of function response parts is equal to the number"
                " of function call parts of the function call turn."
            )
        for call, answer in zip(calls, answers, strict=False):
            if (call.get("id"), call["name"]) != (answer.get("id"), answer.get("name")):
                yield f"contents[{number}]: {answer.get('name')} {answer.get('id')} is not what {call} asked for"
            if answer.get("response", {}).keys() not in ({"output"}, {"error"}):
                yield f"contents[{number}]: a function response holds output or error"
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        ids = [call["id"] for call in calls if "id" in call]
        if len(set(ids)) != len(ids) or seen & set(ids):
            yield f"contents[{number}]: duplicate function call ids"
        seen.update(ids)


def _signatures(contents: Sequence[Mapping[str, Any]], issued: Sequence[Sequence[Part]]) -> Iterator[str]:
    """What bears a signature comes back unchanged, whole and in its order."""
    known = {part["thoughtSignature"] for parts in issued for part in parts if "thoughtSignature" in part}
    for number, content in enumerate(contents):
        given = [plain(part) for part in content["parts"] if signature(part) not in ("", SKIP)]
        if content["role"] == "user" and any(signature(part) for part in content["parts"]):
            yield f"contents[{number}]: thought signature in a user turn"
        for part in given:
            if part["thoughtSignature"] not in known:
                yield f"contents[{number}]: Thought signature is not valid."
        due = [
            plain(part)
            for parts in issued
            if _same(content, parts)
            for part in parts
            if "thoughtSignature" in part
        ]
        if given != due:
            yield f"contents[{number}]: Corrupted thought signature: {given} came back for {due}"


def _same(content: Mapping[str, Any], parts: Sequence[Part]) -> bool:
    """Whether this turn of the request is that answer of the server."""
    ids = {part["functionCall"].get("id") for part in parts if "functionCall" in part} - {None}
    signed = {part["thoughtSignature"] for part in parts if "thoughtSignature" in part}
    return any(
        signature(part) in signed or ("functionCall" in part and part["functionCall"].get("id") in ids)
        for part in content["parts"]
    )


def _missing(model: str, contents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The first call of each step since the user's last text needs a signature, from Gemini 3 on."""
    if model.startswith(("gemini-1", "gemini-2")):
        return
    last = max(
        (n for n, one in enumerate(contents) if one["role"] == "user" and "text" in one["parts"][-1]),
        default=0,
    )
    for number, content in enumerate(contents):
        calls = [part for part in content["parts"] if "functionCall" in part]
        if number > last and calls and not signature(calls[0]):
            yield f"contents[{number}]: Function call is missing a thought_signature in functionCall parts."


def signature(part: Mapping[str, Any]) -> str:
    """A part's signature in plain base64: the SDK writes the other alphabet."""
    return str(part.get("thoughtSignature", "")).replace("-", "+").replace("_", "/")


def plain(part: Part) -> Part:
    return {**part, "thoughtSignature": signature(part)}


def tokens(body: Mapping[str, Any]) -> int:
    """A quarter of the characters of what is read."""
    keys = ("tools", "systemInstruction", "contents")
    return sum(len(json.dumps(body[key], ensure_ascii=False)) for key in keys if key in body) // 4


def implicit(body: Mapping[str, Any], cache: set[str], least: int) -> int:
    """Tokens that the implicit cache reads; `cache` holds the prefixes of earlier requests and is updated."""
    text = json.dumps([body["model"], body.get("tools"), body.get("systemInstruction")], sort_keys=True)
    read = 0
    for content in [None, *body["contents"]]:
        text += json.dumps(content, sort_keys=True) if content else ""
        if text in cache:
            read = len(text) // 4
        cache.add(text)
    return min(read, tokens(body)) if read >= least else 0
