"""What happens in a run, as frozen data, and as the plain JSON data that agent.event_log keeps."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from agent.types import Reply, Stop, ToolCall, Usage

VERSION = 1
MOST = 10**18
"""Above any number that a run counts."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    run_id: str
    issue_source: str
    issue: str
    repo: str
    base: str
    models: Sequence[str]
    test_command: str
    fail_to_pass: Sequence[str]
    limits: Mapping[str, float | int]
    test_patch_sha256: str | None = None
    """Of the hidden tests; empty where there are none. Logs of before it was kept do not tell."""


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A process goes on with the run. `ended`: the status that it had ended with; empty when its process was killed."""

    ended: str


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """`setup`, `baseline`, `attempt`, `gate` or `publish`."""

    phase: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should know and no program needs: a warning, a line of the set-up."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class EnvironmentReady:
    image: str
    digest: str
    summary: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SetupWritten:
    """A model wrote the set-up, and the baseline was taken in it; `path` is where the commands are kept."""

    model: str
    commands: Sequence[str]
    why: str
    path: str


@dataclass(frozen=True, slots=True)
class BaselineTaken:
    counts: Mapping[str, int]
    failing: Sequence[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    attempt: int
    model: str
    thinking: str | None
    system: str


@dataclass(frozen=True, slots=True)
class UserSaid:
    """Text that the runtime put into the conversation. Attempt 0 is a set-up that a model writes."""

    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class ModelReplied:
    attempt: int
    turn: int
    text: str
    tool_calls: Sequence[ToolCall]
    usage: Usage
    cost_usd: Decimal | None
    stop: str
    seconds: float
    """From the question to the reply, with all tries and waits."""
    provider_data: Mapping[str, Any] | None = None
    first_token_seconds: float | None = None
    answer_seconds: float | None = None
    """From the request that was answered to the end of its answer."""
    input_usd: Decimal | None = None
    """Of `cost_usd` what the input cost: new, read from a cache and written to it, each at its price, and a cache's
    storage. None where a price is not known."""
    uncached_usd: Decimal | None = None
    """The same input at the plain price: what it would have cost without a cache."""

    @classmethod
    def of(cls, reply: Reply, attempt: int, turn: int, seconds: float) -> ModelReplied:
        """The event of a model's reply."""
        return cls(
            attempt,
            turn,
            reply.text,
            reply.tool_calls,
            reply.usage,
            reply.cost_usd,
            reply.stop,
            seconds,
            reply.provider_data,
            reply.first_token_seconds,
            reply.seconds,
            reply.input_usd,
            reply.uncached_usd,
        )

    def reply(self) -> Reply:
        """The reply that this is the event of."""
        return Reply(
            self.text,
            tuple(self.tool_calls),
            self.usage,
            self.cost_usd,
            cast("Stop", self.stop),
            self.provider_data,
            self.first_token_seconds,
            self.answer_seconds,
            self.input_usd,
            self.uncached_usd,
        )


@dataclass(frozen=True, slots=True)
class ModelRetried:
    """A request that came to nothing, and what it cost; `wait_seconds` until the next try, None when there is none."""

    attempt: int
    reason: str
    wait_seconds: float | None
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = Decimal(0)


@dataclass(frozen=True, slots=True)
class BudgetChanged:
    """`what`: the worst case of a request was reserved, before it is sent · it was settled at what it cost, as far as
    that is known · it is waiting for others under way. `usd` and `tokens` are this request's; `usd` is None at an
    unknown price. `accounts` has for run, batch and day: `usd_limit`, `usd_spent`, `usd_reserved`, the same of tokens,
    and `unpriced`, the requests at unknown prices, whose dollars are in no sum; without a limit it is None."""

    what: str
    usd: float | None
    tokens: int
    accounts: Mapping[str, Mapping[str, float | None]]
    held_to: int | None = None
    """Tokens that the answer is held to, since no more could be paid."""


