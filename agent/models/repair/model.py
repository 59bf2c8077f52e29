"""`local/repair`: a repair search that drives the same tools in the same loop as a language model."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from agent.errors import ModelError
from agent.models.repair.turns import Plan, Turn
from agent.types import Message, Reply, ToolCall, ToolResult, ToolSpec, Usage

DEFAULT_SECONDS = 480.0
"""What a search takes at most by itself."""


class RepairModel:
    """Searches for a small edit that turns failing tests green. One object serves one attempt.

    The same conversation and `seed` give the same replies, as far as the tests' own timing allows. `seconds` is
    the time that is left for the attempt; the search ends itself some time before.
    """

    spec = "local/repair"
    repeats_itself = True

    def __init__(self, seed: int = 0, seconds: float | None = None) -> None:
        self._seed = seed
        self._seconds = min(DEFAULT_SECONDS, DEFAULT_SECONDS if seconds is None else 0.8 * seconds)
        self._plan: Plan | None = None
        self._turns = 0

    async def reply(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """The next turn of the search. Raises ModelError when the conversation is not one that it leads."""
        import anyio

        if not messages or messages[-1].role != "user":
            raise ModelError("local/repair: the conversation must end with a user message")
        # A turn may take seconds of computing; the loop's other tasks go on meanwhile.
        turn = await anyio.to_thread.run_sync(self._advance, messages[0].text, messages[-1].tool_results)
        if turn is None:
            return Reply("The search has ended.", (), Usage(requests=1), Decimal(0), "end")
        self._turns += 1
        calls = tuple(
            ToolCall(f"repair_{self._turns}_{number}", name, arguments)
            for number, (name, arguments) in enumerate(turn.calls, 1)
        )
        return Reply(turn.text, calls, Usage(requests=1), Decimal(0), "tool_use")

    def _advance(self, brief: str, results: tuple[ToolResult, ...]) -> Turn | None:
        try:
            if self._plan is None:
                from agent.models.repair.search import repair

                self._plan = repair(brief, self._seed, time.monotonic() + self._seconds)
                return next(self._plan)
            return self._plan.send(results)
        except StopIteration:
            return None

    async def close(self) -> None:
        if isinstance(self._plan, Generator):
            self._plan.close()
