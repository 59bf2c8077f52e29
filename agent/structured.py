"""Answers that must be structured: one JSON value of a schema, whatever the model wraps it in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.errors import ModelError
from agent.models import Model
from agent.models.extract import NoValue, find_value
from agent.types import Message, Reply

TRIES = 2
"""The second one is told what was wrong with the first."""


async def structured(
    model: Model,
    system: str,
    messages: Sequence[Message],
    schema: Mapping[str, Any],
    on_reply: Callable[[Reply, float], None],
) -> Any:
    """One JSON value of `schema`; `on_reply` hears of each reply that it took, and its seconds.

    The API is held to the schema where it can be; what comes is searched for the value all the same, since not every
    server does as it is told. Raises ModelError when no reply holds it; its text then says what was wrong.
    """
    conversation = list(messages)
    fault = ""
    for _ in range(TRIES):
        began = time.monotonic()
        reply = await model.reply(system, conversation, (), schema)
        on_reply(reply, time.monotonic() - began)
        if reply.stop not in ("end", "length"):
            raise ModelError(f"{model.spec}: no structured answer: {reply.stop}: {reply.text[:300]}")
        try:
            return find_value(reply.text, schema)
        except NoValue as error:
            fault = str(error)
        conversation += [
            Message("assistant", reply.text, provider_data=reply.provider_data),
            Message(
                "user",
                f"That holds no usable answer: {fault}. Answer with one JSON value of the schema, alone.",
            ),
        ]
    raise ModelError(f"{model.spec}: no structured answer in {TRIES} replies: {fault}")
