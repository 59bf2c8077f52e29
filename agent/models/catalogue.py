"""Models as data: the package's catalogue.toml, overlaid by the user's own file.

A model that is not there works too; what is not known of it is None, never a guess.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.types import Usage

LEVELS = ("off", "minimal", "low", "medium", "high", "max")
"""Thinking levels, from the least to the most."""

APIS = ("anthropic", "google", "responses", "chat")
MILLION = Decimal(1_000_000)
ANY_TIER = 10**9
"""Tokens of input, beyond the bound of every price tier."""

UNKNOWN_THINKING: Mapping[str, Mapping[str, str | int]] = {
    "anthropic": {"off": "disabled", "low": "low", "medium": "medium", "high": "high", "max": "max"},
    "google": {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"},
    "responses": {
        "off": "none",
        "minimal": "minimal",
        "low": "low",
        "medium": "medium",
        "high": "high",
        "max": "xhigh",
    },
    "chat": {"off": "none", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high"},
}
"""What an API takes for each level where the catalogue does not know the model: its own words for current ones."""


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens; `cache_storage` per million tokens and hour. None is unknown."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_storage: Decimal | None = None
    cache_write_1h: Decimal | None = None
    """Of a prefix that is kept for an hour; `cache_write` is that of five minutes."""

    def cost(self, usage: Usage) -> Decimal | None:
        """Dollars for `usage`, or None when a price that it needs is unknown."""
        total = Decimal(0)
        for tokens, price in (
            (usage.input, self.input),
            (usage.output, self.output),
            (usage.cache_read, self.cache_read),
            (usage.cache_write, self.cache_write),
        ):
            if not tokens:
                continue
            if price is None:
                return None
            total += tokens * price / MILLION
        return total


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model. `known` is False for a name that no catalogue has."""

    provider: str
    name: str
    """As the API knows it."""
    api: str
    """The wire API: one of APIS."""
    title: str = ""
    aliases: tuple[str, ...] = ()
    known: bool = True
    window: int | None = None
    """Tokens of input and output together."""
    max_output: int | None = None
    """Tokens of one answer, thinking included."""
    cache_min: int | None = None
    """Tokens of the smallest prefix that can be cached."""
    thinking: Mapping[str, str | int] = field(default_factory=dict)
    """What the API takes for each supported level: its own word, or a budget in tokens."""
    prices: Prices = field(default_factory=Prices)
    tiers: tuple[tuple[int, Prices], ...] = ()
    """(input tokens, prices that hold for requests beyond them), ascending."""
    quirks: frozenset[str] = frozenset()
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Published figures, with their `source` and `date`."""

    def cost(self, usage: Usage) -> Decimal | None:
        """Dollars of one request with this usage; None when a price is unknown. The long-context prices hold for
        a whole request once its input, cached or not, exceeds their bound."""
        total = usage.input + usage.cache_read + usage.cache_write
        prices = self.prices
        for above, dearer in self.tiers:
            if total > above:
                prices = dearer
        return prices.cost(usage)

    def hour_surcharge(self, tokens: int, total: int) -> Decimal | None:
        """Dollars that writing so many tokens to a cache of an hour costs more than `cost` counts for them, in a
        request with `total` tokens of input; None when a price is unknown."""
        prices = self.prices
        for above, dearer in self.tiers:
            if total > above:
                prices = dearer
        if prices.cache_write_1h is None or prices.cache_write is None:
            return None
        return tokens * (prices.cache_write_1h - prices.cache_write) / MILLION

    def worst_cost(self, input_tokens: int, output_tokens: int) -> Decimal | None:
        """Dollars that one request with at most so many tokens can cost, each at the dearest price that may apply to
        it; None when such a price is unknown. An unknown price of cached reads is no matter: they are a discount."""
        rows = [self.prices, *(prices for above, prices in self.tiers if input_tokens > above)]
        needed = [price for row in rows for price in (row.input, row.output)]
        if self.api == "anthropic":  # each request writes a cache
            needed += [row.cache_write for row in rows]
        if None in needed:
            return None
        inputs = [price for row in rows for price in (row.input, row.cache_write, row.cache_read)]
        dearest = max(price for price in inputs if price is not None)
        output = max(row.output for row in rows if row.output is not None)
        return (input_tokens * dearest + output_tokens * output) / MILLION

    def thinking_for(self, level: str | None) -> str | int | None:
        """What the API takes for a thinking level. Raises UsageError that names the supported levels."""
        if level is None:
            return None
        if level not in self.thinking:
            have = ", ".join(one for one in LEVELS if one in self.thinking)
            able = f"its levels are {have}" if have else "it has no thinking levels"
            raise UsageError(f"model {self.provider}/{self.name}: no thinking level {level!r}; {able}")
        return self.thinking[level]


@dataclass(frozen=True, slots=True)
class Catalogue:
    models: Mapping[str, ModelInfo]
    """By `provider/name`."""
    aliases: Mapping[str, str]
    """`provider/alias` to `provider/name`."""

    def find(self, provider: str, name: str) -> ModelInfo:
        """What is known of a model; of one that nobody knows only what its provider says of all."""
        key = f"{provider}/{name}"
        key = self.aliases.get(key, key)
        if key in self.models:
            return self.models[key]
        api = {"anthropic": "anthropic", "google": "google"}.get(provider, "responses")
        return ModelInfo(provider, name, api, known=False, thinking=UNKNOWN_THINKING[api])

    def nearest(self, provider: str, name: str) -> str | None:
        """The known name that an unknown one is most like, if it is much like one."""
        names = [
            key.partition("/")[2] for key in (*self.models, *self.aliases) if key.startswith(f"{provider}/")
        ]
        close = difflib.get_close_matches(name, names, 1, 0.75)
        return close[0] if close else None


def load(overlay: Path | None = None, today: date | None = None) -> Catalogue:
    """The package's catalogue, each model's keys overlaid by those of `overlay` if that file exists; its prices those
    of `today` (UTC).

    Raises UsageError that names file, model and key.
    """
    data = _read(files("agent.models").joinpath("catalogue.toml").read_text("utf-8"), "catalogue.toml")
    if overlay is not None and overlay.exists():
        try:
            text = overlay.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"{overlay}: can't be read: {error}") from error
        for key, table in _read(text, str(overlay)).items():
            ours = dict(data.get(key, {}))
            if "prices" in table:  # what belongs to the old ones goes with them
                ours = {k: v for k, v in ours.items() if k not in ("tiers", "price_changes")}
            data[key] = {**ours, **table, "_where": f"{overlay}, models.{key!r}"}
    models: dict[str, ModelInfo] = {}
    aliases: dict[str, str] = {}
    for key, table in data.items():
        models[key] = _model(key, table, today or datetime.now(UTC).date())
        aliases.update({f"{models[key].provider}/{alias}": key for alias in models[key].aliases})
    return Catalogue(models, {alias: key for alias, key in aliases.items() if alias not in models})


@cache
def standard(overlay: Path) -> Catalogue:
    """`load`, once a process."""
    return load(overlay)


def _read(text: str, where: str) -> dict[str, dict[str, Any]]:
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not valid TOML: {error}") from error
    unknown = data.keys() - {"schema", "models"}
    if unknown or not isinstance(data.get("models", {}), dict) or data.get("schema", 1) != 1:
        raise UsageError(f'{where}: holds [models."provider/name"] tables and `schema = 1`, nothing else')
    for key, table in data.get("models", {}).items():
        if not isinstance(table, dict):
            raise UsageError(f"{where}: models.{key!r} must be a table")
    return dict(data.get("models", {}))


_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "title": str,
    "aliases": list,
    "api": str,
    "window": int,
    "max_output": int,
    "cache_min": int,
    "thinking": dict,
    "prices": dict,
    "price_changes": list,
    "tiers": list,
    "quirks": list,
    "figures": dict,
    "source": str,
    "date": (str, date),
    "price_source": str,
    "price_date": (str, date),
    "deprecated": (str, date),
    "_where": str,
}
_PRICES = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "cache_storage")


def _model(key: str, table: Mapping[str, Any], today: date) -> ModelInfo:
    where = table.get("_where", f"catalogue.toml, models.{key!r}")
    provider, slash, name = key.partition("/")
    if not slash or not name or provider not in ("anthropic", "google", "openai"):
        raise UsageError(f"{where}: a model's key is anthropic/NAME, google/NAME or openai/NAME")
    _check_keys(table, _KEYS, where)
    api = table.get("api") or {"anthropic": "anthropic", "google": "google"}.get(provider, "responses")
    if api not in APIS:
        raise UsageError(f"{where}: api must be one of {', '.join(APIS)}, not {api!r}")
    thinking = table.get("thinking", UNKNOWN_THINKING[api])
    for level, word in thinking.items():
        if level not in LEVELS or not isinstance(word, str | int) or isinstance(word, bool):
            raise UsageError(f"{where}: thinking maps {', '.join(LEVELS)} to a word or a number of tokens")
    tiers = []
    for tier in table.get("tiers", []):
        if not isinstance(tier, dict) or not isinstance(tier.get("above"), int):
            raise UsageError(f"{where}: a tier is a table with `above`, a number of tokens")
        tiers.append((tier["above"], _prices({k: v for k, v in tier.items() if k != "above"}, where)))
    prices = _prices(table.get("prices", {}), where)
    for change in table.get("price_changes", []):
        if not isinstance(change, dict) or not isinstance(change.get("from"), date):
            raise UsageError(f"{where}: a price change is a table with `from`, a date")
        if change["from"] <= today:
            prices = _prices({k: v for k, v in change.items() if k != "from"}, where)
    return ModelInfo(
        provider,
        name,
        api,
        title=table.get("title", ""),
        aliases=tuple(_words(table, "aliases", where)),
        window=table.get("window"),
        max_output=table.get("max_output"),
        cache_min=table.get("cache_min"),
        thinking=thinking,
        prices=prices,
        tiers=tuple(sorted(tiers, key=lambda tier: tier[0])),
        quirks=frozenset(_words(table, "quirks", where)),
        figures=table.get("figures", {}),
    )


def _check_keys(table: Mapping[str, Any], known: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{where}: unknown key {key!r}{hint}")
        if not isinstance(value, known[key]) or (known[key] is int and not _positive(value)):
            raise UsageError(f"{where}: {key} has the wrong type or value: {value!r}")


def _positive(value: Any) -> bool:
    return not isinstance(value, bool) and value >= 1


def _words(table: Mapping[str, Any], key: str, where: str) -> Sequence[str]:
    words = table.get(key, [])
    if not all(isinstance(word, str) for word in words):
        raise UsageError(f"{where}: {key} must be a list of strings")
    return list(words)


def _prices(table: Mapping[str, Any], where: str) -> Prices:
    prices: dict[str, Decimal] = {}
    for key, value in table.items():
        if key not in _PRICES:
            raise UsageError(f"{where}: unknown price {key!r}; known are {', '.join(_PRICES)}")
        if not isinstance(value, int | Decimal) or isinstance(value, bool) or not (0 <= value < MILLION):
            raise UsageError(f"{where}: the price {key} must be USD per million tokens, not {value!r}")
        prices[key] = Decimal(value)
    return Prices(**prices)
