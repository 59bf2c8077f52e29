"""What the loop relies on, for every model behind the Protocol."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from agent.models import Model
from agent.models.registry import open_model, parse_spec
from agent.types import Message, Reply, ToolResult, ToolSpec
from tests.loopback.anthropic_server import Answer, AnthropicServer

TOOLS = [
    ToolSpec("shell", "Run a command.", {"type": "object", "properties": {"command": {"type": "string"}}})
]
ASK = Message("user", "Mend it.")
CALLS = [("shell", {"command": "ls"}), ("shell", {"command": "pwd"})]


@pytest.fixture(params=["anthropic", "scripted"])
def spec(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A model that calls a tool twice in its first reply and says "Done." in its second."""
    if request.param == "scripted":
        calls = [{"name": name, "arguments": arguments} for name, arguments in CALLS]
        lines = [{"text": "Look.", "tool_calls": calls}, {"text": "Done."}]
        path = tmp_path / "script.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        yield f"scripted/{path}"
        return
    with AnthropicServer([Answer("Look.", CALLS, thinking="Hm."), Answer("Done.")]) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield "anthropic/claude-sonnet-5"


def with_model(spec: str, use: Callable[[Model], Awaitable[None]]) -> None:
    async def run() -> None:
        model = open_model(spec)
        try:
            await use(model)
        finally:
            await model.close()

    anyio.run(run)


def check(reply: Reply) -> None:
    """What holds for any reply."""
    ids = [call.id for call in reply.tool_calls]
    assert len(set(ids)) == len(ids)
    assert all(call.name and isinstance(call.arguments, dict) for call in reply.tool_calls)
    assert reply.stop in ("tool_use", "end", "length", "refusal")
    assert reply.stop != "tool_use" or reply.tool_calls
    assert reply.usage.requests >= 1
    assert min(reply.usage.input, reply.usage.output, reply.usage.cache_read, reply.usage.cache_write) >= 0
    assert reply.cost_usd is None or reply.cost_usd >= 0
    # The log keeps what the provider wants back as JSON, and the conversation is made of the log.
    assert json.loads(json.dumps(reply.provider_data)) == reply.provider_data


def test_it_says_who_it_is(spec: str) -> None:
    async def use(model: Model) -> None:
        assert parse_spec(model.spec) == parse_spec(spec)
        assert isinstance(model.repeats_itself, bool)

    with_model(spec, use)


def test_a_conversation_with_tools_comes_to_its_end(spec: str) -> None:
    async def use(model: Model) -> None:
        first = await model.reply("You mend bugs.", [ASK], TOOLS)
        check(first)
        assert (first.text, first.stop) == ("Look.", "tool_use")
        assert [(call.name, call.arguments) for call in first.tool_calls] == CALLS
        said = Message("assistant", first.text, first.tool_calls, provider_data=first.provider_data)
        results = tuple(ToolResult(call.id, call.name, "") for call in first.tool_calls)
        second = await model.reply(
            "You mend bugs.", [ASK, said, Message("user", tool_results=results)], TOOLS
        )
        check(second)
        assert (second.text, second.stop, second.tool_calls) == ("Done.", "end", ())

    with_model(spec, use)


def test_a_reply_leaves_the_conversation_as_it_was(spec: str) -> None:
    async def use(model: Model) -> None:
        messages = [ASK]
        await model.reply("You mend bugs.", messages, TOOLS)
        assert messages == [Message("user", "Mend it.")]

    with_model(spec, use)


def test_closing_twice_or_unused_does_no_harm(spec: str) -> None:
    async def use(model: Model) -> None:
        await model.close()

    with_model(spec, use)
