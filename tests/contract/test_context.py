"""What every provider is sent keeps its bytes from request to request, but for a masking; and then from there on."""

from __future__ import annotations

import json
import os
from typing import Any

import anyio
import pytest

from agent.conversation import messages
from agent.events import ContextMasked, Event, ModelReplied, ToolReturned, UserSaid
from agent.models.registry import open_model
from agent.prompts import system_prompt
from agent.types import ToolSpec
from tests.contract.providers import PROVIDERS, Provider
from tests.loopback.server import Answer, Server
from tools.server import TOOLS

SPECS = [
    ToolSpec(t["name"], t["description"], t["inputSchema"]) for t in (one.listed() for one in TOOLS.values())
]
TURNS, MASKED_AFTER, MASKED = 12, 7, [1, 2, 3, 4]


def talk(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> tuple[list[dict[str, Any]], list[Event]]:
    """The bodies of a session's requests, in which old output is masked once, and its log."""
    answers = [
        Answer(
            f"I look at {n}.",
            [("read_file", {"path": f"{n}.py"}), ("search", {"pattern": f"{n}"})],
            thinking=f"Why {n}?",
        )
        for n in range(TURNS)
    ]
    log: list[Event] = [UserSaid(1, "An issue. " * 500)]

    async def run() -> None:
        model = open_model(provider.spec)
        try:
            for turn in range(1, TURNS + 1):
                if turn == MASKED_AFTER + 1:
                    log.append(ContextMasked(1, MASKED_AFTER, MASKED, 1, 1, 1, "cost"))
                reply = await model.reply(system_prompt(provider.spec), messages(log, 1), SPECS)
                log.append(ModelReplied.of(reply, 1, turn, 0.0))
                for call in reply.tool_calls:
                    text = f"{turn} is a line of this output\n" * 60
                    log.append(ToolReturned(1, turn, call.id, call.name, text, False, 0.0))
        finally:
            await model.close()

    with provider.setup() as more, Server(provider.dialect(), answers) as server:
        for name, value in {**(more or {}), **server.environ}.items():
            monkeypatch.setenv(name, value)
        assert os.environ["NO_PROXY"]
        anyio.run(run)
        return server.requests, log


def said(body: dict[str, Any]) -> tuple[str, list[str]]:
    """What stands before the conversation, and its items, without the marks that steer a cache and are no content."""
    turns = next(body[key] for key in ("messages", "input", "contents") if key in body)
    head = {key: value for key, value in body.items() if key not in ("messages", "input", "contents")}
    return json.dumps(_plain(head), sort_keys=True), [
        json.dumps(_plain(turn), sort_keys=True) for turn in turns
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key != "cache_control"}
    return [_plain(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.name)
def test_the_prefix_keeps_its_bytes_between_maskings(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies, _ = talk(provider, monkeypatch)
    assert len(bodies) == TURNS
    heads = {said(body)[0] for body in bodies}
    assert len(heads) == 1, "tools, system prompt and settings are the same for all requests"
    requests = [said(body)[1] for body in bodies]
    for number in range(1, TURNS):
        before, after = requests[number - 1], requests[number]
        if number != MASKED_AFTER:
            assert after[: len(before)] == before
    before, after = requests[MASKED_AFTER - 1], requests[MASKED_AFTER]
    changed = [place for place, (one, other) in enumerate(zip(before, after, strict=False)) if one != other]
    assert changed and all("characters left out" in after[place] for place in changed)
    assert all("characters left out" not in item for item in before)
    assert json.dumps(after).count("characters left out") == len(MASKED)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.name)
def test_the_cache_is_read_again_at_once_after_a_masking(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, log = talk(provider, monkeypatch)
    replies = [event for event in log if isinstance(event, ModelReplied)]
    at = replies[MASKED_AFTER]
    assert at.usage.cache_read > 0, "what stands before the masked output is still read"
    for reply in replies[MASKED_AFTER + 1 :]:
        total = reply.usage.input + reply.usage.cache_read + reply.usage.cache_write
        assert reply.usage.cache_read > 0.75 * total


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.name)
def test_each_reply_tells_what_its_input_cost_and_would_have_cost(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, log = talk(provider, monkeypatch)
    for reply in (event for event in log if isinstance(event, ModelReplied)):
        assert reply.cost_usd is not None and reply.input_usd is not None and reply.uncached_usd is not None
        assert 0 < reply.input_usd < reply.cost_usd
        if reply.turn > 3 and reply.turn != MASKED_AFTER + 1:
            assert reply.input_usd < reply.uncached_usd
