"""The steps of a run for the page: one for each event that a reader may want to unfold, in the words of a person."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.context import masked_words
from agent.event_log import Logged
from agent.events import (
    AttemptEnded,
    AttemptStarted,
    BaselineTaken,
    ContextMasked,
    ContextRenewed,
    DriftSeen,
    EnvironmentReady,
    Event,
    HypothesisStated,
    ModelReplied,
    ModelRetried,
    Note,
    PhaseStarted,
    RunResumed,
    SandboxRemade,
    ServerLeftOut,
    ServerStarted,
    SetupWritten,
    ToolReturned,
    ToolStarted,
    UserSaid,
    VerdictReached,
)
from agent.report.story import verdict_word
from agent.types import ToolCall

MAX_TEXT = 30_000
"""Characters of one text that the page holds; the log has all of it."""
SHORT = 120
"""Characters of an argument that is told in one line."""


@dataclass(frozen=True, slots=True)
class Text:
    label: str
    text: str
    kind: str = ""
    """`old` and `new` for the two sides of an edit."""


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    """Of its event in the log."""
    kind: str
    """model, tool, told, cause, context, gate, run"""
    name: str
    said: str
    """The first line of what it is about."""
    facts: Sequence[str] = ()
    texts: Sequence[Text] = ()
    bad: bool = False
    """An error, a warning, a rejection."""
    attempt: int = 0
    """0 is the run itself."""


@dataclass(slots=True)
class _Open:
    """What was begun and has not ended yet."""

    calls: dict[int, list[ToolCall]] = field(default_factory=dict)
    """Of each attempt's last reply, not answered yet."""
    running: dict[tuple[int, str], tuple[int, ToolStarted]] = field(default_factory=dict)


def steps(log: Logged) -> list[Step]:
    """All steps in order. A tool call is one step, at its return; one that never returned stands at the end."""
    begun = _Open()
    told = [step for data, event in log for step in _steps(int(data["n"]), event, begun)]
    for number, event in begun.running.values():
        told.append(
            Step(number, "tool", event.name, event.summary, ("did not return",), (), True, event.attempt)
        )
    return told


def _steps(n: int, event: Event, begun: _Open) -> Iterator[Step]:
    match event:
        case ModelReplied():
            begun.calls[event.attempt] = list(event.tool_calls)
            yield _reply(n, event)
        case ToolStarted():
            begun.running[event.attempt, event.call_id] = (n, event)
        case ToolReturned():
            begun.running.pop((event.attempt, event.call_id), None)
            yield _returned(n, event, _taken(begun.calls.get(event.attempt, []), event.call_id))
        case VerdictReached():
            yield _verdict(n, event)
        case _:
            told = _of_run(event) or _of_attempt(event)
            if told is not None:
                yield replace(told, number=n, attempt=getattr(event, "attempt", 0))


def _of_run(event: Event) -> Step | None:
    """Events of the run itself. Their number is put in later, as in `_of_attempt`."""
    match event:
        case RunResumed():
            after = f"it had ended: {event.ended}" if event.ended else "its process was killed"
            return Step(0, "run", "resumed", after)
        case PhaseStarted():
            return Step(0, "run", event.phase, event.detail)
        case Note():
            texts = _texts(note=event.text) if "\n" in event.text or len(event.text) > SHORT else ()
            return Step(0, "run", event.level, _first(event.text), (), texts, event.level == "warning")
        case EnvironmentReady():
            texts = _texts(image=f"{event.image}\n{event.digest}")
            return Step(0, "run", "environment", event.summary, (_seconds(event.seconds),), texts)
        case SetupWritten():
            texts = _texts(commands="\n".join(event.commands), why=event.why)
            return Step(0, "run", "set-up", f"written by {event.model}", (), texts)
        case BaselineTaken():
            counts = ", ".join(f"{count} {outcome}" for outcome, count in event.counts.items())
            texts = _texts(failing="\n".join(event.failing))
            return Step(0, "run", "baseline", counts or "no tests", (_seconds(event.seconds),), texts)
        case ServerStarted():
            said = f"{event.name} ({event.kind}): {len(event.tools)} tools"
            texts = _texts(tools="\n".join(event.tools), not_used="\n".join(event.skipped))
            return Step(0, "run", "MCP server", said, (_seconds(event.seconds),), texts)
        case ServerLeftOut():
            return Step(0, "run", "MCP server", f"{event.name} is left out: {event.reason}", bad=True)
        case _:
            return None


