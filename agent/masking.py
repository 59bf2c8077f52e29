"""When old output leaves the conversation, and which: by what it costs to keep and what it costs to take out.

Every request pays for all that was said before: for what stands unchanged the price of reading a cache, for the rest
that of writing it. Taking M characters out makes the n requests to come cheaper, and what stands after them has to be
written anew once, since a cache holds beginnings only. So output is masked when, with L characters kept after it,

    M x n x read  >  L x (write - read)  +  AGAIN x M x write

and no later turn promises more. All prices are the model's own, so characters will do: tokens on both sides scale
alike. Where no cache was seen to work, or it has expired, a rewrite costs nothing. Nothing is masked before a root
cause was stated, or a typical session's turns are over. Never masked are the latest outputs, what was said (issue,
brief, the model's own words and calls), what the user's servers answered, edits and causes, the failure that a cause
was stated on, and how the tests failed and ran last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.conversation import Part, left_out, parts
from agent.drift.facts import run_of
from agent.events import ContextMasked, Event, HypothesisStated, ModelReplied, RunStarted, ToolReturned
from agent.hypotheses import shows
from agent.models.catalogue import ModelInfo
from agent.types import APART, Usage

KEPT_OUTPUTS = 3
KEPT_TURNS = 4
"""The latest outputs that stay whole: so many, and all of so many replies."""
KEPT_WHEN_FULL = 2
"""Replies, when the conversation no longer fits: what is left in it must fit next time."""
LEAST = 500
"""Characters of an output that is worth masking."""
LEAST_TOGETHER = 2_000
"""Of all that are masked at once: each masking is also a loss of what the model could look at."""
TYPICAL_TURNS = 15
"""The published measurements of agent loops are over 15 turns."""
AGAIN = 0.2
"""Of what is masked, the share that is taken to be asked for once more. Not measured: a margin against masking too
early."""
LAPSES = {"anthropic": 300.0}
"""Seconds after which a cache is gone that nobody read, by API: Anthropic's published five minutes. The others promise
no time."""
NEARLY_FULL = 0.9
"""Of the room that the model's window has for input."""
ROOM_FOR_OUTPUT = 32_000
CHARS_PER_TOKEN = 4
FACTS = ("edit_file", "write_file", "undo", "root_cause", "submit")
"""Tools whose results tell what was changed and stated. They are short, and stay."""


