"""The whole repository as one text, for models with large windows: its size and price, and whether it fits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from agent.models.google_cache import LASTING_SECONDS, pays
from agent.orientation.files import Sources
from agent.types import Usage

if TYPE_CHECKING:
    from agent.git import Repository
    from agent.models.catalogue import ModelInfo

BYTES_A_TOKEN = 3
"""A cautious estimate, so that what is said to fit does: code has 3 to 4.5 bytes a token."""
ROOM = 100_000
"""Tokens of the window that are left to the conversation and the answer."""
TOO_LARGE = 12 * 1024 * 1024
"""Bytes, beyond every window that there is; no more is read."""


@dataclass(frozen=True, slots=True)
class Whole:
    """All texts of a tree, in the order of their paths: the same bytes for the same tree."""

    text: str
    files: int
    left_out: int
    """Files that are links, binary, generated, vendored, lock files or too long."""
    complete: bool
    """False when there was more than TOO_LARGE; `text` is then of no use."""

    @property
    def tokens(self) -> int:
        """An upper estimate."""
        return -(-len(self.text.encode()) // BYTES_A_TOKEN)

    @property
    def stands_for(self) -> str:
        """What a log says in place of the text."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        return f"[the texts of {self.files} files of the base commit, sha256 {digest}]"


def whole(repository: Repository, tree: str) -> Whole:
    """Read a tree's texts."""
    sources = Sources(repository, tree)
    parts: list[str] = []
    size = 0
    for path, data in sources.read():
        text = data.decode("utf-8", "replace").replace("</file", "<\\/file")
        name = path.encode("utf-8", "replace").decode().replace("\n", "\\n").replace('"', "'")
        parts.append(f'<file path="{name}">\n{text}{"" if text.endswith(chr(10)) else chr(10)}</file>\n')
        size += len(data)
        if size > TOO_LARGE:
            return Whole("", len(parts), sources.all - len(parts), complete=False)
    return Whole("".join(parts), len(parts), sources.all - len(parts), complete=True)


def misfit(found: Whole, info: ModelInfo, key: str) -> str:
    """Why a model can't be given the whole repository, with the mend if there is one; empty when it can. `key` is the
    model's in models.toml."""
    mend = f'write `models."{key}".'
    if not found.complete:
        return f"the repository has more than {TOO_LARGE >> 20} MB of text, beyond every window"
    if info.window is None:
        return f"the window of {key} is not known; {mend}window = …` (tokens) into $AGENT_HOME/models.toml"
    if found.tokens + ROOM > info.window:
        return (
            f"its {found.files} files are up to {found.tokens:,} tokens ({BYTES_A_TOKEN} bytes each), and with "
            f"{ROOM:,} for the conversation that is more than the window of {key}, {info.window:,}"
        )
    if _first(found.tokens, info) is None:
        return f"what that costs with {key} is not known; {mend}prices` into $AGENT_HOME/models.toml"
    return ""


def size_and_price(found: Whole, info: ModelInfo, key: str) -> str:
    """What a user is told before it is sent. Only for what fits."""
    tokens = found.tokens
    first, plain, read = (
        _first(tokens, info),
        info.cost(Usage(input=tokens)),
        info.cost(Usage(cache_read=tokens)),
    )
    assert first is not None and plain is not None
    later = (
        f"each later one {_usd(read)} while the provider's cache has it, {_usd(plain)} where not"
        if read is not None
        else f"each later one up to {_usd(plain)}"
    )
    return (
        f"context repo: {found.files} files ({found.left_out} others left out: links, binary, generated, vendored, "
        f"lock files), up to {tokens:,} tokens ({BYTES_A_TOKEN} bytes each) of {key}'s window of {info.window:,}; the "
        f"first request costs up to {_usd(first)} for them, {later}; {_cache(tokens, info)}"
    )


def _first(tokens: int, info: ModelInfo) -> Decimal | None:
    """Dollars of the request that brings the repository into the cache."""
    plain = info.cost(Usage(input=tokens))
    if info.api == "anthropic":
        written, more = info.cost(Usage(cache_write=tokens)), info.hour_surcharge(tokens, tokens)
        return None if written is None or more is None else written + more
    if info.api == "google" and pays(info, tokens, lasting=True):
        read = info.cost(Usage(cache_read=tokens))
        return None if plain is None or read is None else plain + read
    written = info.cost(Usage(cache_write=tokens))
    return plain if plain is None or written is None else max(plain, written)


def _cache(tokens: int, info: ModelInfo) -> str:
    if info.api == "anthropic":
        return "it is cached for an hour from each use"
    if info.api != "google":
        return "the provider caches it by itself, or not"
    if not pays(info, tokens, lasting=True):
        return "no explicit cache is made (it would not pay, or its price is unknown); Google may cache it by itself"
    storage = tokens * (info.prices.cache_storage or 0) / Decimal(1_000_000)
    return (
        f"its cache is kept for {LASTING_SECONDS // 60} minutes, longer while it is used, also for later runs, at "
        f"{_usd(storage)} an hour"
    )


def _usd(amount: Decimal | None) -> str:
    return "an unknown sum" if amount is None else f"{amount:.4f} USD"
