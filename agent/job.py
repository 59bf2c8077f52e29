"""What the parts of a run have in common: what it is about, what it works with, and where it starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anyio

from agent import events
from agent.config import Settings
from agent.event_log import EventLog
from agent.hypotheses import Base
from agent.models.google_cache import Caches
from agent.models.registry import open_model
from agent.orientation.orient import Orientation
from agent.past import Past
from agent.types import Task
from sandboxes.spares import Spares

if TYPE_CHECKING:
    from agent.budget import Budget
    from agent.gate import Baseline, Runner
    from agent.git import Repository
    from agent.models import Model
    from agent.models.provider import FailedTry
    from sandboxes.types import Environment


@dataclass
class Job:
    """One run: its task, its log and folder."""

    run_id: str
    task: Task
    settings: Settings
    log: EventLog
    folder: Path
    repository: Repository
    seed: int = 0
    budget: Budget | None = None
    """Where each request to a provider is reserved; models without one need none."""
    past: Past = field(default_factory=Past)
    """What it did before, if it is gone on with."""
    caches: Caches = field(default_factory=Caches)
    """Gemini's explicit caches: made once, used by all attempts, deleted at the end."""
    open_model: Callable[..., Model] = open_model

    def note(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        self.log.append(events.Note(text, level))

    def retried(self, number: int) -> Any:
        """What is told of a provider's faults in attempt `number`."""

        def note(tried: FailedTry) -> None:
            self.log.append(
                events.ModelRetried(number, tried.reason, tried.wait_seconds, tried.usage, tried.cost_usd)
            )

        return note


@dataclass(slots=True)
class Start:
    """What every attempt and every judgement of a run starts from."""

    spares: Spares
    environment: Environment
    gate: Runner
    baseline: Baseline
    """It gains its second run while the model works."""
    base: Base
    """What is known of the files of the base commit."""
    orientation: Orientation
    """What models are told of them."""
    stated: anyio.Event
    """Set with the first root cause."""
    suspects: dict[tuple[object, ...], str] = field(default_factory=dict)
    """What was seen of lines that only failing tests run, by tests."""
