"""A model behind a wire API: one place for retries, timing and cost, whatever the provider.

Each wire API is one file with a class that has the shape of `Api`: requests made of conversations, a streamed
answer read, its errors judged. Nothing in them waits or tries again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.to_thread

from agent.errors import ModelError
from agent.models.catalogue import ModelInfo
from agent.models.faults import PROVIDER_DOWN, TRANSIENT, Fault
from agent.models.spending import Ended, Spending
from agent.types import Message, Reply, Stop, ToolCall, ToolSpec, Usage

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from agent.budget import Budget

CONNECT_SECONDS = 15.0
READ_SECONDS = 180.0
"""Between two pieces of an answer; every API here sends something far more often."""
REQUEST_SECONDS = 1200.0
"""For one whole answer, so that pings alone can't keep a request alive for ever."""

TRIES = 8
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
RETRY_SECONDS = 900.0
"""No retry starts later than this after the first try, whatever the provider asks for."""

MAX_OUTPUT = 32_000
"""Tokens of one answer, thinking included, where the model allows that many."""

INVALID_JSON = "__invalid_json__"
"""The one argument of a call whose arguments are no JSON object: the raw text."""


@dataclass(slots=True)
class Try:
    """What one request has come to so far. The API's reader writes it as the stream comes in, so that it is known
    also when the answer breaks off."""

    usage: Usage = field(default_factory=lambda: Usage(requests=1))
    extra_usd: Decimal = Decimal(0)
    """What was billed besides tokens (storage of a cache)."""
    besides: int = 0
    """Tokens of `usage.input` that are none of the request's own: of making a cache."""
    whole: bool = False
    """Whether the end of the answer came, and all of `usage` with it, even if the answer can't be used."""
    began: float = field(default_factory=time.monotonic)
    first_token_seconds: float | None = None

    def token(self) -> None:
        """Note that a piece of the answer came."""
        if self.first_token_seconds is None:
            self.first_token_seconds = time.monotonic() - self.began


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer. `kept` is what the API wants back unchanged, as JSON data; None when nothing may come back."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    stop: Stop
    kept: Any = None
    explanation: str = ""
    """Why an answer was refused or filtered, if the provider says so."""


@dataclass(frozen=True, slots=True)
class FailedTry:
    """A try that came to nothing, and what it cost."""

    reason: str
    wait_seconds: float | None
    """Until the next try; None when there is none."""
    usage: Usage
    cost_usd: Decimal | None