def turns_left(turn: int, limit: int) -> int:
    """Requests that are still to come after `turn` replies, of at most `limit`: up to the typical length, and beyond
    it half as many again as there were, since what has taken long takes longer."""
    return max(0, min(limit - turn, max(TYPICAL_TURNS - turn, turn // 2)))


def can_mask(info: ModelInfo) -> bool:
    """Whether a model takes a conversation whose earlier turns changed: thinking that is bound to them is refused then.
    Claude models that no catalogue has may be of that kind."""
    return "thinking-bound" not in info.quirks and (info.known or info.api != "anthropic")


def due(
    log: Sequence[Event],
    attempt: int,
    info: ModelInfo,
    limit: int,
    said: Sequence[Part] | None = None,
    *,
    full: bool = False,
) -> ContextMasked | None:
    """What is to be masked before the next request of an attempt, if now is the time for it. `limit` is the number of
    replies that the attempt may have; `said` its conversation, where that is known; `full`: the provider said that
    the conversation no longer fits."""
    said = parts(log, attempt) if said is None else said
    if not can_mask(info) or sum(len(part.text) for part in said if _could_go(part)) < LEAST_TOGETHER:
        return None
    stand = _stand(log, attempt, said, KEPT_WHEN_FULL if full else KEPT_TURNS)
    if stand is None:
        return None
    chosen = [part for part in stand.after if part.place in stand.maskable]
    freed = sum(len(part.text) - len(_line(part)) for part in chosen)
    if freed < LEAST_TOGETHER:
        return None
    left = turns_left(stand.turn, limit)
    sent = sum(map(size, stand.after)) - sum(map(size, stand.tail))
    kept = sent - freed
    before = input_tokens(stand.last.usage) * CHARS_PER_TOKEN - sent
    if before < (info.cache_min or 0) * CHARS_PER_TOKEN:
        kept += max(0, before)  # too short to be in a cache by itself, it is written anew as well
    price = _price(stand, info)
    if full or _nearly_full(stand, info):
        why = "window"
    elif stand.turn < TYPICAL_TURNS and not _caused(log, attempt):
        return None
    elif price is not None and _pays(stand, price, freed, kept, chosen, left):
        why = "lapsed" if price.lapsed else "cost"
    else:
        return None
    rewritten = 0 if price is None or price.write == price.read or price.lapsed else kept
    return ContextMasked(attempt, stand.turn, [part.place for part in chosen], freed, rewritten, left, why)


def _caused(log: Sequence[Event], attempt: int) -> bool:
    """Whether a root cause was stated. Until then all that was read may be needed word for word: it must cite lines
    and quote output. In two of three sessions by hand a model read again what was masked before it could."""
    return any(isinstance(event, HypothesisStated) and event.attempt == attempt for event in log)


@dataclass(frozen=True, slots=True)
class _Stand:
    """A conversation before its next request."""

    turn: int
    last: ModelReplied
    before: ModelReplied | None
    """The reply before the last."""
    after: Sequence[Part]
    """All that stands after what was masked last: what comes before that is never touched again."""
    tail: Sequence[Part]
    """Of them, what no request has held yet."""
    maskable: frozenset[int]
    """Places of the results that may go."""


@dataclass(frozen=True, slots=True)
class _Price:
    """Dollars for a million tokens of what was said before: unchanged, and changed."""

    read: float
    write: float
    lapsed: bool
    """The cache is gone: the next request writes all of it anew in any case."""


def _stand(log: Sequence[Event], attempt: int, said: Sequence[Part], kept_turns: int) -> _Stand | None:
    replies = [(i, part.event) for i, part in enumerate(said) if isinstance(part.event, ModelReplied)]
    if not replies:
        return None
    masked = max((i for i, part in enumerate(said) if part.masked), default=-1)
    # After the message that holds it: that one ends what a cache can count on, as Message.settled says.
    at, last = replies[-1]
    start = next((i for i, _ in replies if i > masked), at)
    after = said[start:]
    before = replies[-2][1] if len(replies) > 1 else None
    keep = _kept(log, attempt, said, last.turn - kept_turns)
    maskable = frozenset(part.place for part in after if part.place not in keep and _could_go(part))
    return _Stand(last.turn, last, before, after, said[max(at, start) :], maskable)


def _could_go(part: Part) -> bool:
    """Whether it is an output that is worth masking, and was not yet."""
    return bool(part.place) and not part.masked and len(part.text) >= LEAST and not _stays(part)


def _stays(part: Part) -> bool:
    """Facts, and what the user's own servers said: another call of theirs may do something, or bring something else."""
    return isinstance(part.event, ToolReturned) and (part.event.name in FACTS or APART in part.event.name)


def _kept(log: Sequence[Event], attempt: int, said: Sequence[Part], turn: int) -> set[int]:
    """Places of results that must stay whole: those after `turn`, among others."""
    returned = [(part, part.event) for part in said if isinstance(part.event, ToolReturned)]
    kept = {part.place for part, _ in returned[-KEPT_OUTPUTS:]}
    kept |= {part.place for part, event in returned if event.turn > turn}
    for part, event in returned:
        if part.place in kept:  # a read that was answered by "as you saw it there"
            seen_in = (event.data or {}).get("seen_in")
            kept |= (
                {place for place in seen_in if isinstance(place, int)} if isinstance(seen_in, list) else set()
            )
    command = next((event.test_command for event in log if isinstance(event, RunStarted)), "")
    runs = [(part.place, run_of(event, part.call, command, ())) for part, event in returned if part.call]
    told = [(place, run) for place, run in runs if run is not None]
    kept |= {place for place, _ in told[-1:]}
    kept |= {place for place, run in [one for one in told if one[1].failing][-1:]}
    stated = [event for event in log if isinstance(event, HypothesisStated) and event.attempt == attempt]
    for cause in stated[-1:]:
        seen = [
            part.place
            for part, event in returned
            if event.turn <= cause.turn and shows(event, cause.observed)
        ]
        kept |= set(seen[-1:])
    return kept


def _pays(stand: _Stand, price: _Price, freed: int, kept: int, chosen: Sequence[Part], left: int) -> bool:
    """Whether masking now saves something, and more than it would at any later turn."""
    turns = len({part.event.turn for part in chosen if isinstance(part.event, ToolReturned)})

    def gain(wait: int) -> float:
        out = freed + wait * freed / turns
        stays = kept + wait * growth
        return (
            out * price.read * (left - wait) - stays * (price.write - price.read) - AGAIN * out * price.write
        )

    if price.lapsed:
        return freed * (price.write + price.read * (left - 1) - AGAIN * price.write) > 0
    replies = sum(isinstance(part.event, ModelReplied) for part in stand.after)
    growth = sum(size(part) for part in stand.after if isinstance(part.event, ModelReplied)) / max(1, replies)
    now = gain(0)
    if price.read == price.write:
        return now > 0
    return now > 0 and all(now >= gain(wait) for wait in range(1, left))


def _price(stand: _Stand, info: ModelInfo) -> _Price | None:
    """None where it is not known, where nothing is counted, or where the conversation is too short to be cached yet."""
    usage = stand.last.usage
    prices = info.prices
    for above, dearer in info.tiers:
        prices = dearer if input_tokens(usage) > above else prices
    if not prices.input or not input_tokens(usage):
        return None
    plain = float(prices.input)
    works = any(one and (one.usage.cache_read or one.usage.cache_write) for one in (stand.last, stand.before))
    if not works or prices.cache_read is None:
        # What is below the shortest prefix that is cached grows out of it.
        return None if input_tokens(usage) < 2 * (info.cache_min or 0) else _Price(plain, plain, False)
    write = float(prices.cache_write) if prices.cache_write is not None else plain
    results = (part.event for part in stand.tail if isinstance(part.event, ToolReturned))
    idle = (stand.last.answer_seconds or 0.0) + sum(event.seconds for event in results)
    return _Price(float(prices.cache_read), write, idle > LAPSES.get(info.api, float("inf")))


def _nearly_full(stand: _Stand, info: ModelInfo) -> bool:
    if info.window is None:
        return False
    room = info.window - min(ROOM_FOR_OUTPUT, info.max_output or 0, info.window // 2)
    new = (
        sum(size(part) for part in stand.tail if not isinstance(part.event, ModelReplied)) // CHARS_PER_TOKEN
    )
    return input_tokens(stand.last.usage) + stand.last.usage.output + new > NEARLY_FULL * room


def input_tokens(usage: Usage) -> int:
    return usage.input + usage.cache_read + usage.cache_write


def size(part: Part) -> int:
    """Characters that a part has in a request."""
    event = part.event
    if not isinstance(event, ModelReplied):
        return len(part.text)
    contents = [
        kept.get("content") for kept in (event.provider_data or {}).values() if isinstance(kept, Mapping)
    ]
    if contents and contents[0] is not None:
        return len(json.dumps(contents[0], ensure_ascii=False))
    return len(event.text) + sum(
        len(json.dumps(dict(call.arguments), ensure_ascii=False)) for call in event.tool_calls
    )


def _line(part: Part) -> str:
    assert isinstance(part.event, ToolReturned)
    return left_out(part.event)
