"""What one request can cost at most, reserved before it is sent, and what it did cost, settled after.

No tokenizer makes more tokens than bytes, so the bytes of a request bound its input, with an allowance for what the
provider adds. Once a request of the same conversation was answered, its counted input, its output (some of which, such
as thoughts, comes back in a form of the provider's own) and the bytes that were added since bound the next one's
input more closely. Each token counts at the dearest price that may apply, and the answer at its longest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import anyio

from agent.budget import Amount, Budget, BudgetSpent, Reservation
from agent.models.catalogue import ModelInfo
from agent.models.encoding import Encoder
from agent.types import Message, Usage

if TYPE_CHECKING:
    from agent.models.provider import Api, Try

ADDED = 2_000
"""Tokens that a provider may add to a request: its own words about tools (Anthropic publishes up to 530) and the marks
between messages."""
LEAST_OUTPUT = 2_000
"""Tokens. Where less than the longest answer can be paid, the answer is held to what can, but to no less: an edit
needs some room."""
OUTPUT = 32_000
"""Tokens of an answer that has no limit. Only where they cost nothing: see registry.check_prices."""
WAIT_SECONDS = 0.25
"""Between two looks at what other requests under way have left."""

Ended = Literal["answered", "broken", "refused"]
"""How a try ended: with a whole answer, of use or not · broken off, so that what was billed is not known · refused
before it was billed."""


@dataclass(frozen=True, slots=True)
class Held:
    """A request that may be sent."""

    request: Mapping[str, Any]
    reservation: Reservation


@dataclass(slots=True)
class _Told:
    """The last request that was answered."""

    opening: object
    messages: tuple[Message, ...]
    size: int
    tokens: int
    """Of its input and its output, as they were counted."""


class Spending:
    """The money of one conversation."""

    def __init__(self, budget: Budget, info: ModelInfo, api: Api) -> None:
        self._budget = budget
        self._info = info
        self._api = api
        self._outputs = 0
        self._told: _Told | None = None
        self._asking: _Told | None = None
        self._input = 0
        self._encoder = Encoder()

    def ask(self, request: Mapping[str, Any], opening: object, messages: Sequence[Message]) -> None:
        """Begin a request, for which there may be several tries. `opening` is all that stands before the messages."""
        # Where a cache is marked is no content.
        messages = [replace(one, settled=False) if one.settled else one for one in messages]
        size = len(self._encoder.encode(request))
        self._input = size + self._outputs + ADDED
        told = self._told
        replaced = _replaced(told.messages, messages) if told and told.opening == opening else None
        if told and replaced is not None:
            self._input = min(self._input, told.tokens + max(0, size - told.size + replaced) + ADDED)
        self._asking = _Told(opening, tuple(messages), size, 0)

    def answered(self, usage: Usage) -> None:
        """Learn from the request's answer."""
        self._outputs += max(0, usage.output)
        if self._asking is not None and _counted(usage):
            self._told = replace(self._asking, tokens=_tokens(usage))

    async def reserve(self, request: Mapping[str, Any]) -> Held:
        """Reserve for one try; the answer may be held to what can be paid. Waits for requests under way where their
        worst case stands in the way. Raises BudgetSpent."""
        limit = self._api.output_limit(request)
        most = limit or self._info.window or OUTPUT
        least = min(most, LEAST_OUTPUT) if limit else most
        more_input, more_usd = self._api.billed_besides(request)
        inputs = self._input + more_input

        def worst(output: int) -> Amount:
            usd = self._info.worst_cost(inputs, output)
            return Amount.of(None if usd is None else usd + more_usd, inputs + output)

        waiting = False
        while True:
            try:
                made = self._budget.reserve(worst, most, least)
            except BudgetSpent as spent:
                if not spent.later:
                    raise
                if not waiting:
                    self._budget.waiting()
                waiting = True
                await anyio.sleep(WAIT_SECONDS)
            else:
                return Held(
                    self._api.limit_output(request, made.output) if made.output < most else request, made
                )

    def settle(self, held: Held, seen: Try, ended: Ended, cost: Decimal | None) -> None:
        """Count what a try did cost; `cost` as far as it is known.

        A try that broke off counts at its worst case: providers bill what they made of the answer, also of thoughts
        that nobody was shown, and only an answer's end tells how much that was.
        """
        actual = held.reservation.asked
        if ended == "refused":
            actual = Amount.of(cost, _tokens(seen.usage)) if cost is not None else actual
        elif ended == "answered" and _counted(seen.usage):
            if cost is None:
                inputs = _tokens(seen.usage) - seen.usage.output
                cost = self._info.worst_cost(inputs, seen.usage.output)
            actual = Amount.of(cost, _tokens(seen.usage))
        self._budget.settle(held.reservation, actual)


def _replaced(before: Sequence[Message], now: Sequence[Message]) -> int | None:
    """Bytes of the results in a conversation that have another text in the one that goes on from it, since they were
    masked; None where anything else differs. A request is shorter by them, which must not hide what was added."""
    if len(now) < len(before):
        return None
    total = 0
    for one, other in zip(before, now, strict=False):
        if one is other or one == other:
            continue
        pairs = list(zip(one.tool_results, other.tool_results, strict=False))
        if replace(one, tool_results=other.tool_results) != other or len(pairs) != len(one.tool_results):
            return None
        for result, changed in pairs:
            if replace(result, text=changed.text) != changed:
                return None
            if result.text != changed.text:
                total += len(json.dumps(result.text, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return total


def _tokens(usage: Usage) -> int:
    return usage.input + usage.cache_read + usage.cache_write + usage.output


def _counted(usage: Usage) -> bool:
    """Whether a server counted a whole answer, and in numbers that can be."""
    parts = (usage.input, usage.cache_read, usage.cache_write, usage.output)
    return min(parts) >= 0 and sum(parts[:3]) > 0
