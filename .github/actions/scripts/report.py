"""A run's result, or a verdict, as Markdown for a step summary. Every word of others is made neutral, in a fence.

Run by the agent's own Python, whose words for pull requests these are.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.forge.neutral import block
from agent.forge.secret_text import secrets_of

MOST_CHECKS, MOST_LINES, MOST_TEXT, MOST_REPORT = 60, 12, 2000, 100_000
STATUSES = (
    ("accepted", "the gate has seen the issue's test red before and green after, and all else green"),
    ("needs_review", "all evidence is green, but a person must look"),
    ("rejected", "no patch passed the gate"),
    ("not_reproduced", "what is to show the bug does not fail on the base commit"),
    ("limit", "a limit was reached: money, tokens, turns or time"),
    ("environment", "the environment could not be set up"),
    ("model_error", "no model could be asked"),
    ("interrupted", "the run was interrupted"),
    ("refused", "the run's files are not what may be published: see the log"),
    ("usage", "the workflow or the configuration asks for something that cannot be done"),
)
_SAYS = dict(STATUSES)


def status_of(result: Mapping[str, Any]) -> str:
    status = result.get("status")
    return status if isinstance(status, str) and status in _SAYS else "unknown"


def verdict_of(verdict: Mapping[str, Any]) -> str:
    """The status that a verdict of the gate stands for."""
    if verdict.get("accepted") is True:
        return "accepted"
    return "needs_review" if verdict.get("needs_review") is True else "rejected"


def cost_of(result: Mapping[str, Any]) -> str:
    """Dollars, or "" where a price is not known."""
    cost = result.get("cost_usd")
    known = isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < math.inf
    return f"{cost:.6f}" if known else ""


def run_report(result: Mapping[str, Any], title: str) -> str:
    """What a run came to."""
    attempts = [one for one in _list(result.get("attempts")) if isinstance(one, Mapping)]
    run = str(result.get("run_id", ""))
    facts = [
        ("attempts", str(len(attempts))),
        ("cost", f"{cost_of(result)} USD" if cost_of(result) else "unknown"),
        ("run", run if re.fullmatch(r"[\w-]{1,60}", run, re.A) else ""),
    ]
    lines = [*_error(result), *(line for i, one in enumerate(attempts, 1) for line in _attempt(i, one))]
    return _page(title, status_of(result), facts, lines)


def verdict_report(verdict: Mapping[str, Any], title: str) -> str:
    """What the gate says of one patch."""
    return _page(title, status_of(verdict), [], [*_error(verdict), *_checks(verdict)])


def _page(title: str, status: str, facts: list[tuple[str, str]], lines: list[str]) -> str:
    rows = "".join(f"| {name} | {value} |\n" for name, value in facts if value)
    told = block("\n".join(lines), secrets_of(os.environ), MOST_REPORT) if lines else ""
    head = f"## {title}: {status.replace('_', ' ')}\n\n{_SAYS.get(status, '')}\n"
    return f"{head}\n| | |\n| --- | --- |\n| verdict | {status} |\n{rows}\n{told}\n"


def _error(result: Mapping[str, Any]) -> list[str]:
    return [_short(result["error"])] if result.get("error") else []


def _attempt(number: int, attempt: Mapping[str, Any]) -> Iterator[str]:
    yield f"attempt {number}: {_short(attempt.get('model'), 100)}, {_short(attempt.get('ended'), 40)}"
    if cause := attempt.get("root_cause"):
        yield f"  cause: {_short(cause)}"
    verdict = attempt.get("verdict")
    if isinstance(verdict, Mapping):
        yield from (f"  {line}" for line in _checks(verdict))


def _checks(verdict: Mapping[str, Any]) -> Iterator[str]:
    if verdict.get("accepted") is True:
        for test in _list(verdict.get("fail_to_pass"))[:MOST_CHECKS]:
            yield f"red before, green after: {_short(test, 200)}"
    for check in _list(verdict.get("checks"))[:MOST_CHECKS]:
        if isinstance(check, Mapping):
            passed = check.get("passed") is True
            yield f"{'✓' if passed else '✗'} {_short(check.get('name'), 100)}"
            if not passed:
                yield from (f"    {line}" for line in _short(check.get("evidence")).splitlines()[:MOST_LINES])


def _short(value: Any, most: int = MOST_TEXT) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
