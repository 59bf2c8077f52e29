"""What a conversation begins anew with when it outgrew the model's window: facts that the runtime kept, no summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.events import Event, HypothesisStated, ModelReplied, ToolReturned, UserSaid
from agent.hypotheses import changed_places, failures_of
from agent.prompts import render

MAX_TOLD = 8_000
"""Characters of the change, and of a run."""
MAX_SAID = 1_500
"""Characters of the model's own last words."""


def renewed(log: Iterable[Event], attempt: int, change: str, patch: bytes) -> str:
    """The first message of the new conversation: what the old one began with, and what is known since. `change` is
    the workspace's, as text, `patch` the same whole."""
    mine = [event for event in log if getattr(event, "attempt", None) == attempt]
    told = next(event.text for event in mine if isinstance(event, UserSaid))
    causes = [event for event in mine if isinstance(event, HypothesisStated)]
    runs = [event for event in mine if isinstance(event, ToolReturned) and event.name == "run_tests"]
    failing = [event for event in runs if failures_of(event)]
    replies = [
        event.text.strip() for event in mine if isinstance(event, ModelReplied) and event.stop != "overflow"
    ]
    said = [text for text in replies if text]
    failed = "none seen"
    if failing:
        failed = "the same" if failing[-1] is runs[-1] else failing[-1].text[:MAX_TOLD]
    facts = render(
        "renewed",
        causes=_causes(causes),
        files="\n".join(f"- {place}" for place in changed_places(patch)) or "none",
        change=change[:MAX_TOLD],
        run=runs[-1].text[:MAX_TOLD] if runs else "none yet",
        failed=failed,
        said=said[-1][-MAX_SAID:] if said else "nothing",
    )
    return f"{told}\n{facts}"


def _causes(causes: Sequence[HypothesisStated]) -> str:
    return (
        "\n".join(
            f"- {', '.join(one.where)}: {one.cause} (seen by {one.test}: {one.observed})" for one in causes
        )
        or "none yet"
    )
