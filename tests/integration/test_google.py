"""`google/…` and `vertex/gemini…` over the real SDK against Google's APIs on loopback.

What holds for every provider is in tests/contract/; here is what only Google has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent.errors import ModelError, UsageError
from agent.models import provider as provider_module
from agent.models.provider import FailedTry
from agent.models.registry import open_model
from agent.types import Message, Reply, ToolCall, ToolResult, ToolSpec, Usage
from tests.loopback.google_rules import SKIP
from tests.loopback.google_server import (
    KEY,
    Answer,
    Fault,
    GoogleDialect,
    GoogleServer,
    GoogleVertexDialect,
    detailed,
)
from tests.loopback.google_token import google_token

FLASH = "google/gemini-3.6-flash"
TOOLS = [
    ToolSpec("shell", "Run a command.", {"type": "object", "properties": {"command": {"type": "string"}}}),
    ToolSpec("diff", "Show the change.", {"type": "object", "properties": {}}),
]
ASK = [Message("user", "Mend it.")]
PARTS = [("shell", {"command": "ls"}), ("diff", {})]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provider_module, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))


def ask(
    server: GoogleServer,
    monkeypatch: pytest.MonkeyPatch,
    messages: Sequence[Message] = ASK,
    *,
    spec: str = FLASH,
    retries: list[FailedTry] | None = None,
    tools: Sequence[ToolSpec] = TOOLS,
    schema: dict[str, Any] | None = None,
) -> Reply:
    retries = [] if retries is None else retries
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)

    async def run() -> Reply:
        model = open_model(spec, on_failed_try=retries.append)
        try:
            return await model.reply("You mend bugs.", messages, tools, schema)
        finally:
            await model.close()

    return anyio.run(run)


def answered(reply: Reply, before: Sequence[Message] = ASK) -> list[Message]:
    """The conversation after `reply`: its calls answered, the last ones first."""
    results = tuple(ToolResult(c.id, c.name, f"ran {c.name}", c.name == "diff") for c in reply.tool_calls)
    said = Message("assistant", reply.text, reply.tool_calls, provider_data=reply.provider_data)
    return [*before, said, Message("user", "" if results else "And?", tool_results=results[::-1])]


@pytest.mark.parametrize("ids", [True, False], ids=["ids", "no ids"])
def test_calls_are_answered_in_their_order_with_or_without_ids(
    ids: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server refuses answers in another order, ids that it did not give, and calls that lost theirs.
    with GoogleServer(
        [Answer("", PARTS), Answer("", PARTS), Answer("Done.")], GoogleDialect(ids=ids)
    ) as server:
        first = ask(server, monkeypatch)
        second = ask(server, monkeypatch, answered(first))
        ask(server, monkeypatch, answered(second, answered(first)))
    assert len({call.id for call in (*first.tool_calls, *second.tool_calls)}) == 4
    sent = [part["functionResponse"] for part in server.requests[1]["contents"][2]["parts"]]
    assert [one["response"] for one in sent] == [{"output": "ran shell"}, {"error": "ran diff"}]
    assert all(("id" in one) == ids for one in sent)


def test_usage_counts_each_token_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"promptTokenCount": 2311, "cachedContentTokenCount": 2000, "toolUsePromptTokenCount": 7}
    counts |= {"candidatesTokenCount": 40, "thoughtsTokenCount": 2}
    with GoogleServer([Answer("Hi.", usage=counts)]) as server:
        reply = ask(server, monkeypatch)
    assert reply.usage == Usage(requests=1, input=318, output=42, cache_read=2000)


def test_signatures_come_back_on_the_part_that_had_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server refuses signatures that are missing, changed, merged away or on another part.
    answers = [Answer("So — 😀.", PARTS, thinking="Hm …"), Answer("Yes.", thinking="Aha."), Answer("Done.")]
    with GoogleServer(answers) as server:
        first = ask(server, monkeypatch)
        again = answered(first)
        second = ask(server, monkeypatch, again)
        ask(server, monkeypatch, answered(second, again))
    turns = server.requests[2]["contents"]
    assert [sorted(part) for part in turns[1]["parts"]] == [
        ["text", "thought"],
        ["text"],
        ["functionCall", "thoughtSignature"],
        ["functionCall"],
    ]
    assert [part["text"] for part in turns[3]["parts"]] == ["Aha.", "Yes.", ""]


def test_turns_of_another_model_get_the_documented_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = (ToolCall("toolu_1", "shell", {"command": "ls"}), ToolCall("toolu_2", "diff", {}))
    data = {"anthropic": {"model": "claude", "content": [{"type": "thinking"}]}}
    results = tuple(ToolResult(call.id, call.name, "ok") for call in calls)
    said = [
        *ASK,
        Message("assistant", "Look.", calls, provider_data=data),
        Message("user", tool_results=results),
    ]
    with GoogleServer([Answer("Done."), Answer("Done.")]) as server:
        ask(server, monkeypatch, said)
        ask(server, monkeypatch, said, spec="google/gemini-2.5-flash")
    text, first, second = server.requests[0]["contents"][1]["parts"]
    assert text == {"text": "Look."}
    assert first["thoughtSignature"] == SKIP
    assert "thoughtSignature" not in second
    assert SKIP not in json.dumps(server.requests[1])  # which checks none


def test_another_models_thoughts_and_made_up_ids_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with GoogleServer([Answer("", PARTS, thinking="Hm.")], GoogleDialect(ids=False)) as server:
        reply = ask(server, monkeypatch)
    with GoogleServer([Answer("Done.")]) as server:
        ask(server, monkeypatch, answered(reply), spec="google/gemini-3.8-flash")
    assert '"id"' not in json.dumps(server.requests[0]) and "Hm." not in json.dumps(server.requests[0])


def test_thinking_is_a_word_a_budget_or_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = '[models."google/gemini-2.5-flash"]\nthinking = { off = 0, high = 40000 }\n'
    (tmp_path / "models.toml").write_text(table)
    specs = [FLASH, f"{FLASH}:minimal", "google/gemini-4-neon:max"]
    specs += ["google/gemini-2.5-flash:off", "google/gemini-2.5-flash:high"]
    with GoogleServer([Answer("Hi.")] * 5) as server:
        for spec in specs:
            ask(server, monkeypatch, spec=spec)
    configs = [request["generationConfig"] for request in server.requests]
    assert [list(config.get("thinkingConfig", {}).values()) for config in configs] == [
        *([], ["MINIMAL"], ["XHIGH"], [0], [40000]),
    ]
    assert configs[0]["maxOutputTokens"] == 32_000 and configs[4]["maxOutputTokens"] > 40_000


def test_a_schema_holds_only_an_answer_without_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {"type": "object", "properties": {"cause": {"type": "string"}}}
    with GoogleServer([Answer("{}"), Answer("Hi.")]) as server:
        ask(server, monkeypatch, tools=(), schema=schema)
        ask(server, monkeypatch, schema=schema)
    assert server.requests[0]["generationConfig"]["responseJsonSchema"] == schema
    assert "responseJsonSchema" not in server.requests[1]["generationConfig"]


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        *(("MAX_TOKENS", "length"), ("CONTINUATION", "length"), ("TOO_MANY_TOOL_CALLS", "length")),
        *(("SAFETY", "filtered"), ("RECITATION", "filtered"), ("BLOCKLIST", "filtered")),
        *(("PROHIBITED_CONTENT", "filtered"), ("SPII", "filtered"), ("prompt:JAILBREAK", "filtered")),
    ],
)
def test_an_answer_that_ends_early_is_named(reason: str, stop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with GoogleServer([Answer("I", stop=reason, explanation="It could do harm.")]) as server:
        reply = ask(server, monkeypatch)
    assert reply.stop == stop and reply.usage.input > 0
    if stop == "filtered":
        assert reason.removeprefix("prompt:") in reply.text
        assert (reply.tool_calls, reply.provider_data) == ((), None)
    if reason.startswith("prompt:"):
        assert "It could do harm." in reply.text


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer("", [("shell", '{"command": "ls')]), "MALFORMED_FUNCTION_CALL"),
        (Answer("", stop="UNEXPECTED_TOOL_CALL"), "UNEXPECTED_TOOL_CALL"),
        (Answer("", stop="OTHER"), "OTHER"),
        (Answer("", stop="A_REASON_OF_TOMORROW"), "A_REASON_OF_TOMORROW"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:A_REASON_OF_TOMORROW")
def test_an_answer_that_the_api_could_not_read_is_tried_again_and_counted(
    answer: Answer, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[FailedTry] = []
    with GoogleServer([answer, Answer("Done.")]) as server:
        assert ask(server, monkeypatch, retries=tries).text == "Done."
    assert says in tries[0].reason
    assert tries[0].usage.input > 0 and tries[0].cost_usd


def quota(name: str, delay: str = "0.01s", message: str = "You exceeded your current quota.") -> Fault:
    failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    return detailed(429, message, failure, retry)


def test_the_wait_that_the_api_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[FailedTry] = []
    limit = quota("GenerateRequestsPerMinutePerProjectPerModel", "0.125s")
    with GoogleServer([limit, Answer("Done.")]) as server:
        ask(server, monkeypatch, retries=tries)
    assert tries[0].wait_seconds == 0.125
    assert "HTTP 429 RESOURCE_EXHAUSTED: You exceeded your current quota." in tries[0].reason


REVOKED = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (detailed(400, f"API key expired: {KEY}", REVOKED), "check GEMINI_API_KEY or GOOGLE_API_KEY"),
        (Fault(400, "FAILED_PRECONDITION", "User location is not supported"), "FAILED_PRECONDITION"),
        (Fault(403, message="reported as leaked"), "check GEMINI_API_KEY"),
        (Fault(400, message="Request payload size exceeds the limit: 20971520 bytes."), "too large"),
        (Fault(404, message="models/gemini-9 is not found"), "GOOGLE_GEMINI_BASE_URL"),
        (quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), "billing"),
        (quota("PerMinute", message="Quota exceeded for metric: x, limit: 0, model: y"), "billing"),
        (quota("PerMinute", message="Your prepayment credits are depleted."), "credits are depleted"),
        (Answer("", stop="MISSING_THOUGHT_SIGNATURE"), "MISSING_THOUGHT_SIGNATURE"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Fault) else "",
)
def test_a_fault_for_good_is_one_line_at_once(
    fault: Fault | Answer, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GoogleServer([fault]) as server, pytest.raises(ModelError) as caught:
        ask(server, monkeypatch)
    message = str(caught.value)
    assert says in message and message.startswith(f"{FLASH}: ")
    assert message.isprintable() and len(message) < 500 and KEY not in message
    assert len(server.requests) == 1


def test_an_error_in_mid_answer_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[FailedTry] = []
    with GoogleServer([Fault(message="Slow\ndown"), Answer("Done.")]) as server:
        ask(server, monkeypatch, retries=tries)
    assert tries[0].reason == "UNAVAILABLE in mid-answer: Slow down"


def test_a_base_url_that_cannot_work_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    with GoogleServer([]) as server:
        good = server.environ
    monkeypatch.setattr(GoogleServer, "environ", {**good, "GOOGLE_GEMINI_BASE_URL": "api.example"})
    with pytest.raises(ModelError, match="check GOOGLE_GEMINI_BASE_URL"):
        ask(server, monkeypatch)
    monkeypatch.setattr(GoogleServer, "environ", {**good, "GOOGLE_GEMINI_BASE_URL": "http://[::1"})
    with pytest.raises(UsageError, match="GOOGLE_GEMINI_BASE_URL is not a URL"):
        ask(server, monkeypatch)


# --- Vertex AI

VERTEX = "vertex/gemini-3.6-flash"


def test_vertex_takes_the_account_and_not_the_keys_of_the_gemini_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "a-key-of-another-place")
    tries: list[FailedTry] = []
    # Only Vertex AI's explanation comes through the SDK.
    unsafe = Answer("I", stop="SAFETY", explanation="It could do harm.")
    with google_token() as more, GoogleServer([unsafe], GoogleVertexDialect()) as server:
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        reply = ask(server, monkeypatch, spec=VERTEX, retries=tries)
    assert "It could do harm." in reply.text and not tries


def test_vertex_without_a_valid_account_says_how_to_log_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with google_token(refuses=True) as more, GoogleServer([], GoogleVertexDialect()) as server:
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ModelError, match=r"Account not found.*gcloud auth application-default login"):
            ask(server, monkeypatch, spec=VERTEX)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
        with pytest.raises(UsageError, match="GOOGLE_APPLICATION_CREDENTIALS"):
            ask(server, monkeypatch, spec=VERTEX)


def test_what_came_over_one_platform_is_foreign_on_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with GoogleServer([Answer("", PARTS, thinking="Hm.")]) as server:
        reply = ask(server, monkeypatch)
    with google_token() as more, GoogleServer([Answer("Done.")], GoogleVertexDialect()) as server:
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        ask(server, monkeypatch, answered(reply), spec=VERTEX)
    assert server.requests[0]["contents"][1]["parts"][0]["thoughtSignature"] == SKIP
