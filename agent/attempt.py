"""One attempt: model and tools take turns until the model submits or a limit is reached."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace

import anyio

from agent.budget import BudgetSpent
from agent.calls import Repeats, mended, not_json
from agent.conversation import messages
from agent.errors import ModelError
from agent.events import EventLog, ModelReplied, ToolReturned, ToolStarted, UserSaid
from agent.models import Model
from agent.models.provider import INVALID_JSON
from agent.prompts import render
from agent.toolbox import Toolbox
from agent.types import ToolCall, ToolResult

MAX_PATCH = 10 * 1024 * 1024
"""Bytes. The tool server refuses larger ones itself; only a forged server sends more."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the model's part of an attempt ended; `how` as in events.AttemptEnded."""

    how: str
    detail: str = ""
    root_cause: str = ""
    patch: bytes | None = None
    turns: int = 0
    seconds: float = 0.0


async def work(
    number: int, model: Model, toolbox: Toolbox, log: EventLog, *, system: str, turns: int, deadline: float
) -> Ending:
    """Let `model` work until it submits, gives up, stops, or a limit is reached, and take its patch.

    `deadline` is on anyio's clock. The patch is whatever changed in the workspace, also when the model did not
    call `submit`: the gate judges patches, not claims. Raises SandboxDied when the sandbox is gone.
    """
    started = time.monotonic()
    with anyio.move_on_at(deadline) as scope:
        ending = await _turns(number, model, toolbox, log, system=system, limit=turns, deadline=deadline)
    if scope.cancelled_caught:
        taken = sum(isinstance(e, ModelReplied) and e.attempt == number for e in log.events)
        ending = Ending("minutes", "the run's time is spent", turns=taken)
    if ending.how in ("submitted", "no_patch", "turns", "context", "budget"):
        patch, fault = await _patch(toolbox)
        if fault:
            ending = replace(ending, how="no_patch", detail=fault)
        elif patch:
            how = "submitted" if ending.how == "no_patch" else ending.how
            ending = replace(ending, how=how, patch=patch)
    return replace(ending, seconds=time.monotonic() - started)


async def _turns(
    number: int, model: Model, toolbox: Toolbox, log: EventLog, *, system: str, limit: int, deadline: float
) -> Ending:
    nudged = False
    repeats = Repeats()
    for turn in range(1, limit + 1):
        started = time.monotonic()
        try:
            reply = await model.reply(system, messages(log.events, number), toolbox.specs)
        except ModelError as error:
            return Ending("model_error", str(error), turns=turn - 1)
        except BudgetSpent as spent:
            return Ending("budget", str(spent), turns=turn - 1)
        log.append(
            ModelReplied(
                number,
                turn,
                reply.text,
                reply.tool_calls,
                reply.usage,
                reply.cost_usd,
                reply.stop,
                time.monotonic() - started,
                reply.provider_data,
                reply.first_token_seconds,
                reply.seconds,
            )
        )
        if reply.stop in ("refusal", "filtered"):
            who = "refused" if reply.stop == "refusal" else "had its answer filtered"
            return Ending("refused", f"{model.spec} {who}: {reply.text[:300]}", turns=turn)
        if reply.stop == "overflow":
            return Ending(
                "context", f"the conversation no longer fits {model.spec}: {reply.text[:300]}", turns=turn
            )
        if not reply.tool_calls:
            if nudged:
                return Ending("no_patch", "the model stopped without a submission", turns=turn)
            nudged = reply.stop != "length"
            log.append(UserSaid(number, render("cut" if reply.stop == "length" else "nudge")))
            continue
        for call in reply.tool_calls:
            cut = reply.stop == "length"
            result = await _call(number, turn, call, toolbox, log, repeats, deadline, cut=cut)
            if call.name == "submit" and not result.is_error and (result.data or {}).get("submitted"):
                # Calls after `submit` in the same reply are not run: the work has ended.
                gave_up = bool(call.arguments.get("give_up"))
                return Ending(
                    "gave_up" if gave_up else "submitted",
                    str(call.arguments.get("summary", "")),
                    str(call.arguments.get("root_cause", "")),
                    turns=turn,
                )
        if reply.stop == "length":
            log.append(UserSaid(number, render("cut")))
    return Ending("turns", f"{limit} turns without a submission", turns=limit)


async def _call(
    number: int,
    turn: int,
    made: ToolCall,
    toolbox: Toolbox,
    log: EventLog,
    repeats: Repeats,
    deadline: float,
    *,
    cut: bool,
) -> ToolResult:
    spec = next((spec for spec in toolbox.specs if spec.name == made.name), None)
    # Of an answer that was cut, an argument that was never begun may be missing: such a call is not set right.
    call = mended(made, spec) if spec is not None and not cut else made
    summary = next((str(v) for v in call.arguments.values() if isinstance(v, str | int | float)), "")
    log.append(ToolStarted(number, turn, call.id, call.name, summary[:200]))
    started = time.monotonic()
    if spec is not None and INVALID_JSON in call.arguments:
        result = not_json(call, spec)
    else:
        result = await toolbox.call(call, timeout=deadline - anyio.current_time())
    result = repeats.noticed(call, result)
    log.append(
        ToolReturned(
            number,
            turn,
            call.id,
            call.name,
            result.text,
            result.is_error,
            time.monotonic() - started,
            result.data,
            mended=call is not made,
        )
    )
    return result


async def _patch(toolbox: Toolbox) -> tuple[bytes, str]:
    """The change of the workspace against the base, as `git apply` takes it, or why there is none to take."""
    result = await toolbox.call(ToolCall("patch", "diff", {}), timeout=300)
    data = result.data or {}
    text = data.get("patch")
    if result.is_error or not isinstance(text, str):
        return b"", f"the sandbox gave no patch: {result.text[:300]}"
    try:
        patch = base64.b64decode(text) if data.get("encoding") == "base64" else text.encode()
    except ValueError as error:
        return b"", f"the sandbox gave no patch: {error}"
    if len(patch) > MAX_PATCH:
        return b"", f"the patch has {len(patch)} bytes; at most {MAX_PATCH} are taken"
    return patch, ""