class Api(Protocol):
    """One wire API, for one model."""

    def open(self) -> None:
        """Import the SDK (over a second for some) and make its client, its own retries off. Runs in a thread.
        Raises UsageError for a variable that can't work."""
        ...

    def request(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """The request's parameters. `schema`: the answer must be one JSON value of it."""
        ...

    def output_limit(self, request: Mapping[str, Any]) -> int | None:
        """Tokens that the answer to a request may have, thinking included; None where it names no limit."""
        ...

    def limit_output(self, request: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        """The request with a lower limit."""
        ...

    def billed_besides(self, request: Mapping[str, Any]) -> tuple[int, Decimal]:
        """What may be billed besides a request and its answer, at most: tokens of input, and dollars."""
        ...

    async def answer(self, request: Mapping[str, Any], seen: Try) -> Answer:
        """Send one request and read its stream. Raises Fault, or whatever its SDK raises."""
        ...

    def judge(self, error: Exception) -> Fault | None:
        """What an exception out of `answer` means; None when it is none of the provider's."""
        ...

    async def close(self) -> None:
        """Close the client. Does no harm when nothing is open."""
        ...


class ProviderModel:
    """A model of a provider, for one attempt. Transient faults are retried here and nowhere else; `on_failed_try`
    hears of every try that failed, also of the last one and of one that was cancelled. Each try is reserved in
    `budget` before it is sent."""

    repeats_itself = False

    def __init__(
        self,
        spec: str,
        info: ModelInfo,
        api: Api,
        on_failed_try: Callable[[FailedTry], None] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.spec = spec
        self._info = info
        self._api = api
        self._on_failed_try = on_failed_try
        self._spending = Spending(budget, info, api) if budget is not None else None
        self._open = False

    async def warm(self) -> None:
        """Open the client. `reply` does it if nobody did."""
        if not self._open:
            await anyio.to_thread.run_sync(self._api.open)
            self._open = True

    async def reply(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Answer the conversation. Raises ModelError when the provider failed for good, BudgetSpent when the next try
        could cost more than is left."""
        request = self._api.request(system, messages, tools, schema)
        if self._spending is not None:
            self._spending.ask(request, (system, tuple(tools), schema), messages)
        await self.warm()
        try:
            answer, seen, seconds = await self._retried(request)
        except Fault as fault:
            if fault.kind == "overflow" or fault.kind == "filtered":
                return Reply(
                    str(fault), (), Usage(), Decimal(0), fault.kind
                )  # the failed try was told already
            raise ModelError(f"{self.spec}: {fault}", provider_down=fault.kind in PROVIDER_DOWN) from fault
        if self._spending is not None:
            self._spending.answered(seen.usage)
        cost = self._cost(seen)
        first = seen.first_token_seconds
        inputs = self._input_costs(seen)
        if answer.stop in ("refusal", "filtered"):
            # What was begun before a refusal is void; it must not come back as a conversation.
            text = "\n".join(filter(None, (answer.text, answer.explanation)))
            return Reply(text, (), seen.usage, cost, answer.stop, None, first, seconds, *inputs)
        stop = answer.stop
        if stop in ("tool_use", "end"):
            said = bool(answer.text.strip())
            stop = "tool_use" if answer.tool_calls else "end" if said else "empty"
        kept = (
            None
            if answer.kept is None
            else {self._info.api: {"model": self._info.name, "content": answer.kept}}
        )
        return Reply(answer.text, answer.tool_calls, seen.usage, cost, stop, kept, first, seconds, *inputs)

    async def close(self) -> None:
        await self._api.close()

    def _cost(self, seen: Try) -> Decimal | None:
        """None when a price is unknown, or when tokens came whose count did not."""
        counted = seen.usage.input + seen.usage.cache_read + seen.usage.cache_write
        if seen.first_token_seconds is not None and not counted:
            return None
        cost = self._info.cost(seen.usage)
        return None if cost is None else cost + seen.extra_usd

    def _input_costs(self, seen: Try) -> tuple[Decimal | None, Decimal | None]:
        """What the input cost, and what it would have cost without a cache; None where a price is not known."""
        usage = seen.usage
        billed = self._info.cost(replace(usage, output=0))
        plain = usage.input - seen.besides + usage.cache_read + usage.cache_write
        if not plain:
            return None, None
        return None if billed is None else billed + seen.extra_usd, self._info.cost(Usage(input=plain))

    async def _retried(self, request: Mapping[str, Any]) -> tuple[Answer, Try, float]:
        from tenacity import (
            AsyncRetrying,
            retry_if_exception,
            stop_after_attempt,
            stop_before_delay,
            wait_random_exponential,
        )

        backoff = wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS)
        tries: list[Try] = []

        async def once() -> tuple[Answer, Try, float]:
            tries.append(Try())
            return await self._once(request, tries[-1])

        def wait(state: RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            asked = fault.wait if isinstance(fault, Fault) else None
            return asked if asked is not None else backoff(state)

        def note(state: RetryCallState) -> None:
            fault = state.outcome.exception() if state.outcome else None
            self._failed(str(fault), state.upcoming_sleep, tries[-1])

        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda e: isinstance(e, Fault) and e.kind in TRANSIENT),
            wait=wait,
            stop=stop_after_attempt(TRIES) | stop_before_delay(RETRY_SECONDS),
            before_sleep=note,
            sleep=anyio.sleep,
            reraise=True,
        )
        try:
            return await retrying(once)
        except Fault as fault:
            self._failed(str(fault), None, tries[-1])
            if fault.kind in TRANSIENT:
                asked = f" and asks to wait {fault.wait:.0f} s" if fault.wait else ""
                raise Fault(fault.kind, f"{fault}{asked}; gave up at try {len(tries)}") from fault
            raise

    async def _once(self, request: Mapping[str, Any], seen: Try) -> tuple[Answer, Try, float]:
        """One request. Raises Fault; cancelling closes the connection."""
        spending, held = self._spending, None
        if spending is not None:
            held = await spending.reserve(request)
            request = held.request
            seen.began = time.monotonic()
        ended: Ended = "broken"
        try:
            with anyio.fail_after(REQUEST_SECONDS):
                answer = await self._api.answer(request, seen)
            ended = "answered"
        except TimeoutError as error:
            raise Fault("timeout", f"no whole answer in {REQUEST_SECONDS:.0f} s") from error
        except anyio.get_cancelled_exc_class():
            # what it came to is not known, so it is told as the ledger counts it
            worst = None if held is None else held.reservation.asked.dollars
            self._failed("cancelled", None, seen, worst)
            raise
        except Exception as error:
            fault = error if isinstance(error, Fault) else self._api.judge(error)
            if seen.whole:
                ended = "answered"
            elif fault is not None and not fault.billed:
                ended = "refused"
            if fault is None or fault is error:
                raise
            raise fault from error
        finally:
            if spending is not None and held is not None:
                spending.settle(held, seen, ended, self._cost(seen))
        return answer, seen, time.monotonic() - seen.began

    def _failed(self, reason: str, wait: float | None, seen: Try, cost: Decimal | None = None) -> None:
        if self._on_failed_try is not None:
            cost = self._cost(seen) if cost is None else cost
            self._on_failed_try(FailedTry(reason, wait, seen.usage, cost))


def arguments(raw: str) -> dict[str, Any]:
    """A tool call's arguments. What is no JSON object comes back under INVALID_JSON, to be mended or answered."""
    try:
        value = json.loads(raw or "{}")
        # NaN and lone surrogates can be read, but not sent back.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {INVALID_JSON: utf8(raw)}


def utf8(text: str) -> str:
    """Without lone surrogates, which no request can hold: undecodable bytes in tool output leave them.

    Pairs that were cut between two pieces of a stream become whole again.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def check_pairs(messages: Sequence[Message]) -> None:
    """Raises AssertionError for a conversation that every API refuses: a call without its one result, or one that
    does not begin and end with the user."""
    asked: list[str] = []
    for message in messages:
        answered = [result.call_id for result in message.tool_results]
        if answered != asked and sorted(answered) != sorted(asked):
            raise AssertionError(f"tool calls {asked} are answered by results {answered}")
        asked = [call.id for call in message.tool_calls]
    if asked:
        raise AssertionError(f"tool calls {asked} have no results")


def own_content(message: Message, info: ModelInfo) -> Any:
    """What this very model said in `message`, as its API gave it; None when another one said it."""
    kept = (message.provider_data or {}).get(info.api, {})
    return kept.get("content") if kept.get("model") == info.name else None