@dataclass(frozen=True, slots=True)
class ToolStarted:
    attempt: int
    turn: int
    call_id: str
    name: str
    summary: str


@dataclass(frozen=True, slots=True)
class ToolReturned:
    attempt: int
    turn: int
    call_id: str
    name: str
    text: str
    is_error: bool
    seconds: float
    data: Mapping[str, Any] | None = None
    mended: bool = False
    """True when the runtime set the call's arguments right."""
    refused: bool = False
    """True when the runtime did not run the call: its arguments are no JSON, product code before a root cause, a cause
    that does not hold, what comes after a failed edit in the same reply, or a submission that no run speaks for."""


@dataclass(frozen=True, slots=True)
class WorkspaceKept:
    """What the workspace changes of the base commit, as it was after the attempt's first `results` ToolReturned, is in
    the run's folder: `workspace/<attempt>-<sha256, 16 digits>.diff`."""

    attempt: int
    turn: int
    results: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SandboxRemade:
    """The attempt's sandbox was lost, for `reason`, and the attempt goes on in a new one with the same files."""

    attempt: int
    turn: int
    reason: str


@dataclass(frozen=True, slots=True)
class ServerStarted:
    """One of the user's own MCP servers is up; `kind` is where it runs: sandbox, or http for outside."""

    attempt: int
    name: str
    kind: str
    tools: Sequence[str]
    """As the model calls them."""
    skipped: Sequence[str]
    """What of it is not used, and why."""
    seconds: float


@dataclass(frozen=True, slots=True)
class ServerLeftOut:
    """One of the user's own MCP servers failed; the attempt goes on without it."""

    attempt: int
    name: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class HypothesisStated:
    """The root cause that a model stated, and that the runtime took."""

    attempt: int
    turn: int
    cause: str
    where: Sequence[str]
    """Lines of the base commit: `path:line` or `path:first-last`."""
    test: str
    """The failing test, or the command, by which it was seen."""
    observed: str
    expected: str
    explains: str
    unchecked: str = ""
    """What of it the runtime could not confirm; empty when all was."""


@dataclass(frozen=True, slots=True)
class ContextRenewed:
    """The conversation outgrew the model's window: it begins anew here, with what the runtime says next."""

    attempt: int
    turn: int


@dataclass(frozen=True, slots=True)
class ContextMasked:
    """Old output leaves the conversation from here on: each becomes one line that says what it was and how to get it
    back. `agent.masking` decides it; that it is an event keeps the conversation a projection of the log."""

    attempt: int
    turn: int
    """The last one answered."""
    results: Sequence[int]
    """Which of the attempt's ToolReturned, counted from 1."""
    freed: int
    """Characters that each further request is shorter by."""
    rewritten: int
    """Characters that go into the provider's cache anew, since what is before them changed."""
    turns_left: int
    """Estimated."""
    why: str
    """cost: it saves more than the rewrite costs · lapsed: the cache has expired, so that nothing is rewritten for it ·
    window: the model's window is nearly full."""


@dataclass(frozen=True, slots=True)
class DriftSeen:
    """A sign that an attempt leads nowhere; `kind` as in agent.drift."""

    attempt: int
    turn: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """`how`: submitted, gave_up, no_patch, turns, minutes, context (the conversation outgrew the model's window
    again), drift, refused (by the model or its provider's filter), budget (money or tokens), model_error, sandbox_died,
    or outrun (an attempt beside it was accepted first)."""

    attempt: int
    how: str
    detail: str
    root_cause: str
    patch_sha256: str | None
    turns: int
    seconds: float
    changed: Sequence[str] = ()
    """What the patch touches, without its code."""
    provider_down: bool = False
    """As in errors.ModelError."""


@dataclass(frozen=True, slots=True)
class VerdictReached:
    attempt: int
    verdict: Mapping[str, Any]
    traces: Mapping[str, str] = field(default_factory=dict)
    """As in types.Verdict, for the brief of the next attempt; so are `proven_tests`."""
    proven_tests: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RunEnded:
    result: Mapping[str, Any]
    """Exactly what result.json holds."""


