"""One attempt: model and tools take turns until the model submits or a limit is reached."""

from __future__ import annotations

import base64
import posixpath
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from agent import hypotheses, masking
from agent.budget import BudgetSpent
from agent.calls import Repeats, mended, not_json
from agent.conversation import Conversation
from agent.drift import Drift, Sign
from agent.errors import ModelError
from agent.event_log import EventLog
from agent.events import (
    ContextMasked,
    ContextRenewed,
    DriftSeen,
    Event,
    HypothesisStated,
    ModelReplied,
    ToolReturned,
    ToolStarted,
    UserSaid,
)
from agent.hypotheses import Base
from agent.lanes import Started, side_by_side
from agent.models import Model
from agent.models.catalogue import ModelInfo
from agent.models.provider import INVALID_JSON
from agent.orientation import tool as outlining
from agent.prompts import render
from agent.renewal import renewed
from agent.seen import unmarked, without_seen
from agent.toolbox import Opening, Toolbox
from agent.types import APART, Reply, ToolCall, ToolResult, ToolSpec
from sandboxes.errors import SandboxError
from tools.tool import ToolError

MAX_PATCH = 10 * 1024 * 1024
"""Bytes. The tool server refuses larger ones itself; only a forged server sends more."""
EDITS = ("edit_file", "write_file")
SAME = (hypotheses.NAME, "diff", "submit")
"""Tools that change no file, besides those that say so of themselves."""
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


class Keep(Protocol):
    async def __call__(self, turn: int, results: int, patch: bytes) -> None:
        """Keep what the workspace changed, as it was after so many replies and results of calls."""
        ...


