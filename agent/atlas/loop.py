"""One task: the model calls tools until it answers."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agent.atlas.tasks import Task
from agent.calls import Repeats, mended, not_json
from agent.models import Model
from agent.models.provider import INVALID_JSON
from agent.prompts import render
from agent.redaction import redact
from agent.types import Message, ToolCall, ToolResult, ToolSpec, Usage
from agent.wire import failed


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a task may take; the numbers are those of MCP Atlas's own harness."""

    turns: int = 256
    calls: int = 100
    seconds: float = 1800.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How a task ended."""

    task: str
    response: str
    """"" where `fault` says why there is none."""
    fault: str
    messages: Sequence[Mapping[str, Any]]
    """The conversation, as OpenAI's chat completions have it."""
    turns: int
    calls: int
    failed_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None where the model's price is not known."""
    seconds: float


async def answered(
    task: Task,
    model: Model,
    specs: Mapping[str, ToolSpec],
    call: Callable[[ToolCall], Awaitable[ToolResult]],
    bounds: Bounds,
    secrets: Sequence[str],
) -> Answer:
    """Work on a task until the model answers it or a bound is met. `specs` are the task's tools by name; `secrets` are
    cut out of what the model sees and of what is kept. Raises ModelError, BudgetSpent, EnvironmentFault."""
    began = time.monotonic()
    system = render("atlas")
    messages = [Message("user", redact(task.prompt, secrets))]
    usage, cost, turns, calls, failures = Usage(), Decimal(0), 0, 0, 0
    priced, response, fault = True, "", ""
    repeats = Repeats()
    while not response and not fault:
        if turns == bounds.turns or calls >= bounds.calls or time.monotonic() - began > bounds.seconds:
            fault = f"no answer after {turns} turns, {calls} tool calls, {time.monotonic() - began:.0f} s"
            break
        reply = await model.reply(system, messages, list(specs.values()))
        turns, usage = turns + 1, usage + reply.usage
        priced = priced and reply.cost_usd is not None
        cost += reply.cost_usd or Decimal(0)
        said = Message("assistant", reply.text, tuple(reply.tool_calls), provider_data=reply.provider_data)
        if reply.stop != "tool_use":
            response = reply.text if reply.stop in ("end", "length") else ""
            fault = "" if response.strip() else f"no answer: {reply.stop}: {reply.text[:300]}".rstrip(": ")
            messages += [said] if response else []
            break
        results = []
        for one in reply.tool_calls:
            if calls < bounds.calls:
                calls += 1
                result = repeats.noticed(one, await _run(one, specs, call))
                failures += result.is_error
            else:
                result = failed(one, f"the {bounds.calls} tool calls of this task are used up")
            results.append(_without(result, secrets))
        messages += [said, Message("user", tool_results=tuple(results))]
    inputs = usage.input + usage.cache_read + usage.cache_write
    return Answer(
        task.id, redact(response, secrets), redact(fault, secrets), redact(_chat(messages), secrets), turns, calls,
        failures, inputs, usage.output, float(cost) if priced else None, round(time.monotonic() - began, 3),
    )  # fmt: skip


async def _run(
    given: ToolCall, specs: Mapping[str, ToolSpec], call: Callable[[ToolCall], Awaitable[ToolResult]]
) -> ToolResult:
    spec = specs.get(given.name)
    if spec is None:
        return failed(given, f"there is no tool {given.name}; there are {', '.join(specs)}")
    given = mended(given, spec)
    return not_json(given, spec) if INVALID_JSON in given.arguments else await call(given)


def _without(result: ToolResult, secrets: Sequence[str]) -> ToolResult:
    return ToolResult(result.call_id, result.name, redact(result.text, secrets), result.is_error)


def _chat(messages: Sequence[Message]) -> list[dict[str, Any]]:
    chat: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "assistant":
            said: dict[str, Any] = {"role": "assistant", "content": message.text}
            if message.tool_calls:
                said["tool_calls"] = [
                    {
                        "id": one.id,
                        "type": "function",
                        "function": {
                            "name": one.name,
                            "arguments": json.dumps(one.arguments, ensure_ascii=False),
                        },
                    }
                    for one in message.tool_calls
                ]
            chat.append(said)
        elif message.tool_results:
            chat += [
                {"role": "tool", "tool_call_id": one.call_id, "content": [{"type": "text", "text": one.text}]}
                for one in message.tool_results
            ]
        else:
            chat.append({"role": "user", "content": message.text})
    return chat
