"""Conversations with each provider over its real SDK, against a loopback server that refuses what its API refuses."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import get_args

import anyio
import pytest

from agent.conversation import messages as conversation
from agent.errors import ModelError
from agent.events import Event, ModelReplied, ToolReturned, UserSaid, decode, encode
from agent.models import Model
from agent.models.provider import FailedTry
from agent.models.registry import open_model
from agent.types import Message, Reply, Stop, ToolSpec
from tests.contract.providers import PROVIDERS, Provider
from tests.loopback.server import KEY, Answer, Fault, Server

TOOLS = [
    ToolSpec(
        "shell",
        "Run a command.",
        {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
    ),
    ToolSpec("diff", "Show the change.", {"type": "object", "properties": {}}),
]
SYSTEM = "You mend bugs."
ASK = Message("user", "Mend it.")
CALLS = [("shell", {"command": "printf 'ä€😀\\n' | rev"}), ("shell", {"command": "pwd"}), ("diff", {})]
TWO_CALLS = Answer("Let me look — 😀.", CALLS, thinking="Where is it? …")

each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda p: p.name)


@contextmanager
def serving(
    provider: Provider, replies: Sequence[Answer | Fault], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    with provider.setup() as more, Server(provider.dialect(), replies) as server:
        for name, value in {**(more or {}), **server.environ}.items():
            monkeypatch.setenv(name, value)
        yield server


class Talk:
    """A conversation with one model, kept as the run keeps it: as events that went through JSON."""

    def __init__(self, spec: str) -> None:
        self.tries: list[FailedTry] = []
        self.events: list[Event] = [UserSaid(1, "Mend it.")]
        self.model: Model = open_model(spec, on_failed_try=self.tries.append)

    async def reply(self, tools: Sequence[ToolSpec] = TOOLS) -> Reply:
        reply = await self.model.reply(SYSTEM, conversation(self.events, 1), tools)
        check(reply)
        replied = ModelReplied(
            1,
            1,
            reply.text,
            reply.tool_calls,
            reply.usage,
            reply.cost_usd,
            reply.stop,
            0.0,
            reply.provider_data,
        )
        self._log(replied)
        for call in reply.tool_calls:
            self._log(ToolReturned(1, 1, call.id, call.name, f"ran {call.name}", False, 0.0))
        if not reply.tool_calls:
            self._log(UserSaid(1, "Go on."))
        return reply

    def _log(self, event: Event) -> None:
        self.events.append(decode(json.loads(json.dumps(encode(event)))))


def talk(spec: str, use: Callable[[Talk], Awaitable[None]]) -> Talk:
    made: list[Talk] = []

    async def run() -> None:
        talking = Talk(spec)
        made.append(talking)
        try:
            await use(talking)
        finally:
            await talking.model.close()

    anyio.run(run)
    return made[0]


def ask(
    provider: Provider, replies: Sequence[Answer | Fault], monkeypatch: pytest.MonkeyPatch, spec: str = ""
) -> Reply:
    got: list[Reply] = []

    async def use(talking: Talk) -> None:
        got.append(await talking.reply())

    with serving(provider, replies, monkeypatch):
        talk(spec or provider.spec, use)
    return got[0]


def fails(provider: Provider, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one line of a fault that no other try mends."""

    async def use(talking: Talk) -> None:
        await talking.reply()

    with serving(provider, [fault], monkeypatch) as server:
        with pytest.raises(ModelError) as caught:
            talk(provider.spec, use)
        assert len(server.requests) == 1
    message = str(caught.value)
    assert message.startswith(f"{provider.spec}: ")
    assert message.isprintable() and len(message) < 600
    assert KEY not in message
    return message


def check(reply: Reply) -> None:
    """What holds for any reply."""
    ids = [call.id for call in reply.tool_calls]
    assert len(set(ids)) == len(ids)
    assert all(call.name and isinstance(call.arguments, dict) for call in reply.tool_calls)
    assert reply.stop in get_args(Stop)
    assert (reply.stop == "tool_use") <= bool(reply.tool_calls)
    usage = reply.usage
    assert min(usage.input, usage.output, usage.cache_read, usage.cache_write, usage.requests) >= 0
    assert reply.cost_usd is None or reply.cost_usd >= 0
    # The log keeps what the provider wants back as JSON, and the conversation is made of the log.
    assert json.loads(json.dumps(reply.provider_data)) == reply.provider_data
