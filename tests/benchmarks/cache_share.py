"""What share of the input tokens of a 30-turn session is read from each provider's cache.

    python -m tests.benchmarks.cache_share

The real system prompt and tools, a scripted session (each turn reads a file of some 2,000 characters), and loopback
servers that count by each API's published rules: Anthropic's breakpoints, the automatic prefix caches of Gemini and
OpenAI. Local servers report what they like. Real providers may evict what these keep.
"""

from __future__ import annotations

import os

import anyio

from agent.conversation import messages
from agent.events import Event, ModelReplied, ToolReturned, UserSaid
from agent.models.registry import open_model
from agent.prompts import render
from agent.types import ToolSpec, Usage
from tests.contract.providers import PROVIDERS, Provider
from tests.loopback.server import Answer, Server
from tools.server import TOOLS

TURNS = 30
SPECS = [
    ToolSpec(tool["name"], tool["description"], tool["inputSchema"])
    for tool in (t.listed() for t in TOOLS.values())
]


def session(provider: Provider, turns: int = TURNS) -> list[Usage]:
    """The usage of each request of a session."""
    answers = [
        Answer(f"I look at file {n}.", [("read_file", {"path": f"src/{n}.py"})], thinking=f"Perhaps {n}.")
        for n in range(turns)
    ]
    before = dict(os.environ)
    try:
        with provider.setup() as more, Server(provider.dialect(), answers) as server:
            os.environ.update({**(more or {}), **server.environ})
            return anyio.run(_session, provider.spec, turns)
    finally:
        os.environ.clear()
        os.environ.update(before)


async def _session(spec: str, turns: int) -> list[Usage]:
    model = open_model(spec)
    log: list[Event] = [UserSaid(1, "An issue of some length. " * 80)]
    usages: list[Usage] = []
    try:
        for turn in range(turns):
            reply = await model.reply(render("system"), messages(log, 1), SPECS)
            usages.append(reply.usage)
            log.append(
                ModelReplied(
                    1,
                    turn,
                    reply.text,
                    reply.tool_calls,
                    reply.usage,
                    reply.cost_usd,
                    reply.stop,
                    0.0,
                    reply.provider_data,
                )
            )
            for call in reply.tool_calls:
                text = "".join(f"{turn:3}  line {n} of a file\n" for n in range(80))
                log.append(ToolReturned(1, turn, call.id, call.name, text, False, 0.0))
    finally:
        await model.close()
    return usages


def share(usages: list[Usage]) -> float:
    """Tokens read from the cache over all input tokens."""
    total = sum(u.input + u.cache_read + u.cache_write for u in usages)
    return sum(u.cache_read for u in usages) / total


def main() -> None:
    print(f"{'provider':<12} {'all turns':>9} {'from turn 3':>11} {'lowest from turn 3':>18}")
    for provider in PROVIDERS:
        usages = session(provider)
        lowest = min(share([usage]) for usage in usages[2:])
        print(f"{provider.name:<12} {share(usages):>9.1%} {share(usages[2:]):>11.1%} {lowest:>18.1%}")


if __name__ == "__main__":
    main()
