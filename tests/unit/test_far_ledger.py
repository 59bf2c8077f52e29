"""A budget that tasks on other machines share: the driver's ledger grants, whoever asks, and buries who is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from agent.batch.board import Board
from agent.batch.far_ledger import FarLedger
from agent.budget import Amount, BudgetSpent, Limit, is_of_batch
from agent.errors import EnvironmentFault

SCOPES = {"run:a": Limit(), "batch:b": Limit(Decimal("1.00")), "day:2026-01-01": Limit()}


class Actor:
    """A board that is asked from one thread, as an actor of Ray is."""

    def __init__(self, folder: Path, day: Limit) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._board = Board(str(folder), day)

    def ask(self, method: str, *arguments: Any) -> Any:
        return self._thread.submit(getattr(self._board, method), *arguments).result()


@contextmanager
def far(board: Actor, task: str) -> Iterator[FarLedger]:
    """A ledger at the other end of a pipe, as a task's process has it."""
    ours, theirs = Pipe()

    def serve() -> None:
        try:
            while True:
                method, *arguments = ours.recv()
                try:
                    ours.send(board.ask(method, task, *arguments))
                except EnvironmentFault as fault:
                    ours.send(fault)
        except (EOFError, OSError):
            return

    threading.Thread(target=serve, daemon=True).start()
    with FarLedger(theirs) as ledger:
        yield ledger


def cents(output: int) -> Amount:
    return Amount.of(Decimal(output) / 100, output)


@pytest.fixture
def board(tmp_path: Path) -> Actor:
    return Actor(tmp_path, Limit(Decimal("0.90")))


def test_the_longest_answer_that_fits_is_reserved_and_the_batch_holds(board: Actor) -> None:
    with far(board, "t1") as ledger:
        made = ledger.reserve(SCOPES, cents, 70, 10)
        assert made.output == 70
        second = ledger.reserve(SCOPES, cents, 70, 10)
        assert second.output == 20  # the day of the driver's user, 0.90, is less than the batch's dollar
        with pytest.raises(BudgetSpent, match="all runs of today") as refused:
            ledger.reserve(SCOPES, cents, 70, 10)
        assert refused.value.later and not is_of_batch(str(refused.value))
        ledger.settle(made, cents(5))
        assert ledger.reserve(SCOPES, cents, 70, 10).output == 65


def test_what_a_lost_task_had_reserved_counts_as_spent(board: Actor) -> None:
    with far(board, "lost") as ledger:
        ledger.reserve(SCOPES, cents, 60)
    board.ask("closed", "lost")
    with far(board, "t2") as other:
        account = other.accounts(SCOPES)["batch:b"]
        assert (account.spent.usd, account.reserved.usd) == (0.6, 0.0)
        with pytest.raises(BudgetSpent) as refused:
            other.reserve(SCOPES, cents, 60)
        assert not refused.value.later
        assert is_of_batch(str(refused.value))


def test_without_a_driver_nothing_is_granted() -> None:
    ours, theirs = Pipe()
    ours.close()
    with pytest.raises(EnvironmentFault, match="does not answer"):
        FarLedger(theirs).reserve(SCOPES, cents, 10)
