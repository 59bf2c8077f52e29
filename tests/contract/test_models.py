"""What the loop relies on, for every model behind the Protocol: each provider over its real SDK against a loopback
server that refuses what its API refuses, and the two models that need none."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from agent.events import Event, UserSaid
from agent.models.provider import INVALID_JSON
from agent.models.registry import open_model
from agent.types import Message, Reply, ToolResult
from tests.benchmarks import cache_share
from tests.contract.providers import PROVIDERS, Provider
from tests.contract.talk import (
    ASK,
    CALLS,
    SYSTEM,
    TOOLS,
    TWO_CALLS,
    Talk,
    ask,
    each_provider,
    serving,
    talk,
)
from tests.loopback.server import Answer

# --- models that need no provider keep the same contract


def scripted(tmp_path: Path) -> str:
    calls = [{"name": name, "arguments": arguments} for name, arguments in CALLS]
    path = tmp_path / "script.jsonl"
    path.write_text(
        "\n".join(map(json.dumps, [{"text": TWO_CALLS.text, "tool_calls": calls}, {"text": "Done."}]))
    )
    return f"scripted/{path}"


@pytest.mark.parametrize("name", [*(p.name for p in PROVIDERS), "scripted"])
def test_a_conversation_with_tools_comes_to_its_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(talking: Talk) -> None:
        first = await talking.reply()
        assert (first.text, first.stop) == (TWO_CALLS.text, "tool_use")
        assert [(call.name, call.arguments) for call in first.tool_calls] == CALLS
        second = await talking.reply()
        assert (second.text, second.stop, second.tool_calls) == ("Done.", "end", ())

    if name == "scripted":
        talk(scripted(tmp_path), use)
        return
    provider = next(p for p in PROVIDERS if p.name == name)
    with serving(provider, [TWO_CALLS, Answer("Done.")], monkeypatch) as server:
        talk(provider.spec, use)
    assert len(server.requests) == 2


@pytest.mark.parametrize("spec", ["local/repair", "scripted"])
def test_a_model_without_a_provider_costs_nothing(spec: str, tmp_path: Path) -> None:
    async def use() -> None:
        model = open_model(scripted(tmp_path) if spec == "scripted" else spec)
        await model.close()
        await model.close()
        if spec == "scripted":
            reply = await model.reply(SYSTEM, [ASK], TOOLS)
            assert reply.cost_usd == 0

    anyio.run(use)


# --- turns


@each_provider
def test_a_reply_leaves_the_conversation_as_it_was(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(talking: Talk) -> None:
        given = [ASK]
        await talking.model.reply(SYSTEM, given, TOOLS)
        assert given == [Message("user", "Mend it.")]

    with serving(provider, [TWO_CALLS], monkeypatch):
        talk(provider.spec, use)


@each_provider
def test_closing_unused_or_twice_does_no_harm(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talking: Talk) -> None:
        await talking.model.close()

    with serving(provider, [], monkeypatch):
        talk(provider.spec, use)


@each_provider
def test_thinking_is_carried_back_as_it_came(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    # The server refuses a request whose earlier thinking is missing, changed or in another place.
    async def use(talking: Talk) -> None:
        for _ in range(4):
            await talking.reply()

    answers = [
        Answer("", [("diff", {})], thinking="One."),
        Answer("Two.", [("shell", {"command": "ls"}), ("diff", {})], thinking="Two."),
        Answer("Three.", thinking="Three."),
        Answer("Done."),
    ]
    with serving(provider, answers, monkeypatch) as server:
        talk(provider.spec, use)
    if "thinking" not in provider.lacks:
        assert server.thinking_came_back()


@pytest.mark.parametrize(
    ("provider", "other"),
    [(to, other) for to in PROVIDERS for other in PROVIDERS if to is not other],
    ids=lambda p: p.name,
)
def test_a_conversation_goes_on_with_another_provider(
    provider: Provider, other: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Event] = []

    async def begin(talking: Talk) -> None:
        await talking.reply()
        await talking.reply()
        begun.extend(talking.events)

    with serving(other, [TWO_CALLS, Answer("So.", [("diff", {})], thinking="Aha.")], monkeypatch):
        talk(other.spec, begin)

    async def go_on(talking: Talk) -> None:
        talking.events = list(begun)
        await talking.reply()
        last = await talking.reply()
        assert (last.text, last.stop) == ("Done.", "end")

    with serving(
        provider, [Answer("I see.", [("diff", {})], thinking="Hm."), Answer("Done.")], monkeypatch
    ) as server:
        talk(provider.spec, go_on)
    sent = json.dumps(server.requests[0], ensure_ascii=False)
    assert all(text in sent for text in ("Let me look — 😀.", "So.", "ran shell", "ran diff"))
    assert "Where is it?" not in sent  # one model's thoughts are no other one's


@each_provider
def test_output_that_is_empty_or_an_error_is_still_a_result(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(talking: Talk) -> None:
        first = await talking.model.reply(SYSTEM, [ASK], TOOLS)
        said = Message("assistant", first.text, first.tool_calls, provider_data=first.provider_data)
        texts = ["", " \n", "\ud800 no such file"]
        results = tuple(
            ToolResult(call.id, call.name, text, is_error=number == 2)
            for number, (call, text) in enumerate(zip(first.tool_calls, texts, strict=True))
        )
        last = await talking.model.reply(
            SYSTEM, [ASK, said, Message("user", "Well?", tool_results=results)], TOOLS
        )
        assert last.text == "Done."

    with serving(provider, [TWO_CALLS, Answer("Done.")], monkeypatch) as server:
        talk(provider.spec, use)
    assert "no such file" in json.dumps(server.requests[1])


@each_provider
@pytest.mark.parametrize("raw", ['{"command": "ls"', '["ls"]', "ls", '{"command": NaN}', '"ls"'])
def test_arguments_that_are_no_json_object_can_be_answered(
    provider: Provider, raw: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "raw arguments" in provider.lacks:
        pytest.skip("the API parses arguments itself")

    async def use(talking: Talk) -> None:
        first = await talking.reply()
        assert first.tool_calls[0].arguments == {INVALID_JSON: raw}
        assert (await talking.reply()).text == "Done."

    with serving(provider, [Answer("", [("shell", raw)]), Answer("Done.")], monkeypatch):
        talk(provider.spec, use)


# --- how a reply ends


@each_provider
def test_an_answer_cut_at_its_length_is_named_and_goes_on(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(talking: Talk) -> None:
        assert (await talking.reply()).stop == "length"
        assert (await talking.reply()).text == "Done."

    with serving(
        provider, [Answer("I will", thinking="Hm.", stop=provider.cut), Answer("Done.")], monkeypatch
    ):
        talk(provider.spec, use)


@each_provider
def test_an_answer_of_nothing_is_named_and_goes_on(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(talking: Talk) -> None:
        assert (await talking.reply()).stop == "empty"
        assert (await talking.reply()).text == "Done."

    with serving(provider, [Answer(""), Answer("Done.")], monkeypatch):
        talk(provider.spec, use)


@each_provider
def test_a_refusal_is_named_and_leaves_nothing_to_run(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, stop = provider.refused
    reply = ask(provider, [answer], monkeypatch)
    assert (reply.stop, reply.tool_calls, reply.provider_data) == (stop, (), None)
    assert answer.explanation in reply.text


@each_provider
def test_a_conversation_that_no_longer_fits_is_named(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = ask(provider, [provider.overflow], monkeypatch)
    assert (reply.stop, reply.tool_calls) == ("overflow", ())


# --- money and time


@each_provider
def test_cost_is_known_by_the_catalogue_and_null_without_it(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = ask(provider, [TWO_CALLS], monkeypatch)
    assert known.usage.input + known.usage.cache_write > 0 and known.usage.output > 0
    assert isinstance(known.cost_usd, Decimal) and known.cost_usd > 0
    assert ask(provider, [TWO_CALLS], monkeypatch, provider.unknown).cost_usd is None


@each_provider
def test_time_to_the_first_token_is_measured(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = ask(provider, [Answer("Done.", slow=0.2)], monkeypatch)
    assert reply.first_token_seconds is not None and reply.seconds is not None
    assert 0.2 <= reply.first_token_seconds <= reply.seconds


@each_provider
def test_later_turns_read_earlier_ones_from_the_cache(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies: list[Reply] = []

    async def use(talking: Talk) -> None:
        talking.events = [UserSaid(1, "Mend it. " + "All of this stays. " * 800)]
        for _ in range(3):
            replies.append(await talking.reply())

    with serving(provider, [TWO_CALLS, TWO_CALLS, TWO_CALLS], monkeypatch):
        talk(provider.spec, use)
    assert replies[0].usage.cache_read == 0
    for reply in replies[1:]:
        assert reply.usage.cache_read > 3 * (reply.usage.input + reply.usage.cache_write)


def test_a_long_session_reads_nearly_all_input_from_anthropics_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    usages = cache_share.session(PROVIDERS[0])
    assert len(usages) == 30
    assert cache_share.share(usages[2:]) >= 0.9


# --- fields that nobody knows yet


@each_provider
def test_unknown_fields_in_an_answer_do_no_harm(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Answer("Done.", extra={"a_field_of_tomorrow": {"deep": [1, None]}})
    assert ask(provider, [odd], monkeypatch).text == "Done."


# --- answers held to a schema


@each_provider
def test_an_answer_can_be_held_to_a_schema(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {"type": "object", "properties": {"cause": {"type": "string"}}, "required": ["cause"]}
    schema["additionalProperties"] = False

    async def use(talking: Talk) -> None:
        reply = await talking.model.reply(SYSTEM, [ASK], (), schema)
        assert json.loads(reply.text) == {"cause": "off by one"}

    with serving(provider, [Answer('{"cause": "off by one"}')], monkeypatch) as server:
        talk(provider.spec, use)
    assert '"cause"' in json.dumps(server.requests[0])  # the schema goes with the request
