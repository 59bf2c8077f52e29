"""What the loop relies on, for every model behind the Protocol: each provider over its real SDK against a loopback
server that refuses what its API refuses, and the two models that need none."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import get_args

import anyio
import pytest

from agent.conversation import messages as conversation
from agent.errors import ModelError
from agent.events import Event, ModelReplied, ToolReturned, UserSaid, decode, encode
from agent.models import Model
from agent.models import provider as provider_module
from agent.models.provider import INVALID_JSON, FailedTry
from agent.models.registry import open_model
from agent.types import Message, Reply, Stop, ToolResult, ToolSpec
from tests.benchmarks import cache_share
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


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provider_module, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))


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


# --- faults that another try may not meet


@each_provider
@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, message="Slow down", headers={"retry-after": "0.01"}),
        Fault(500, message="Internal"),
        Fault(503, message="Overloaded"),
        Fault(503, page="<html>\x1b[31mbad gateway</html>"),
        Fault(504, message="Deadline"),
        Fault(after=3, message="Overloaded", then="error"),
        Fault(after=3, then="end"),
        Fault(after=0, then="end"),
        Fault(after=2, then="garbage"),
        Fault(after=3, then="reset"),
        Fault(after=0, then="reset"),
    ],
    ids=[
        *("rate-limit", "500", "503", "html-page", "504", "error-in-mid-answer", "cut-in-mid-answer"),
        *("cut-at-once", "garbage", "reset-in-mid-answer", "reset-at-once"),
    ],
)
def test_a_passing_fault_is_tried_again_and_told(
    provider: Provider, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[Reply] = []

    async def use(talking: Talk) -> None:
        got.append(await talking.reply())

    with serving(provider, [fault, Answer("Done.")], monkeypatch) as server:
        talking = talk(provider.spec, use)
    assert (got[0].text, len(server.requests)) == ("Done.", 2)
    [tried] = talking.tries
    assert tried.wait_seconds is not None
    assert tried.reason.isprintable() and KEY not in tried.reason
    if fault.status == 429:
        assert tried.wait_seconds == 0.01


@each_provider
@pytest.mark.parametrize("then", ["hang", "drip"])
def test_silence_is_a_passing_fault(provider: Provider, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if then == "hang":
        monkeypatch.setattr(provider_module, "READ_SECONDS", 0.3)
    else:
        monkeypatch.setattr(provider_module, "REQUEST_SECONDS", 0.7)

    async def use(talking: Talk) -> None:
        assert (await talking.reply()).text == "Done."

    with serving(provider, [Fault(then=then, after=2), Answer("Done.")], monkeypatch) as server:  # type: ignore[arg-type]
        talk(provider.spec, use)
        assert server.hung_up.wait(10)


@each_provider
def test_retries_come_to_an_end(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talking: Talk) -> None:
        with pytest.raises(ModelError, match="gave up at try"):
            await talking.reply()

    with serving(provider, [Fault(503)] * provider_module.TRIES, monkeypatch) as server:
        talking = talk(provider.spec, use)
    assert len(server.requests) == len(talking.tries) == provider_module.TRIES
    assert talking.tries[-1].wait_seconds is None


@each_provider
def test_what_a_broken_answer_cost_is_not_lost(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talking: Talk) -> None:
        await talking.reply()

    with serving(provider, [Fault(then="end", answer=TWO_CALLS, after=5), Answer("Done.")], monkeypatch):
        [tried] = talk(provider.spec, use).tries
    assert tried.usage.requests == 1
    assert tried.cost_usd is None or tried.cost_usd > 0  # unknown where nothing was counted, but never zero


# --- faults for good


@each_provider
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_fault_for_good_is_one_line_at_once(
    provider: Provider, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = fails(provider, Fault(status, message=f"No:\x1b[31m\nnot {KEY}"), monkeypatch)
    assert "not [key]" in message
    if status == 401:
        assert provider.key in message


@each_provider
@pytest.mark.parametrize(
    ("fault", "down"),
    [
        (Fault(401), True),
        (Fault(503, headers={"retry-after": "86400"}), True),
        (Fault(429, headers={"retry-after": "86400"}), False),
        (Fault(400), False),
        (Fault(403), False),
        (Fault(404), False),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Fault) else "",
)
def test_a_fault_is_the_provider_s_or_one_model_s(
    provider: Provider, fault: Fault, down: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(talking: Talk) -> None:
        await talking.reply()

    with serving(provider, [fault], monkeypatch), pytest.raises(ModelError) as caught:
        talk(provider.spec, use)
    assert caught.value.provider_down is down


@each_provider
def test_a_spent_quota_is_not_tried_again(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(provider, provider.quota, monkeypatch)


@each_provider
def test_a_long_wait_ends_the_call_at_once(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    message = fails(provider, Fault(429, message="Daily", headers={"retry-after": "86400"}), monkeypatch)
    assert "asks to wait 86400 s" in message


# --- cancelling


@each_provider
@pytest.mark.parametrize("after", [0, 3], ids=["before the first event", "in mid-answer"])
def test_cancelling_closes_the_connection_and_tells_what_was_spent(
    provider: Provider, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(talking: Talk) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(talking.reply)
            while not server.requests:  # noqa: ASYNC110 - the server lives in a thread
                await anyio.sleep(0.01)
            await anyio.sleep(0.2)
            group.cancel_scope.cancel()
        # The model is still open: it is the call's own connection that has gone.
        assert await anyio.to_thread.run_sync(server.hung_up.wait, 10)

    with serving(provider, [Fault(then="hang", after=after)], monkeypatch) as server:
        [tried] = talk(provider.spec, use).tries
    assert (tried.reason, tried.wait_seconds) == ("cancelled", None)


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