def _of_attempt(event: Event) -> Step | None:
    """Events of an attempt that are told in a line and their texts."""
    match event:
        case AttemptStarted():
            return Step(0, "told", "system prompt", event.model, (), _texts(system_prompt=event.system))
        case UserSaid():
            return Step(0, "told", "told", _first(event.text), (), _texts(told_to_the_model=event.text))
        case ModelRetried():
            again = (
                f"again in {event.wait_seconds:.1f} s" if event.wait_seconds is not None else "no further try"
            )
            texts = _texts(reason=event.reason)
            return Step(0, "model", "failed try", _first(event.reason), (again,), texts, bad=True)
        case HypothesisStated():
            said = f"{', '.join(event.where) or 'no place'}: {event.cause}"
            names = ("test", "observed", "expected", "explains")
            texts = _texts(
                cause=said, **{name: getattr(event, name) for name in names}, not_confirmed=event.unchecked
            )
            return Step(0, "cause", "root cause", _first(said), (), texts, bool(event.unchecked))
        case ContextMasked():
            said = masked_words(event.results, event.freed, event.rewritten, event.why)
            return Step(0, "context", "context", said)
        case ContextRenewed():
            said = "the conversation outgrew the model's window; it begins anew with the facts"
            return Step(0, "context", "context", said, bad=True)
        case DriftSeen():
            return Step(0, "context", "drift", event.text, bad=True)
        case SandboxRemade():
            said = f"lost, and made anew with the same files: {event.reason}"
            return Step(0, "run", "sandbox", _first(said), (), _texts(reason=event.reason), bad=True)
        case AttemptEnded():
            texts = _texts(in_its_words=event.detail, changed="\n".join(event.changed))
            facts = (f"{event.turns} turns", _seconds(event.seconds))
            bad = event.how not in ("submitted", "outrun")
            return Step(0, "told", event.how, _first(event.detail), facts, texts, bad)
        case _:
            return None


def _reply(n: int, event: ModelReplied) -> Step:
    usage = event.usage
    read = usage.input + usage.cache_read + usage.cache_write
    facts = [_seconds(event.seconds)]
    if read or usage.output:
        facts += [f"{read:,} tokens in", f"{usage.output:,} out"]
        facts.append("? USD" if event.cost_usd is None else f"{event.cost_usd:.4f} USD")
    called = ", ".join(call.name for call in event.tool_calls)
    said = _first(event.text) or (f"calls {called}" if called else f"nothing ({event.stop})")
    bad = event.stop not in ("tool_use", "end")
    if bad:
        facts.append(event.stop)
    return Step(n, "model", f"turn {event.turn}", said, facts, _texts(said=event.text), bad, event.attempt)


def _texts(**told: str) -> Sequence[Text]:
    """Those that say something, each under its name."""
    return [Text(name.replace("_", " "), text) for name, text in told.items() if text]


def _taken(calls: list[ToolCall], call_id: str) -> ToolCall | None:
    call = next((call for call in calls if call.id == call_id), None)
    if call is not None:
        calls.remove(call)
    return call


def _returned(n: int, event: ToolReturned, call: ToolCall | None) -> Step:
    arguments = [_argument(name, value) for name, value in call.arguments.items()] if call else []
    short = [one for one in arguments if not one.kind and len(one.text) <= SHORT and "\n" not in one.text]
    texts = [one for one in arguments if one not in short]
    if short:
        texts.insert(0, Text("arguments", "\n".join(f"{one.label}: {one.text}" for one in short)))
    texts.append(Text("error" if event.is_error else "output", event.text))
    facts = [_seconds(event.seconds)] + (["set right"] if event.mended else [])
    said = _first(arguments[0].text) if arguments else ""
    return Step(n, "tool", event.name, said, facts, texts, event.is_error, event.attempt)


def _argument(name: str, value: Any) -> Text:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Text(name, text, name if name in ("old", "new") else "")


def _verdict(n: int, event: VerdictReached) -> Step:
    verdict: Mapping[str, Any] = event.verdict
    texts = [
        Text(f"{'ok' if check['passed'] else 'FAILED'}: {check['name']}", check["evidence"])
        for check in verdict["checks"]
    ]
    failed = [check["name"] for check in verdict["checks"] if not check["passed"]]
    said = verdict_word(verdict) + (f": {', '.join(failed)}" if failed else "")
    facts = (_seconds(verdict["seconds"]),) if "seconds" in verdict else ()
    return Step(n, "gate", "verdict", said, facts, texts, not verdict["accepted"], event.attempt)


def _first(text: str) -> str:
    """The first line that says something, cut to what a line of the page can hold."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line[:200] + ("…" if len(line) > 200 else "")


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s"


def bounded(text: str) -> str:
    """A text as long as the page holds it: its beginning and its end."""
    left = len(text) - MAX_TEXT
    if left <= 0:
        return text
    head = MAX_TEXT * 2 // 3
    return f"{text[:head]}\n[… {left:,} characters are left out here; the event log has them …]\n{text[head + left :]}"
