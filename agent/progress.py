"""A run for the eye: the live view on stderr, the lines of `agent show`, the table at the end.

All of it is made of events as plain data (`events.encode`). Text from issues, repositories, tools and models
is hostile: here it loses escapes and control characters, and is cut to length.
"""

from __future__ import annotations

import json
import os
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TextIO

from agent.context import masked_words
from agent.text import ESCAPE, printable

Event = Mapping[str, Any]

PLAIN_WIDTH = 160
"""Columns of what is only passed by (what was told, said and done) where no terminal says its own."""
MAX_ROWS = 40
MAX_EVIDENCE_LINES = 12
MAX_NOTES = 5
"""Lines of the evidence of a check that failed, and of one that holds."""
MAX_TEXT = 4000
"""Characters of a text that are looked at for one line of it."""

_PASSING = ("attempt_started", "user_said", "model_replied", "tool_started", "tool_returned")
"""Events whose lines are the start of longer texts. The other ones tell faults and evidence: these are never cut."""
_QUIET = ("attempt_started", "user_said", "workspace_kept", "run_ended")
"""Events that a follower of the run need not see: another one, or the final text, says the same."""


def clean(text: str) -> str:
    """One line without escapes, control and format characters, and lone surrogates."""
    more = "…" if len(text) > MAX_TEXT else ""
    text = " ".join(ESCAPE.sub("", text[:MAX_TEXT]).split())
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs")) + more


def cut(text: str, width: int) -> str:
    """At most `width` columns of a terminal."""
    if sum(map(_columns, text)) <= width:
        return text
    kept, used = "", 1  # the ellipsis
    for c in text:
        used += _columns(c)
        if used > width:
            break
        kept += c
    return kept + "…"


