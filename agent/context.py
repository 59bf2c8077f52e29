"""What a conversation cost, turn by turn, and what filled it: read from the log, for result.json and `agent show`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.conversation import Part, parts
from agent.events import AttemptStarted, ContextMasked, Event, ModelReplied, ToolReturned, UserSaid
from agent.masking import CHARS_PER_TOKEN, input_tokens, size
from agent.text import printable

CACHE_READ = 0.1
CACHE_WRITE = 1.25
"""Price of a cached input token relative to a plain one where the model's own is not known: Anthropic's published
multipliers (5-minute cache)."""
BAR = 24
"""Columns of the dearest turn's bar."""


def of_attempt(log: Sequence[Event], attempt: int) -> dict[str, Any] | None:
    """What result.json tells of one attempt's context; None for a model that counts no tokens.

    `turns`: of each request the tokens that were new, read from a cache and written to it, those of the answer, and
    dollars, of all and of the input. `filled`: tokens of the last request by kind, estimated. `masked`: how many
    outputs were taken out, `growth` as in `growth`.
    """
    replies = _counted(log, attempt)
    if not replies:
        return None
    masked = [e for e in log if isinstance(e, ContextMasked) and e.attempt == attempt]
    return {
        "turns": [
            {
                "turn": one.turn,
                "new": one.usage.input,
                "cache_read": one.usage.cache_read,
                "cache_write": one.usage.cache_write,
                "output": one.usage.output,
                "cost_usd": None if one.cost_usd is None else float(one.cost_usd),
                "input_usd": None if one.input_usd is None else float(one.input_usd),
            }
            for one in replies
        ],
        "filled": filled(log, attempt),
        "masked": sum(len(one.results) for one in masked),
        "growth": growth(log, [attempt]),
    }


def growth(log: Sequence[Event], attempts: Sequence[int]) -> float | None:
    """Billed input of all requests over (requests x the first one's input at the plain price), each attempt by its own
    first request. 1 means linear. None for models that count no tokens."""
    billed, requests = 0.0, 0
    for attempt in attempts:
        replies = _counted(log, attempt)
        requests += len(replies)
        if replies:
            billed += _in_firsts(replies)
    return round(billed / requests, 4) if requests else None


def _in_firsts(replies: Sequence[ModelReplied]) -> float:
    """What the input of an attempt's requests cost, in units of the first one's plain price."""
    costs = [one.input_usd for one in replies]
    plain = replies[0].uncached_usd
    if plain and None not in costs:
        return float(sum(cost for cost in costs if cost is not None) / plain)
    tokens = sum(
        e.usage.input + CACHE_READ * e.usage.cache_read + CACHE_WRITE * e.usage.cache_write for e in replies
    )
    return tokens / input_tokens(replies[0].usage)


def _counted(log: Sequence[Event], attempt: int) -> list[ModelReplied]:
    mine = [event for event in log if isinstance(event, ModelReplied) and event.attempt == attempt]
    return [event for event in mine if input_tokens(event.usage)]


def filled(log: Sequence[Event], attempt: int) -> dict[str, int]:
    """Tokens of an attempt's last request by kind, most first: `system`, `brief`, `replies`, `output of TOOL`, `told`
    (what the runtime said later) and `tool definitions`. Estimated by characters, but for the definitions: these
    are what the first request counted beyond its text."""
    said = parts(log, attempt)
    last = max((i for i, part in enumerate(said) if isinstance(part.event, ModelReplied)), default=0)
    tokens: Counter[str] = Counter()
    for number, part in enumerate(said[:last]):
        tokens[_kind(part, number)] += size(part)
    system = next((e.system for e in log if isinstance(e, AttemptStarted) and e.attempt == attempt), "")
    tokens["system"] = len(system)
    tokens = Counter({kind: chars // CHARS_PER_TOKEN for kind, chars in tokens.items()})
    replies = _counted(log, attempt)
    brief = next((e.text for e in log if isinstance(e, UserSaid) and e.attempt == attempt), "")
    if replies:
        text = (len(system) + len(brief)) // CHARS_PER_TOKEN
        tokens["tool definitions"] = max(0, input_tokens(replies[0].usage) - text)
    return {kind: count for kind, count in tokens.most_common() if count}


def _kind(part: Part, number: int) -> str:
    match part.event:
        case ToolReturned(name=name):
            return f"output of {name}"
        case ModelReplied():
            return "replies"
        case _:
            return "told" if number else "brief"


def drawn(log: Sequence[Event], start: AttemptStarted) -> Iterator[str]:
    """An attempt's context in lines for a terminal; none for a model that counts no tokens."""
    told = of_attempt(log, start.attempt)
    if told is None:
        return
    turns = told["turns"]
    yield f"cost by turn of attempt {start.attempt}, {printable(start.model)}:"
    yield f"  {'turn':>4} {'new':>9} {'from cache':>10} {'to cache':>9} {'answer':>7} {'USD':>9}"
    most = max((turn["cost_usd"] or 0.0 for turn in turns), default=0.0)
    for turn in turns:
        cost = turn["cost_usd"]
        bar = "█" * max(1, round(BAR * cost / most)) if cost and most else ""
        yield (
            f"  {turn['turn']:>4} {turn['new']:>9,} {turn['cache_read']:>10,} {turn['cache_write']:>9,}"
            f" {turn['output']:>7,} {_usd(cost):>9}  {bar}"
        ).rstrip()
    yield from _masked(log, start.attempt)
    yield _linear(log, start.attempt, told["growth"], len(turns))
    yield _shares(told["filled"])


def _usd(cost: float | None) -> str:
    return "?" if cost is None else f"{cost:.4f}"


def _masked(log: Sequence[Event], attempt: int) -> Iterator[str]:
    for event in log:
        if isinstance(event, ContextMasked) and event.attempt == attempt:
            yield f"  after turn {event.turn}: {masked_words(event.results, event.freed, event.rewritten, event.why)}"


def masked_words(results: Sequence[int], freed: int, rewritten: int, why: str) -> str:
    """What a masking did, in one line."""
    reason = {"lapsed": "the cache had expired", "window": "the window is nearly full"}.get(why, "")
    again = f", {rewritten // CHARS_PER_TOKEN:,} written to the cache again" if rewritten else ""
    outputs = "1 old output" if len(results) == 1 else f"{len(results)} old outputs"
    said = f"{outputs} masked, about {freed // CHARS_PER_TOKEN:,} tokens less in each request{again}"
    return said + (f" ({reason})" if reason else "")


def _linear(log: Sequence[Event], attempt: int, factor: float | None, requests: int) -> str:
    replies = _counted(log, attempt)
    first, costs = replies[0].uncached_usd, [one.input_usd for one in replies if one.input_usd is not None]
    known = first is not None and len(costs) == len(replies)
    billed = f" {float(sum(costs)):.4f} USD," if known else ""
    linear = f" ({float(first) * requests:.4f} USD)" if first is not None and known else ""
    return (
        f"  input billed:{billed} {factor:.2f} times the linear price: "
        f"{requests} requests like the first one without a cache{linear}"
    )


def _shares(tokens: Mapping[str, int]) -> str:
    total = sum(tokens.values())
    shares = ", ".join(f"{printable(kind)} {100 * count / total:.0f} %" for kind, count in tokens.items())
    return f"  the last request held about {total:,} tokens: {shares}" if total else ""
