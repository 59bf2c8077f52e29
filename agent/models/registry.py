"""Model specs (`provider/model[:thinking]`) to models. SDKs are imported only when a model is opened."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.models import Model

PROVIDERS = ("anthropic", "google", "local", "openai", "scripted")
THINKING_LEVELS = ("off", "low", "medium", "high", "max")
DEFAULT_ANTHROPIC = "anthropic/claude-sonnet-5"
ANTHROPIC_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    provider: str
    name: str
    """The model's name as its provider knows it; for `scripted` a path."""
    thinking: str | None = None
    """One of THINKING_LEVELS; None leaves it to the model."""


def parse_spec(text: str) -> ModelSpec:
    """Read `provider/model[:thinking]`. Raises UsageError with one line that names the fault and the mend."""
    provider, slash, name = text.strip().partition("/")
    if provider not in PROVIDERS:
        raise UsageError(f"model {text!r}: {_unknown_provider(provider, slash)}")
    if not name:
        raise UsageError(f"model {text!r}: no model is named; write {provider}/NAME")
    thinking = None
    if provider != "scripted":  # a path may hold colons
        name, colon, level = name.rpartition(":") if ":" in name else (name, "", "")
        if colon and level not in THINKING_LEVELS:
            raise UsageError(
                f"model {text!r}: unknown thinking level {level!r}; known are {', '.join(THINKING_LEVELS)}"
            )
        thinking = level or None
    if provider == "local" and (name != "repair" or thinking):
        raise UsageError(f"model {text!r}: the one local model is local/repair, without a thinking level")
    return ModelSpec(provider, name, thinking)


def _unknown_provider(provider: str, slash: str) -> str:
    if not slash and provider.startswith("claude"):
        return f"write anthropic/{provider}"
    if not slash:
        return f"write provider/model; known providers are {', '.join(PROVIDERS)}"
    near = difflib.get_close_matches(provider, PROVIDERS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown provider {provider!r}; known are {', '.join(PROVIDERS)}{hint}"


def open_model(
    spec: str,
    *,
    seconds: float | None = None,
    seed: int = 0,
    attempt: int = 1,
    on_retry: Callable[[int, str, float], None] | None = None,
) -> Model:
    """A new model object for one attempt.

    `seconds` and `seed` bound and fix the search of `local/repair`; `attempt` (from 1) chooses the part of a
    script; `on_retry(try, reason, wait_seconds)` hears of each transient fault of a provider. Raises UsageError
    when the spec, the key or the script is at fault.
    """
    parsed = parse_spec(spec)
    if parsed.provider == "anthropic":
        _require_key(os.environ)
        from agent.models.anthropic import AnthropicModel

        return AnthropicModel(parsed.name, parsed.thinking, on_retry)
    if parsed.provider == "scripted":
        from agent.models.scripted import ScriptedModel

        return ScriptedModel(Path(parsed.name), attempt=attempt)
    if parsed.provider == "local":
        from agent.models.repair import RepairModel

        return RepairModel(seed=seed, seconds=seconds)
    raise UsageError(
        f"model {spec!r}: {parsed.provider}/ models are not there yet; use anthropic/NAME or local/repair"
    )


def _require_key(environ: Mapping[str, str]) -> None:
    keys = {name: environ[name] for name in ANTHROPIC_KEYS if environ.get(name)}
    if not keys:
        raise UsageError("anthropic/ models need a key: set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN)")
    for name, key in keys.items():
        # The HTTP client would refuse such a header later, with the key in its message.
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UsageError(f"{name} holds a space, a line break or another character that no key has")


def default_spec(environ: Mapping[str, str]) -> tuple[str, str]:
    """The model for a user who named none, and a line that says why it was chosen."""
    for name in ANTHROPIC_KEYS:
        if environ.get(name):
            return DEFAULT_ANTHROPIC, f"{name} is set and no --model was given"
    return "local/repair", (
        "no key is set (ANTHROPIC_API_KEY), so the embedded repair model works: no key, no network, "
        "only small edits at the places that failing tests point to"
    )
