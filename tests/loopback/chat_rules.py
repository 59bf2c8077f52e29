"""What Chat Completions servers refuse, each in its flavour. Pure functions on request bodies."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from tests.loopback.responses_rules import EFFORTS, NAME, form_faults, strict_faults, too_long

Flavour = Literal["openai", "ollama", "vllm", "llama.cpp", "openrouter", "deepseek"]

TOP_KEYS = {
    *("audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs"),
    *(
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "moderation",
        "n",
    ),
    *("parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier", "seed"),
    *("service_tier", "stop", "store", "stream", "stream_options", "temperature", "tool_choice", "tools"),
    *("top_logprobs", "top_p", "user", "verbosity", "web_search_options"),
}
MESSAGE_KEYS = {
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls", "refusal", "audio", "function_call"},
    "tool": {"role", "content", "tool_call_id"},
}
STRICT_TURNS = ("vllm", "llama.cpp")
"""Servers whose chat templates insist that user and assistant alternate."""
ONLY_MAX_TOKENS = ("ollama", "llama.cpp", "deepseek")


def faults(body: Mapping[str, Any], issued: Sequence[Any] = (), flavour: Flavour = "openai") -> list[str]:
    """Everything in a request that such a server would refuse; `issued` are its earlier answers' messages."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return [*_top(body, flavour), "messages: must be a list that is not empty"]
    return [
        *_top(body, flavour),
        *_tools(body.get("tools", [])),
        *(
            fault
            for place, one in enumerate(messages)
            for fault in _message(f"messages[{place}]", one, flavour)
        ),
        *_turns(messages, flavour),
        *_pairs(messages, flavour),
        *_returned(messages, issued, flavour),
    ]


def _top(body: Mapping[str, Any], flavour: Flavour) -> Iterator[str]:
    for key in body.keys() - TOP_KEYS:
        yield f"Unrecognized request argument supplied: {key}"
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "you must provide a model parameter"
    if body.get("stream") is not True or body.get("stream_options") != {"include_usage": True}:
        yield "stream: this agent always streams, with usage"
    if flavour == "openai" and "max_tokens" in body:
        yield "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    if flavour in ONLY_MAX_TOKENS and "max_completion_tokens" in body:
        yield "max_completion_tokens: this server does not know it"
    if body.get("reasoning_effort", "low") not in EFFORTS:
        yield f"reasoning_effort: Unsupported value: {body['reasoning_effort']}"
    if "parallel_tool_calls" in body and not body.get("tools"):
        yield "'parallel_tool_calls' is only allowed when 'tools' are specified."
    if "tools" in body and not body["tools"]:
        yield "[] is too short - 'tools'"
    if (form := body.get("response_format")) is not None:
        if form.keys() != {"type", "json_schema"} or form["type"] != "json_schema":
            yield f"response_format: {form}"
        else:
            yield from form_faults(form["json_schema"])
    yield from too_long(body)


def _tools(tools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = [tool.get("function", {}).get("name", "") for tool in tools]
    if len(set(names)) != len(names):
        yield "tools: names must be unique"
    for tool in tools:
        function = tool.get("function", {})
        where = f"tools.{function.get('name')}"
        if tool.keys() != {"type", "function"} or tool["type"] != "function":
            yield f"{where}: not a tool: {sorted(tool)}"
        if function.keys() - {"name", "description", "parameters", "strict"}:
            yield f"{where}: Additional properties are not allowed"
        if not re.fullmatch(NAME, function.get("name", "")):
            yield f"{where}: name does not match the pattern"
        parameters = function.get("parameters")
        if not isinstance(parameters, dict) or parameters.get("type") != "object":
            yield f"{where}: Invalid schema for function: type must be object"
        elif function.get("strict"):
            yield from strict_faults(parameters, where)


def _message(where: str, message: Mapping[str, Any], flavour: Flavour) -> Iterator[str]:
    role = message.get("role")
    if role not in MESSAGE_KEYS:
        yield f"{where}: not a message: {sorted(message)}"
        return
    known = MESSAGE_KEYS[role] | ({"reasoning_content"} if flavour == "deepseek" else set())
    if message.keys() - known:
        yield f"{where}: Additional properties are not allowed: {sorted(message.keys() - known)}"
    content, calls = message.get("content"), message.get("tool_calls")
    if "content" not in message or (content is None and not calls):
        yield f"{where}: content is required"
    elif content is not None and (not isinstance(content, str) or not content.strip()):
        yield f"{where}: blank content"
    if calls is not None and not calls:
        yield f"{where}: [] is too short - 'tool_calls'"
    for call in calls or []:
        yield from _call(where, call, flavour)


def _call(where: str, call: Mapping[str, Any], flavour: Flavour) -> Iterator[str]:
    function = call.get("function", {})
    if call.get("type") != "function" or function.keys() != {"name", "arguments"}:
        yield f"{where}: not a tool call: {sorted(call)}"
        return
    if not isinstance(function["arguments"], str) or not _is_object(function["arguments"]):
        yield f"{where}: the arguments of a tool call must be the text of a JSON object"  # templates read them
    if not re.fullmatch(NAME, function["name"]):
        yield f"{where}: name does not match the pattern"
    longest = 40 if flavour == "openai" else 64
    if not 1 <= len(call.get("id") or "") <= longest:
        yield f"{where}: Invalid id: string too long. Expected a string with maximum length {longest}."


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _turns(messages: Sequence[Mapping[str, Any]], flavour: Flavour) -> Iterator[str]:
    roles = [message.get("role") for message in messages]
    if "system" in roles[1:]:
        yield "messages: System message must be at the beginning."
    if flavour not in STRICT_TURNS:
        return
    turns = roles[1:] if roles[0] == "system" else roles
    if turns[:1] != ["user"]:
        yield "messages: the first message must be the user's"
    for before, after in itertools.pairwise(turns):
        if before == after != "tool" or (before, after) == ("user", "tool"):
            yield "messages: Conversation roles must alternate user/assistant/user/assistant/..."


def _pairs(messages: Sequence[Mapping[str, Any]], flavour: Flavour) -> Iterator[str]:
    seen: set[str] = set()
    asked: list[str] = []
    for place, message in enumerate(messages):
        if message.get("role") == "tool":
            if message.get("tool_call_id") in asked:
                asked.remove(message["tool_call_id"])
            else:
                yield f"messages[{place}]: a 'tool' message must follow the 'tool_calls' that it answers"
            continue
        if asked:
            yield f"messages[{place}]: tool_call_ids did not have response messages: {asked}"
        asked = [call.get("id", "") for call in message.get("tool_calls") or []]
        if len(set(asked)) != len(asked) or seen & set(asked):
            yield f"messages[{place}]: Duplicate value for 'tool_call_id'"
        seen.update(asked)
    if asked:
        yield f"messages: tool_call_ids did not have response messages: {asked}"


def _returned(
    messages: Sequence[Mapping[str, Any]], issued: Sequence[Any], flavour: Flavour
) -> Iterator[str]:
    """DeepSeek wants its reasoning back with the calls that it led to."""
    if flavour != "deepseek":
        return
    for answer in issued:
        ids = {call["id"] for call in answer.get("tool_calls", [])}
        for message in messages:
            if not ids & {call.get("id") for call in message.get("tool_calls") or []}:
                continue
            if message.get("reasoning_content") != answer.get("reasoning_content"):
                yield "Missing `reasoning_content` field in the assistant message"
