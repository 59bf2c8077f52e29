"""A run in the Agent Trajectory Interchange Format (ATIF), the format of Harbor and of what reads its trajectories.

The run is the root: the issue, each attempt as a call without a model, each verdict. An attempt is a conversation of
its own, so it is an embedded trajectory; put into one, the steps would tell of a conversation that no model had.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.context import masked_words
from agent.event_log import Logged
from agent.events import (
    AttemptEnded,
    AttemptStarted,
    ContextMasked,
    ContextRenewed,
    Event,
    ModelReplied,
    ModelRetried,
    ToolReturned,
    UserSaid,
    VerdictReached,
)
from agent.report.story import tell, verdict_word
from agent.types import Usage

SCHEMA = "ATIF-v1.7"
"""The first version with embedded trajectories; nothing of a later one is used."""
AGENT = "assay"


def document(log: Logged, version: str) -> str:
    """The run as an ATIF document; `version` is the agent's. Raises ValueError for a log without a run's start.

    What is no character (a lone surrogate, of a file's name) becomes "?": strict readers of JSON refuse it.
    """
    text = json.dumps(_trajectory(log, version), indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "replace").decode()


def _trajectory(log: Logged, version: str) -> dict[str, Any]:
    story = tell(log)
    starts = {event.attempt: event for _, event in log if isinstance(event, AttemptStarted)}
    numbers = list(starts)
    if any(isinstance(event, ModelReplied) and event.attempt == 0 for _, event in log):
        numbers.insert(0, 0)
    billed = [event for _, event in log if isinstance(event, ModelReplied | ModelRetried)]
    usage = sum((event.usage for event in billed), Usage())
    models = [starts[number].model for number in numbers if number in starts] or list(story.start.models)
    return _some(
        schema_version=SCHEMA,
        session_id=story.run_id,
        trajectory_id=story.run_id,
        agent=_some(name=AGENT, version=version, model_name=models[0] if models else None),
        steps=_numbered(_root_steps(log, numbers, story.run_id)),
        final_metrics=_totals(usage, story.cost_usd),
        subagent_trajectories=[
            _attempt(log, number, starts.get(number), story.run_id, version) for number in numbers
        ],
        extra={
            "status": story.status,
            "error": story.error,
            "base_commit": story.start.base,
            "fail_to_pass": list(story.start.fail_to_pass),
        },
    )


def _root_steps(log: Logged, numbers: Sequence[int], run_id: str) -> Iterator[dict[str, Any]]:
    at, start = log[0]
    yield {"timestamp": at["at"], "source": "user", "message": getattr(start, "issue", "")}
    if 0 in numbers:
        yield _call(at["at"], 0, "a model writes the set-up", run_id)
    for data, event in log:
        match event:
            case AttemptStarted():
                yield _call(data["at"], event.attempt, f"attempt {event.attempt}: {event.model}", run_id)
            case VerdictReached():
                failed = [check["name"] for check in event.verdict["checks"] if not check["passed"]]
                said = f"the gate judged attempt {event.attempt}: {verdict_word(event.verdict)}"
                yield {
                    "timestamp": data["at"],
                    "source": "system",
                    "message": said + (f" ({', '.join(failed)})" if failed else ""),
                    "extra": {"checks": event.verdict["checks"]},
                }
            case _:
                pass


def _call(at: str, number: int, message: str, run_id: str) -> dict[str, Any]:
    """The step by which the runtime gives an attempt to a model."""
    reference = {"trajectory_id": _id(run_id, number), "session_id": run_id}
    return {
        "timestamp": at,
        "source": "agent",
        "message": message,
        "llm_call_count": 0,
        "observation": {"results": [{"subagent_trajectory_ref": [reference]}]},
    }


def _attempt(
    log: Logged, number: int, start: AttemptStarted | None, run_id: str, version: str
) -> dict[str, Any]:
    mine = [(data, event) for data, event in log if getattr(event, "attempt", None) == number]
    replies = [event for _, event in mine if isinstance(event, ModelReplied | ModelRetried)]
    costs = [event.cost_usd for event in replies]
    known = [cost for cost in costs if cost is not None]
    end = next((event for _, event in mine if isinstance(event, AttemptEnded)), None)
    thinking = start.thinking if start else None
    return _some(
        schema_version=SCHEMA,
        session_id=run_id,
        trajectory_id=_id(run_id, number),
        agent=_some(name=AGENT, version=version, model_name=start.model if start else None),
        steps=_numbered(_steps(mine, thinking)),
        notes=f"{end.how}: {end.detail}" if end else None,
        final_metrics=_totals(
            sum((event.usage for event in replies), Usage()),
            float(sum(known)) if len(known) == len(costs) else None,
        ),
    )


def _steps(mine: Logged, thinking: str | None) -> Iterator[dict[str, Any]]:
    """An attempt's conversation; what tools answered belongs to the reply that called them."""
    reply: dict[str, Any] | None = None
    for data, event in mine:
        if isinstance(event, ToolReturned) and reply is not None:
            _answered(reply, event)
            continue
        step = _step(event, thinking)
        if step is None:
            continue
        if reply is not None:
            yield reply
        step["timestamp"] = data["at"]
        reply = step if step["source"] == "agent" else None
        if reply is None:
            yield step
    if reply is not None:
        yield reply


def _step(event: Event, thinking: str | None) -> dict[str, Any] | None:
    match event:
        case AttemptStarted():
            return {"source": "system", "message": event.system}
        case UserSaid():
            return {"source": "user", "message": event.text}
        case ModelReplied():
            usage = event.usage
            calls = [
                {"tool_call_id": call.id, "function_name": call.name, "arguments": dict(call.arguments)}
                for call in event.tool_calls
            ]
            return _some(
                source="agent",
                message=event.text,
                reasoning_effort=thinking,
                reasoning_content="\n\n".join(_thoughts(event.provider_data)) or None,
                tool_calls=calls or None,
                llm_call_count=1,
                metrics=_some(
                    prompt_tokens=usage.input + usage.cache_read + usage.cache_write,
                    completion_tokens=usage.output,
                    cached_tokens=usage.cache_read,
                    cost_usd=None if event.cost_usd is None else float(event.cost_usd),
                    extra={
                        "cache_write_tokens": usage.cache_write,
                        "seconds": event.seconds,
                        "stop": event.stop,
                    },
                ),
            )
        case ContextMasked():
            said = masked_words(event.results, event.freed, event.rewritten, event.why)
            return {"source": "system", "message": said, "extra": {"masked_results": list(event.results)}}
        case ContextRenewed():
            return {"source": "system", "message": "the conversation begins anew with what is said next"}
        case _:
            return None


def _answered(reply: dict[str, Any], event: ToolReturned) -> None:
    if any(call["tool_call_id"] == event.call_id for call in reply.get("tool_calls") or ()):
        results = reply.setdefault("observation", {"results": []})["results"]
        extra = {"is_error": event.is_error, "seconds": event.seconds}
        results.append({"source_call_id": event.call_id, "content": event.text, "extra": extra})


def _thoughts(data: Any) -> Iterator[str]:
    """What a provider's own data has of the model's thinking as text: Anthropic's, OpenAI's summaries, Gemini's."""
    if isinstance(data, Mapping):
        kind = data.get("type")
        text = data.get("thinking" if kind == "thinking" else "text")
        if (
            isinstance(text, str)
            and text
            and (kind in ("thinking", "summary_text") or data.get("thought") is True)
        ):
            yield text
        for value in data.values():
            yield from _thoughts(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _thoughts(value)


def _numbered(steps: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"step_id": number, **step} for number, step in enumerate(steps, 1)]


def _totals(usage: Usage, cost: float | None) -> dict[str, Any]:
    return _some(
        total_prompt_tokens=usage.input + usage.cache_read + usage.cache_write,
        total_completion_tokens=usage.output,
        total_cached_tokens=usage.cache_read,
        total_cost_usd=cost,
    )


def _id(run_id: str, number: int) -> str:
    return f"{run_id}-attempt-{number}" if number else f"{run_id}-setup"


def _some(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
