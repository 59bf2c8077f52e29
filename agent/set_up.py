"""A set-up that failed, written anew by a model: its commands run as any set-up's do, and the baseline judges them.

What the model is told is the fault and the manifests, never the issue: commands that were made for the tests of an
issue could make them pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from agent import events
from agent.budget import BudgetSpent
from agent.config import Settings
from agent.errors import ModelError, NotSetUp
from agent.event_log import EventLog
from agent.git import EXECUTABLE, REGULAR, Repository
from agent.git_blobs import BlobTooLarge
from agent.models import Model
from agent.models.recorded import Recorded
from agent.prompts import render
from agent.redaction import redact
from agent.structured import structured
from agent.text import printable
from agent.types import Message, Reply
from sandboxes.errors import SetupFailed

TRIES = 3
MOST_COMMANDS, LONGEST_COMMAND = 20, 2_000
MAX_FAULT, MAX_FILE, MAX_FILES = 6_000, 4_000, 24_000
"""Characters that the model is told of a failure, of one manifest, and of all of them."""
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "commands": {"type": "array", "items": {"type": "string"}},
        "why": {"type": "string"},
    },
    "required": ["commands", "why"],
    "additionalProperties": False,
}
ATTEMPT = 0
"""What the log counts the set-up as, before the first attempt."""
_MANIFEST = re.compile(
    r"(?:[^/]*/){0,2}(?:pyproject\.toml|setup\.(?:py|cfg)|[^/]*requirements[^/]*\.(?:txt|in)|tox\.ini|noxfile\.py|Pipfile"
    r"|environment\.ya?ml|package\.json|go\.mod|Cargo\.toml|pom\.xml|build\.gradle(?:\.kts)?|Gemfile|composer\.json"
    r"|Makefile|Dockerfile|devcontainer\.json|CONTRIBUTING\.(?:md|rst))|\.github/workflows/[^/]*\.ya?ml"
)


@dataclass(frozen=True, slots=True)
class Written:
    """Set-up commands that a model wrote."""

    model: str
    commands: tuple[str, ...]
    why: str

    def as_toml(self) -> str:
        """The commands as a part of agent.toml."""
        lines = [json.dumps(command, ensure_ascii=False) for command in self.commands]
        return (
            f"# Set-up commands that {self.model} wrote, and that the baseline holds good. Read them; to keep them,\n"
            "# put them into agent.toml at the repository's root, and commit it.\n"
            "[sandbox]\nsetup = [\n" + "".join(f"    {line},\n" for line in lines) + "]\n"
        )


class Writer:
    """Asks a model for commands, at most TRIES times; each time it is told what became of those before."""

    def __init__(
        self,
        open_model: Callable[[], Model],
        log: EventLog,
        fault: SetupFailed | NotSetUp,
        facts: Mapping[str, str],
    ) -> None:
        self._open_model = open_model
        self._log = log
        self._facts = facts
        self._failures = [_told(fault)]
        self._tried: tuple[str, ...] = ()
        self._number = 0
        self._paid = [event.reply() for event in log.of(ATTEMPT) if isinstance(event, events.ModelReplied)]
        """Of a run that was interrupted while it had its set-up written."""
        self._answers = list(self._paid)
        self._note(str(fault))

    async def next(self) -> Written | None:
        """Commands to try; None when there are no more."""
        while self._number < TRIES:
            self._number += 1
            try:
                wrote = await self._ask()
            except (ModelError, BudgetSpent) as error:
                self._note(f"no set-up by a model: {error}")
                return None
            if not wrote.commands:
                self._note(f"{wrote.model} knows no set-up: {wrote.why[:300]}")
                return None
            self._tried = wrote.commands
            if not (wrong := _unfit(wrote.commands)):
                return wrote
            self.failed(SetupFailed(wrong))
        return None

    def failed(self, fault: SetupFailed | NotSetUp) -> None:
        """Learn what became of the last commands."""
        self._note(f"that set-up failed: {fault}")
        commands = json.dumps([command[:LONGEST_COMMAND] for command in self._tried[:MOST_COMMANDS]])
        self._failures.append(f"Your commands {commands} came to this:\n{_told(fault)}")

    def _note(self, text: str) -> None:
        self._log.append(events.Note(text, "warning"))

    async def _ask(self) -> Written:
        model = Recorded(self._answers, self._open_model())
        which = f"{model.spec} writes the commands, try {self._number} of {TRIES}"
        self._log.append(events.PhaseStarted("setup", which))
        prompt = render("setup", failures="\n\n".join(self._failures), **self._facts)
        self._log.append(events.UserSaid(ATTEMPT, prompt))
        messages = [Message("user", redact(prompt, self._log.secrets))]
        try:
            value = await structured(model, render("setup_system"), messages, SCHEMA, self._heard)
        finally:
            with anyio.CancelScope(shield=True):
                await model.close()
        return Written(model.spec, tuple(value["commands"]), str(value["why"]))

    def _heard(self, reply: Reply, seconds: float) -> None:
        if any(reply is one for one in self._paid):
            return
        self._log.append(events.ModelReplied.of(reply, ATTEMPT, self._number, seconds))


def _unfit(commands: Sequence[str]) -> str:
    """Why commands are not run, "" when they may be."""
    if len(commands) > MOST_COMMANDS:
        return f"there are more than {MOST_COMMANDS} commands"
    for command in commands:
        if not command.strip() or len(command) > LONGEST_COMMAND:
            return f"a command is empty, or longer than {LONGEST_COMMAND} characters"
        if not all(line.isprintable() for line in command.replace("\t", " ").split("\n")):
            return "a command holds control characters"
    return ""


def _told(fault: SetupFailed | NotSetUp) -> str:
    return printable(f"<failure>\n{fault}\n{fault.log[-MAX_FAULT:]}\n</failure>")


def facts(settings: Settings, repository: Repository, tree: str) -> dict[str, str]:
    """What the model is told besides the fault."""
    image = settings.image or (
        f"that of {settings.dockerfile or 'the devcontainer.json or Dockerfile below, if there is one that works'}; "
        "without it Debian bookworm with Python 3.11, gcc and git"
    )
    setup = settings.setup
    return {
        "image": image,
        "setup": "found by the manifests below" if setup is None else json.dumps(setup),
        "test_command": settings.test,
        "manifests": manifests(repository, tree),
    }


def manifests(repository: Repository, tree: str) -> str:
    """The files of a tree that say how it is set up, cut to what a model can be told; data, whatever they say."""
    told, left = [], MAX_FILES
    for path, (mode, sha) in sorted(
        repository.files(tree).items(), key=lambda item: (item[0].count("/"), item[0])
    ):
        if mode not in (REGULAR, EXECUTABLE) or not _MANIFEST.fullmatch(path):
            continue
        try:
            text = repository.blob(sha, 1 << 20).decode("utf-8", "replace")
        except BlobTooLarge:
            continue
        text = printable(text[: min(MAX_FILE, left)])
        left -= len(text)
        told.append(f"<file path={json.dumps(printable(path))}>\n{text}\n</file>")
        if left <= 0:
            break
    return "\n".join(told) or "none"
