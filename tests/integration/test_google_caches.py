"""Explicit Gemini caches over the real SDK: what they hold, when they pay, and that no request fails for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from agent.models import google_cache
from agent.models import provider as provider_module
from agent.models.google_cache import Caches
from agent.models.provider import FailedTry
from agent.models.registry import model_info, open_model, parse_spec
from agent.types import Message, Reply, ToolSpec
from tests.loopback.google_server import Answer, Fault, GoogleDialect, GoogleServer, GoogleVertexDialect
from tests.loopback.google_token import google_token

FLASH = "google/gemini-3.6-flash"
TOOLS = [ToolSpec("diff", "Show the change.", {"type": "object", "properties": {}})]
REPOSITORY = "def f(x): return x\n" * 1000
ASK = [Message("user", "Mend it.")]
DONE = Answer("Done.")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provider_module, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    times = [1000.0]
    monkeypatch.setattr(google_cache, "now", lambda: times[0])
    return times


@contextmanager
def serving(
    count: int, monkeypatch: pytest.MonkeyPatch, dialect: GoogleDialect | None = None
) -> Iterator[GoogleServer]:
    with GoogleServer([DONE] * count, dialect) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


class Talk:
    """Requests of one run: `ask` makes one, as an attempt of its own."""

    def __init__(self) -> None:
        self.caches = Caches()
        self.tries: list[FailedTry] = []

    async def ask(
        self, system: str = REPOSITORY, spec: str = FLASH, said: str = "Mend it.", *, lasting: bool = False
    ) -> Reply:
        model = open_model(spec, caches=self.caches, on_failed_try=self.tries.append, lasting=lasting)
        try:
            return await model.reply(system, [Message("user", said)], TOOLS)
        finally:
            await model.close()


def run(use: Callable[[Talk], Awaitable[None]]) -> Talk:
    async def whole() -> Talk:
        talk = Talk()
        try:
            await use(talk)
        finally:
            await talk.caches.close()
        return talk

    return anyio.run(whole)


def test_the_prefix_is_made_once_read_from_then_on_and_deleted_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replies: list[Reply] = []

    async def use(talk: Talk) -> None:
        replies.extend([await talk.ask(), await talk.ask()])
        [cache] = server.google.caches.values()
        assert cache["displayName"].startswith("assay-") and len(cache["displayName"]) == 70
        assert REPOSITORY in str(cache["held"]["systemInstruction"]["parts"][0]["text"])
        assert cache["held"]["tools"]

    with serving(2, monkeypatch) as server:
        run(use)
    first, second = replies
    assert first.usage.cache_read == second.usage.cache_read > 4096
    # Making it is billed as input of the request that made it.
    assert first.usage.input - second.usage.input == second.usage.cache_read
    for request in server.requests:
        assert "cachedContent" in request and not {"systemInstruction", "tools"} & request.keys()
    assert server.google.calls == ["GET", "POST", "DELETE"]
    assert server.google.caches == {}


def test_another_run_finds_it_again_and_leaves_it(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    async def use(talk: Talk) -> None:
        await talk.ask(system=f"Another prompt. {REPOSITORY}")
        await talk.ask()
        other = Caches()
        model = open_model(FLASH, caches=other)
        await model.reply(REPOSITORY, ASK, TOOLS)
        clock[0] += 100
        found = await model.reply(REPOSITORY, ASK, TOOLS)
        await model.close()
        await other.close()
        assert found.usage.cache_read > 4096 > found.usage.input
        assert found.cost_usd == model_info(parse_spec(FLASH)).cost(
            found.usage
        )  # its maker counts the storage
        assert len(server.google.caches) == 2

    with serving(4, monkeypatch) as server:
        run(use)
    names = [request["cachedContent"] for request in server.requests]
    assert names[1] == names[2] == names[3] != names[0]
    assert server.google.calls.count("POST") == server.google.calls.count("DELETE") == 2


def test_a_lasting_one_serves_attempts_and_later_runs_and_is_paid_in_advance(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    replies: list[Reply] = []

    async def use(talk: Talk) -> None:
        replies.extend([await talk.ask(lasting=True), await talk.ask(lasting=True)])  # two attempts
        await talk.caches.close()
        assert len(server.google.caches) == 1
        clock[0] += 1000
        talk.caches = Caches()  # a later run
        replies.append(await talk.ask(lasting=True))
        clock[0] += 1000  # more than half of its life is over
        for cache in server.google.caches.values():
            cache["expireTime"] = (datetime.now(UTC) + timedelta(seconds=1600)).isoformat()
        talk.caches = Caches()
        replies.extend([await talk.ask(lasting=True), await talk.ask(lasting=True)])

    with serving(5, monkeypatch) as server:
        run(use)
    assert len({request["cachedContent"] for request in server.requests}) == 1
    assert server.google.calls.count("POST") == server.google.calls.count("PATCH") == 1
    assert "DELETE" not in server.google.calls
    info = model_info(parse_spec(FLASH))
    more = [reply.cost_usd - (info.cost(reply.usage) or 0) for reply in replies if reply.cost_usd is not None]
    hour = replies[1].usage.cache_read * (info.prices.cache_storage or 0) / 1_000_000
    assert more[:4] == [hour, 0, 0, 0]
    assert 0.99 * 2000 / 3600 < float(more[4] / hour) < 1.01 * 2000 / 3600  # who extends it pays for that


def test_the_worst_case_of_a_lasting_one_is_never_below_what_it_came_to() -> None:
    info = model_info(parse_spec(FLASH))
    request = {"config": {"system_instruction": REPOSITORY}, "contents": []}
    tokens, usd = Caches().worst(info, request, lasting=True)
    assert usd >= tokens * (info.prices.cache_storage or 0) / 1_000_000  # an hour
    assert usd > Caches().worst(info, request)[1]


def test_one_that_soon_ends_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talk: Talk) -> None:
        await talk.ask()
        for cache in server.google.caches.values():
            cache["expireTime"] = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
        talk.caches = Caches()
        await talk.ask()

    with serving(2, monkeypatch) as server:
        run(use)
    assert server.requests[0]["cachedContent"] != server.requests[1]["cachedContent"]


def test_it_is_extended_while_in_use(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    async def use(talk: Talk) -> None:
        await talk.ask()
        clock[0] += 290
        await talk.ask()
        assert "PATCH" not in server.google.calls
        clock[0] += 20
        await talk.ask()
        await talk.ask()
        assert server.google.calls.count("PATCH") == 1
        clock[0] += 590  # also when only an extension kept it alive until now
        await talk.ask()

    with serving(5, monkeypatch) as server:
        run(use)
    assert server.google.calls.count("POST") == 1


def test_its_storage_is_counted_for_the_time_between(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    replies: list[Reply] = []

    async def use(talk: Talk) -> None:
        replies.append(await talk.ask())
        clock[0] += 360
        replies.append(await talk.ask())
        replies.append(await talk.ask())

    with serving(3, monkeypatch):
        run(use)
    info = model_info(parse_spec(FLASH))
    more = [reply.cost_usd - (info.cost(reply.usage) or 0) for reply in replies if reply.cost_usd is not None]
    price = info.prices.cache_storage
    assert price is not None
    tenth_of_an_hour = replies[1].usage.cache_read * price / 10 / 1_000_000
    assert more == [Decimal(0), tenth_of_an_hour, Decimal(0)]


@pytest.mark.parametrize("gone", ["deleted", "expired"])
def test_a_request_that_meets_no_cache_any_more_goes_without_in_the_same_try(
    gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(talk: Talk) -> None:
        for _ in range(6):
            await talk.ask()
            for cache in server.google.caches.values():
                cache["expireTime"] = datetime.now(UTC).isoformat()
            if gone == "deleted":
                server.google.caches.clear()

    with serving(6, monkeypatch) as server:
        talk = run(use)
    assert talk.tries == [] and server.google.unanswered == 2
    cached = ["cachedContent" in request for request in server.requests]
    assert cached == [True, False, True, False, False, False]
    assert server.google.calls.count("POST") == 2  # one that always vanishes is not made for ever


def test_what_never_can_be_made_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talk: Talk) -> None:
        for _ in range(3):
            reply = await talk.ask()
            assert reply.text == "Done." and reply.usage.input + reply.usage.cache_read > 4096

    for method, calls in (("POST", ["GET", "POST"]), ("GET", ["GET"])):
        with serving(3, monkeypatch) as server:
            server.google.failing = {method: 500}
            assert run(use).tries == []
        assert server.google.calls == calls


def test_a_failing_extension_or_deletion_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    async def use(talk: Talk) -> None:
        await talk.ask()
        clock[0] += 400
        await talk.ask()

    with serving(2, monkeypatch) as server:
        server.google.failing = {"PATCH": 503, "DELETE": 503}
        assert run(use).tries == []
    assert all("cachedContent" in request for request in server.requests)


@pytest.mark.parametrize(
    ("spec", "system", "said"),
    [
        (FLASH, "You mend bugs.", "Mend it."),
        (FLASH, REPOSITORY, "A long story. " * 2000),
        ("google/gemini-4-argon", REPOSITORY, "Mend it."),
        ("google/gemini-3.5-flash", REPOSITORY, "Mend it."),
        ("google/gemini-unheard-of", REPOSITORY, "Mend it."),
    ],
    ids=["small prefix", "long conversation", "implicit only", "storage price unknown", "unknown model"],
)
def test_there_is_none_where_it_would_not_pay(
    spec: str, system: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prices = "prices = { input = 2.00, output = 10.00, cache_read = 0.10, cache_storage = 1.00 }"
    (tmp_path / "models.toml").write_text(f'[models."google/gemini-4-argon"]\n{prices}\n')

    async def use(talk: Talk) -> None:
        await talk.ask(system, spec, said)

    with serving(1, monkeypatch) as server:
        run(use)
    assert server.google.calls == []
    assert "cachedContent" not in server.requests[0]


def test_the_rule_counts_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    info = model_info(parse_spec(FLASH))
    assert google_cache.pays(info, 10_000)
    monkeypatch.setattr(google_cache, "USED_SECONDS", 360_000)
    assert not google_cache.pays(info, 10_000)


def test_tasks_that_ask_at_once_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talk: Talk) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(talk.ask)

    with serving(5, monkeypatch) as server:
        run(use)
    assert len({request["cachedContent"] for request in server.requests}) == 1
    assert server.google.calls == ["GET", "POST", "DELETE"]


def test_other_refusals_are_still_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talk: Talk) -> None:
        await talk.ask()

    with GoogleServer([Fault(429, message="Slow"), DONE]) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        talk = run(use)
    assert len(talk.tries) == 1 and talk.tries[0].usage.input > 4096  # making the cache
    assert all("cachedContent" in request for request in server.requests)


def test_closing_does_no_harm_when_the_provider_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talk: Talk) -> None:
        await talk.ask()
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")

    with serving(1, monkeypatch):
        run(use)


def test_vertex_has_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talk: Talk) -> None:
        await talk.ask(spec="vertex/gemini-3.6-flash")
        assert (await talk.ask(spec="vertex/gemini-3.6-flash")).usage.cache_read > 4096

    with google_token() as more, serving(2, monkeypatch, GoogleVertexDialect()) as server:
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        run(use)
    assert server.requests[0]["cachedContent"].startswith("projects/a-project/locations/europe-west1/")
    assert server.google.calls == ["GET", "POST", "DELETE"]