@dataclass
class Attempt:
    """One model at work in one sandbox. `work` is the whole of it.

    What an attempt knows of itself it takes from the log's events, its own as they come: so an attempt that a log
    tells the beginning of is gone on with where that ends.
    """

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
    keep: Keep | None = None
    """Called after each reply whose calls may have changed files, while the model thinks."""
    lost: str = ""
    """Why the sandbox that the last call was made in is gone: that call is not made again."""
    turn: int = 0
    _reply: ModelReplied | None = None
    """The one that is being answered."""
    _answered: int = 0
    """Of its calls, how many have."""
    _begun: bool = False
    """Whether the next of them was begun."""
    _handed_in: ToolCall | None = None
    _results: int = 0
    _cause: HypothesisStated | None = None
    _stating: bool = False
    """Whether it was taken, and the call that states it is not answered yet."""
    _due: bool = True
    """Whether a root cause must be stated before product code changes."""
    _refusals: int = 0
    """Of statements of the root cause."""
    _signs: list[Sign] = field(default_factory=list)
    """What was seen since the last reply was answered."""
    _refused: str = ""
    """The file of an edit that was refused in this reply: what was to try or hand it in would see half a change."""
    _drifts: list[str] = field(default_factory=list)
    """What of it was logged since the last reply."""
    _warned: bool = False
    _questioned: bool = False
    _nudged: bool = False
    _renewed: bool = False
    _renewing: bool = False
    _repeats: Repeats = field(default_factory=Repeats)
    _keeping: Started[None] | None = None

    def __post_init__(self) -> None:
        self._conversation = Conversation(self.number)
        self._drift = Drift(self.number)
        for event in self.log.events:
            self._noticed(event)

    def _noticed(self, event: Event) -> None:
        """Learn from an event of the log."""
        signs = self._drift.noticed(event)
        if getattr(event, "attempt", None) != self.number:
            return
        match event:
            case ModelReplied():
                self.turn, self._reply, self._answered, self._begun = event.turn, event, 0, False
                self._refused, self._signs, self._handed_in = "", [], None
                self._warned, self._drifts = self._warned or bool(self._drifts), []
            case UserSaid() if self._reply is not None:
                if not self._reply.tool_calls and self._reply.stop != "overflow":
                    self._nudged = self._reply.stop != "length"
                self._reply, self._renewing = None, False
            case ContextMasked() if self._reply is not None and self._reply.stop == "overflow":
                self._reply = None
            case ContextRenewed():
                self._renewed = self._renewing = True
            case ToolStarted():
                self._begun = True
            case ToolReturned():
                self._returned(event)
            case HypothesisStated():
                self._cause, self._due, self._stating = event, False, True
            case DriftSeen():
                self._drifts.append(event.text)
                self._due = True
            case _:
                pass
        self._signs += signs

    def _returned(self, event: ToolReturned) -> None:
        self._results += 1
        if self._reply is None or self._answered >= len(self._reply.tool_calls):
            return
        call = self._reply.tool_calls[self._answered]
        self._answered, self._begun, self._stating = self._answered + 1, False, False
        if event.is_error and event.name in EDITS and not self._refused:
            self._refused = str(call.arguments.get("path", ""))
        self._refusals += event.name == hypotheses.NAME and event.refused
        if event.name == "submit":
            self._questioned = self._questioned or bool(event.refused and (event.data or {}).get("unproven"))
            if not event.is_error and (event.data or {}).get("submitted"):
                self._handed_in = call

    async def work(self) -> Ending:
        """Let the model work until it submits, gives up, stops, or a limit is reached, and take its patch.

        The patch is whatever changed in the workspace, also when the model did not call `submit`: the gate judges
        patches, not claims. Raises SandboxDied when the sandbox is gone.
        """
        started = time.monotonic()
        with anyio.move_on_at(self.deadline) as scope:
            async with side_by_side() as tasks:
                ending = await self._turns(tasks)
                tasks.cancel_scope.cancel()
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

    async def _turns(self, tasks: TaskGroup) -> Ending:
        specs = self._specs()
        going_on = self.turn > 0
        if self._reply is not None and (ending := await self._finish(self._reply.reply())):
            return ending
        if going_on and self.keep is not None:
            self._say("remade")
        while self.turn < self.turns:
            self._mask()
            started = time.monotonic()
            try:
                reply = await self.model.reply(self.system, self._said().messages(), specs)
            except ModelError as error:
                return Ending("model_error", str(error), provider_down=error.provider_down)
            except BudgetSpent as spent:
                return Ending("budget", str(spent))
            self._append(ModelReplied.of(reply, self.number, self.turn + 1, time.monotonic() - started))
            await self._kept()
            if ending := await self._finish(reply):
                return ending
            self._begin_to_keep(tasks, reply, specs)
        return Ending("turns", f"{self.turns} turns without a submission")

    async def _finish(self, reply: Reply) -> Ending | None:
        """Answer a reply, or what of it is not answered yet; the ending if it ends the work."""
        return await self._answer(reply) or self._drifted()

    async def _answer(self, reply: Reply) -> Ending | None:
        """Run what a reply calls for."""
        spec = self.model.spec
        if reply.stop in ("refusal", "filtered"):
            who = "refused" if reply.stop == "refusal" else "had its answer filtered"
            return Ending("refused", f"{spec} {who}: {reply.text[:300]}")
        if reply.stop == "overflow":
            if not self._renewing:
                if self._mask(full=True):
                    return None
                if self._renewed or self.turn == 1:
                    return Ending("context", f"the conversation no longer fits {spec}: {reply.text[:300]}")
            await self._renew()
            return None
        if not reply.tool_calls:
            if self._nudged:
                return Ending("no_patch", "the model stopped without a submission")
            self._say("cut" if reply.stop == "length" else "nudge")
            return None
        cut = reply.stop == "length"
        for call in reply.tool_calls[self._answered :]:
            if self._handed_in is not None:
                break  # calls after `submit` in the same reply are not run: the work has ended
            await self._call(call, cut=cut)
        if self._handed_in is not None:
            said = self._handed_in.arguments
            return Ending("gave_up" if said.get("give_up") else "submitted", str(said.get("summary", "")))
        if cut:
            self._say("cut")
        return None

    def _begin_to_keep(self, tasks: TaskGroup, reply: Reply, specs: Sequence[ToolSpec]) -> None:
        """Have what the reply's calls changed kept, while the model thinks."""
        same = {*SAME, *(spec.name for spec in specs if spec.read_only)}
        if self.keep is not None and any(call.name not in same for call in reply.tool_calls):
            self._keeping = Started(tasks, partial(self._keep, self.keep, self.turn, self._results))

    async def _keep(self, keep: Keep, turn: int, results: int) -> None:
        # A sandbox that is gone, or a change that can't be taken, is told by the next call that needs it.
        with suppress(SandboxError):
            patch, fault = await _patch(self.toolbox)
            if not fault:
                await keep(turn, results, patch)

    async def _kept(self) -> None:
        """Wait until what was begun to be kept is: what comes next may change it."""
        if self._keeping is not None:
            await self._keeping.result()
            self._keeping = None

    def _specs(self) -> list[ToolSpec]:
        own = [hypotheses.SPEC] if self.read is None else [hypotheses.SPEC, outlining.SPEC]
        return [*self.toolbox.specs, *own]

    async def _call(self, made: ToolCall, *, cut: bool) -> None:
        spec = next((spec for spec in self._specs() if spec.name == made.name), None)
        # Of an answer that was cut, an argument that was never begun may be missing: such a call is not set right.
        call = mended(made, spec) if spec is not None and not cut else made
        summary = next((str(v) for v in call.arguments.values() if isinstance(v, str | int | float)), "")
        interrupted = self._begun
        if not interrupted:
            self._append(ToolStarted(self.number, self.turn, call.id, call.name, summary[:200]))
        started = time.monotonic()
        result = self._interrupted(call, spec) if interrupted else None
        result = self._repeats.noticed(call, result or await self._result(call, spec))
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

    def _interrupted(self, call: ToolCall, spec: ToolSpec | None) -> ToolResult | None:
        """What a call is answered that was under way when its sandbox or its run ended; None to make it again."""
        if spec is None or spec.read_only or call.name == hypotheses.NAME:
            return None
        if self.lost:
            text = f"the sandbox ended during this call: {self.lost}. It was made anew, with the files from before it"
        elif APART in call.name:  # elsewhere it may have done what it was to do
            text = "the run was interrupted during this call, which may have taken effect: look before you repeat it"
        else:
            return None
        return ToolResult(call.id, call.name, text, is_error=True)

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
            return ToolResult(call.id, call.name, doubt, is_error=True, data={"unproven": True}, refused=True)
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
        if not self._stating:
            try:
                stated = hypotheses.stated(
                    call.arguments, self.base, self.log.events, self.number, self.turn, self._refusals
                )
            except ToolError as error:
                return ToolResult(call.id, call.name, str(error), is_error=True, refused=True)
            self._append(stated)
        assert self._cause is not None
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
        return render("unproven", seen=signs[-1].text).strip()

    def _drifted(self) -> Ending | None:
        """Tell the model what was seen of it and ask for the cause anew; the second time it ends the attempt."""
        signs = [sign for sign in self._signs if sign.kind != "untested_claim"]
        self._signs = []
        # A model that searches by a plan reads no warning.
        if not (signs or self._drifts) or self.model.repeats_itself:
            return None
        if not self._drifts:
            for sign in signs:
                self._append(DriftSeen(self.number, self.turn, sign.kind, sign.text))
        seen = " ".join(self._drifts)
        if self._warned:
            return Ending("drift", f"ended early, after a warning: {seen}")
        self._say("drift", seen=seen)
        return None

    async def _renew(self) -> None:
        """Begin a new conversation in the same workspace, with the facts that must survive."""
        change = await self.toolbox.call(ToolCall("diff", "diff", {}), timeout=300)
        patch, _ = _patch_of(change)
        told = renewed(self.log.events, self.number, change.text, patch)
        if not self._renewing:
            self._append(ContextRenewed(self.number, self.turn))
        self._append(UserSaid(self.number, told))

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
        self._append(UserSaid(self.number, render(template, **values)))

    def _append(self, event: Event) -> None:
        """Log what happened, and learn from it."""
        self.log.append(event)
        self._noticed(self.log.events[-1])


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
