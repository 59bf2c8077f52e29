"""Model specs (`provider/model[:thinking]`) to models. SDKs are imported only when a model answers."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.config import home
from agent.errors import UsageError
from agent.models.catalogue import LEVELS, UNKNOWN_THINKING, Catalogue, ModelInfo, standard

if TYPE_CHECKING:
    from agent.models import Model
    from agent.models.google_cache import Caches
    from agent.models.provider import Api, FailedTry

PROVIDERS = ("anthropic", "bedrock", "google", "local", "openai", "scripted", "vertex")
DEFAULTS = (
    ("anthropic", "anthropic/claude-sonnet-5"),
    ("google", "google/gemini-3.8-flash"),
    ("openai", "openai/gpt-6-sol"),
)
"""The model of a user who named none, by the first of these providers whose key is set."""
KEYS: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "openai": ("OPENAI_API_KEY",),
}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    provider: str
    name: str
    """The model's name as the user gave it; for `scripted` a path."""
    thinking: str | None = None
    """One of catalogue.LEVELS; None leaves it to the model."""


def parse_spec(text: str) -> ModelSpec:
    """Read `provider/model[:thinking]`. Raises UsageError with one line that names the fault and the mend."""
    provider, slash, name = text.strip().partition("/")
    if provider not in PROVIDERS:
        raise UsageError(f"model {text!r}: {_unknown_provider(provider, slash)}")
    if not name:
        raise UsageError(f"model {text!r}: no model is named; write {provider}/NAME")
    thinking = None
    if provider != "scripted":  # a path may hold colons
        head, colon, level = name.rpartition(":")
        if colon and level in LEVELS:
            name, thinking = head, level
        elif colon and provider not in ("openai", "bedrock"):  # servers have names such as qwen3:32b
            raise UsageError(
                f"model {text!r}: unknown thinking level {level!r}; known are {', '.join(LEVELS)}"
            )
    if provider == "local" and (name != "repair" or thinking):
        raise UsageError(f"model {text!r}: the one local model is local/repair, without a thinking level")
    return ModelSpec(provider, name, thinking)


def with_thinking(spec: str, level: str | None) -> str:
    """`spec` with a thinking level, where it names none and its model thinks at all."""
    parsed = parse_spec(spec)
    if level is None or parsed.thinking or parsed.provider in ("local", "scripted"):
        return spec
    if level not in LEVELS:
        raise UsageError(f"unknown thinking level {level!r}; known are {', '.join(LEVELS)}")
    return f"{spec.strip()}:{level}"


