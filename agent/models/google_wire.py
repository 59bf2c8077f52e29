"""Gemini's generateContent format: conversations to requests, streamed chunks to answers. No I/O here."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.models.catalogue import ModelInfo
from agent.models.faults import Fault, Kind, one_line
from agent.models.provider import (
    MAX_OUTPUT,
    Answer,
    Try,
    arguments,
    check_pairs,
    own_content,
    utf8,
)
from agent.types import Message, Stop, ToolCall, ToolResult, ToolSpec, Usage

if TYPE_CHECKING:
    from google.genai.types import GenerateContentResponse, Part

STOPS: Mapping[str, Stop] = {
    "STOP": "end",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",  # the limit of one request, smaller than that of an answer
    "TOO_MANY_TOOL_CALLS": "length",  # the model wants to go on; only the provider's own tools bring it about
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "ESCALATION"),
            *("MODEL_ARMOR", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        ),
        "filtered",
    ),
}
"""The API's finish reasons as Reply.stop. Any other is a fault: a call or an answer that the API could not read
itself, or a reason that it does not tell."""

_FAULTS: Mapping[str, Kind] = {
    "MISSING_THOUGHT_SIGNATURE": "bad_request",
    "PUP_LIMITED_DISABLED": "permission",
}
"""Finish reasons that another try would meet again."""

OWN_ID = "assay-"
"""Begins the ids of calls that got none from the API. They are not sent."""

SKIP_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What the API takes for the signature of a call that it did not make itself, as documented for conversations that
come from another model (ai.google.dev/gemini-api/docs/thought-signatures). It demands one on the first call of each
step since the user's last text. Every step gets one here: a later text then changes nothing of what is cached."""


class Reader:
    """What one streamed answer adds up to."""

    def __init__(self, seen: Try, platform: str = "gemini") -> None:
        self._seen = seen
        self._platform = platform
        self._before = seen.usage
        """What was billed before the answer: making a cache."""
        self._counts: dict[str, int] = {}
        self._parts: list[dict[str, Any]] = []
        self._finish = ""
        self._blocked = False
        self._explanation = ""

    def add(self, chunk: GenerateContentResponse) -> None:
        self._count(chunk)
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason:
            self._blocked = True
            said = feedback.block_reason_message or ""
            self._explanation = f"the prompt was blocked: {feedback.block_reason.value} {said}".rstrip()
        for candidate in (chunk.candidates or [])[:1]:
            for part in (candidate.content and candidate.content.parts) or []:
                self._seen.token()
                self._part(part)
            if candidate.finish_reason:
                self._finish = candidate.finish_reason.value
                self._seen.whole = True
                # The Gemini API's message does not come through its SDK; only Vertex AI's does.
                rated = [
                    one.category.value
                    for one in candidate.safety_ratings or []
                    if one.blocked and one.category
                ]
                self._explanation = " ".join(filter(None, [self._finish, *rated, candidate.finish_message]))

    def _part(self, part: Part) -> None:
        kept: dict[str, Any] = {}
        if part.text is not None:
            kept["text"] = part.text
        if part.function_call is not None:
            call = part.function_call
            # Numbers that are none in JSON can be read, but not sent back.
            given = arguments(json.dumps(call.args or {}, ensure_ascii=False))
            kept["function_call"] = {"name": call.name or "", "args": given}
            if call.id:
                kept["function_call"]["id"] = call.id
        if not kept:
            return  # what only the provider's own tools bring about
        if part.thought:
            kept["thought"] = True
        if part.thought_signature:
            kept["thought_signature"] = base64.b64encode(part.thought_signature).decode()
        last = self._parts[-1] if self._parts else {}
        if kept.keys() <= {"text", "thought"} and kept.keys() == last.keys():
            last["text"] += kept["text"]
        else:
            self._parts.append(kept)

    def finish(self) -> Answer:
        """Put the pieces together. Raises Fault when the answer broke off or can't be used."""
        if self._blocked:
            return Answer("", (), "filtered", explanation=one_line(self._explanation))
        if not self._finish:
            raise Fault("broken", "the answer broke off")
        if self._finish not in STOPS:
            kind = _FAULTS.get(self._finish, "broken")
            raise Fault(kind, f"the answer ended with {one_line(self._explanation)}")
        stop = STOPS[self._finish]
        kept: list[dict[str, Any]] = []
        text, calls, running = "", [], False
        for part in self._parts:
            if "text" in part:
                part = {**part, "text": utf8(part["text"])}
            call = part.get("function_call")
            if call is not None:
                calls.append(ToolCall(call.get("id") or own_id(), call["name"], call["args"]))
            elif not part["text"].strip() and "thought_signature" not in part:
                continue  # the API refuses to take an empty part back
            kept.append(part)
            if call is None and "thought" not in part:
                # A signature parts pieces of one text; what stands between two texts does too.
                text += part["text"] if running or not text else "\n" + part["text"]
            running = call is None and "thought" not in part
        explanation = one_line(self._explanation) if stop == "filtered" else ""
        own = {"platform": self._platform, "parts": kept} if kept else None
        return Answer(text, tuple(calls), stop, own, explanation)

    def _count(self, chunk: GenerateContentResponse) -> None:
        if chunk.usage_metadata is None:
            return
        # Counts are totals so far; what a chunk does not tell has not changed.
        for name in ("prompt", "tool_use_prompt", "cached_content", "candidates", "thoughts"):
            value = getattr(chunk.usage_metadata, f"{name}_token_count")
            if value is not None:
                self._counts[name] = value
        count = self._counts.get
        cached = count("cached_content", 0)
        self._seen.usage = self._before + Usage(
            input=max(0, count("prompt", 0) + count("tool_use_prompt", 0) - cached),
            output=count("candidates", 0) + count("thoughts", 0),
            cache_read=cached,
        )


