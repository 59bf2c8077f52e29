"""What the attempts of one run are told of the repository as a whole: a map of it, or all of its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from agent.config import home
from agent.models.registry import known_as, model_info, paid, parse_spec
from agent.orientation.process import RepositoryMap, Unmapped
from agent.orientation.ranking import Question
from agent.orientation.whole import Whole, misfit, size_and_price, whole

if TYPE_CHECKING:
    from agent.git import Repository
    from tools.junit import TestOutcome

MAP_TOKENS = 2_000
"""Estimated, of the map in the first message."""
MAP_SECONDS = 60.0
"""That an attempt waits for the map at most; parsing began with the run."""
MAX_TESTS = 5
"""Failing tests whose output is looked into for the map."""


@dataclass
class Orientation:
    """Made once for a run; its attempts share what it found."""

    repository: Repository
    tree: str
    issue: str
    context: str
    """map or repo."""
    is_product: Callable[[], Callable[[str], bool]]
    """Makes the test for product paths; called in a thread."""
    note: Callable[[str], None]
    _map: RepositoryMap | None = None
    _text: str | None = None
    _whole: Whole | None = None
    _said: set[str] = field(default_factory=set)
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    def begin(self, models: Sequence[str]) -> None:
        """Start to parse, where a model will want the map; `local/repair` reads none."""
        if any(parse_spec(spec).provider != "local" for spec in models):
            self._map = RepositoryMap(self.repository, self.tree, self.is_product, home() / "maps")
            self._map.begin()

    def close(self) -> None:
        if self._map is not None:
            self._map.close()

    async def whole(self, spec: str) -> Whole | None:
        """The repository's text, where it is wanted and a model can be given it. Size and price, or why there is none,
        are noted once for each model."""
        if self.context == "map" or parse_spec(spec).provider == "local":
            return None
        if not paid(spec):
            self._say(f"context repo: {spec} has no window and no price; the map is told instead")
            return None
        async with self._lock:
            if self._whole is None:
                self._whole = await anyio.to_thread.run_sync(whole, self.repository, self.tree)
        parsed = parse_spec(spec)
        info, key = model_info(parsed), "/".join(known_as(parsed))
        if why_not := misfit(self._whole, info, key):
            self._say(f"context repo: {why_not}; the map is told instead")
            return None
        self._say(size_and_price(self._whole, info, key))
        return self._whole

    async def map(self, spec: str, failing: Mapping[str, TestOutcome]) -> str:
        """The map for the issue, the same for all attempts; empty for `local/repair`. `failing` are the outcomes of the
        named tests that fail on the base."""
        if parse_spec(spec).provider == "local":
            return ""
        async with self._lock:
            if self._text is None:
                self._text = await self._mapped(failing)
        return self._text

    async def _mapped(self, failing: Mapping[str, TestOutcome]) -> str:
        output = [f"{one.message}\n{one.detail}" for one in list(failing.values())[:MAX_TESTS]]
        question = Question(self.issue, tuple(failing), "\n".join(output))
        try:
            assert self._map is not None
            return await self._map.ask(question, MAP_TOKENS, MAP_SECONDS)
        except Unmapped as reason:
            self._say(f"no map of the repository: {reason}")
            return ""

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.note(text)
