"""Explicit Gemini caches for what every request of a run repeats: the system prompt and the tools.

Implicit caching costs nothing but promises nothing, so it is counted as if it never hit. An explicit cache of the
prefix is made where, at the catalogue's prices,

    making it once + REQUESTS reads of it + its storage  <  REQUESTS times the prefix as plain input

and where the prefix has the model's `cache_min` tokens. Where one of these prices or the minimum is unknown, or the
model has the quirk "implicit-cache-only", there is none. Nor does a request use one whose conversation is longer than
the prefix: whether what follows an explicit cache is still cached implicitly is not documented, so that may lose more
than it saves. Tokens are estimated at four characters each. Processes that begin at the same moment may each make one.

A prefix that holds a whole repository is `lasting`: its cache lives for LASTING_SECONDS, is extended while it is in
use, and is left for later runs and tasks, which find it by its content. Its storage is counted in advance by who makes
or extends it.

What is billed: making a cache counts as `input` of the request that made it, and its storage goes into
`Try.extra_usd` at the end of each request. Left out are the storage between the last request and the end of the cache
(at most TTL_SECONDS after a crash), and that of caches that another process made, which counts it itself. And where
making a cache and its first request add up beyond a price tier, they count at the tier's price, which is too much.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from agent.models.catalogue import MILLION, ModelInfo
from agent.models.provider import Try
from agent.types import Usage

if TYPE_CHECKING:
    from google.genai.errors import APIError

    from agent.models.google import Connection

TTL_SECONDS = 600
"""What is left of a cache after a crash; extended at half of it while in use."""
ENOUGH_SECONDS = 120
"""A cache of another process is used when it lives that long still, without our doing."""
LASTING_SECONDS = 3600
"""The same of a cache that is left for later runs."""
REQUESTS = 15
"""Expected of one run: the published measurements of agent loops are over 15 turns."""
USED_SECONDS = REQUESTS * 60
"""Of storage, while the cache is in use; its ttl comes on top, as if nobody deleted it."""
SETUP_SECONDS = 60.0
"""For finding, making or extending a cache, and for deleting all of them; then it is done without."""
MAKES = 2
"""A prefix whose caches vanish is not cached for a third time."""

_CACHED = ("system_instruction", "tools")
"""What the cache holds, and a request that uses it must not."""


def now() -> float:
    return time.monotonic()


def ttl_of(lasting: bool) -> int:
    return LASTING_SECONDS if lasting else TTL_SECONDS


def pays(info: ModelInfo, tokens: int, *, lasting: bool = False) -> bool:
    """Whether a prefix of so many tokens is worth an explicit cache."""
    storage, once = info.prices.cache_storage, info.cost(Usage(input=tokens))
    read = info.cost(Usage(cache_read=tokens))
    if "implicit-cache-only" in info.quirks or info.cache_min is None or tokens < info.cache_min:
        return False
    if storage is None or once is None or read is None:
        return False
    hours = Decimal(USED_SECONDS + ttl_of(lasting)) / 3600
    return once + REQUESTS * read + tokens * storage * hours / MILLION < REQUESTS * once


@dataclass(slots=True)
class _Cache:
    name: str
    tokens: int
    until: float
    """Its end, by `now()`."""
    counted: float
    """Up to when its storage was counted."""
    ours: bool
    """Whether its storage is counted from request to request, and it is deleted at the end."""


@dataclass(slots=True)
class _Prefix:
    """One model, system prompt and tools, and what came of caching it."""

    lasting: bool = False
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    cache: _Cache | None = None
    off: bool = False


class Cached:
    """A request as it is sent, with a cache or without."""

    def __init__(self, request: Mapping[str, Any], prefix: _Prefix | None = None) -> None:
        self._prefix = prefix
        self._cache = prefix.cache if prefix else None
        self.request = request
        if self._cache is not None:
            config = {key: value for key, value in request["config"].items() if key not in _CACHED}
            self.request = {**request, "config": {**config, "cached_content": self._cache.name}}

    def gone(self, error: APIError) -> bool:
        """Whether a refusal may come of a cache that is no more; it is then forgotten."""
        if self._prefix is None or self._cache is None:
            return False
        if error.code not in (403, 404) and not (error.code == 400 and "cache" in str(error.message).lower()):
            return False
        if self._prefix.cache is self._cache:
            self._prefix.cache = None
        return True


class Caches:
    """The caches of one run, for all its attempts and tasks. Holds no client and no key."""

    def __init__(self) -> None:
        self._prefixes: dict[tuple[bool, str], _Prefix] = {}
        self._made: Counter[tuple[bool, str]] = Counter()
        self._ours: dict[str, bool] = {}
        """Names of the caches to delete, and whether they are on Vertex AI."""

    @asynccontextmanager
    async def use(
        self,
        connection: Connection,
        info: ModelInfo,
        request: Mapping[str, Any],
        seen: Try,
        *,
        lasting: bool = False,
    ) -> AsyncIterator[Cached]:
        """The request with its cache if that pays, and counts the cache's storage at the end."""
        held = {key: request["config"][key] for key in _CACHED if key in request["config"]}
        tokens = len(json.dumps(held, ensure_ascii=False)) // 4
        rest = len(json.dumps(request["contents"], ensure_ascii=False)) // 4
        if rest > tokens or not pays(info, tokens, lasting=lasting):
            yield Cached(request)
            return
        digest = hashlib.sha256(json.dumps([info.name, held], sort_keys=True).encode()).hexdigest()
        key = (connection.vertex, f"assay-{digest}")
        prefix = self._prefixes.setdefault(key, _Prefix(lasting))
        async with prefix.lock:
            await self._ready(connection, info, key, held, tokens, seen)
        cache = prefix.cache
        try:
            yield Cached(request, prefix)
        finally:
            if cache is not None and cache.ours:
                _count_storage(cache, info, seen)

    def worst(
        self, info: ModelInfo, request: Mapping[str, Any], *, lasting: bool = False
    ) -> tuple[int, Decimal]:
        """What a request's cache may be billed at most: the tokens of making it, and dollars for its storage since
        the request before, which is at most a ttl ago, and during this one."""
        held = {key: request["config"][key] for key in _CACHED if key in request["config"]}
        text = json.dumps(held, ensure_ascii=False)
        if not pays(info, len(text) // 4, lasting=lasting):
            return 0, Decimal(0)
        tokens = len(text.encode())
        return tokens, _storage(info, tokens, 2 * ttl_of(lasting))

    async def close(self) -> None:
        """Delete the caches that this object made. What fails ends by its ttl."""
        ours, self._ours = self._ours, {}
        self._prefixes.clear()
        from agent.models.google import Connection

        with anyio.move_on_after(SETUP_SECONDS, shield=True):
            for vertex in set(ours.values()):
                try:
                    connection = await anyio.to_thread.run_sync(Connection, vertex)
                except Exception:  # noqa: S112 - a variable that was changed meanwhile
                    continue
                try:
                    for name in (name for name, where in ours.items() if where == vertex):
                        await _tried(connection.client.aio.caches.delete(name=name))
                finally:
                    await connection.close()

    async def _ready(
        self,
        connection: Connection,
        info: ModelInfo,
        key: tuple[bool, str],
        held: Mapping[str, Any],
        tokens: int,
        seen: Try,
    ) -> None:
        """See to it that the prefix has a cache with time left, or none."""
        prefix = self._prefixes[key]
        caches = connection.client.aio.caches
        ttl = ttl_of(prefix.lasting)
        if prefix.cache is not None and prefix.cache.until - now() < ttl / 2:
            began = now()
            if await _tried(caches.update(name=prefix.cache.name, config={"ttl": f"{ttl}s"})):
                if prefix.lasting:
                    seen.extra_usd += _storage(info, prefix.cache.tokens, began + ttl - prefix.cache.until)
                prefix.cache.until = began + ttl
            elif prefix.cache.until <= now():
                prefix.cache = None
        if prefix.cache is not None or prefix.off:
            return
        try:
            with anyio.fail_after(SETUP_SECONDS):
                prefix.cache = await _find(connection, key[1], tokens)
                if prefix.cache is None:
                    prefix.cache = await self._make(connection, info, key, held, tokens, seen)
            prefix.off = prefix.cache is None
        except Exception:  # whatever it is, the request goes without, and the next ones too
            prefix.off = True

    async def _make(
        self,
        connection: Connection,
        info: ModelInfo,
        key: tuple[bool, str],
        held: Mapping[str, Any],
        tokens: int,
        seen: Try,
    ) -> _Cache | None:
        self._made[key] += 1
        if self._made[key] > MAKES:
            return None
        lasting = self._prefixes[key].lasting
        ttl = ttl_of(lasting)
        config: Any = {"display_name": key[1], "ttl": f"{ttl}s", **held}
        began = now()
        made = await connection.client.aio.caches.create(model=info.name, config=config)
        if not made.name:
            return None
        size = (made.usage_metadata and made.usage_metadata.total_token_count) or tokens
        seen.usage += Usage(input=size)
        seen.besides += size
        if lasting:
            seen.extra_usd += _storage(info, size, ttl)
        else:
            self._ours[made.name] = key[0]
        return _Cache(made.name, size, began + ttl, began, ours=not lasting)


async def _find(connection: Connection, display_name: str, tokens: int) -> _Cache | None:
    """The cache of that name which lives longest, if it lives long enough."""
    best: _Cache | None = None
    async for cache in await connection.client.aio.caches.list(config={"page_size": 100}):
        if cache.display_name != display_name or not cache.name or not cache.expire_time:
            continue
        left = (cache.expire_time - datetime.now(UTC)).total_seconds()
        if left >= ENOUGH_SECONDS and (best is None or now() + left > best.until):
            size = (cache.usage_metadata and cache.usage_metadata.total_token_count) or tokens
            best = _Cache(cache.name, size, now() + left, now(), ours=False)
    return best


async def _tried(call: Awaitable[object]) -> bool:
    """Whether a call to the caches' API succeeded."""
    try:
        with anyio.fail_after(SETUP_SECONDS):
            await call
    except Exception:
        return False
    return True


def _count_storage(cache: _Cache, info: ModelInfo, seen: Try) -> None:
    upto = min(now(), cache.until)
    seconds = max(0.0, upto - cache.counted)
    cache.counted = max(cache.counted, upto)
    seen.extra_usd += _storage(info, cache.tokens, seconds)


def _storage(info: ModelInfo, tokens: int, seconds: float) -> Decimal:
    """Dollars for keeping so many tokens for so long."""
    return tokens * (info.prices.cache_storage or 0) * Decimal(str(seconds)) / 3600 / MILLION