def wrapped(text: str, width: int | None, indent: str = "") -> list[str]:
    """`text` in lines of at most `width` columns, broken at spaces where it has them; the further ones indented.

    One line, whatever its length, where there is no width: in a file or a pipe nothing is cut or broken.
    """
    lines, rest = [], text
    while width is not None and rest.strip() and sum(map(_columns, rest)) > width:
        used = fits = 0
        while (used := used + _columns(rest[fits])) <= width:
            fits += 1
        space = rest.rfind(" ", len(indent) + 1, fits + 1)
        end = space if space > 0 else max(fits, len(indent) + 1)
        lines.append(rest[:end])
        rest = indent + rest[end:].lstrip(" ")
    return [*lines, rest] if rest.strip() or not lines else lines


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream writes to, or None where it is none."""
    try:
        return (os.get_terminal_size(stream.fileno()).columns or 80) if stream.isatty() else None
    except (OSError, ValueError):
        return None


def _columns(c: str) -> int:
    return 0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1


def event_lines(
    event: Event, *, full: bool = False, width: int | None = None, numbered: bool = False
) -> list[str]:
    """What one event says, in lines of a terminal's `width` if there is one; `full` adds whole texts, indented.
    `numbered` puts the attempt before each line, for a run whose attempts are made side by side."""
    if numbered and "attempt" in event:
        mark = f"#{clean(str(event['attempt']))} "
        lines = event_lines(event, full=full, width=None if width is None else max(width - len(mark), 1))
        return [mark + line for line in lines]
    if event["type"] in _PASSING:
        lines = [cut(line, width or PLAIN_WIDTH) for line in _lines(event)]
    else:
        lines = [part for line in _lines(event) for part in wrapped(line, width, "    ")]
    if full:
        lines += ["    " + printable(line) for text in _texts(event) for line in text.split("\n")]
    return lines


def is_side_by_side(run_started: Event) -> bool:
    """Whether the attempts of a run are made side by side, by its first event."""
    return bool(run_started["limits"].get("best_of", 1) > 1)


def _lines(event: Event) -> Iterator[str]:
    match event["type"]:
        case "run_started":
            yield f"run {event['run_id']} on {clean(event['repo'])} at {event['base'][:12]}"
        case "run_resumed":
            after = f"it had ended: {clean(event['ended'])}" if event["ended"] else "a kill"
            yield f"resumed after {after}"
        case "phase_started":
            yield f"{event['phase']}: {clean(event['detail'])}".rstrip(": ")
        case "note":
            yield "  " + ("warning: " if event["level"] == "warning" else "") + clean(event["text"])
        case "environment_ready":
            yield f"  environment ready in {event['seconds']:.1f} s: {clean(event['summary'])}"
        case "setup_written":
            yield f"  {clean(event['model'])} wrote the set-up: {clean('; '.join(event['commands']))}"
            yield f"  read it, and put it into agent.toml to keep it: {clean(event['path'])}"
        case "baseline_taken":
            counts = ", ".join(f"{count} {clean(outcome)}" for outcome, count in event["counts"].items())
            yield f"  {counts or 'no tests'} in {event['seconds']:.1f} s"
        case "attempt_started":
            yield f"  model {clean(event['model'])}"
        case "user_said":
            yield f"  told: {clean(event['text'])}"
        case "model_replied":
            yield f"  turn {event['turn']}, {event['seconds']:.1f} s{_billed(event)}: {_reply(event)}"
        case "model_retried":
            again = event["wait_seconds"]
            yield f"  model: {clean(event['reason'])}" + (
                f"; again in {again:.1f} s" if again is not None else ""
            )
        case "budget_changed":
            yield f"  budget: {_change(event)}"
        case "tool_started":
            yield f"  > {_call(event)}"
        case "tool_returned":
            how = "error" if event["is_error"] else "ok"
            yield f"    {how} in {event['seconds']:.1f} s: {clean(event['text'])}".rstrip(": ")
        case "workspace_kept":
            yield f"  the workspace's change is kept: {event['sha256'][:16]}"
        case "sandbox_remade":
            yield f"  the sandbox was lost and made anew with the same files: {clean(event['reason'])}"
        case "server_started":
            tools, skipped = len(event["tools"]), event["skipped"]
            more = f"; not used: {clean('; '.join(skipped))}" if skipped else ""
            where = f"{clean(event['name'])} ({clean(event['kind'])})"
            yield f"  MCP server {where}: {tools} tool{'' if tools == 1 else 's'}{more}"
        case "server_left_out":
            yield f"  MCP server {clean(event['name'])} is left out: {clean(event['reason'])}"
        case "hypothesis_stated":
            where = ", ".join(map(clean, event["where"])) or "no place"
            doubt = f" (not confirmed: {clean(event['unchecked'])})" if event["unchecked"] else ""
            yield f"  root cause: {where}: {clean(event['cause'])}{doubt}"
        case "context_renewed":
            yield "  the conversation outgrew the model's window; it begins anew with the facts"
        case "context_masked":
            yield f"  {masked_words(event['results'], event['freed'], event['rewritten'], event['why'])}"
        case "drift_seen":
            yield f"  drift: {clean(event['text'])}"
        case "attempt_ended":
            yield f"  {event['how']} after {event['turns']} turns: {clean(event['detail'])}".rstrip(": ")
        case "verdict_reached":
            yield from _verdict_lines(event["verdict"])
        case "run_ended":
            result = event["result"]
            yield f"{result['status']}: {clean(result['error'] or '')}".rstrip(": ")


def _billed(event: Event) -> str:
    """What a request's input was and what it cost; empty for a model that counts no tokens."""
    usage, cost = event["usage"], event["cost_usd"]
    counts = {"new": usage["input"], "from cache": usage["cache_read"], "to cache": usage["cache_write"]}
    told = " + ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    return f", {told}, {'? USD' if cost is None else f'{cost:.4f} USD'}" if told else ""


