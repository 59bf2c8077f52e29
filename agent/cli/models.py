"""`agent models`: the models that are known by name, what they cost, and whose key is here."""

from __future__ import annotations

import argparse
import json
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from agent.text import printable

if TYPE_CHECKING:
    from agent.models.catalogue import ModelInfo


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("models", help="list the models that are known by name", allow_abbrev=False)
    p.add_argument("--json", action="store_true", help="print all that is known, as one JSON list")
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.models.catalogue import LEVELS
    from agent.models.registry import KEYS, catalogue

    present = {
        provider: next((name for name in names if os.environ.get(name)), None)
        for provider, names in KEYS.items()
    }
    models = catalogue().models
    if args.json:
        print(
            json.dumps([_data(key, info, present[info.provider]) for key, info in models.items()], indent=2)
        )
        return 0
    width = max(len(key) for key in models)
    print(f"{'model':<{width}}  {'window':>9}  {'input':>7} {'output':>7} {'cached':>7}  thinking")
    print(f"{'local/repair':<{width}}  {'-':>9}  {'0':>7} {'0':>7} {'0':>7}  -   (the default without a key)")
    for key, info in models.items():
        prices = [_price(p) for p in (info.prices.input, info.prices.output, info.prices.cache_read)]
        levels = " ".join(level for level in LEVELS if level in info.thinking) or "-"
        window = f"{info.window:,}" if info.window else "?"
        print(
            printable(f"{key:<{width}}  {window:>9}  {prices[0]:>7} {prices[1]:>7} {prices[2]:>7}  {levels}")
        )
    print()
    print("USD per million tokens; ? is not known. A longer context may cost more: see --json.")
    for provider, names in KEYS.items():
        found = present[provider]
        print(f"{provider}: " + (f"{found} is set" if found else f"no key; set {' or '.join(names)}"))
    print("Also vertex/NAME, bedrock/NAME (by the cloud's own login) and openai/NAME with OPENAI_BASE_URL.")
    print("Any other name works too, at an unknown cost; your own models and prices: $AGENT_HOME/models.toml")
    return 0


def _price(price: Decimal | None) -> str:
    return "?" if price is None else f"{price.normalize():f}"


def _data(key: str, info: ModelInfo, present: str | None) -> dict[str, Any]:
    return {
        "model": key,
        "title": info.title,
        "aliases": list(info.aliases),
        "api": info.api,
        "window": info.window,
        "max_output": info.max_output,
        "thinking": list(info.thinking),
        "prices": _prices(info.prices),
        "tiers": [{"above": above, **_prices(prices)} for above, prices in info.tiers],
        "figures": json.loads(json.dumps(info.figures, default=str)),
        "quirks": sorted(info.quirks),
        "key": present,
    }


def _prices(prices: Any) -> dict[str, float | None]:
    names = ("input", "output", "cache_read", "cache_write", "cache_storage")
    values = {name: getattr(prices, name) for name in names}
    return {name: None if value is None else float(value) for name, value in values.items()}
