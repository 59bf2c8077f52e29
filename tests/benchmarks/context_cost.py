"""What the input of the same recorded sessions costs, sent in four ways, by each provider's rules and prices.

    python -m tests.benchmarks.context_cost [--cases]

The sessions are repairs of ten real bugs, in 15 and in 30 turns each: real tool output, scripted calls (see
`context_record`). They are sent as requests of the real wire formats, whose caches count by the published rules as the
loopback servers have them, a token for four characters:

    plain     all of the past with every request, without a cache
    cached    the same, with the provider's cache
    rolling   all but the latest three outputs masked before every request, whatever that does to the cache
    ours      what the model has in sight is not sent again, and old output is masked where that saves more than it
              costs

Each figure is billed input cost over that of `plain`. Not counted: what a model asks for again since it was masked, how
long caches live, and explicit caches of Gemini, which are not made here, since system prompt and tools are shorter than
what can be cached.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import mean
from typing import Any

from agent import masking
from agent.context import growth
from agent.conversation import messages, parts
from agent.events import (
    ContextMasked,
    Event,
    HypothesisStated,
    ModelReplied,
    RunStarted,
    ToolReturned,
    UserSaid,
)
from agent.hypotheses import SPEC
from agent.models import anthropic_wire, google_cache, google_wire, responses_wire
from agent.models.catalogue import ModelInfo, load
from agent.prompts import system_prompt
from agent.root_cause import brief
from agent.seen import without_seen
from agent.types import Message, Task, ToolCall, ToolResult, ToolSpec, Usage
from tests.benchmarks.context_record import SESSIONS
from tests.loopback import anthropic_rules, google_rules, responses_rules
from tools.server import TOOLS

LIMIT = 60
"""Turns that an attempt may have, if nothing else is set."""
SPECS = [
    *(
        ToolSpec(t["name"], t["description"], t["inputSchema"], t["annotations"]["readOnlyHint"])
        for t in (tool.listed() for tool in TOOLS.values())
    ),
    SPEC,
]
READ_ONLY = {spec.name for spec in SPECS if spec.read_only}
WAYS = ("plain", "cached", "rolling", "ours")

Count = Callable[[Sequence[Message], set[str]], Usage]
"""The usage of a request. Takes what the provider has cached, and adds to it."""


@dataclass(frozen=True)
class Provider:
    name: str
    info: ModelInfo
    count: Count


def _anthropic(info: ModelInfo) -> Count:
    def count(said: Sequence[Message], held: set[str]) -> Usage:
        body = anthropic_wire.build_request(info, None, system_prompt("anthropic/x"), said, SPECS)
        assert not anthropic_rules.faults({**body, "stream": True})
        found = anthropic_rules.cached_usage(body, held, info.cache_min or 0)
        read, written = found["cache_read_input_tokens"], found["cache_creation_input_tokens"]
        return Usage(1, found["input_tokens"], 0, read, written)

    return count


def _responses(info: ModelInfo) -> Count:
    def count(said: Sequence[Message], held: set[str]) -> Usage:
        body = responses_wire.build_request(info, None, system_prompt("openai/x"), said, SPECS)
        total, read = responses_rules.cached_tokens(body, body["input"], held)
        return Usage(1, total - read, 0, read)

    return count


def _google(info: ModelInfo) -> Count:
    def count(said: Sequence[Message], held: set[str]) -> Usage:
        request = google_wire.build_request(info, None, system_prompt("google/x"), said, SPECS)
        config = request["config"]
        body = {"model": info.name, "contents": request["contents"], "tools": config["tools"]}
        body["systemInstruction"] = config["system_instruction"]
        prefix = google_rules.tokens({key: body[key] for key in ("tools", "systemInstruction")})
        assert not google_cache.pays(info, prefix), (
            "an explicit cache would be made, which is not counted here"
        )
        read = google_rules.implicit(body, held, info.cache_min or 0)
        return Usage(1, google_rules.tokens(body) - read, 0, read)

    return count


@cache
def providers() -> Sequence[Provider]:
    known = load().models
    sonnet, gpt = known["anthropic/claude-sonnet-5"], known["openai/gpt-5.5"]
    gemini = known["google/gemini-3.6-flash"]
    return (
        Provider("Anthropic", sonnet, _anthropic(sonnet)),
        Provider("OpenAI", gpt, _responses(gpt)),
        Provider("Gemini", gemini, _google(gemini)),
    )


@cache
def sessions() -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(SESSIONS.read_bytes()).splitlines()]


@dataclass(frozen=True)
class Sent:
    """A session as it was sent."""

    cost: float
    """Dollars of all input."""
    log: Sequence[Event]


def sent(session: dict[str, Any], way: str, provider: Provider) -> Sent:
    """Send a session in one of WAYS."""
    info, held, total = provider.info, set[str](), 0.0
    tests = next(
        call["arguments"]["ids"]
        for one in session["replies"]
        for call in one["calls"]
        if "ids" in call["arguments"]
    )
    task = Task(session["issue"], "issue.md", "/repo", "0" * 40, tuple(tests))
    log: list[Event] = [
        RunStarted("r", "issue.md", task.issue, "/repo", task.base, [], "python -m pytest", tests, {}),
        UserSaid(1, brief(task, "python -m pytest", dict.fromkeys(tests, "failed"), attempts=3)),
    ]
    for turn, reply in enumerate(session["replies"], 1):
        if way == "ours" and (due := masking.due(log, 1, info, LIMIT)):
            log.append(due)
        if way == "rolling" and (due := _rolling(log, turn)):
            log.append(due)
        usage = provider.count(messages(log, 1), held)
        if way == "plain":
            usage = Usage(1, masking.input_tokens(usage))
        cost, plain = info.cost(usage), info.cost(Usage(1, masking.input_tokens(usage)))
        assert cost is not None
        total += float(cost)
        calls = tuple(
            ToolCall(f"call_{turn}_{place}", call["name"], call["arguments"])
            for place, call in enumerate(reply["calls"])
        )
        log.append(
            ModelReplied(
                1,
                turn,
                reply["text"],
                calls,
                usage,
                cost,
                "tool_use",
                0.0,
                input_usd=cost,
                uncached_usd=plain,
            )
        )
        for call, one in zip(calls, reply["results"], strict=True):
            result = ToolResult(call.id, call.name, one["text"], one["is_error"], one["data"])
            if way == "ours" and call.name in READ_ONLY:
                result = without_seen(call, result, parts(log, 1))
            if call.name == "root_cause":
                log.append(HypothesisStated(1, turn, **call.arguments))
            log.append(
                ToolReturned(1, turn, call.id, call.name, result.text, result.is_error, 0.0, result.data)
            )
    return Sent(total, log)


def _rolling(log: Sequence[Event], turn: int) -> ContextMasked | None:
    outputs = [part for part in parts(log, 1) if part.place][: -masking.KEPT_OUTPUTS]
    old = [part.place for part in outputs if not part.masked and len(part.text) >= masking.LEAST]
    return ContextMasked(1, turn - 1, old, 0, 0, 0, "cost") if old else None


def ratios(provider: Provider, turns: int) -> dict[str, list[float]]:
    """For each way the cost of each session of that length over that of sending it plainly."""
    chosen = [session for session in sessions() if len(session["replies"]) == turns]
    costs = {way: [sent(session, way, provider).cost for session in chosen] for way in WAYS}
    return {
        way: [cost / plain for cost, plain in zip(costs[way], costs["plain"], strict=True)] for way in WAYS
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--cases", action="store_true", help="each session by itself, under Anthropic's rules"
    )
    args = parser.parse_args()
    sizes = [len(one["text"]) for s in sessions() for reply in s["replies"] for one in reply["results"]]
    inside = sum(1000 <= size <= 4096 for size in sizes) / len(sizes)
    print(
        f"{len(sessions())} sessions, {len(sizes)} outputs of {mean(sizes):,.0f} characters on average, ",
        end="",
    )
    print(f"{inside:.0%} of them 1 to 4 KB long\n")
    print(
        f"{'provider':<10} {'turns':>5} {'cached':>7} {'rolling':>7} {'ours':>7}   {'from':>5} {'to':>5} ",
        end="",
    )
    print(f"{'growth':>7} {'maskings':>8}")
    for provider in providers():
        for turns in (15, 30):
            found = ratios(provider, turns)
            logs = [sent(s, "ours", provider).log for s in sessions() if len(s["replies"]) == turns]
            factor = mean(growth(log, [1]) or 0.0 for log in logs)
            masked = mean(sum(isinstance(e, ContextMasked) for e in log) for log in logs)
            means = " ".join(f"{mean(found[way]):>7.3f}" for way in WAYS[1:])
            spread = f"{min(found['ours']):>5.3f} {max(found['ours']):>5.3f}"
            print(f"{provider.name:<10} {turns:>5} {means}   {spread} {factor:>7.2f} {masked:>8.1f}")
    if args.cases:
        print()
        for session in sessions():
            costs = {way: sent(session, way, providers()[0]).cost for way in WAYS}
            shown = " ".join(f"{costs[way] / costs['plain']:>7.3f}" for way in WAYS[1:])
            print(f"{session['case']:<30} {len(session['replies']):>3} {shown}")


if __name__ == "__main__":
    main()
