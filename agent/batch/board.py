"""Where tasks on other machines and their driver meet: the ledger, news, and what is to stop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.budget import Account, Amount, BudgetSpent, Ledger, Limit, Reservation


class Board:
    """On the driver's machine, for one thread; with Ray it is an actor. `day` is the limit of the driver's user."""

    def __init__(self, agent_home: str, day: Limit) -> None:
        self._path, self._day = Path(agent_home) / "ledger.sqlite", day
        self._ledgers: dict[str, Ledger] = {}
        self._news: list[tuple[str, dict[str, Any]]] = []
        self._stopped: set[str] = set()

    def hear(self, task: str, news: dict[str, Any]) -> None:
        self._news.append((task, news))

    def heard(self) -> list[tuple[str, dict[str, Any]]]:
        news, self._news = self._news, []
        return news

    def stop(self, task: str) -> None:
        self._stopped.add(task)

    def stopping(self, task: str) -> bool:
        return task in self._stopped

    def closed(self, task: str) -> None:
        """The task has ended, well or not: what it had reserved counts as spent from the next look on."""
        self._stopped.discard(task)
        if task in self._ledgers:
            self._ledgers.pop(task).close()

    def reserve(
        self, task: str, scopes: Mapping[str, Limit], asked: Amount, output: int
    ) -> Reservation | BudgetSpent:
        try:
            return self._ledger(task).reserve(self._ours(scopes), lambda _: asked, output)
        except BudgetSpent as spent:  # as a value: what is raised arrives as an exception of Ray's
            return spent

    def settle(self, task: str, reservation: Reservation, actual: Amount) -> None:
        self._ledger(task).settle(reservation, actual)

    def accounts(self, task: str, scopes: Mapping[str, Limit]) -> dict[str, Account]:
        return self._ledger(task).accounts(self._ours(scopes))

    def _ledger(self, task: str) -> Ledger:
        if task not in self._ledgers:
            self._ledgers[task] = Ledger(self._path)
        return self._ledgers[task]

    def _ours(self, scopes: Mapping[str, Limit]) -> dict[str, Limit]:
        """With the day's limit of the driver's user, whatever that of the node is."""
        return {name: self._day if name.startswith("day:") else limit for name, limit in scopes.items()}
