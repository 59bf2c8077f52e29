"""Money, for every provider over its real SDK: what a request is reserved at is never less than what it is billed, and
nothing stays reserved, however a try ends."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent.budget import Amount, Budget, BudgetSpent, Change, Ledger, Limit
from agent.conversation import messages as conversation
from agent.errors import ModelError
from agent.events import ContextMasked, Event, ModelReplied, ToolReturned, UserSaid
from agent.models import provider as provider_module
from agent.models import spending
from agent.models.google_cache import Caches
from agent.models.registry import open_model
from agent.types import Reply
from tests.contract.providers import PROVIDERS, Provider
from tests.contract.test_models import SYSTEM, TOOLS, each_provider, serving
from tests.loopback.anthropic_server import AnthropicDialect
from tests.loopback.google_server import GoogleServer
from tests.loopback.server import Answer, Fault, Server

ANTHROPIC = PROVIDERS[0]
ALPHABET = ["a", "ä", "€", "😀", "\n", '"', "\\", "\x07", "return", " "]


class Purse:
    """A ledger, and one conversation that is paid out of it."""

    def __init__(self, folder: Path, usd: str = "1000") -> None:
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.changes: list[Change] = []
        self.limit = Limit(Decimal(usd))
        self.budget = Budget(self.ledger, "a", self.limit, on_change=self.changes.append)
        self.log: list[Event] = [UserSaid(1, "Mend it.")]
        self.caches: Caches | None = None

    def talk(self, spec: str, turns: int = 1, more: Callable[[], str] = lambda: "Go on.") -> list[Reply]:
        """The replies to so many requests; each is followed by what `more` says."""
        replies: list[Reply] = []

        async def run() -> None:
            model = open_model(spec, budget=self.budget, caches=self.caches)
            try:
                for turn in range(turns):
                    one = await model.reply(SYSTEM, conversation(self.log, 1), TOOLS)
                    replies.append(one)
                    data = (one.cost_usd, one.stop, 0.0, one.provider_data)
                    self.log.append(ModelReplied(1, turn, one.text, one.tool_calls, one.usage, *data))
                    for call in one.tool_calls:
                        self.log.append(ToolReturned(1, turn, call.id, call.name, more(), False, 0.0))
                    self.log.append(UserSaid(1, more()))
            finally:
                await model.close()
                if self.caches is not None:
                    await self.caches.close()

        anyio.run(run)
        return replies

    def pairs(self) -> list[tuple[Amount, Amount]]:
        """What was reserved for each try, and what it was settled at."""
        kinds = [change.what for change in self.changes]
        assert kinds == ["reserved", "settled"] * (len(kinds) // 2)
        assert all(change.accounts["run"].reserved == Amount(0, 0) for change in self.changes[1::2])
        amounts = [change.amount for change in self.changes]
        return list(zip(amounts[::2], amounts[1::2], strict=True))

    @property
    def spent(self) -> Decimal:
        [account] = self.ledger.accounts({"run:a": self.limit}).values()
        assert account.reserved == Amount(0, 0)
        return Decimal(account.spent.nano_usd or 0) / 10**9


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provider_module, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))


@pytest.fixture
def purse(tmp_path: Path) -> Iterator[Purse]:
    made = Purse(tmp_path)
    yield made
    made.ledger.close()


def some_text(chance: random.Random, longest: int = 400) -> str:
    return "".join(chance.choice(ALPHABET) for _ in range(chance.randint(1, longest))) + "."


def some_answer(chance: random.Random) -> Answer:
    calls = [("shell", {"command": some_text(chance)})] * chance.randint(0, 2)
    return Answer(some_text(chance), calls, thinking=chance.choice(["", some_text(chance)]))


# --- what is reserved


@each_provider
def test_a_conversation_costs_what_it_is_billed_and_never_more_than_was_reserved(
    provider: Provider, purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(provider.name)
    answers = [some_answer(chance) for _ in range(5)]
    with serving(provider, answers, monkeypatch):
        replies = purse.talk(provider.spec, 5, lambda: some_text(chance, 3000))
    for (asked, actual), reply in zip(purse.pairs(), replies, strict=True):
        assert reply.cost_usd is not None
        assert actual == Amount.of(reply.cost_usd, _tokens(reply))
        assert actual.nano_usd is not None and asked.nano_usd is not None
        assert actual.nano_usd <= asked.nano_usd and actual.tokens <= asked.tokens
    assert 0 <= purse.spent - sum(reply.cost_usd or 0 for reply in replies) < Decimal("1e-8")


def _tokens(reply: Reply) -> int:
    usage = reply.usage
    return usage.input + usage.cache_read + usage.cache_write + usage.output


class Dearest(AnthropicDialect):
    """Bills a token for each byte of text, its own words about tools, and thoughts that nobody is shown: up to the
    limit of the answer, and again as input of all later requests."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._hidden = 0

    def frames(self, answer: Answer, content: Any, body: Mapping[str, Any], cache: set[str]) -> list[bytes]:
        said = sum(len(text.encode()) for text in _strings([body["system"], body["messages"]]))
        tools = len(json.dumps(body["tools"], ensure_ascii=False).encode())
        output = self._chance.choice([1, body["max_tokens"] // 3, body["max_tokens"]])
        usage = {
            "input_tokens": 530,
            "cache_creation_input_tokens": said + tools + self._hidden,
            "cache_read_input_tokens": 0,
            "output_tokens": output,
        }
        self._hidden += output
        return super().frames(Answer(answer.text, answer.tool_calls, usage=usage), content, body, cache)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(one)


@pytest.mark.parametrize("seed", range(4))
def test_no_way_of_counting_tokens_costs_more_than_was_reserved(
    seed: int, purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    answers = [some_answer(chance) for _ in range(6)]
    with Server(Dearest(chance), answers) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        purse.talk("anthropic/claude-haiku-5-5", 6, lambda: some_text(chance, [30, 30_000][seed % 2]))
    for asked, actual in purse.pairs():
        assert (actual.nano_usd or 0) <= (asked.nano_usd or 0) and actual.tokens <= asked.tokens
        assert actual.nano_usd


def test_what_was_counted_makes_later_reservations_smaller(
    purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    purse.log = [UserSaid(1, "All of this stays. " * 5_000)]
    with serving(ANTHROPIC, [Answer("One."), Answer("Two.")], monkeypatch):
        purse.talk(ANTHROPIC.spec, 2)
    (first, _), (second, _) = purse.pairs()
    assert second.tokens < first.tokens - 50_000  # 95,000 bytes were a quarter as many tokens


@each_provider
def test_a_masking_makes_no_reservation_larger_nor_hides_what_was_added(
    provider: Provider, purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    purse.log = [UserSaid(1, "All of this stays. " * 5_000)]
    said = iter(["long " * 8_000, "next", "short", "new " * 1_000, "next", "end"])

    def more() -> str:
        text = next(said)
        if text == "short":  # after the second reply: the first one's output becomes a line
            purse.log.append(ContextMasked(1, 2, [1], 1, 1, 1, "cost"))
        return text

    answers = [Answer("So.", [("shell", {"command": "x"})])] * 3
    with serving(provider, answers, monkeypatch) as server:
        purse.talk(provider.spec, 3, more)
        sizes = [len(json.dumps(body)) for body in server.requests]
    assert sizes[2] < sizes[1] - 30_000, "it was masked"
    pairs = purse.pairs()
    assert all(actual.tokens <= asked.tokens for asked, actual in pairs)
    (_, counted), (masked, _) = pairs[1], pairs[2]
    assert masked.tokens - counted.tokens >= 4_000, "what was added counts by its bytes"
    assert masked.tokens < pairs[0][0].tokens - 30_000, "what was counted is not counted by its bytes again"


def test_an_explicit_cache_is_reserved_with_the_request_that_may_make_it(
    purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.contract.test_budget.SYSTEM", "You mend bugs with great care. " * 1000)
    purse.caches = Caches()
    with GoogleServer([Answer("One."), Answer("Two.")]) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        one, _ = purse.talk("google/gemini-3.6-flash", 2)
    assert "POST" in server.google.calls and one.usage.input > 5_000
    for asked, actual in purse.pairs():
        assert 0 < (actual.nano_usd or 0) <= (asked.nano_usd or 0) and actual.tokens <= asked.tokens


# --- how it is settled


@each_provider
@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        (Fault(429, message="Slow down", headers={"retry-after": "0.01"}), False),
        (Fault(500, message="Internal"), False),
        (Fault(503, message="Overloaded"), False),
        (Fault(504, message="Deadline"), True),
        (Fault(after=3, then="error"), True),
        (Fault(after=3, then="end"), True),
        (Fault(after=0, then="reset"), True),
    ],
    ids=["429", "500", "503", "504", "error-in-mid-answer", "cut-in-mid-answer", "reset-at-once"],
)
def test_a_failed_try_counts_at_its_worst_case_unless_it_was_refused(
    provider: Provider, fault: Fault, billed: bool, purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(provider, [fault, Answer("Done.")], monkeypatch):
        [reply] = purse.talk(provider.spec)
    (asked, failed), (_, done) = purse.pairs()
    assert failed == (asked if billed else Amount(0, 0))
    assert reply.cost_usd is not None and done == Amount.of(reply.cost_usd, _tokens(reply))


def test_an_answer_of_no_use_whose_end_came_costs_what_was_counted(
    purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = next(one for one in PROVIDERS if one.name == "google")
    malformed = Answer("", [("shell", "no JSON")])  # which Gemini finds out itself
    with serving(provider, [malformed, Answer("Done.")], monkeypatch):
        purse.talk(provider.spec)
    (asked, failed), (_, done) = purse.pairs()
    assert 0 < (failed.nano_usd or 0) < (asked.nano_usd or 0) / 2 and done.nano_usd


def test_a_server_that_nobody_reaches_costs_nothing(purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "TRIES", 2)
    with serving(ANTHROPIC, [], monkeypatch):
        pass
    with pytest.raises(ModelError, match="gave up at try 2"):
        purse.talk(ANTHROPIC.spec)
    assert len(purse.pairs()) == 2 and purse.spent == 0


@each_provider
@pytest.mark.parametrize("after", [0, 3], ids=["before the first event", "in mid-answer"])
def test_a_cancelled_request_counts_at_its_worst_case(
    provider: Provider, after: int, purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(server: Server) -> None:
        model = open_model(provider.spec, budget=purse.budget)
        async with anyio.create_task_group() as group:
            group.start_soon(model.reply, SYSTEM, conversation(purse.log, 1), TOOLS)
            while not server.requests:  # noqa: ASYNC110 - the server lives in a thread
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        await model.close()

    with serving(provider, [Fault(then="hang", after=after)], monkeypatch) as server:
        anyio.run(run, server)
    [(asked, actual)] = purse.pairs()
    assert actual == asked and purse.spent > 0


def test_an_answer_without_counts_costs_its_worst_case(purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    negative = {"input_tokens": -10_000_000}
    with serving(ANTHROPIC, [Answer("One.", usage=nothing), Answer("Two.", usage=negative)], monkeypatch):
        purse.talk(ANTHROPIC.spec, 2)
    assert all(asked == actual for asked, actual in purse.pairs())


def test_a_server_that_bills_more_than_was_asked_for_is_counted_in_full_and_ends_the_spending(
    purse: Purse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = Purse(tmp_path, "0.50")
    too_long = Answer("One.", usage={"output_tokens": 1_000_000})
    said = pytest.raises(BudgetSpent, match=r"5\.\d+ of 0\.5000 USD are spent")
    with serving(ANTHROPIC, [too_long], monkeypatch), said:
        small.talk(ANTHROPIC.spec, 2)
    assert [change.beyond for change in small.changes] == [False, True]
    assert small.spent > 5


# --- little money


@each_provider
def test_the_answer_is_held_to_what_is_left_and_what_does_not_fit_is_not_sent(
    provider: Provider, purse: Purse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving(provider, [Answer("So.")], monkeypatch):
        purse.talk(provider.spec)
    (whole, _), spent = purse.pairs()[0], purse.spent
    little = Purse(tmp_path, f"{spent + Decimal(whole.nano_usd or 0) / 10**9 / 2:.9f}")
    with serving(provider, [Answer("One."), Answer("Two.")], monkeypatch) as server:
        little.talk(provider.spec)
        [change] = [change for change in little.changes if change.held_to]
        sent = json.dumps(server.requests[0])
        assert spending.LEAST_OUTPUT <= (change.held_to or 0) < 32_000
        assert f": {change.held_to}" in sent  # and the server found nothing to refuse
    broke = Purse(tmp_path, f"{little.spent + spent:.9f}")
    with serving(provider, [], monkeypatch) as server:
        with pytest.raises(BudgetSpent, match="its answer held to 2,000 tokens; --budget gives more"):
            broke.talk(provider.spec)
        assert server.requests == []


def test_a_budget_for_thinking_gives_way_with_the_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poor = Purse(tmp_path, "0.03")
    with serving(ANTHROPIC, [Answer("One.", thinking="Hm.")], monkeypatch) as server:
        poor.talk(f"{ANTHROPIC.spec}:high")
    limit, thinking = server.requests[0]["max_tokens"], server.requests[0]["thinking"]
    assert 2_000 <= limit < 6_000
    assert 1024 <= thinking["budget_tokens"] < limit


def test_a_request_waits_for_others_whose_worst_case_stands_in_its_way(
    purse: Purse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(spending, "WAIT_SECONDS", 0.01)
    poor = Purse(tmp_path, "0.10")
    other = poor.ledger.reserve({"run:a": poor.limit}, lambda output: Amount(99_000_000, 1), 1)

    async def run() -> None:
        async with anyio.create_task_group() as group:
            model = open_model(ANTHROPIC.spec, budget=poor.budget)
            group.start_soon(model.reply, SYSTEM, conversation(poor.log, 1), TOOLS)
            while not poor.changes:  # noqa: ASYNC110 - the ledger is a file
                await anyio.sleep(0.01)
            assert [change.what for change in poor.changes] == ["waiting"]
            assert server.requests == []
            poor.ledger.release(other)

    with serving(ANTHROPIC, [Answer("Done.")], monkeypatch) as server:
        anyio.run(run)
    assert [change.what for change in poor.changes] == ["waiting", "reserved", "settled"]
