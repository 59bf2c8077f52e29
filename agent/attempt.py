"""One attempt: model and tools take turns until the model submits or a limit is reached."""

from __future__ import annotations

import base64
import posixpath
import time
from dataclasses import dataclass, field, replace

import anyio

from agent import hypotheses, masking
from agent.budget import BudgetSpent
from agent.calls import Repeats, mended, not_json
from agent.conversation import Conversation
from agent.drift import Drift, Sign
from agent.errors import ModelError
from agent.events import (
    ContextRenewed,
    DriftSeen,
    Event,
    EventLog,
    HypothesisStated,
    ModelReplied,
    ToolReturned,
    ToolStarted,
    UserSaid,
)
from agent.hypotheses import Base
from agent.models import Model
from agent.models.catalogue import ModelInfo
from agent.models.provider import INVALID_JSON
from agent.orientation import tool as outlining
from agent.prompts import render
from agent.renewal import renewed
from agent.seen import unmarked, without_seen
from agent.toolbox import Opening, Toolbox
from agent.types import Reply, ToolCall, ToolResult, ToolSpec
from tools.tool import ToolError

MAX_PATCH = 10 * 1024 * 1024
"""Bytes. The tool server refuses larger ones itself; only a forged server sends more."""
EDITS = ("edit_file", "write_file")
SCRATCH = ("/tmp/", "/workspace/.git/")  # noqa: S108 (inside the sandbox)


@dataclass(frozen=True, slots=True)
class Ending:
    """How the model's part of an attempt ended; `how` as in events.AttemptEnded."""

    how: str
    detail: str = ""
    root_cause: str = ""
    patch: bytes | None = None
    turns: int = 0
    seconds: float = 0.0
    provider_down: bool = False
    """As in errors.ModelError."""


