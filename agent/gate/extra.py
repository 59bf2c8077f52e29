"""The repository's own checks (lint, types, build): with the patch they must say no worse than without it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import partial

from agent.errors import EnvironmentFault
from agent.gate.runner import Runner, Tried
from agent.lanes import Started, side_by_side
from agent.laying import lay_tree
from agent.types import Check
from sandboxes.types import Completed

NO_COMMAND = (126, 127)
"""A shell's exit codes for a command that is not there, or is none."""
SHOWN = 10
"""Lines of what is new."""

_FINDING = re.compile(r"\W{0,6}[\w./@+-]*\w\.\w+(:\d|\(\d)|\d+:\d+:?\s+\w")
"""How a line begins that tells of a place in a file; what sums up, shows progress or shows code does not."""


async def run(runner: Runner, base: str, patched: str, commands: Sequence[str]) -> Tried:
    """Run the commands on both trees. Raises EnvironmentFault for one that can't be run on the base."""
    if not commands:
        return Tried()
    async with side_by_side() as tasks:
        sides = [
            Started(tasks, partial(_all, runner, what, tree, commands))
            for what, tree in (("the base", base), ("the patched tree", patched))
        ]
        before, after = [await side.result() for side in sides]
    if any(worse(old, new) for old, new in zip(before, after, strict=True)):
        after = await _all(runner, "the patched tree, again", patched, commands)
    checks = []
    for command, old, new in zip(commands, before, after, strict=True):
        if old.exit_code in NO_COMMAND:
            raise EnvironmentFault(
                f"gate.checks: `{command}` can't be run in the sandbox (exit code {old.exit_code}); "
                "install it in the set-up, or take it out"
            )
        fault = worse(old, new)
        good = "clean" if new.exit_code == 0 else "no worse than on the base"
        checks.append(Check(f"extra: {command}", not fault, fault or good))
    return Tried(tuple(checks))


async def _all(runner: Runner, what: str, tree: str, commands: Sequence[str]) -> list[Completed]:
    async with (
        runner.lane(f"running {len(commands)} extra checks on {what}"),
        runner.driver.sandbox(runner.environment, run_id=runner.run_id, limits=runner.limits) as sandbox,
    ):
        await lay_tree(sandbox, runner.repository, tree)
        return [await sandbox.run(command, timeout=runner.timeout) for command in commands]


def worse(base: Completed, after: Completed) -> str:
    """What a command says that it didn't say on the base; empty when that is nothing.

    A command that failed on the base already may fail on: then only lines that tell of a place count, by their text
    without its numbers, since lines move.
    """
    if after.exit_code == 0 or (after.timed_out and base.timed_out):
        return ""
    text = after.output.decode("utf-8", "replace")
    new = _lines(text)
    for line, times in _lines(base.output.decode("utf-8", "replace")).items():
        new[line] -= times
    if base.exit_code != 0:
        found = [line for line in _whole(text) if new[_plain(line)] > 0 and _FINDING.match(line)]
        return "\n".join(["new beside what the base has:", *found[:SHOWN]]) if found else ""
    how = "does not end" if after.timed_out else f"fails with exit code {after.exit_code}"
    return "\n".join([f"passes on the base, {how} with the patch:", *_whole(text)[-SHOWN:]])


def _whole(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _lines(text: str) -> Counter[str]:
    return Counter(map(_plain, _whole(text)))


def _plain(line: str) -> str:
    return re.sub(r"\d+", "0", line)
