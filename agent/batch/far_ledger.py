"""The driver's ledger, for a task on another machine: each call goes through a pipe to who can reach it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, Self

from agent.budget import Account, Amount, BudgetSpent, Limit, Reservation
from agent.errors import EnvironmentFault

TRIES = 5
"""For the longest answer that fits, while others reserve at the same time; then the shortest is asked for."""


class FarLedger:
    """As Ledger, whose file is elsewhere. Called, it is its own opener. Each method raises EnvironmentFault when nobody
    answers: then nothing is sent to a provider."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __call__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pipe.close()

    def reserve(
        self, scopes: Mapping[str, Limit], worst: Callable[[int], Amount], most: int, least: int | None = None
    ) -> Reservation:
        """As Ledger.reserve. What fits is reckoned here, from how the scopes stand, and reserved there or refused."""
        least = most if least is None else min(least, most)
        for left in reversed(range(TRIES)):
            output = self._longest(scopes, worst, most, least) if left else least
            answer = self._ask("reserve", scopes, worst(output), output)
            if isinstance(answer, Reservation):
                return answer
            if output == least:
                raise answer
        raise AssertionError("the last try is for the least")

    def settle(self, reservation: Reservation, actual: Amount) -> None:
        self._ask("settle", reservation, actual)

    def accounts(self, scopes: Mapping[str, Limit]) -> dict[str, Account]:
        found: dict[str, Account] = self._ask("accounts", scopes)
        return found

    def _longest(
        self, scopes: Mapping[str, Limit], worst: Callable[[int], Amount], most: int, least: int
    ) -> int:
        accounts = self.accounts(scopes).values()

        def refused(output: int) -> bool:
            asked = worst(output)
            return not all(account.takes(asked) for account in accounts)

        return least + bisect_left(range(least + 1, most + 1), True, key=refused)

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            self._pipe.send((method, *arguments))
            answer = self._pipe.recv()
        except (OSError, EOFError) as error:
            raise EnvironmentFault("the driver, which has the ledger, does not answer any more") from error
        if isinstance(answer, Exception) and not isinstance(answer, BudgetSpent):
            raise EnvironmentFault(f"the driver's ledger can't be used: {answer}")
        return answer
