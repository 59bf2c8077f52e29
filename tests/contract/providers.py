"""The providers that the contract holds for: one row each, with what its API says in its own words."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tests.loopback.anthropic_server import AnthropicDialect, BedrockDialect, VertexDialect
from tests.loopback.google_server import GoogleDialect, GoogleVertexDialect, detailed
from tests.loopback.google_token import google_token
from tests.loopback.openai_server import ChatDialect, ResponsesDialect
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
    """What the API has no way for: thinking (that is carried back), raw arguments (that are no JSON)."""


_TOO_LONG = Fault(400, message="prompt is too long: 210000 tokens > 200000 maximum")
_NO = Answer("I", stop="refusal", explanation="It could do harm.")

_MODELS = """
[models."openai/unheard-of"]
api = "responses"

[models."openai/coder:32b"]
api = "chat"
quirks = ["reasoning-content"]
max_output = 64_000
prices = { input = 0.5, output = 2.0, cache_read = 0.1 }
"""


@contextmanager
def _own_models() -> Iterator[dict[str, str]]:
    """A user's own file of models: one whose price nobody knows, and one of a compatible server."""
    with tempfile.TemporaryDirectory() as home:
        Path(home, "models.toml").write_text(_MODELS)
        yield {"AGENT_HOME": home}


_TOO_MANY = Fault(
    400, message="The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
)
_UNSAFE = Answer("I", stop="SAFETY")  # the SDK drops the Gemini API's explanation
_DAY_IS_OVER = detailed(
    429,
    "You exceeded your current quota, please check your plan and billing details.",
    {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "250"}],
    },
    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "22s"},
)

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
    Provider(
        "vertex-claude",
        "vertex/claude-haiku-4-5@20251001",
        "vertex/claude-unheard-of",
        VertexDialect,
        _TOO_LONG,
        (_NO, "refusal"),
        "max_tokens",
        Fault(402, message="no credit"),
        "GOOGLE_APPLICATION_CREDENTIALS",
        google_token,
    ),
    Provider(
        "responses",
        "openai/gpt-5.4-mini",
        "openai/unheard-of",
        ResponsesDialect,
        Fault(400, "context_length_exceeded", "Your input exceeds the context window of this model."),
        (_NO, "refusal"),
        "max_output_tokens",
        Fault(429, "insufficient_quota", "You exceeded your current quota."),
        "OPENAI_API_KEY",
        _own_models,
    ),
    Provider(
        "chat",
        "openai/coder:32b",
        "openai/stranger:7b",
        lambda: ChatDialect("deepseek"),
        Fault(400, message="This model's maximum context length is 8192 tokens."),
        (_NO, "refusal"),
        "length",
        Fault(402, message="Insufficient Balance"),
        "OPENAI_API_KEY",
        _own_models,
    ),
    Provider(
        "google",
        "google/gemini-3.6-flash",
        "google/gemini-unheard-of",
        GoogleDialect,
        _TOO_MANY,
        (_UNSAFE, "filtered"),
        "MAX_TOKENS",
        _DAY_IS_OVER,
        "GEMINI_API_KEY",
        lacks=frozenset({"raw arguments"}),
    ),
    Provider(
        "vertex-gemini",
        "vertex/gemini-3.6-flash",
        "vertex/gemini-unheard-of",
        GoogleVertexDialect,
        _TOO_MANY,
        (_UNSAFE, "filtered"),
        "MAX_TOKENS",
        _DAY_IS_OVER,
        "GOOGLE_APPLICATION_CREDENTIALS",
        google_token,
        frozenset({"raw arguments"}),
    ),
]
