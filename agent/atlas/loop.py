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
from agent.errors import ModelError
from agent.models import Model
from agent.models.faults import Fault
from agent.models.provider import INVALID_JSON
from agent.prompts import render
from agent.redaction import redact
from agent.text import printable
from agent.types import Message, ToolCall, ToolResult, ToolSpec, Usage
from agent.wire import failed

OWN = ("bad_request", "too_large")
"""Faults of a request for which another task's need not be refused."""


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
    digest: str
    """Of the question: see Task."""
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
    cut out of what the model sees and of what is kept. Raises ModelError where it is not this conversation that
    the provider refuses, BudgetSpent, EnvironmentFault."""
    began = time.monotonic()
    system = render("atlas")
    messages = [Message("user", redact(task.prompt, secrets))]
    usage, cost, turns, calls, failures = Usage(), Decimal(0), 0, 0, 0
    priced, response, fault = True, "", ""
    repeats = Repeats()
    while not response and not fault:
        seconds = time.monotonic() - began
        if turns == bounds.turns or calls >= bounds.calls or seconds > bounds.seconds:
            fault = f"no answer after {turns} turns, {calls} tool calls, {seconds:.0f} s"
            break
        try:
            reply = await model.reply(system, messages, list(specs.values()))
        except ModelError as error:
            if not (isinstance(error.__cause__, Fault) and error.__cause__.kind in OWN):
                raise  # another task would meet it too
            fault = str(error)
            break
        turns, usage = turns + 1, usage + reply.usage
        priced = priced and reply.cost_usd is not None
        cost += reply.cost_usd or Decimal(0)
        results = []
        for one in reply.tool_calls if reply.stop in ("tool_use", "length") else ():
            if calls < bounds.calls:
                calls += 1
                result = repeats.noticed(one, await _run(one, specs, call))
                failures += result.is_error
            else:
                result = failed(one, f"the {bounds.calls} tool calls of this task are used up")
            results.append(result)
        if reply.stop == "end" and reply.text.strip():
            response = reply.text
        elif reply.stop not in ("tool_use", "length"):
            fault = f"no answer: {reply.stop}: {redact(reply.text, secrets)[:300]}".rstrip(": ")
            break
        messages.append(
            Message("assistant", reply.text, tuple(reply.tool_calls), provider_data=reply.provider_data)
        )
        if not response:
            more = render("cut_answer") if reply.stop == "length" else ""
            messages.append(Message("user", more, tool_results=tuple(results)))
    inputs = usage.input + usage.cache_read + usage.cache_write
    fault = printable(" ".join(redact(fault, secrets).split()))
    return Answer(
        task.id, task.digest, redact(response, secrets), fault, redact(_chat(messages), secrets), turns, calls,
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
                        "function": {"name": one.name, "arguments": _written(one)},
                    }
                    for one in message.tool_calls
                ]
            chat.append(said)
            continue
        chat += [
            {"role": "tool", "tool_call_id": one.call_id, "content": [{"type": "text", "text": one.text}]}
            for one in message.tool_results
        ]
        if message.text:
            chat.append({"role": "user", "content": message.text})
    return chat


def _written(call: ToolCall) -> str:
    """A call's arguments as the model wrote them."""
    if INVALID_JSON in call.arguments:
        return str(call.arguments[INVALID_JSON])
    return json.dumps(call.arguments, ensure_ascii=False)
