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
from agent.models.catalogue import ANY_TIER, LEVELS, UNKNOWN_THINKING, Catalogue, ModelInfo, standard

if TYPE_CHECKING:
    from agent.budget import Budget, Limit
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
    provider, name = known_as(spec)
    info = catalogue().find(provider, name)
    if provider == "anthropic" and spec.provider != "anthropic":
        return replace(info, name=spec.name)
    if provider == "openai" and not info.known and _compatible_server(os.environ):
        # What is not OpenAI's own speaks Chat Completions; the user's file may say otherwise for a name.
        info = replace(info, api="chat", thinking=UNKNOWN_THINKING["chat"])
    return info


def known_as(spec: ModelSpec) -> tuple[str, str]:
    """A model's provider and name as the catalogue has them."""
    name = spec.name
    if spec.provider == "vertex":
        return "anthropic" if name.startswith("claude") else "google", name.partition("@")[0]
    if spec.provider == "bedrock":
        plain = name.rpartition("anthropic.")[2].partition(":")[0]
        return "anthropic", plain.removesuffix("-v1").removesuffix("-v2")
    return spec.provider, name


def _compatible_server(environ: Mapping[str, str]) -> bool:
    host = urlsplit(environ.get("OPENAI_BASE_URL", "")).hostname or "api.openai.com"
    return host != "api.openai.com"


def thrifty_info(spec: str) -> ModelInfo | None:
    """What is known of a model whose conversation may be made shorter; None for one that nobody pays for, and with
    ASSAY_TEST_PLAIN in the environment: by it what masking loses can be measured, it is no option for users."""
    if not paid(spec) or os.environ.get("ASSAY_TEST_PLAIN"):
        return None
    return model_info(parse_spec(spec))


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


def paid(spec: str) -> bool:
    """Whether a model's requests go to a provider, which may bill them."""
    return parse_spec(spec).provider not in ("local", "scripted")


def check_prices(spec: str, limits: Mapping[str, Limit]) -> None:
    """Raises UsageError where a limit can't be kept, since what a request costs at most is not known. `limits` by what
    the user calls them."""
    if not paid(spec):
        return
    parsed = parse_spec(spec)
    info = model_info(parsed)
    endless = info.max_output is None and info.api in ("responses", "chat")  # the others always get a limit
    worst, no_answer = (info.worst_cost(ANY_TIER, output) for output in (1, 0))
    for name, limit in limits.items():
        if limit.usd is not None and worst is None:
            more = ", cache_write = …" if info.api == "anthropic" else ""
            missing, mend = "price", f"prices = {{ input = …, output = …{more} }}` (USD per million tokens)"
        elif endless and (limit.tokens is not None or (limit.usd is not None and worst != no_answer)):
            missing, mend = "longest answer", "max_output = …` (tokens)"
        else:
            continue
        key = "/".join(known_as(parsed))
        raise UsageError(
            f'{name} can\'t be kept: the {missing} of {spec} is not known; write `models."{key}".{mend} into '
            f"{home() / 'models.toml'}, or run without it"
        )


def sdk_of(spec: str) -> str | None:
    """The module that a model's requests go through, to be imported early."""
    parsed = parse_spec(spec)
    if parsed.provider in ("local", "scripted"):
        return None
    if parsed.provider == "anthropic":
        return "agent.models.sse"
    return {"anthropic": "anthropic", "google": "google.genai"}.get(model_info(parsed).api, "openai")


def open_model(
    spec: str,
    *,
    seconds: float | None = None,
    seed: int = 0,
    attempt: int = 1,
    on_failed_try: Callable[[FailedTry], None] | None = None,
    caches: Caches | None = None,
    budget: Budget | None = None,
    lasting: bool = False,
    answered: int = 0,
) -> Model:
    """A new model object for one attempt.

    `seconds` and `seed` bound and fix the search of `local/repair`; `attempt` (from 1) chooses the part of a
    script; `on_failed_try` hears of each fault of a provider; `caches` are Gemini's explicit ones, shared by the
    attempts of a run; each request to a provider is reserved in `budget` before it is sent; `lasting`
    says that what comes before the conversation should stay in the provider's cache for later runs; `answered` replies
    of the attempt were given before by another object. Raises UsageError when the spec, the key or the script is at
    fault.
    """
    parsed = parse_spec(spec)
    if parsed.provider == "scripted":
        from agent.models.scripted import ScriptedModel

        return ScriptedModel(Path(parsed.name), attempt=attempt, answered=answered)
    if parsed.provider == "local":
        from agent.models.repair import RepairModel

        return RepairModel(seed=seed, seconds=seconds)
    from agent.models.provider import ProviderModel

    info = model_info(parsed)
    thinking = info.thinking_for(parsed.thinking)
    api = _api(parsed.provider, info, thinking, caches, lasting=lasting)
    return ProviderModel(spec, info, api, on_failed_try, budget)


def _api(
    provider: str, info: ModelInfo, thinking: str | int | None, caches: Caches | None, *, lasting: bool
) -> Api:
    if info.api == "anthropic":
        from agent.models.anthropic import AnthropicApi

        if provider == "vertex":
            return AnthropicApi(info, thinking, "vertex", lasting=lasting)
        if provider == "bedrock":
            return AnthropicApi(info, thinking, "bedrock", lasting=lasting)
        require_key("anthropic", os.environ)
        return AnthropicApi(info, thinking, lasting=lasting)
    if info.api == "google":
        from agent.models.google import GoogleApi

        if provider == "google" and os.environ.get("GOOGLE_GENAI_USE_VERTEXAI", "").lower() not in (
            "1",
            "true",
        ):
            require_key("google", os.environ)
        return GoogleApi(info, thinking, vertex=provider == "vertex", caches=caches, lasting=lasting)
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