Event = (
    RunStarted
    | RunResumed
    | PhaseStarted
    | Note
    | EnvironmentReady
    | SetupWritten
    | BaselineTaken
    | AttemptStarted
    | UserSaid
    | ModelReplied
    | ModelRetried
    | BudgetChanged
    | ToolStarted
    | ToolReturned
    | WorkspaceKept
    | SandboxRemade
    | ServerStarted
    | ServerLeftOut
    | HypothesisStated
    | ContextRenewed
    | ContextMasked
    | DriftSeen
    | AttemptEnded
    | VerdictReached
    | RunEnded
)


_DOLLARS = {"cost_usd", "input_usd", "uncached_usd"}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_BY_NAME: dict[str, type[Any]] = {_snake(cls.__name__): cls for cls in Event.__args__}
_NAMES = {cls: name for name, cls in _BY_NAME.items()}
_FIELDS = {
    cls: tuple(field.name for field in dataclasses.fields(cls)) for cls in (*Event.__args__, ToolCall, Usage)
}


def encode(event: Event) -> dict[str, Any]:
    """The event as plain JSON data, with its `type`. Mappings and lists in it are the event's own, not copies."""
    data = {"type": _NAMES[type(event)], **_as_dict(event)}
    if "usage" in data:
        data["usage"] = _as_dict(data["usage"])
    if "tool_calls" in data:
        data["tool_calls"] = [_as_dict(call) for call in data["tool_calls"]]
    for name in _DOLLARS & data.keys():
        if isinstance(data[name], Decimal):
            data[name] = float(data[name])  # exact to 15 digits, so that decoding gives the same again
    return data


def _as_dict(value: Any) -> dict[str, Any]:
    """As dataclasses.asdict, but not deep: an event is written at once, and nobody changes it."""
    return {name: getattr(value, name) for name in _FIELDS[type(value)]}


def decode(data: Mapping[str, Any]) -> Event:
    """The event that `encode` made `data` of. Raises ValueError for another version or an unknown type."""
    if data.get("v", VERSION) != VERSION:
        raise ValueError(f"event log version {data.get('v')!r}; this agent reads version {VERSION}")
    cls = _BY_NAME.get(str(data.get("type")))
    if cls is None:
        raise ValueError(f"unknown event type {data.get('type')!r}")
    values = {name: data[name] for name in _FIELDS[cls] if name in data}
    if cls is ModelReplied:
        values["tool_calls"] = tuple(ToolCall(**call) for call in values["tool_calls"])
    if "usage" in values:
        values["usage"] = Usage(**values["usage"])
    for name in _DOLLARS & values.keys():
        if values[name] is not None:
            values[name] = Decimal(str(values[name]))
    event: Event = cls(**values)
    return event


def check(event: Event) -> None:
    """Raises ValueError for a field whose value is of another type than it was written with: a log may be anybody's."""
    for name, hint in _hints(cast("type", type(event))).items():
        if not _fits(value := getattr(event, name), hint):
            raise ValueError(f"{name} can't be {repr(value)[:80]}")


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    return get_type_hints(cls)


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in args
    if origin is Union or origin is UnionType:
        return any(_fits(value, one) for one in args)
    if origin is Sequence or origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(one, args[0]) for one in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(_fits(one, args[1]) for one in value.values())
    if hint is float or hint is int:
        number = isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
        return number and abs(value) < MOST
    if hint is Decimal:
        return isinstance(value, Decimal) and value.is_finite() and abs(value) < MOST
    if dataclasses.is_dataclass(hint):
        fields = _hints(cast("type", hint)).items()
        return isinstance(value, cast("type", hint)) and all(_fits(getattr(value, k), h) for k, h in fields)
    return isinstance(value, type(None) if hint is None else hint)
