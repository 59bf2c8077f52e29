"""Replies that a log has, given again; then those of the model itself, or an end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.errors import ModelError
from agent.models import Model
from agent.types import Message, Reply, ToolSpec


class Recorded:
    """Takes from `replies` one after the other, and asks `model` once they are all given.

    Where it is None, as in a replay, the recording's end is a ModelError.
    """

    def __init__(
        self, replies: list[Reply], model: Model | None, spec: str = "", *, repeats_itself: bool = False
    ) -> None:
        self.spec = model.spec if model is not None else spec
        self.repeats_itself = model.repeats_itself if model is not None else repeats_itself
        self._left = replies
        self._model = model

    async def reply(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """The next reply. Raises ModelError."""
        if self._left:
            return self._left.pop(0)
        if self._model is None:
            raise ModelError("the recording ends here")
        return await self._model.reply(system, messages, tools, schema)

    async def close(self) -> None:
        if self._model is not None:
            await self._model.close()
