"""The ledger of hypotheses: root causes that models state, checked by what was run, judged by the gate's verdicts.

A model states the root cause by the tool `root_cause` before its first edit of product code. The runtime answers
that tool itself: it checks that the place exists at the base commit and that the failure it cites was seen here. What
becomes of a stated cause is read from the log: the verdict on the patch that was made on its ground.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agent.events import AttemptEnded, Event, HypothesisStated, ModelReplied, ToolReturned, VerdictReached
from agent.types import ToolSpec
from tools.tool import ToolError, checked

NAME = "root_cause"
MAX_REFUSALS = 3
"""After so many faults a statement is taken as it is, and marked: a model that can't quote must not be locked out."""
MIN_QUOTE = 6
"""Characters of a quoted line; fewer ("1", "None") stand in almost any output."""

_TEXT = {"type": "string"}
PROPERTIES: Mapping[str, Mapping[str, Any]] = {
    "cause": {**_TEXT, "description": "which code is wrong and why, in a sentence or two"},
    "where": {
        "type": "array",
        "items": {"type": "string"},
        "description": "the wrong lines as they are at the base commit: path:line or path:first-last",
    },
    "test": {
        **_TEXT,
        "description": "the failing test's id, or the shell command (or a part of it), by which you saw it",
    },
    "observed": {**_TEXT, "description": "the line of its output that shows the failure, copied exactly"},
    "expected": {**_TEXT, "description": "what should have come instead"},
    "explains": {**_TEXT, "description": "how these lines lead to what was observed, step by step"},
}
SPEC = ToolSpec(
    NAME,
    "State the root cause of the failure before you change product code (all but tests and documents): edit_file and "
    "write_file refuse it until then. It is checked: the lines must exist at the base commit, and the failure must be "
    "one that you saw by running something here. Call it again when what you find contradicts it.",
    {
        "type": "object",
        "properties": PROPERTIES,
        "required": list(PROPERTIES),
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True)
class Base:
    """What the runtime knows of the base commit."""

    files: frozenset[str]
    """Paths of all its files."""
    lines: Callable[[str], int]
    """How many lines a file has; 0 for what is no text."""
    is_product: Callable[[str], bool]
    """Whether a path, there or not, is product code: no test, test configuration or documentation."""


def stated(
    arguments: object, base: Base, log: Sequence[Event], attempt: int, turn: int, refusals: int
) -> HypothesisStated:
    """The hypothesis that a call states. Raises ToolError that names each fault and how to mend it.

    After MAX_REFUSALS faults (`refusals` were there before) what does not hold is noted in `unchecked` instead.
    """
    if isinstance(arguments, Mapping):
        arguments = {name: value for name, value in arguments.items() if name in PROPERTIES}
        if isinstance(arguments.get("where"), str):
            arguments["where"] = [arguments["where"]]
    strict = refusals < MAX_REFUSALS
    given = checked(NAME, PROPERTIES, tuple(PROPERTIES), arguments) if strict else _as_it_is(arguments)
    faults = [f"{name!r} is empty" for name, value in given.items() if not value or not str(value).strip()]
    places, wrong = _places(given["where"], base)
    faults += wrong
    returned = [e for e in log if isinstance(e, ToolReturned) and e.attempt == attempt]
    faults += _unseen(given["test"], given["observed"], returned, _commands(log, attempt))
    if faults and strict:
        raise ToolError("not taken: " + "; ".join(faults))
    texts = {name: str(given[name]) for name in PROPERTIES if name != "where"}
    return HypothesisStated(attempt, turn, where=places, unchecked="; ".join(faults), **texts)


def _as_it_is(arguments: object) -> dict[str, Any]:
    """What can be used of a statement whose schema was broken again and again."""
    given = arguments if isinstance(arguments, Mapping) else {}
    where = given.get("where")
    places = [str(place) for place in where] if isinstance(where, list) else []
    return {name: places if name == "where" else str(given.get(name) or "") for name in PROPERTIES}


def _places(where: Iterable[str], base: Base) -> tuple[list[str], list[str]]:
    """The places as `path:first-last`, and what is wrong with those that do not exist."""
    places: list[str] = []
    faults: list[str] = []
    for text in where:
        match = re.fullmatch(r"\s*(?:\./|/workspace/)?(.+?):(?:L|line )?(\d{1,9})(?:-L?(\d{1,9}))?\s*", text)
        if match is None:
            faults.append(f"{text!r} is no place: write path:line or path:first-last")
            continue
        path, first, last = match[1], int(match[2]), int(match[3] or match[2])
        if path not in base.files:
            near = [file for file in base.files if file.endswith("/" + path)]
            near = near[:3] or difflib.get_close_matches(path, base.files, 1)
            faults.append(
                f"the base commit has no file {path!r}"
                + (f"; did you mean {' or '.join(map(repr, near))}?" if near else "")
            )
        elif not 1 <= first <= last <= base.lines(path):
            faults.append(f"{path} has {base.lines(path)} lines at the base commit, so {text!r} is not there")
        else:
            places.append(f"{path}:{first}" + (f"-{last}" if last != first else ""))
    return places, faults


def _commands(log: Iterable[Event], attempt: int) -> Mapping[str, str]:
    """The shell commands of an attempt, by their calls' ids."""
    return {
        call.id: str(call.arguments.get("command", ""))
        for event in log
        if isinstance(event, ModelReplied) and event.attempt == attempt
        for call in event.tool_calls
        if call.name == "shell"
    }


def _unseen(
    test: str, observed: str, returned: Sequence[ToolReturned], commands: Mapping[str, str]
) -> list[str]:
    """Why a cited failure is not one that was observed in this attempt; empty when it is."""
    runs = [event for event in returned if event.name in ("run_tests", "shell")]
    if not runs:
        return ["nothing has been run yet: run the failing test first, so that its failure is seen"]
    failing = [test_id for event in runs for test_id in failures_of(event)]
    wanted = _flat(test)
    shown = [event for event in runs if event.name == "shell" and _names_command(wanted, event, commands)]
    shown += [event for event in runs if any(_is_meant(wanted, t) for t in failures_of(event))]
    faults = []
    if not shown:
        seen = ", ".join(dict.fromkeys(failing[:5]))
        faults.append(
            f"{test!r} was not seen to fail here"
            + (f"; seen failing: {seen}" if seen else "; no test has failed here yet")
            + " (a shell command that shows the fault can be named too, as it was run)"
        )
    if not any(shows(event, observed) for event in shown or runs):
        lines = [line for event in shown or runs for line in _text(event).splitlines() if line.strip()]
        near = difflib.get_close_matches(observed[:300], [line[:300] for line in lines[-500:]], 1, 0.3)
        faults.append(
            f"'observed' is not in the output of what was run: copy a whole line (at least {MIN_QUOTE} characters)"
            + (f", such as {near[0].strip()!r}" if near else "")
        )
    return faults


def shows(event: ToolReturned, observed: str) -> bool:
    """Whether a run printed one of the lines that a root cause cites."""
    text = _flat(_text(event))
    return any(len(quote) >= MIN_QUOTE and quote in text for quote in map(_flat, observed.splitlines()))


def failures_of(event: ToolReturned) -> list[str]:
    """The tests that failed in a run of `run_tests`."""
    outcomes = (event.data or {}).get("outcomes")
    if not isinstance(outcomes, Mapping):
        return []
    return [str(test) for test, outcome in outcomes.items() if outcome in ("failed", "error")]


def _is_meant(wanted: str, test: str) -> bool:
    """Whether a test's id is what a model wrote: it, the function of its parameters, or its last part."""
    plain = test.partition("[")[0]
    return wanted in (test, plain) or test.startswith(f"{wanted}::") or plain.endswith(f"::{wanted}")


def _names_command(wanted: str, event: ToolReturned, commands: Mapping[str, str]) -> bool:
    command = _flat(commands.get(event.call_id, ""))
    return bool(wanted) and bool(command) and (wanted in command or command in wanted)


def _text(event: ToolReturned) -> str:
    """All that a run printed: what the model was shown, and the failures whole."""
    failures = (event.data or {}).get("failures")
    details = [
        str(failure.get(key, ""))
        for failure in (failures if isinstance(failures, list) else [])
        if isinstance(failure, Mapping)
        for key in ("message", "detail")
    ]
    return "\n".join([event.text, *details])


def _flat(text: str) -> str:
    """`text` with single spaces, and without the marks that pytest puts before the lines of a failure."""
    return " ".join(re.sub(r"(?m)^[^\S\n]*[E>][^\S\n]+", "", text).split())


Standing = Literal["confirmed", "refuted", "incomplete", "open"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt's hypothesis, what was changed on its ground, and what the gate says of it."""

    attempt: int
    hypothesis: HypothesisStated | None
    changed: Sequence[str]
    """As `changed_places` tells the patch."""
    standing: Standing
    """confirmed: the patch is accepted (or waits for a person) · refuted: the tests that show the fault fail with it
    too · incomplete: they pass, but not all else does · open: no verdict tells."""
    evidence: str


def ledger(log: Sequence[Event]) -> list[Entry]:
    """The attempts that have ended, in their order, each with the last cause that it stated."""
    last = {event.attempt: event for event in log if isinstance(event, HypothesisStated)}
    verdicts = {event.attempt: event.verdict for event in log if isinstance(event, VerdictReached)}
    entries = []
    for event in log:
        if isinstance(event, AttemptEnded):
            standing, evidence = _standing(verdicts.get(event.attempt))
            entries.append(Entry(event.attempt, last.get(event.attempt), event.changed, standing, evidence))
    return entries


def _standing(verdict: Mapping[str, Any] | None) -> tuple[Standing, str]:
    if verdict is None:
        return "open", ""
    if verdict["accepted"] or verdict.get("needs_review"):
        return "confirmed", ""
    checks = {check["name"]: check for check in verdict["checks"]}
    failed = [check for check in verdict["checks"] if not check["passed"]]
    green = checks.get("green")
    if green is None:  # the judgement ended before the patched tests were run
        return "open", failed[0]["evidence"] if failed else ""
    return ("incomplete", failed[0]["evidence"]) if green["passed"] else ("refuted", green["evidence"])


def changed_places(patch: bytes) -> list[str]:
    """What a patch touches, without its code: `path:first-last (+added -removed)` a file, in lines of the base."""
    told: list[str] = []
    for part in re.split(rb"(?m)^diff --git ", patch)[1:]:
        head, *hunks = re.split(rb"(?m)^@@ -(?=\d{1,9}[ ,])", part)
        names = re.search(rb'(?m)^\+\+\+ "?b/(.+?)"?\t?$', head) or re.search(rb'^"?a/(.+?)"? "?b/', head)
        path = names[1].decode("utf-8", "replace") if names else "?"
        added = removed = 0
        where: list[str] = []
        for hunk in hunks:
            first, *lines = hunk.split(b"\n")
            at = int(re.match(rb"\d+", first)[0])  # type: ignore[index]
            touched: list[int] = []
            for line in lines:
                # Lines that come in take no place of the base's where others go out.
                if line[:1] == b"-" or (line[:1] == b"+" and not touched):
                    touched.append(at)
                added += line.startswith(b"+")
                removed += line.startswith(b"-")
                at += line[:1] in (b" ", b"-")
            if touched and touched[-1]:
                where.append(f"{touched[0]}-{touched[-1]}" if touched[0] != touched[-1] else f"{touched[0]}")
        place = f"{path}:{','.join(where)}" if where else path
        told.append(f"{place} ({f'+{added} -{removed}' if hunks else 'binary, mode or deletion'})")
    return told
