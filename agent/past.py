"""What a run did before it was interrupted, read from its log and its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from agent.attempt import Ending
from agent.budget import Account, Amount
from agent.errors import UsageError
from agent.event_log import EventLog, Logged
from agent.events import (
    AttemptEnded,
    AttemptStarted,
    BaselineTaken,
    BudgetChanged,
    Event,
    ModelRetried,
    RunEnded,
    RunResumed,
    SetupWritten,
    VerdictReached,
)
from agent.types import Status, Usage, Verdict

UNENDED: Mapping[Status, str] = {
    "model_error": "model_error",
    "environment": "sandbox_died",
    "limit": "budget",
}
"""Statuses of a run that may be gone on with, and how the attempts ended on whose account it has them: what they wait
for may be there now."""
RESUMABLE = ("", "interrupted", "model_error", "environment")
"""Statuses that a run may be gone on from as it is; from a `limit` with more money."""


@dataclass(frozen=True, slots=True)
class Past:
    """Nothing, for a run that begins."""

    folder: Path = Path()
    ended: Mapping[int, AttemptEnded] = field(default_factory=dict)
    verdicts: Mapping[int, VerdictReached] = field(default_factory=dict)
    first: str | None = None
    """The model of the first attempt."""
    setup: SetupWritten | None = None
    seconds: float = 0.0
    """That its attempts have had, without the time between its processes."""

    def ending(self, number: int) -> Ending | None:
        """How the model's part of an attempt ended, if it did. Raises UsageError when its patch is lost."""
        event = self.ended.get(number)
        if event is None:
            return None
        patch = None
        if event.patch_sha256 is not None:
            path = patch_path(self.folder, number)
            patch = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(patch).hexdigest() != event.patch_sha256:
                raise UsageError(
                    f"{path}: not the patch that the run's log tells of, so it can't be gone on with"
                )
        return Ending(
            event.how, event.detail, event.root_cause, patch, event.turns, event.seconds, event.provider_down
        )

    def verdict(self, number: int) -> Verdict | None:
        """The gate's word on an attempt's patch, if it was reached."""
        from agent.gate.proof import verdict_from_json

        event = self.verdicts.get(number)
        if event is None:
            return None
        proven = tuple(event.proven_tests)
        return replace(verdict_from_json(event.verdict), traces=dict(event.traces), proven_tests=proven)


def patch_path(folder: Path, number: int) -> Path:
    """Where a run keeps the patch of an attempt that has ended."""
    return folder / "gate" / f"{number}.diff"


def status(log: Logged) -> str:
    """What a run came to: the status in its result; empty when it has not ended."""
    last = next((event for _, event in reversed(log) if isinstance(event, RunEnded | RunResumed)), None)
    return str(last.result["status"]) if isinstance(last, RunEnded) else ""


def _waiting(log: Logged) -> str:
    """The status of the end that the run's attempts wait to go on from: the last one that no attempt followed."""
    for _, event in reversed(log):
        ended = ""
        if isinstance(event, RunEnded):
            ended = str(event.result["status"])
        elif isinstance(event, RunResumed):
            ended = event.ended
        elif getattr(event, "attempt", 0) and not isinstance(event, ModelRetried):
            return ""
        if ended in UNENDED:
            return ended
    return ""


def revived(log: Logged, open_log: EventLog, folder: Path) -> Past:
    """The past of a run whose `open_log` is to be gone on with: from there those attempts are taken out of the ended
    ones that came to nothing for want of what the run ended on."""
    waiting = UNENDED.get(_waiting(log))  # type: ignore[call-overload]
    last = max((place for place, (_, e) in enumerate(log) if isinstance(e, AttemptStarted)), default=0)
    revived = {
        e.attempt for _, e in log[last:] if waiting and isinstance(e, AttemptEnded) and e.how == waiting
    }

    def counts(event: Event) -> bool:
        return not (isinstance(event, AttemptEnded | VerdictReached) and event.attempt in revived)

    events = open_log.events[:] = list(filter(counts, open_log.events))
    started = [event for event in events if isinstance(event, AttemptStarted)]
    return Past(
        folder,
        {event.attempt: event for event in events if isinstance(event, AttemptEnded)},
        {event.attempt: event for event in events if isinstance(event, VerdictReached)},
        started[0].model if started else None,
        next((event for event in reversed(events) if isinstance(event, SetupWritten)), None),
        _seconds(log),
    )


def _seconds(log: Logged) -> float:
    """From each baseline to what its process logged last, by a clock that nobody sets."""
    total, began, now = 0.0, None, 0.0
    for data, event in log:
        if isinstance(event, RunResumed) and began is not None:
            total, began = total + now - began, None
        now = float(data.get("t", 0.0))
        if isinstance(event, BaselineTaken) and began is None:
            began = now
    return total + (now - began if began is not None else 0.0)


def untold(log: Sequence[Event], account: Account) -> Amount | None:
    """What the ledger has counted for requests of which the log does not say so; None when that is nothing."""
    changes = [event for event in log if isinstance(event, BudgetChanged) and event.what == "settled"]
    usd = account.spent.usd - sum(event.usd or 0.0 for event in changes)
    tokens = account.spent.tokens - sum(event.tokens for event in changes)
    priced = account.unpriced <= sum(event.usd is None for event in changes)
    return Amount.of(Decimal(f"{max(0.0, usd):.9f}") if priced else None, tokens) if tokens > 0 else None


def lost(log: Sequence[Event], account: Account) -> ModelRetried | None:
    """The requests that were under way when the run's process was killed, as one that came to nothing: what the
    ledger has counted for them, which is their worst case unless it knew better. None when there were none."""
    more = untold(log, account) or Amount(0, 0)
    usd, tokens, priced = more.usd, more.tokens, more.nano_usd is not None
    for event in reversed(log):
        if not isinstance(event, BudgetChanged):
            break
        if event.what == "settled":  # it was answered, and the answer went with the process
            usd, tokens, priced = (
                usd + (event.usd or 0.0),
                tokens + event.tokens,
                priced and event.usd is not None,
            )
    if tokens <= 0:
        return None
    last = next((event.attempt for event in reversed(log) if isinstance(event, AttemptStarted)), 0)
    reason = f"under way when the process was killed; counted as {tokens} tokens"
    cost = Decimal(f"{max(0.0, usd):.9f}") if priced else None
    return ModelRetried(last, reason, None, Usage(requests=1), cost)
