"""Frozen data that the parts of the agent hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work: an issue text against a base commit of a repository."""

    issue: str
    issue_source: str
    """Where the text came from, as the user named it ("-" for standard input)."""
    repo: str
    """Absolute path of the repository on the host."""
    base: str
    """Full commit id that the work starts from."""
    fail_to_pass: tuple[str, ...] = ()
    """Test ids that the user says fail at the base and must pass after."""
    test_patch: bytes | None = None
    """Hidden tests as a patch; only the gate ever reads it."""


def issue_title(issue: str) -> str:
    """The first line of an issue's text that says something, without Markdown's heading marks."""
    return next((line.strip("# \t") for line in issue.splitlines() if line.strip("# \t")), "")


APART = "__"
"""Stands in the names of tools of the user's own MCP servers, `SERVER__TOOL`, and in no others."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model is told of it."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    read_only: bool = False
    """True when a call changes nothing, so that it may be repeated."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    name: str
    text: str
    """What a language model is shown."""
    is_error: bool = False
    data: Mapping[str, Any] | None = None
    """The tool's structured content, for programs such as `local/repair`."""
    refused: bool = False
    """True when the runtime did not run the call, since it went against what the model was told."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens billed. `input` counts what was neither read from nor written to a cache."""

    requests: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. A user message may carry tool results, an assistant's tool calls."""

    role: Literal["user", "assistant"]
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    provider_data: Mapping[str, Any] | None = None
    """What the provider wants back unchanged (thinking blocks, signatures), under the provider's name."""
    settled: bool = False
    """True for the message up to which nothing will be masked any more: a cache can count on that prefix. Right after a
    masking it is also true for the one that was it before: that much is in the cache already."""


Stop = Literal["tool_use", "end", "length", "refusal", "filtered", "overflow", "empty"]
"""Why a reply ended: tools are called · all is said · cut at the output limit · the model declined · the provider's
filter took it · the conversation no longer fits the model's window · nothing was said."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered to one request."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    usage: Usage
    cost_usd: Decimal | None
    """None, never zero, when the price of the model is not known."""
    stop: Stop
    provider_data: Mapping[str, Any] | None = None
    first_token_seconds: float | None = None
    """From the request to the first piece of the answer; None where nothing is streamed."""
    seconds: float | None = None
    """From the request to the end of the answer, without earlier tries and the waits between them."""
    input_usd: Decimal | None = None
    """The part of `cost_usd` that is for the input, cached or not; None when it is not known."""
    uncached_usd: Decimal | None = None
    """What the same input would have cost with no cache at all."""


Status = Literal[
    "accepted",
    "needs_review",
    "rejected",
    "not_reproduced",
    "limit",
    "environment",
    "model_error",
    "interrupted",
]


@dataclass(frozen=True, slots=True)
class Check:
    """One named question that the gate asked, and the evidence for its answer."""

    name: str
    passed: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's judgement of one patch. `accepted` is true only when every check passed."""

    accepted: bool
    checks: tuple[Check, ...]
    needs_review: bool = False
    """All evidence is green, but a person must look (then `accepted` is false)."""
    fail_to_pass: tuple[str, ...] = ()
    """Ids shown red on the base and green with the patch."""
    before: Mapping[str, str] = field(default_factory=dict)
    """Outcome per test id without the fix (the patch's and the hidden tests in place)."""
    after: Mapping[str, str] = field(default_factory=dict)
    """Outcome per test id with the fix."""
    seconds: float = 0.0
    traces: Mapping[str, str] = field(default_factory=dict)
    """How tests failed with the fix, by id: the end of the trace. Empty where tests are hidden."""
    proven_tests: tuple[str, ...] = ()
    """Paths of test files that the patch brings and that were shown red on the base."""

    @property
    def status(self) -> Literal["accepted", "needs_review", "rejected"]:
        if self.accepted:
            return "accepted"
        return "needs_review" if self.needs_review else "rejected"
