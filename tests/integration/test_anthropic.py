"""`anthropic/…` over the real SDK against a Messages API on loopback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import anyio
import pytest

from agent.errors import ModelError, UsageError
from agent.models import provider as provider_module
from agent.models.provider import FailedTry
from agent.models.registry import model_info, open_model, parse_spec
from agent.types import Message, Reply, ToolResult, ToolSpec, Usage
from tests.loopback.anthropic_server import KEY, Answer, AnthropicServer, Fault

TOOLS = [
    ToolSpec("shell", "Run a command.", {"type": "object", "properties": {"command": {"type": "string"}}}),
    ToolSpec("diff", "Show the change.", {"type": "object", "properties": {}}),
]
ASK = [Message("user", "Mend it.")]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "FIRST_WAIT_SECONDS", 0.001)


def ask(
    server: AnthropicServer,
    monkeypatch: pytest.MonkeyPatch,
    messages: Sequence[Message] = ASK,
    *,
    spec: str = "anthropic/claude-sonnet-5",
    retries: list[FailedTry] | None = None,
) -> Reply:
    retries = [] if retries is None else retries
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)

    async def run() -> Reply:
        model = open_model(spec, on_failed_try=retries.append)
        try:
            return await model.reply("You mend bugs.", messages, TOOLS)
        finally:
            await model.close()

    return anyio.run(run)


def answered(reply: Reply, *texts: str) -> list[Message]:
    """The conversation after `reply`, its calls answered by `texts`."""
    results = tuple(ToolResult(c.id, c.name, text) for c, text in zip(reply.tool_calls, texts, strict=True))
    said = Message("assistant", reply.text, reply.tool_calls, provider_data=reply.provider_data)
    return [*ASK, said, Message("user", tool_results=results)]


def test_text_and_parallel_tool_calls_arrive_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [("shell", {"command": "printf 'ä€😀\\n' | rev"}), ("diff", {})]
    with AnthropicServer([Answer("Let me look — 😀.", calls)]) as server:
        reply = ask(server, monkeypatch, spec="anthropic/claude-unheard-of")
    assert reply.text == "Let me look — 😀."
    assert [(c.name, c.arguments) for c in reply.tool_calls] == calls
    assert len({c.id for c in reply.tool_calls}) == 2
    assert reply.stop == "tool_use"
    assert reply.cost_usd is None


def test_usage_counts_each_token_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"input_tokens": 11, "cache_read_input_tokens": 2000, "cache_creation_input_tokens": 300}
    with AnthropicServer([Answer("Hi.", usage={**counts, "output_tokens": 42})]) as server:
        reply = ask(server, monkeypatch)
    assert reply.usage == Usage(requests=1, input=11, output=42, cache_read=2000, cache_write=300)


def test_a_lasting_prefix_is_cached_for_an_hour_and_priced_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server refuses an hour that comes after five minutes.
    spec, repository = "anthropic/claude-sonnet-5-5", "def f(x): return x\n" * 2000
    replies: list[Reply] = []

    async def run() -> None:
        for _ in range(2):  # two attempts, or two runs
            model = open_model(spec, lasting=True)
            try:
                replies.append(await model.reply(repository, ASK, TOOLS))
            finally:
                await model.close()
        model = open_model(spec)
        replies.append(await model.reply("Another prompt.", ASK, TOOLS))
        await model.close()

    with AnthropicServer([Answer("Hi."), Answer("Hi."), Answer("Hi.")]) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        anyio.run(run)
        first, _, plain = server.requests
    assert first["system"][-1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert first["messages"][-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert plain["system"][-1]["cache_control"] == {"type": "ephemeral"}
    wrote, read, _ = replies
    assert wrote.usage.cache_write > 9_000 and read.usage.cache_read > 9_000 > read.usage.cache_write
    info = model_info(parse_spec(spec))
    more = (wrote.cost_usd or 0) - (info.cost(wrote.usage) or 0)
    hour = more / Decimal("1.50") * 1_000_000  # 4.00 for an hour, 2.50 for five minutes
    assert 9_000 < hour < wrote.usage.cache_write  # all but the conversation
    assert read.cost_usd == info.cost(read.usage)


def test_thinking_comes_back_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server refuses a second request whose thinking blocks differ from those that it sent.
    first = Answer("On it.", [("shell", {"command": "ls"})], thinking="Where is it? …", redacted="b64==")
    with AnthropicServer([first, Answer("Done.")]) as server:
        reply = ask(server, monkeypatch, spec="anthropic/claude-sonnet-5:high")
        ask(server, monkeypatch, answered(reply, "a.py"), spec="anthropic/claude-sonnet-5:high")
    kinds = [block["type"] for block in server.requests[1]["messages"][1]["content"]]
    assert kinds == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert server.requests[0]["thinking"] == {"type": "adaptive"}
    assert server.requests[0]["output_config"] == {"effort": "high"}


def test_thinking_of_another_model_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Answer("On it.", [("diff", {})], thinking="Hm.")
    with AnthropicServer([first]) as server:
        reply = ask(server, monkeypatch)
    with AnthropicServer([Answer("Done.")]) as server:
        ask(server, monkeypatch, answered(reply, "+1"), spec="anthropic/claude-opus-5")
    kinds = [block["type"] for block in server.requests[0]["messages"][1]["content"]]
    assert kinds == ["text", "tool_use"]


def test_thinking_off_and_default(monkeypatch: pytest.MonkeyPatch) -> None:
    with AnthropicServer([Answer("Hi."), Answer("Hi.")]) as server:
        ask(server, monkeypatch, spec="anthropic/claude-sonnet-5:off")
        ask(server, monkeypatch)
    assert server.requests[0]["thinking"] == {"type": "disabled"}
    assert not {"thinking", "output_config"} & server.requests[1].keys()


def test_a_later_request_reads_the_earlier_ones_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    # 30 results in one turn are more blocks than the cache looks back over by itself.
    many = [("shell", {"command": f"echo {n}"}) for n in range(30)]
    with AnthropicServer([Answer("", many), Answer("Done.")]) as server:
        first = ask(server, monkeypatch)
        second = ask(server, monkeypatch, answered(first, *map(str, range(30))))
    assert first.usage.cache_read == 0
    assert second.usage.cache_read == first.usage.cache_write > 0
    assert first.usage.input == second.usage.input == 0


def test_a_missing_or_empty_output_is_still_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [("shell", {"command": "true"}), ("shell", {"command": "printf '\\xff'"})]
    with AnthropicServer([Answer("", calls), Answer("Done.")]) as server:
        reply = ask(server, monkeypatch)
        ask(server, monkeypatch, answered(reply, " \n", "\udcff"))
    results = server.requests[1]["messages"][2]["content"]
    assert [block["content"] for block in results] == ["(no output)", "�"]


@pytest.mark.parametrize("raw", ['{"command": "ls', "[1, 2]", '{"n": NaN}', '{"s": "\\ud800"}', "rm -rf"])
def test_arguments_that_are_no_json_object_can_be_answered(raw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with AnthropicServer([Answer("", [("shell", raw)]), Answer("Done.")]) as server:
        reply = ask(server, monkeypatch)
        assert reply.tool_calls[0].arguments == {"__invalid_json__": raw}
        assert ask(server, monkeypatch, answered(reply, "not valid JSON")).stop == "end"


def test_an_answer_cut_by_its_length_keeps_no_half_tool_call(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Answer("", [("diff", {}), ("shell", '{"command": "rm')], stop="max_tokens")
    begun = Answer("", [("shell", "")], stop="model_context_window_exceeded")
    with AnthropicServer([cut, begun]) as server:
        reply, other = ask(server, monkeypatch), ask(server, monkeypatch)
    assert (reply.stop, other.stop) == ("length", "length")
    assert [c.arguments for c in reply.tool_calls] == [{}, {"__invalid_json__": '{"command": "rm'}]
    assert other.tool_calls[0].arguments == {"__invalid_json__": ""}


def test_an_answer_of_nothing_but_thinking_can_be_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    with AnthropicServer([Answer(thinking="Hm …", stop="max_tokens"), Answer("Done.")]) as server:
        reply = ask(server, monkeypatch)
        said = Message("assistant", reply.text, provider_data=reply.provider_data)
        ask(server, monkeypatch, [*ASK, said, Message("user", "Go on.")])
    assert [m["role"] for m in server.requests[1]["messages"]] == ["user"]


def test_a_refusal_says_why_and_leaves_nothing_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Answer("I", [("shell", {"command": "ls"})], stop="refusal", explanation="It could do harm.")
    with AnthropicServer([begun]) as server:
        reply = ask(server, monkeypatch)
    assert (reply.stop, reply.tool_calls, reply.provider_data) == ("refusal", (), None)
    assert "It could do harm." in reply.text


def test_a_paused_turn_is_told_as_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    with AnthropicServer([Answer("First", stop="pause_turn")]) as server:
        assert ask(server, monkeypatch).stop == "length"


def test_what_no_longer_fits_the_window_is_a_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Fault(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
    with AnthropicServer([long]) as server:
        reply = ask(server, monkeypatch)
    assert (reply.stop, reply.tool_calls) == ("overflow", ())
    assert "210000 tokens" in reply.text


def test_an_answer_of_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with AnthropicServer([Answer("")]) as server:
        assert ask(server, monkeypatch).stop == "empty"


def test_a_broken_answer_that_was_billed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[FailedTry] = []
    counts = {
        "input_tokens": 100,
        "output_tokens": 5,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    }
    cut = Fault(then="end", answer=Answer("I see.", usage=counts))
    with AnthropicServer([cut, Answer("Done.", usage=counts)]) as server:
        reply = ask(server, monkeypatch, spec="anthropic/claude-haiku-4-5", retries=tries)
    assert tries[0].usage.input == reply.usage.input == 100
    assert reply.cost_usd == Decimal("0.000125")  # 100 x 1 + 5 x 5 dollars a million
    assert tries[0].cost_usd is not None and tries[0].cost_usd >= Decimal("0.0001")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            Fault(429, "rate_limit_error", "Slow down", {"retry-after-ms": "1"}),
            "HTTP 429 rate_limit_error: Slow",
        ),
        (Fault(529), "HTTP 529 overloaded_error"),
        (Fault(503, page="<html>\x1b[31mbad gateway</html>"), "HTTP 503"),
        (Fault(500, "api_error", "Internal"), "HTTP 500 api_error"),
        (Fault(after=5), "overloaded_error in mid-answer"),
        (Fault(then="end"), "the answer broke off"),
        (Fault(then="end", after=0), "the answer broke off"),
        (Fault(then="garbage"), "not readable"),
        (Fault(then="reset"), "no answer from 127.0.0.1"),
        (Fault(then="reset", after=0), "no answer from 127.0.0.1"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_a_transient_fault_is_retried_and_noted(
    fault: Fault, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    retries: list[FailedTry] = []
    with AnthropicServer([fault, Answer("Done.")]) as server:
        reply = ask(server, monkeypatch, retries=retries)
    assert (reply.text, reply.usage.requests) == ("Done.", 1)
    [tried] = retries
    assert tried.wait_seconds is not None and tried.wait_seconds >= 0
    assert reason in tried.reason and tried.reason.isprintable()


def test_silence_is_a_transient_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "READ_SECONDS", 0.2)
    with AnthropicServer([Fault(then="hang"), Answer("Done.")]) as server:
        assert ask(server, monkeypatch).text == "Done."
        assert server.hung_up.wait(10)


def test_pings_alone_keep_no_request_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "REQUEST_SECONDS", 0.5)
    with AnthropicServer([Fault(then="drip"), Answer("Done.")]) as server:
        assert ask(server, monkeypatch).text == "Done."
        assert server.hung_up.wait(10)


def test_retry_after_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    retries: list[FailedTry] = []
    limit = Fault(429, "rate_limit_error", "Slow down", {"retry-after": "0.25"})
    with AnthropicServer([limit, Answer("Done.")]) as server:
        ask(server, monkeypatch, retries=retries)
    assert retries[0].wait_seconds == 0.25


def test_a_wait_beyond_the_bound_ends_the_call_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Fault(429, "rate_limit_error", "Daily limit", {"retry-after": "86400"})
    with AnthropicServer([limit]) as server, pytest.raises(ModelError, match="asks to wait 86400 s"):
        ask(server, monkeypatch)


def test_retries_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [Fault(529)] * provider_module.TRIES
    with AnthropicServer(faults) as server, pytest.raises(ModelError, match=r"overloaded_error.*gave up"):
        ask(server, monkeypatch)
    assert len(server.requests) == provider_module.TRIES


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(400, "invalid_request_error", "max_tokens: 32000 > 8192"), "max_tokens: 32000 > 8192"),
        (Fault(401, "authentication_error", f"bad key {KEY}"), "check ANTHROPIC_API_KEY"),
        (Fault(402, "billing_error", "no credit"), "billing"),
        (Fault(403, "permission_error", "not yours"), "not yours"),
        (Fault(404, "not_found_error", "model: claude-nine"), "check the model's name"),
        (Fault(413, "request_too_large", "32 MB"), "too large"),
        (Fault(429, "rate_limit_error", "No credit", {"x-should-retry": "false"}), "No credit"),
        (Fault(kind="invalid_request_error", message="Prompt is bad\nvery"), "Prompt is bad very"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Fault) else "",
)
def test_a_fault_for_good_is_one_line_at_once(
    fault: Fault, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AnthropicServer([fault]) as server, pytest.raises(ModelError) as caught:
        ask(server, monkeypatch)
    message = str(caught.value)
    assert says in message and message.startswith("anthropic/claude-sonnet-5: ")
    assert message.isprintable() and len(message) < 500
    assert KEY not in message
    assert len(server.requests) == 1


def test_a_base_url_that_cannot_work_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    with AnthropicServer([]) as server:
        good = server.environ
    monkeypatch.setattr(AnthropicServer, "environ", {**good, "ANTHROPIC_BASE_URL": "api.example"})
    with pytest.raises(ModelError, match="check ANTHROPIC_BASE_URL"):
        ask(server, monkeypatch)
    monkeypatch.setattr(AnthropicServer, "environ", {**good, "ANTHROPIC_BASE_URL": "http://[::1"})
    with pytest.raises(UsageError, match="ANTHROPIC_BASE_URL is not a URL"):
        ask(server, monkeypatch)


@pytest.mark.parametrize("after", [0, 4], ids=["before the first event", "in mid-answer"])
def test_cancelling_closes_the_connection(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        model = open_model("anthropic/claude-sonnet-5")
        async with anyio.create_task_group() as group:
            group.start_soon(model.reply, "", ASK, TOOLS)
            while not server.requests:  # noqa: ASYNC110 - the server lives in a thread
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        # The model is still open: it is the call's own connection that has gone.
        assert await anyio.to_thread.run_sync(server.hung_up.wait, 10)
        await model.close()

    with AnthropicServer([Fault(then="hang", after=after)]) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        anyio.run(run)


def test_a_request_is_sent_as_the_sdk_would_send_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import anthropic

    first = Answer("On it. \u2028ä", [("shell", {"command": "ls"})], thinking="Where?")
    seen: list[dict[str, str]] = []
    refused = AnthropicServer([]).dialect.refused

    class Watched(AnthropicServer):
        def __init__(self, replies: Sequence[Answer | Fault]) -> None:
            super().__init__(replies)
            self.dialect.refused = self._refused  # type: ignore[method-assign]

        def _refused(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
            seen.append({name.lower(): value for name, value in headers.items()} | {"path": path})
            return refused(method, path, headers)

    with Watched([first, first]) as server:
        monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Team: blue\nAnthropic-Beta: one")
        reply = ask(server, monkeypatch)
        [ours] = server.requests

        async def theirs() -> anthropic.types.Message:
            async with anthropic.AsyncAnthropic(max_retries=0) as client:
                given = {key: value for key, value in ours.items() if key != "stream"}
                async with client.messages.stream(**given) as stream:
                    return await stream.get_final_message()

        message = anyio.run(theirs)
    assert server.requests == [ours, ours]
    assert reply.text == next(block.text for block in message.content if block.type == "text")
    for name in ("path", "authorization", "anthropic-version", "content-type", "x-team", "anthropic-beta"):
        assert seen[0][name] == seen[1][name], name
