"""`openai/…` over the real SDK: the Responses API, and Chat Completions of several servers, on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent.errors import ModelError, UsageError
from agent.models import provider as provider_module
from agent.models.provider import FailedTry
from agent.models.registry import open_model
from agent.types import Message, Reply, ToolCall, ToolResult, ToolSpec, Usage
from tests.loopback.chat_rules import Flavour
from tests.loopback.openai_server import ChatDialect, ResponsesDialect
from tests.loopback.server import KEY, Answer, Dialect, Fault, Server

TOOLS = [
    ToolSpec("shell", "Run a command.", {"type": "object", "properties": {"command": {"type": "string"}}}),
    ToolSpec("diff", "Show the change.", {"type": "object", "properties": {}}),
]
ASK = [Message("user", "Mend it.")]
GPT, QWEN, DEEP = "openai/gpt-5.4", "openai/qwen3:32b", "openai/deep"
APIS: dict[str, tuple[str, Callable[[], Dialect]]] = {
    "responses": (GPT, ResponsesDialect),
    "chat": (QWEN, ChatDialect),
}
FLAVOURS: tuple[Flavour, ...] = ("openai", "ollama", "vllm", "llama.cpp", "openrouter", "deepseek")
MODELS = """
[models."openai/deep"]
api = "chat"
max_output = 8192
quirks = ["reasoning-content"]
prices = { input = 1, output = 10, cache_read = 0.1 }
"""


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provider_module, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))
    (tmp_path / "models.toml").write_text(MODELS)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


def ask(
    server: Server | Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    messages: Sequence[Message] = ASK,
    *,
    spec: str = GPT,
    retries: list[FailedTry] | None = None,
    schema: Mapping[str, Any] | None = None,
    system: str = "You mend bugs.",
) -> Reply:
    retries = [] if retries is None else retries
    for name, value in (server.environ if isinstance(server, Server) else server).items():
        monkeypatch.setenv(name, value)

    async def run() -> Reply:
        model = open_model(spec, on_failed_try=retries.append)
        try:
            return await model.reply(system, messages, TOOLS, schema)
        finally:
            await model.close()

    return anyio.run(run)


def answered(reply: Reply, *texts: str, to: Sequence[Message] = ASK) -> list[Message]:
    """The conversation after `reply`, its calls answered by `texts`."""
    results = tuple(ToolResult(c.id, c.name, text) for c, text in zip(reply.tool_calls, texts, strict=True))
    said = Message("assistant", reply.text, reply.tool_calls, provider_data=reply.provider_data)
    return [*to, said, Message("user", tool_results=results)]


each_api = pytest.mark.parametrize("api", APIS)
each_flavour = pytest.mark.parametrize("flavour", FLAVOURS)


# --- what arrives


@each_flavour
def test_parallel_calls_of_any_server_arrive_whole_and_can_be_answered(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [("shell", {"command": "printf 'ä€😀\\n' | rev"}), ("diff", {}), ("shell", {"command": "pwd"})]
    first = Answer("Let me look — 😀.", calls, thinking="Where is it?")
    spec = DEEP if flavour == "deepseek" else QWEN
    with Server(ChatDialect(flavour), [first, Answer("Done.")]) as server:
        reply = ask(server, monkeypatch, spec=spec)
        last = ask(server, monkeypatch, answered(reply, "a", "", "b"), spec=spec)
    assert (reply.text, reply.stop) == ("Let me look — 😀.", "tool_use")
    assert [(c.name, c.arguments) for c in reply.tool_calls] == calls
    assert len({c.id for c in reply.tool_calls}) == 3
    assert (last.text, last.stop) == ("Done.", "end")
    assert reply.usage.input > 0 and reply.usage.output > 0


def test_parallel_calls_arrive_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [("shell", {"command": "printf 'ä€😀\\n' | rev"}), ("diff", {})]
    with Server(ResponsesDialect(), [Answer("Let me look — 😀.", calls)]) as server:
        reply = ask(server, monkeypatch)
    assert (reply.text, reply.stop) == ("Let me look — 😀.", "tool_use")
    assert [(c.name, c.arguments) for c in reply.tool_calls] == calls
    assert server.requests[0]["parallel_tool_calls"] is True


def test_usage_and_cost_count_each_token_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"input_tokens": 2300, "cached_tokens": 2000, "output_tokens": 40, "reasoning_tokens": 30}
    with Server(ResponsesDialect(), [Answer("Hi.", usage=counts)]) as server:
        reply = ask(server, monkeypatch)
    assert reply.usage == Usage(1, 300, 40, 2000)
    assert reply.cost_usd == Decimal("0.00185")  # 300 x 2.5 + 40 x 15 + 2000 x 0.25 dollars a million
    chat = {"prompt_tokens": 2300, "cached_tokens": 2000, "completion_tokens": 40}
    with Server(ChatDialect("deepseek"), [Answer("Hi.", usage=chat)]) as server:
        reply = ask(server, monkeypatch, spec=DEEP)
    assert reply.usage == Usage(1, 300, 40, 2000)
    assert reply.cost_usd == Decimal("0.0009")


def test_a_later_request_reads_the_earlier_ones_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    long = [Message("user", "Mend it. " + "This stays. " * 600)]
    with Server(ResponsesDialect(), [Answer("", [("diff", {})], thinking="Hm."), Answer("Done.")]) as server:
        first = ask(server, monkeypatch, long)
        second = ask(server, monkeypatch, answered(first, "+1", to=long))
    keys = {request["prompt_cache_key"] for request in server.requests}
    assert len(keys) == 1
    assert first.usage.cache_read == 0
    assert second.usage.cache_read >= first.usage.input - 128


# --- what goes back


def test_reasoning_comes_back_unchanged_over_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server refuses a call whose reasoning is missing, changed or misplaced.
    turns = [
        Answer("On it.", [("shell", {"command": "ls"}), ("diff", {})], thinking="Where?", redacted="More."),
        Answer("", [("diff", {})], thinking="Aha."),
        Answer("Done.", thinking="Ok."),
    ]
    messages: list[Message] = ASK
    with Server(ResponsesDialect(), turns) as server:
        for turn in turns:
            reply = ask(server, monkeypatch, messages, spec="openai/gpt-5.4:high")
            messages = answered(reply, *["out"] * len(turn.tool_calls), to=messages)
    kinds = [item["type"] for item in server.requests[2]["input"]]
    assert kinds == [
        *("message", "reasoning", "reasoning", "message", "function_call", "function_call"),
        *(
            "function_call_output",
            "function_call_output",
            "reasoning",
            "function_call",
            "function_call_output",
        ),
    ]
    assert server.requests[2]["input"][3]["phase"] == "commentary"
    assert all(request["reasoning"] == {"effort": "high"} for request in server.requests)


@each_api
def test_reasoning_of_another_model_is_not_sent(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, dialect = APIS[api]
    with Server(dialect(), [Answer("On it.", [("diff", {})], thinking="Hm, hm.")]) as server:
        reply = ask(server, monkeypatch, spec=spec)
    other = "openai/gpt-5.5" if api == "responses" else "openai/llama"
    with Server(dialect(), [Answer("Done.")]) as server:
        ask(server, monkeypatch, answered(reply, "+1"), spec=other)
    sent = json.dumps(server.requests[0])
    assert (
        "On it." in sent
        and "Hm, hm." not in sent
        and "encrypted_content" not in json.dumps(server.requests[0].get("input", ""))
    )


FOREIGN = {
    "anthropic": {
        "anthropic": {
            "model": "claude-sonnet-5",
            "content": [
                {"type": "thinking", "thinking": "Secret.", "signature": "s=="},
                {"type": "tool_use", "id": "toolu_1", "name": "diff", "input": {}},
            ],
        }
    },
    "google": {"google": {"model": "gemini-3.5-flash", "content": [{"text": "Secret.", "thought": True}]}},
    "none": None,
}


@each_api
@pytest.mark.parametrize("whose", FOREIGN)
def test_a_conversation_begun_by_another_provider_goes_on(
    api: str, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, dialect = APIS[api]
    calls = (ToolCall("toolu_01|a.b", "shell", {"command": "ls"}), ToolCall("g" * 90, "diff", {}))
    said = Message("assistant", "So.", calls, provider_data=FOREIGN[whose])
    results = tuple(ToolResult(call.id, call.name, f"ran {call.name}") for call in calls)
    begun = [*ASK, said, Message("user", tool_results=results)]
    with Server(dialect(), [Answer("", [("diff", {})], thinking="Hm."), Answer("Done.")]) as server:
        reply = ask(server, monkeypatch, begun, spec=spec)
        assert ask(server, monkeypatch, answered(reply, "+1", to=begun), spec=spec).text == "Done."
    sent = json.dumps(server.requests[1])
    assert "ran shell" in sent and "ran diff" in sent and "Secret" not in sent


@pytest.mark.parametrize(("level", "word"), [("off", "none"), ("low", "low"), ("max", "xhigh")])
def test_effort_goes_in_the_apis_own_words(level: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(ResponsesDialect(), [Answer("Hi."), Answer("Hi.")]) as server:
        ask(server, monkeypatch, spec=f"{GPT}:{level}")
        ask(server, monkeypatch)
    assert server.requests[0]["reasoning"] == {"effort": word}
    assert "reasoning" not in server.requests[1]
    assert server.requests[0]["max_output_tokens"] == provider_module.MAX_OUTPUT


def test_effort_and_limit_go_to_other_servers_where_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(ChatDialect("ollama"), [Answer("Hi."), Answer("Hi.")]) as server:
        ask(server, monkeypatch, spec=f"{QWEN}:off")
        ask(server, monkeypatch, spec=DEEP)
    assert server.requests[0]["reasoning_effort"] == "none"
    assert not {"max_tokens", "max_completion_tokens"} & server.requests[0].keys()
    assert "reasoning_effort" not in server.requests[1]
    assert server.requests[1]["max_tokens"] == 8192


@each_api
def test_an_answer_can_be_held_to_a_schema(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, dialect = APIS[api]
    loose = {"type": "object", "properties": {"cause": {"type": "string", "maxLength": 9}}}
    with Server(dialect(), [Answer('{"cause": "x"}')]) as server:
        assert ask(server, monkeypatch, spec=spec, schema=loose).text == '{"cause": "x"}'
    sent = server.requests[0]
    form = sent["text"]["format"] if api == "responses" else sent["response_format"]["json_schema"]
    assert (form["schema"], form["strict"]) == (loose, False)


# --- how it ends


@each_api
def test_an_answer_cut_by_its_length_keeps_no_half_call(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, dialect = APIS[api]
    stop = "max_output_tokens" if api == "responses" else "length"
    cut = Answer("", [("diff", {}), ("shell", '{"command": "rm')], stop=stop)
    with Server(dialect(), [cut, Answer(thinking="Hm …", stop=stop), Answer("Done.")]) as server:
        reply = ask(server, monkeypatch, spec=spec)
        thought = ask(server, monkeypatch, spec=spec)
        said = Message("assistant", thought.text, provider_data=thought.provider_data)
        ask(server, monkeypatch, [*ASK, said, Message("user", "Go on.")], spec=spec)
    assert (reply.stop, thought.stop) == ("length", "length")
    assert [c.arguments for c in reply.tool_calls] == [{}, {"__invalid_json__": '{"command": "rm'}]
    sent = server.requests[2]
    assert {one["role"] for one in sent.get("input") or sent["messages"]} <= {"system", "user"}


@each_api
@pytest.mark.parametrize("stop", ["refusal", "content_filter"])
def test_a_refusal_says_why_and_leaves_nothing_to_run(
    api: str, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, dialect = APIS[api]
    begun = Answer("I", [("shell", {"command": "ls"})], stop=stop, explanation="It could do harm.")
    with Server(dialect(), [begun]) as server:
        reply = ask(server, monkeypatch, spec=spec)
    assert reply.stop == {"refusal": "refusal", "content_filter": "filtered"}[stop]
    assert (reply.tool_calls, reply.provider_data) == ((), None)
    assert stop != "refusal" or "It could do harm." in reply.text


OVERFLOWS: list[tuple[str, Flavour, Fault]] = [
    ("responses", "openai", Fault(400, "context_length_exceeded", "Your input exceeds the limit.")),
    (
        "responses",
        "openai",
        Fault(answer=Answer(stop="failed:context_length_exceeded"), after=99, then="end"),
    ),
    ("responses", "openai", Fault(kind="context_length_exceeded", after=2)),
    ("chat", "openai", Fault(400, "context_length_exceeded", "Too long.")),
    (
        "chat",
        "vllm",
        Fault(
            400, message="This model's maximum context length is 8192 tokens. However, you requested 9000."
        ),
    ),
    (
        "chat",
        "llama.cpp",
        Fault(400, "exceed_context_size_error", "the request exceeds the available context size"),
    ),
    (
        "chat",
        "llama.cpp",
        Fault(500, message="the request exceeds the available context size, try increasing it"),
    ),
    ("chat", "ollama", Fault(400, message="the input length exceeds the context length")),
    ("chat", "openrouter", Fault(400, message="prompt is too long: 210000 tokens > 200000 maximum")),
]


@pytest.mark.parametrize(("api", "flavour", "fault"), OVERFLOWS)
def test_what_no_longer_fits_the_window_is_a_reply(
    api: str, flavour: Flavour, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = ResponsesDialect() if api == "responses" else ChatDialect(flavour)
    with Server(dialect, [fault]) as server:
        reply = ask(server, monkeypatch, spec=APIS[api][0])
    assert (reply.stop, reply.tool_calls) == ("overflow", ())


@each_api
@pytest.mark.parametrize(
    "fault",
    [
        Fault(400, "invalid_prompt", "Your prompt was flagged."),
        Fault(400, "content_policy_violation", "Not that."),
        Fault(400, "content_filter", "Filtered."),
        Fault(kind="content_filter", after=2),
    ],
)
def test_what_a_filter_took_is_a_reply(api: str, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, dialect = APIS[api]
    with Server(dialect(), [fault]) as server:
        assert ask(server, monkeypatch, spec=spec).stop == "filtered"


# --- faults that pass


@each_api
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(429, message="Slow", headers={"retry-after-ms": "1"}), "HTTP 429 rate_limit_exceeded: Slow"),
        (Fault(500), "HTTP 500 server_error"),
        (
            Fault(503, page="<html><style>a{}</style>\x1b[31mbad <b>gateway</b></html>"),
            "HTTP 503: [31mbad gateway",
        ),
        (Fault(after=2, kind="server_error"), "server_error in mid-answer: Overloaded"),
        (Fault(after=2, kind="rate_limit_exceeded"), "rate_limit_exceeded in mid-answer"),
        (Fault(then="end", after=3), "the answer broke off"),
        (Fault(then="end", after=0), "the answer broke off"),
        (Fault(then="garbage", after=3), "not readable"),
        (Fault(then="reset", after=3), "no answer from 127.0.0.1"),
        (Fault(then="reset", after=0), "no answer from 127.0.0.1"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_a_transient_fault_is_retried_and_noted(
    api: str, fault: Fault, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, dialect = APIS[api]
    retries: list[FailedTry] = []
    with Server(dialect(), [fault, Answer("Done.")]) as server:
        reply = ask(server, monkeypatch, spec=spec, retries=retries)
    assert (reply.text, reply.usage.requests) == ("Done.", 1)
    [tried] = retries
    assert tried.wait_seconds is not None and tried.wait_seconds >= 0
    assert reason in tried.reason and tried.reason.isprintable()


@pytest.mark.parametrize("code", ["server_error", "rate_limit_exceeded", "something_new"])
def test_a_failed_response_is_retried_and_its_cost_counted(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Answer("I", stop=f"failed:{code}", explanation="Sorry.", usage={"input_tokens": 100})
    tries: list[FailedTry] = []
    with Server(ResponsesDialect(), [failed, Answer("Done.")]) as server:
        assert ask(server, monkeypatch, retries=tries).text == "Done."
    assert tries[0].reason == f"{code} in mid-answer: Sorry."
    assert tries[0].usage.input == 100 and tries[0].cost_usd


@each_api
@pytest.mark.parametrize(
    ("headers", "message", "wait"),
    [
        ({"retry-after": "0.25"}, "Slow down", 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, "Slow down", 0.25),
        ({}, "Limit 3, Used 3. Please try again in 250ms. Visit", 0.25),
        ({}, "Please try again in 0.25s.", 0.25),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "120ms",
                "x-ratelimit-remaining-tokens": "9",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            "Slow down",
            0.12,
        ),
    ],
)
def test_what_the_server_asks_to_wait_is_waited(
    api: str, headers: dict[str, str], message: str, wait: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, dialect = APIS[api]
    retries: list[FailedTry] = []
    with Server(dialect(), [Fault(429, message=message, headers=headers), Answer("Done.")]) as server:
        ask(server, monkeypatch, spec=spec, retries=retries)
    assert retries[0].wait_seconds == pytest.approx(wait)


def test_a_wait_beyond_the_bound_ends_the_call_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Fault(
        429,
        message="Daily limit",
        headers={"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "23h59m1s"},
    )
    with (
        Server(ResponsesDialect(), [limit]) as server,
        pytest.raises(ModelError, match="asks to wait 86341 s"),
    ):
        ask(server, monkeypatch)


# --- faults for good


@each_api
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(400, message="Unsupported parameter: 'top_p'"), "Unsupported parameter: 'top_p'"),
        (Fault(400, message="bad\nvery \x1b[31mbad"), "bad very [31mbad"),
        (Fault(401, message=f"Incorrect API key provided: {KEY}"), "check OPENAI_API_KEY"),
        (Fault(402, message="Insufficient credits"), "billing"),
        (Fault(403, message="not yours"), "not yours"),
        (Fault(404, message="model not found, try pulling it first"), "check the model's name"),
        (Fault(413, page="<html>too large</html>"), "too large for one request"),
        (Fault(429, "insufficient_quota", "You exceeded your current quota"), "billing"),
        (Fault(429, message="Request too large for gpt-x on tokens per min (TPM)"), "Request too large"),
        (Fault(429, message="No more", headers={"x-should-retry": "false"}), "billing"),
        (Fault(kind="insufficient_quota", after=2), "insufficient_quota in mid-answer"),
        (Fault(kind="invalid_api_key", message=f"What is {KEY}", after=2), "What is [key]"),
    ],
    ids=lambda value: f"{value.status}{value.kind}" if isinstance(value, Fault) else "",
)
def test_a_fault_for_good_is_one_line_at_once(
    api: str, fault: Fault, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, dialect = APIS[api]
    with Server(dialect(), [fault]) as server, pytest.raises(ModelError) as caught:
        ask(server, monkeypatch, spec=spec)
    message = str(caught.value)
    assert says in message and message.startswith(f"{spec}: ")
    assert message.isprintable() and len(message) < 500
    assert KEY not in message
    assert len(server.requests) == 1


@pytest.mark.parametrize("flavour", ["vllm", "llama.cpp", "openrouter"])
def test_what_other_servers_say_of_a_fault_is_told(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault(400, message="no such template")
    with Server(ChatDialect(flavour), [fault]) as server, pytest.raises(ModelError, match="no such template"):
        ask(server, monkeypatch, spec=QWEN)


# --- servers, keys and URLs


def test_a_local_server_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(ChatDialect("ollama", key=""), [Answer("Hi.")]) as server:
        environ = {name: value for name, value in server.environ.items() if name != "OPENAI_API_KEY"}
        assert ask(environ, monkeypatch, spec=QWEN).text == "Hi."


def test_a_key_that_no_header_can_hold_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Server(ChatDialect(), []) as server,
        pytest.raises(UsageError, match="OPENAI_API_KEY holds") as caught,
    ):
        ask({**server.environ, "OPENAI_API_KEY": "secret\nkey"}, monkeypatch, spec=QWEN)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "TRIES", 2)
    with Server(ChatDialect(), []) as server:
        environ = server.environ
    host = environ["OPENAI_BASE_URL"].removeprefix("http://").removesuffix("/v1")
    with pytest.raises(ModelError, match=f"is the server running at {host}"):
        ask(environ, monkeypatch, spec=QWEN)


def test_a_base_url_that_cannot_work_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "api.example"}
    with pytest.raises(ModelError, match="check OPENAI_BASE_URL"):
        ask(environ, monkeypatch, spec=QWEN)
    with pytest.raises(UsageError, match="OPENAI_BASE_URL is not a URL"):
        ask({**environ, "OPENAI_BASE_URL": "http://[::1]x"}, monkeypatch, spec=GPT)


def test_a_wrong_path_says_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(ChatDialect(), []) as server, pytest.raises(ModelError, match=r"usually ends in /v1"):
        ask({**server.environ, "OPENAI_BASE_URL": server.base_url}, monkeypatch, spec=QWEN)


def test_organisation_and_project_go_along(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Mapping[str, str]] = []

    class Listening(ResponsesDialect):
        def refused(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
            seen.append(dict(headers))
            return super().refused(method, path, headers)

    with Server(Listening(), [Answer("Hi.")]) as server:
        ask({**server.environ, "OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj-1"}, monkeypatch)
    names = {name.lower(): value for name, value in seen[0].items()}
    assert (names["openai-organization"], names["openai-project"]) == ("org-1", "proj-1")


@each_api
def test_a_page_in_place_of_an_answer_is_a_fault_for_good(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, dialect = APIS[api]
    made = dialect()
    monkeypatch.setattr(made, "content_type", lambda: "text/html; charset=utf-8")
    with Server(made, [Answer("Log in")]) as server, pytest.raises(ModelError, match="a web page came"):
        ask(server, monkeypatch, spec=spec)


# --- cancelling


@each_api
@pytest.mark.parametrize("after", [0, 3], ids=["before the first event", "in mid-answer"])
def test_cancelling_closes_the_connection(api: str, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, dialect = APIS[api]

    async def run() -> None:
        model = open_model(spec)
        async with anyio.create_task_group() as group:
            group.start_soon(model.reply, "", ASK, TOOLS)
            while not server.requests:  # noqa: ASYNC110 - the server lives in a thread
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        # The model is still open: it is the call's own connection that has gone.
        assert await anyio.to_thread.run_sync(server.hung_up.wait, 10)
        await model.close()

    with Server(dialect(), [Fault(then="hang", after=after)]) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        anyio.run(run)