@dataclass
class Attempt:
    """One model at work in one sandbox. `work` is the whole of it."""

    number: int
    model: Model
    toolbox: Toolbox | Opening
    log: EventLog
    base: Base
    system: str
    turns: int
    """Replies that the model may give."""
    deadline: float
    """On anyio's clock."""
    info: ModelInfo | None = None
    """What is known of the model's prices and window. None: all output is sent, and stays, whole."""
    read: outlining.Read | None = None
    """Reads a file of the sandbox, for the tool `outline`; without it there is no such tool."""
    turn: int = 0
    _cause: HypothesisStated | None = None
    _due: bool = True
    """Whether a root cause must be stated before product code changes."""
    _refusals: int = 0
    """Of statements of the root cause."""
    _signs: list[Sign] = field(default_factory=list)
    """What was seen since the last reply was answered."""
    _refused: str = ""
    """The file of an edit that was refused in this reply: what was to try or hand it in would see half a change."""
    _warned: bool = False
    _questioned: bool = False
    _nudged: bool = False
    _renewed: bool = False
    _repeats: Repeats = field(default_factory=Repeats)

    def __post_init__(self) -> None:
        self._conversation = Conversation(self.number)
        self._drift = Drift(self.number)
        for event in self.log.events:
            self._drift.noticed(event)

    async def work(self) -> Ending:
        """Let the model work until it submits, gives up, stops, or a limit is reached, and take its patch.

        The patch is whatever changed in the workspace, also when the model did not call `submit`: the gate judges
        patches, not claims. Raises SandboxDied when the sandbox is gone.
        """
        started = time.monotonic()
        with anyio.move_on_at(self.deadline) as scope:
            ending = await self._turns()
        if scope.cancelled_caught:
            ending = Ending("minutes", "the run's time is spent")
        if ending.how in ("submitted", "no_patch", "turns", "context", "drift", "budget"):
            patch, fault = await _patch(self.toolbox)
            if fault:
                ending = replace(ending, how="no_patch", detail=fault)
            elif patch:
                how = "submitted" if ending.how == "no_patch" else ending.how
                ending = replace(ending, how=how, patch=patch)
        cause = self._cause
        told = f"{', '.join(cause.where) or 'no place'}: {cause.cause}" if cause else ""
        return replace(ending, root_cause=told, turns=self.turn, seconds=time.monotonic() - started)

    async def _turns(self) -> Ending:
        specs = self._specs()
        while self.turn < self.turns:
            self._mask()
            started = time.monotonic()
            try:
                reply = await self.model.reply(self.system, self._said().messages(), specs)
            except ModelError as error:
                return Ending("model_error", str(error), provider_down=error.provider_down)
            except BudgetSpent as spent:
                return Ending("budget", str(spent))
            self.turn += 1
            self._log_reply(reply, time.monotonic() - started)
            if ending := await self._answered(reply) or self._drifted():
                return ending
        return Ending("turns", f"{self.turns} turns without a submission")

    async def _answered(self, reply: Reply) -> Ending | None:
        """Run what a reply calls for; the ending if it ends the work."""
        spec = self.model.spec
        if reply.stop in ("refusal", "filtered"):
            who = "refused" if reply.stop == "refusal" else "had its answer filtered"
            return Ending("refused", f"{spec} {who}: {reply.text[:300]}")
        if reply.stop == "overflow":
            if self._mask(full=True):
                return None
            if self._renewed or self.turn == 1:
                return Ending("context", f"the conversation no longer fits {spec}: {reply.text[:300]}")
            await self._renew()
            return None
        if not reply.tool_calls:
            if self._nudged:
                return Ending("no_patch", "the model stopped without a submission")
            self._nudged = reply.stop != "length"
            self._say("cut" if reply.stop == "length" else "nudge")
            return None
        cut = reply.stop == "length"
        self._refused = ""
        for call in reply.tool_calls:
            result = await self._call(call, cut=cut)
            if result.is_error and call.name in EDITS and not self._refused:
                self._refused = str(call.arguments.get("path", ""))
            if call.name == "submit" and not result.is_error and (result.data or {}).get("submitted"):
                # Calls after `submit` in the same reply are not run: the work has ended.
                how = "gave_up" if call.arguments.get("give_up") else "submitted"
                return Ending(how, str(call.arguments.get("summary", "")))
        if cut:
            self._say("cut")
        return None

    def _specs(self) -> list[ToolSpec]:
        own = [hypotheses.SPEC] if self.read is None else [hypotheses.SPEC, outlining.SPEC]
        return [*self.toolbox.specs, *own]

    async def _call(self, made: ToolCall, *, cut: bool) -> ToolResult:
        spec = next((spec for spec in self._specs() if spec.name == made.name), None)
        # Of an answer that was cut, an argument that was never begun may be missing: such a call is not set right.
        call = mended(made, spec) if spec is not None and not cut else made
        summary = next((str(v) for v in call.arguments.values() if isinstance(v, str | int | float)), "")
        self._append(ToolStarted(self.number, self.turn, call.id, call.name, summary[:200]))
        started = time.monotonic()
        result = self._repeats.noticed(call, await self._result(call, spec))
        if self.info is not None and spec is not None and spec.read_only:
            result = without_seen(made, result, self._said().parts)
        self._append(
            ToolReturned(
                self.number,
                self.turn,
                call.id,
                call.name,
                result.text,
                result.is_error,
                time.monotonic() - started,
                result.data,
                mended=call is not made,
                refused=result.refused,
            )
        )
        return result

    async def _result(self, call: ToolCall, spec: ToolSpec | None) -> ToolResult:
        if spec is not None and INVALID_JSON in call.arguments:
            return not_json(call, spec)
        if call.name == hypotheses.NAME:
            return self._state(call)
        if call.name == outlining.NAME and self.read is not None:
            return await outlining.outline(call, self.read)
        if self._refused and call.name in ("run_tests", "submit"):
            text = f"not done: the edit of {self._refused!r} before it, in the same reply, was refused"
            return ToolResult(call.id, call.name, text, is_error=True, refused=True)
        if self._due and self._needs_cause(call):
            return ToolResult(call.id, call.name, render("first").strip(), is_error=True, refused=True)
        if call.name == "submit" and (doubt := self._untested()):
            return ToolResult(call.id, call.name, doubt, is_error=True, refused=True)
        return unmarked(await self.toolbox.call(call, timeout=self.deadline - anyio.current_time()))

    def _needs_cause(self, call: ToolCall) -> bool:
        """Whether a call changes or hands in product code, which a stated root cause must come before."""
        if call.name == "submit":
            return not call.arguments.get("give_up")
        if call.name not in EDITS:
            return False
        path = posixpath.normpath(posixpath.join("/workspace", str(call.arguments.get("path", ""))))
        return not path.startswith(SCRATCH) and self.base.is_product(path.removeprefix("/workspace/"))

    def _state(self, call: ToolCall) -> ToolResult:
        """The runtime's own tool: take a root cause, or say what does not hold in it."""
        try:
            self._cause = hypotheses.stated(
                call.arguments, self.base, self.log.events, self.number, self.turn, self._refusals
            )
        except ToolError as error:
            self._refusals += 1
            return ToolResult(call.id, call.name, str(error), is_error=True, refused=True)
        self.log.append(self._cause)
        self._due = False
        doubt = self._cause.unchecked
        text = (
            f"taken, though the runtime could not confirm it: {doubt}"
            if doubt
            else "taken: the lines exist, and the output was seen"
        )
        return ToolResult(call.id, call.name, f"{text}. Now make the smallest change that mends this cause.")

    def _untested(self) -> str:
        """What to answer to a submission that no run speaks for; once, since the gate judges it all the same."""
        signs = [sign for sign in self._signs if sign.kind == "untested_claim"]
        if not signs or self._questioned:
            return ""
        self._questioned = True
        return render("unproven", seen=signs[-1].text).strip()

    def _drifted(self) -> Ending | None:
        """Tell the model what was seen of it and ask for the cause anew; the second time it ends the attempt."""
        signs = [sign for sign in self._signs if sign.kind != "untested_claim"]
        self._signs.clear()
        if not signs or self.model.repeats_itself:  # such a model searches by a plan, and reads no warning
            return None
        for sign in signs:
            self.log.append(DriftSeen(self.number, self.turn, sign.kind, sign.text))
        seen = " ".join(sign.text for sign in signs)
        if self._warned:
            return Ending("drift", f"ended early, after a warning: {seen}")
        self._warned = self._due = True
        self._say("drift", seen=seen)
        return None

    async def _renew(self) -> None:
        """Begin a new conversation in the same workspace, with the facts that must survive."""
        change = await self.toolbox.call(ToolCall("diff", "diff", {}), timeout=300)
        patch, _ = _patch_of(change)
        told = renewed(self.log.events, self.number, change.text, patch)
        self._renewed = True
        self._append(ContextRenewed(self.number, self.turn))
        self.log.append(UserSaid(self.number, told))

    def _mask(self, *, full: bool = False) -> bool:
        """Take old output out of the conversation if now is the time for it."""
        masked = None
        if self.info is not None:
            masked = masking.due(
                self.log.events, self.number, self.info, self.turns, self._said().parts, full=full
            )
        if masked is not None:
            self._append(masked)
        return masked is not None

    def _said(self) -> Conversation:
        return self._conversation.follow(self.log.events)

    def _say(self, template: str, **values: str) -> None:
        self.log.append(UserSaid(self.number, render(template, **values)))

    def _append(self, event: Event) -> None:
        """Log what happened, and note what it is a sign of."""
        self.log.append(event)
        self._signs += self._drift.noticed(self.log.events[-1])

    def _log_reply(self, reply: Reply, seconds: float) -> None:
        self._append(ModelReplied.of(reply, self.number, self.turn, seconds))


async def _patch(toolbox: Toolbox | Opening) -> tuple[bytes, str]:
    """The change of the workspace against the base, as `git apply` takes it, or why there is none to take."""
    return _patch_of(await toolbox.call(ToolCall("patch", "diff", {}), timeout=300))


def _patch_of(result: ToolResult) -> tuple[bytes, str]:
    data = result.data or {}
    text = data.get("patch")
    if result.is_error or not isinstance(text, str):
        return b"", f"the sandbox gave no patch: {result.text[:300]}"
    try:
        patch = base64.b64decode(text) if data.get("encoding") == "base64" else text.encode()
    except ValueError as error:
        return b"", f"the sandbox gave no patch: {error}"
    if len(patch) > MAX_PATCH:
        return b"", f"the patch has {len(patch)} bytes; at most {MAX_PATCH} are taken"
    return patch, ""