def own_id() -> str:
    return OWN_ID + uuid.uuid4().hex[:16]


def build_request(
    info: ModelInfo,
    thinking: str | int | None,
    system: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    schema: Mapping[str, Any] | None = None,
    platform: str = "gemini",
) -> dict[str, Any]:
    """The SDK's arguments as JSON data; `thinking` as ModelInfo.thinking has it. What came over another `platform`
    counts as another model's: its signatures may hold there only. Raises AssertionError for a conversation that the
    API would refuse."""
    limit = MAX_OUTPUT
    # Left to itself the SDK sends further requests of its own, after calls and after a limit.
    config: dict[str, Any] = {
        "automatic_function_calling": {"disable": True},
        "automatic_continuation": False,
    }
    if isinstance(thinking, int):
        config["thinking_config"] = {"thinking_budget": thinking}
        # The budget is part of the output; the answer itself needs room beside it.
        limit = max(limit, thinking + 8192)
    elif thinking:
        config["thinking_config"] = {"thinking_level": thinking.upper()}
    config["max_output_tokens"] = min(limit, info.max_output or limit)
    if system.strip():
        config["system_instruction"] = utf8(system)
    if tools:
        declarations = [
            {
                "name": tool.name,
                "description": utf8(tool.description),
                "parameters_json_schema": dict(tool.input_schema),
            }
            for tool in tools
        ]
        config["tools"] = [{"function_declarations": declarations}]
    elif schema is not None and "no-schema" not in info.quirks:
        config["response_mime_type"] = "application/json"
        config["response_json_schema"] = dict(schema)
    return {"model": info.name, "contents": _conversation(messages, info, platform), "config": config}


def _conversation(messages: Sequence[Message], info: ModelInfo, platform: str) -> list[dict[str, Any]]:
    """Messages as the API demands them: roles alternate, the user begins and ends, each call is answered by the
    content right after it, in the calls' order."""
    check_pairs(messages)
    contents: list[dict[str, Any]] = []
    asked: Sequence[ToolCall] = ()
    sent: set[str] = set()
    for message in messages:
        if message.role == "user":
            answers = {result.call_id: result for result in message.tool_results}
            parts = [_result(call, answers[call.id], sent) for call in asked] + _text(message.text)
        else:
            parts, sent = _model_parts(message, info, platform)
        asked = message.tool_calls
        role = "user" if message.role == "user" else "model"
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        elif parts:  # none: an answer that was cut before its first word
            contents.append({"role": role, "parts": parts})
    if not contents or contents[0]["role"] != "user" or contents[-1]["role"] != "user":
        raise AssertionError("a conversation begins and ends with a user message")
    return contents


def _model_parts(message: Message, info: ModelInfo, platform: str) -> tuple[list[dict[str, Any]], set[str]]:
    """A model's turn, and which ids of its calls are sent."""
    own = own_content(message, info)
    if own is not None and own["platform"] == platform:
        parts = [dict(part) for part in own["parts"]]
        return parts, {part["function_call"].get("id") for part in parts if "function_call" in part} - {None}
    parts = _text(message.text)
    sent: set[str] = set()
    for place, call in enumerate(message.tool_calls):
        wire: dict[str, Any] = {"name": call.name, "args": dict(call.arguments)}
        if not call.id.startswith(OWN_ID):
            wire["id"] = utf8(call.id)
            sent.add(call.id)
        part: dict[str, Any] = {"function_call": wire}
        if place == 0 and not info.name.startswith(("gemini-1", "gemini-2")):  # which check no signatures
            part["thought_signature"] = SKIP_SIGNATURE
        parts.append(part)
    return parts, sent


def _result(call: ToolCall, result: ToolResult, sent: set[str]) -> dict[str, Any]:
    text = utf8(result.text) if result.text.strip() else "(no output)"
    response: dict[str, Any] = {
        "name": call.name,
        "response": {"error" if result.is_error else "output": text},
    }
    if call.id in sent:
        response["id"] = utf8(call.id)
    return {"function_response": response}


def _text(text: str) -> list[dict[str, Any]]:
    """A text part, or nothing: the API refuses empty ones."""
    return [{"text": utf8(text)}] if text.strip() else []
