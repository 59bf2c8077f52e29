"""The providers that the contract holds for: one row each, with what its API says in its own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from tests.loopback.anthropic_server import AnthropicDialect, BedrockDialect
from tests.loopback.server import Answer, Dialect, Fault


@dataclass(frozen=True)
class Provider:
    name: str
    spec: str
    """A model of the catalogue, so that its cost is known."""
    unknown: str
    """A model that no catalogue has."""
    dialect: Callable[[], Dialect]
    overflow: Fault
    """What the API says of a conversation that no longer fits."""
    refused: tuple[Answer, str]
    """An answer that the model or a filter took back, and the stop that it is."""
    cut: str
    """The API's word for an answer cut at the output limit."""
    quota: Fault
    """A limit that waiting does not mend."""
    key: str
    """What the advice after a refused key names."""
    setup: Callable[[], AbstractContextManager[Mapping[str, str]]] = nullcontext  # type: ignore[assignment]
    """More that must run, giving more variables."""
    lacks: frozenset[str] = field(default_factory=frozenset)
    """What the API has no way for: thinking (that is carried back), cache (counted), keepalive."""


_TOO_LONG = Fault(400, message="prompt is too long: 210000 tokens > 200000 maximum")
_NO = Answer("I", stop="refusal", explanation="It could do harm.")

PROVIDERS = [
    Provider(
        "anthropic",
        "anthropic/claude-haiku-4-5",
        "anthropic/claude-unheard-of",
        AnthropicDialect,
        _TOO_LONG,
        (_NO, "refusal"),
        "max_tokens",
        Fault(402, message="no credit"),
        "ANTHROPIC_API_KEY",
    ),
    Provider(
        "bedrock",
        "bedrock/eu.anthropic.claude-haiku-4-5-v1:0",
        "bedrock/anthropic.claude-unheard-of",
        BedrockDialect,
        _TOO_LONG,
        (_NO, "refusal"),
        "max_tokens",
        Fault(402, message="no credit"),
        "AWS_BEARER_TOKEN_BEDROCK",
    ),
]
