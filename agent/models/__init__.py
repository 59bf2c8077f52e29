"""Models: one file per wire API, and the keyless `local/repair`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.types import Message, Reply, ToolSpec


class Model(Protocol):
    """Something that answers a conversation. One object serves one attempt."""

    spec: str
    """`provider/name`, as it stands in logs and reports."""
    repeats_itself: bool
    """True when the same conversation always gets the same reply, so that a retry without news is pointless."""

    async def reply(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Answer the conversation; with `schema`, by one JSON value of it where the API can be held to that.

        Raises ModelError when the provider failed for good.
        """
        ...

    async def close(self) -> None: ...
