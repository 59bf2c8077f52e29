"""What runs the tasks of a batch: processes of this machine, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from agent.batch.tasks import TaskLine
from agent.budget import LedgerLike


@dataclass(frozen=True, slots=True)
class Shared:
    """What all tasks of a batch have in common; plain data, which travels to where they run."""

    flags: tuple[str, ...] = ()
    """Of `agent fix`."""
    batch: str = ""
    """The batch's id, under which the ledger counts."""
    usd: Decimal | None = None
    tokens: int | None = None
    """What all tasks together may spend; None is without limit."""
    began: float = 0.0
    """Seconds since the epoch: clones that are older are looked at anew."""
    logs: str = ""
    """The folder for what tasks print; empty where it goes wherever the driver's goes."""
    evaluate: bool = False
    """Hidden tests are kept from the run, and judge what it delivered."""
    ledger: Callable[[], LedgerLike] | None = None
    """Opens the ledger; None for this user's on the task's machine."""


@dataclass(frozen=True, slots=True)
class Told:
    """News of a task that runs: the data of one of its events, or a part of that."""

    id: str
    news: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a task. `ending` is what its process said: at least `status` and `error`. It is None when the process
    died without a word; then `crash` says how. `batch_spent` in it: the budget of all tasks ended it."""

    id: str
    ending: Mapping[str, Any] | None
    crash: str = ""


Happened = Told | Ended


class Engine(Protocol):
    """Each task that was started ends exactly once. A context manager, which leaves nothing running."""

    def start(self, line: TaskLine) -> None:
        """Begin with a task; returns at once."""

    def wait(self, seconds: float) -> Sequence[Happened]:
        """What happened since, waited for so long at most."""

    def stop(self, task: str) -> None:
        """Ask a task to end in good order. It may take its time, or never do it."""

    def kill(self, task: str) -> None:
        """End a task with all that it started, now."""

    def __enter__(self) -> Engine: ...

    def __exit__(self, *exc: object) -> None: ...