def _reply(event: Event) -> str:
    text = clean(event["text"])
    if not text and not event["tool_calls"]:
        return f"nothing ({event['stop']})"
    calls = ", ".join(clean(call["name"]) for call in event["tool_calls"])
    return " -> ".join(part for part in (cut(text, PLAIN_WIDTH // 2), calls) if part)


def _change(event: Event) -> str:
    if event["what"] == "waiting":
        return f"waiting for other requests to be settled; {_tightest(event['accounts'])}"
    cost = "an unknown price" if event["usd"] is None else f"{event['usd']:.4f} USD"
    said = f"{'reserved for the next request' if event['what'] == 'reserved' else 'settled'}: {cost}"
    if event["held_to"] is not None:
        said += f", its answer held to {event['held_to']:,} tokens by what is left"
    return f"{said}; {_tightest(event['accounts'])}"


def _tightest(accounts: Mapping[str, Mapping[str, Any]]) -> str:
    """The account that would be the first to refuse a request; the run's where none has a limit."""

    def left(kind: str) -> float:
        shares = [
            1 - (account[f"{unit}_spent"] + account[f"{unit}_reserved"]) / account[f"{unit}_limit"]
            for account in [accounts[kind]]
            for unit in ("usd", "tokens")
            if account[f"{unit}_limit"] is not None
        ]
        return min(shares, default=2.0)

    kind = min(accounts, key=left)
    return ("" if kind == "run" else "today: " if kind == "day" else f"{clean(kind)}: ") + money(
        accounts[kind]
    )


def money(account: Mapping[str, Any]) -> str:
    """How an account stands, as `0.12 of 1.00 USD, 0.03 reserved`."""
    parts: list[str] = []
    if account["usd_limit"] is not None or account["tokens_limit"] is None:
        limit = "" if account["usd_limit"] is None else f" of {account['usd_limit']:.2f}"
        parts.append(f"{account['usd_spent']:.2f}{limit} USD")
        if account["usd_reserved"]:
            parts.append(f"{account['usd_reserved']:.2f} reserved")
    if account["tokens_limit"] is not None:
        parts.append(f"{account['tokens_spent']:,} of {account['tokens_limit']:,} tokens")
        if account["tokens_reserved"]:
            parts.append(f"{account['tokens_reserved']:,} reserved")
    if account["unpriced"]:
        parts.append(f"{account['unpriced']} requests at an unknown price")
    return ", ".join(parts)


def _call(event: Event) -> str:
    return f"{clean(event['name'])} {clean(event['summary'])}".rstrip()


def _verdict_lines(verdict: Mapping[str, Any]) -> Iterator[str]:
    yield f"verdict: {_word(verdict)}"
    for check in verdict["checks"]:
        if not check["passed"]:
            yield f"  {clean(check['name'])}: {clean(check['evidence'])}"


def _word(verdict: Mapping[str, Any]) -> str:
    if verdict["accepted"]:
        return "accepted"
    return "needs_review" if verdict.get("needs_review") else "rejected"


def _texts(event: Event) -> Iterator[str]:
    match event["type"]:
        case "run_started":
            yield event["issue"]
        case "attempt_started":
            yield event["system"]
        case "user_said" | "tool_returned":
            yield event["text"]
        case "model_replied":
            yield event["text"]
            for call in event["tool_calls"]:
                yield f"{call['name']} {json.dumps(call['arguments'], ensure_ascii=False, indent=2)}"
        case "verdict_reached":
            yield verdict_table(event["verdict"])


def verdict_table(data: Mapping[str, Any], width: int | None = None) -> str:
    """The red and green of a verdict, or of the last one in a run's result: tests, then checks with evidence.

    Lines are wrapped to a terminal's `width`; without one they are as long as they are.
    """
    if "attempts" not in data:
        return "\n".join([*_test_rows(data), *_check_rows(data["checks"], width)])
    lines: list[str] = []
    for number, attempt in enumerate(data["attempts"], 1):
        verdict = attempt["verdict"]
        said = (
            f"{clean(attempt['ended'])}: {clean(attempt['summary'])}" if verdict is None else _word(verdict)
        )
        lines += wrapped(f"attempt {number}, {clean(attempt['model'])}: {said}".rstrip(": "), width, "  ")
    judged = [attempt["verdict"] for attempt in data["attempts"] if attempt["verdict"] is not None]
    if judged:
        lines += ["", *_test_rows(judged[-1]), *_check_rows(judged[-1]["checks"], width)]
    return "\n".join(lines)


def _test_rows(verdict: Mapping[str, Any]) -> Iterator[str]:
    before, after = verdict.get("before") or {}, verdict.get("after") or {}
    proof = list(verdict.get("fail_to_pass") or ())
    changed = sorted(test for test in before.keys() | after.keys() if before.get(test) != after.get(test))
    told = list(dict.fromkeys([*proof, *changed]))
    if told:
        rows = [(clean(test), before.get(test, "-"), after.get(test, "-")) for test in told[:MAX_ROWS]]
        width = min(max(len(name) for name, *_ in rows), 100)
        yield f"{'test':<{width}}  {'without':<8} with the fix"
        yield from (f"{name:<{width}}  {clean(red):<8} {clean(green)}" for name, red, green in rows)
    if len(told) > MAX_ROWS:
        yield f"… and {len(told) - MAX_ROWS} more"
    same = [after[test] for test in after if test not in told]
    if same:
        counts = ", ".join(f"{same.count(outcome)} {clean(outcome)}" for outcome in sorted(set(same)))
        yield f"unchanged: {counts}"


def _check_rows(checks: Sequence[Mapping[str, Any]], width: int | None) -> Iterator[str]:
    names = max((len(clean(check["name"])) for check in checks), default=0)
    for check in checks:
        evidence = [clean(line) for line in check["evidence"].splitlines() if line.strip()] or [""]
        mark = "ok  " if check["passed"] else "FAIL"
        yield from wrapped(
            f"{mark}  {clean(check['name']):<{names}}  {evidence[0]}".rstrip(), width, "      "
        )
        most = MAX_NOTES if check["passed"] else MAX_EVIDENCE_LINES
        for line in evidence[1:most]:
            yield from wrapped(f"      {line}", width, "        ")
        if len(evidence) > most:
            yield f"      … and {len(evidence) - most} more lines"


def is_live(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can hold a status line."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def worth_a_line(event: Event, *, live: bool = False) -> bool:
    """Whether a follower of the run is told of an event. `live`: what passes by stands in the status line."""
    kind = event["type"]
    if kind in _QUIET or (kind == "tool_returned" and not event["is_error"]):
        return False
    if kind == "budget_changed" and event["what"] == "settled":
        return False  # the next reservation tells the sums, and so does the end
    return not live or not (
        kind in ("model_replied", "tool_started")
        or (kind == "budget_changed" and event["held_to"] is None)
        or (kind == "note" and event["level"] == "info")
    )


class View:
    """Shows events on a terminal as they come; its last line tells what is going on, renewed each second.

    Use it as a context manager, which leaves no status line behind.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._status = Status()
        self._numbered = False
        # Taken again by the same thread where a library logs from an object's end, which may come at any place.
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ticker.join()
        with self._lock:
            self._write("\r\x1b[K")

    def show(self, event: Event) -> None:
        with self._lock:
            self._status.take(event)
            if event["type"] == "run_started":
                self._numbered = is_side_by_side(event)
            worth = worth_a_line(event, live=True)
            self._put(event_lines(event, width=self._width(), numbered=self._numbered) if worth else [])

    def say(self, text: str) -> None:
        """Put lines above the status line that are no event."""
        with self._lock:
            self._put([part for line in text.split("\n") for part in wrapped(line, self._width(), "    ")])

    def _put(self, lines: Sequence[str]) -> None:
        self._write("".join(f"\r\x1b[K{line}\n" for line in lines) + self._status_line())

    def _tick(self) -> None:
        while not self._ended.wait(1.0):
            with self._lock:
                self._write(self._status_line())

    def _status_line(self) -> str:
        return "\r\x1b[K" + cut(self._status.line(), self._width() - 1)

    def _width(self) -> int:
        return terminal_width(self._stream) or 80

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody watches any more (a closed pipe or terminal). The run and its log go on.
            self._ended.set()


class Status:
    """What the status line says: phase, turn, what is being done, money, elapsed time."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._where = ""
        self._turn = 0
        self._doing = ""
        self._money = "0.00 USD"

    def take(self, event: Event) -> None:
        match event["type"]:
            case "phase_started":
                self._where = f"{event['phase']} {clean(event['detail'])}".rstrip()
                self._turn, self._doing = 0, ""
            case "note":
                self._doing = clean(event["text"])
            case "user_said" | "tool_returned":
                self._doing = "the model is thinking"
            case "model_retried":
                self._doing = f"the model's provider: {clean(event['reason'])}"
            case "budget_changed":
                self._money = _tightest(event["accounts"])
                if event["what"] == "waiting":
                    self._doing = "waiting for other requests' money"
            case "tool_started":
                self._doing = _call(event)
            case "model_replied":
                self._turn, self._doing = event["turn"], ""
            case "attempt_ended":
                self._doing = ""

    def line(self) -> str:
        # What can be long stands last, so that a narrow terminal keeps the rest.
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        parts: Iterable[str] = (
            f"{minutes}:{seconds:02}",
            self._money,
            cut(self._where, 60),
            f"turn {self._turn}" if self._turn else "",
            self._doing,
        )
        return " | ".join(part for part in parts if part)