def _unknown_provider(provider: str, slash: str) -> str:
    if not slash:
        for start, real in (("claude", "anthropic"), ("gemini", "google"), ("gpt", "openai")):
            if provider.lower().startswith(start):
                return f"write {real}/{provider}"
        return f"write provider/model; known providers are {', '.join(PROVIDERS)}"
    near = difflib.get_close_matches(provider, PROVIDERS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown provider {provider!r}; known are {', '.join(PROVIDERS)}{hint}"


def catalogue() -> Catalogue:
    """The package's models with the user's own file, $AGENT_HOME/models.toml, laid over them."""
    return standard(home() / "models.toml")


def model_info(spec: ModelSpec) -> ModelInfo:
    """What is known of a provider's model. A cloud's own spelling of a name (`claude-haiku-4-5@20251001`,
    `us.anthropic.claude-haiku-4-5-v1:0`) is known by the name in it, and asked for as it was given."""
    provider, name = spec.provider, spec.name
    if provider == "vertex":
        provider = "anthropic" if name.startswith("claude") else "google"
        found = catalogue().find(provider, name.partition("@")[0])
        return replace(found, name=name) if provider == "anthropic" else found
    if provider == "bedrock":
        plain = name.rpartition("anthropic.")[2].partition(":")[0].removesuffix("-v1").removesuffix("-v2")
        return replace(catalogue().find("anthropic", plain), name=name)
    info = catalogue().find(provider, name)
    if provider == "openai" and not info.known and _compatible_server(os.environ):
        # What is not OpenAI's own speaks Chat Completions; the user's file may say otherwise for a name.
        info = replace(info, api="chat", thinking=UNKNOWN_THINKING["chat"])
    return info


def _compatible_server(environ: Mapping[str, str]) -> bool:
    host = urlsplit(environ.get("OPENAI_BASE_URL", "")).hostname or "api.openai.com"
    return host != "api.openai.com"


def warning(spec: str) -> str | None:
    """What a user should know of a model before it is used: that its name is new to us."""
    parsed = parse_spec(spec)
    if parsed.provider in ("local", "scripted"):
        return None
    info = model_info(parsed)
    if info.known:
        return None
    near = catalogue().nearest(info.provider, info.name)
    hint = f"; did you mean {near}?" if near else ""
    return f"model {spec} is not in the catalogue (see `agent models`), so its cost is unknown{hint}"


def sdk_of(spec: str) -> str | None:
    """The package that a model's requests go through, to be imported early."""
    parsed = parse_spec(spec)
    if parsed.provider in ("local", "scripted"):
        return None
    return {"anthropic": "anthropic", "google": "google.genai"}.get(model_info(parsed).api, "openai")


def open_model(
    spec: str,
    *,
    seconds: float | None = None,
    seed: int = 0,
    attempt: int = 1,
    on_failed_try: Callable[[FailedTry], None] | None = None,
    caches: Caches | None = None,
) -> Model:
    """A new model object for one attempt.

    `seconds` and `seed` bound and fix the search of `local/repair`; `attempt` (from 1) chooses the part of a
    script; `on_failed_try` hears of each fault of a provider; `caches` are Gemini's explicit ones, shared
    by the attempts of a run. Raises UsageError when the spec, the key or the script is at fault.
    """
    parsed = parse_spec(spec)
    if parsed.provider == "scripted":
        from agent.models.scripted import ScriptedModel

        return ScriptedModel(Path(parsed.name), attempt=attempt)
    if parsed.provider == "local":
        from agent.models.repair import RepairModel

        return RepairModel(seed=seed, seconds=seconds)
    from agent.models.provider import ProviderModel

    info = model_info(parsed)
    thinking = info.thinking_for(parsed.thinking)
    return ProviderModel(spec, info, _api(parsed.provider, info, thinking, caches), on_failed_try)


def _api(provider: str, info: ModelInfo, thinking: str | int | None, caches: Caches | None) -> Api:
    if info.api == "anthropic":
        from agent.models.anthropic import AnthropicApi

        if provider == "vertex":
            return AnthropicApi(info, thinking, "vertex")
        if provider == "bedrock":
            return AnthropicApi(info, thinking, "bedrock")
        require_key("anthropic", os.environ)
        return AnthropicApi(info, thinking)
    if info.api == "google":
        from agent.models.google import GoogleApi

        if provider == "google" and os.environ.get("GOOGLE_GENAI_USE_VERTEXAI", "").lower() not in (
            "1",
            "true",
        ):
            require_key("google", os.environ)
        return GoogleApi(info, thinking, vertex=provider == "vertex", caches=caches)
    from agent.models.openai import OpenAIApi

    if not _compatible_server(os.environ):
        require_key("openai", os.environ)
    return OpenAIApi(info, thinking)


def require_key(provider: str, environ: Mapping[str, str]) -> None:
    """Raises UsageError when no key of `provider` is set, or one that no HTTP header can hold."""
    names = KEYS[provider]
    keys = {name: environ[name] for name in names if environ.get(name)}
    if not keys:
        others = f" (or {', '.join(names[1:])})" if names[1:] else ""
        raise UsageError(f"{provider}/ models need a key: set {names[0]}{others}")
    for name, key in keys.items():
        # The HTTP client would refuse such a header later, with the key in its message.
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UsageError(f"{name} holds a space, a line break or another character that no key has")


def default_spec(environ: Mapping[str, str]) -> tuple[str, str]:
    """The model for a user who named none, and a line that says why it was chosen."""
    for provider, spec in DEFAULTS:
        for name in KEYS[provider]:
            if environ.get(name):
                return spec, f"{name} is set and no --model was given"
    return "local/repair", (
        "no key is set (ANTHROPIC_API_KEY, GEMINI_API_KEY, OPENAI_API_KEY), so the embedded repair model works: "
        "no key, no network, only small edits at the places that failing tests point to"
    )
