"""Does the fix hold where no test runner watches?

Code can find out that it is being tested: by an environment variable, a loaded module, the arguments, the stack, the
files around it. So the tests that show the fix run once more without a runner in the process and without test files in
the tree, on the base and on the patched product. A failure that is the very one that the base shows, in the real run
and here, has not been mended; the fix is there only when it is watched.
"""

from __future__ import annotations

import ast
import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from agent.gate.suites import file_of
from agent.git import Repository
from agent.scratch import scratch
from tools.suite import TestOutcome

if TYPE_CHECKING:
    from sandboxes.driver import Sandboxes
    from sandboxes.types import Environment, Limits

SECONDS = 60.0
MAX_RESULTS = 4 * 1024 * 1024

ROUNDS = 4
"""Of all tests in one process: code may know how often it was asked."""
LATER_DAYS = 4000
"""How far the clock of a second process is ahead: code may wait for a date."""

Failure = tuple[str, int, str, str, int]
"""Test id without its parameters, number of the parameter set, exception, first line of its text, line in the test."""


@dataclass(frozen=True)
class Failures:
    """How tests fail without a runner."""

    first: frozenset[Failure] = frozenset()
    """In the first round of the first process."""
    again: frozenset[Failure] = frozenset()
    """In later rounds."""
    later: frozenset[Failure] = frozenset()
    """Under a clock that is ahead."""
    ended: frozenset[str] | None = None
    """The tests (ids without parameters) that came to an end at all in the first round; None when time ran out."""


@dataclass(frozen=True)
class Plain:
    """Test modules without pytest in them, to be run by hand."""

    modules: tuple[tuple[str, str, str, tuple[str, ...]], ...]
    """A name, the folder it is in (of the repository), its source, and its tests (`test_x`, `TestA::test_y`)."""
    names: Mapping[str, str]
    """Module name to file, as it stands in test ids."""
    stand_in: str
    root: str
    """Where the tree is, in the sandbox."""


def plain(sources: Mapping[str, tuple[str, str]], tests: Collection[str]) -> Plain:
    """`sources`: file as in test ids to (folder in the repository, source). Modules that don't parse are left out."""
    stand_in = _word()
    modules = []
    names = {}
    for file, (folder, source) in sources.items():
        mine = sorted({test.partition("::")[2].partition("[")[0] for test in tests if file_of(test) == file})
        try:
            text = ast.unparse(_Unhooked(stand_in).visit(ast.parse(source)))
        except (SyntaxError, ValueError, RecursionError):
            continue
        if mine:
            # Line numbers are the base's own in both runs, so they may be those of the rewritten text.
            name = _word()
            names[name] = file
            modules.append((name, folder, text, tuple(mine)))
    return Plain(tuple(modules), names, stand_in, f"/tmp/{_word()}")  # noqa: S108 (in the sandbox)


class _Unhooked(ast.NodeTransformer):
    """`import pytest` becomes an import of a module of another name."""

    def __init__(self, stand_in: str) -> None:
        self.stand_in = stand_in

    def visit_Import(self, node: ast.Import) -> ast.Import:
        for alias in node.names:
            if alias.name == "pytest":
                alias.asname = alias.asname or "pytest"
                alias.name = self.stand_in
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.module == "pytest" and not node.level:
            node.module = self.stand_in
        return node


async def failures(
    driver: Sandboxes,
    repository: Repository,
    environment: Environment,
    tree: str,
    job: Plain,
    *,
    run_id: str,
    limits: Limits | None,
) -> Failures:
    """How the tests fail on `tree` without a runner. What can't be found out is not among them."""
    text = files("agent.gate.in_sandbox").joinpath("plain_run.py").read_text("utf-8")
    found: list[list[tuple[int, Failure]]] = []
    in_time: list[bool] = []
    with scratch() as host:
        tar = Path(host) / "tree.tar"
        await anyio.to_thread.run_sync(repository.write_tar, tree, tar)
        # nothing of the repository but what is put: code may look for test files
        bare = replace(environment, workspace="")
        async with driver.sandbox(bare, run_id=run_id, limits=limits) as sandbox:
            # In another folder than the one that tests run in, from yet another one, with a home of its own.
            await sandbox.put_tree(tar, job.root)
            modules = [
                (name, f"{job.root}/{inside}", text, tests) for name, inside, text, tests in job.modules
            ]
            for rounds, days in ((ROUNDS, 0), (1, LATER_DAYS)):
                folder = f"/tmp/{_word()}"  # noqa: S108 (in the sandbox)
                out = f"{folder}/{_word()}"
                data = {
                    "modules": modules,
                    "out": out,
                    "stand_in": job.stand_in,
                    "root": job.root,
                    "rounds": rounds,
                    "days": days,
                }
                script = text.replace("= {}\n", f"= json.loads({json.dumps(data)!r})\n", 1)
                await sandbox.put_file(f"{folder}/{_word()}.py", script.encode("utf-8", "surrogatepass"))
                command = f"python {folder}/*.py"
                done = await sandbox.run(command, timeout=SECONDS, env={"HOME": folder}, cwd=folder)
                in_time.append(not done.timed_out)
                try:
                    found.append(_read(await sandbox.read(out, MAX_RESULTS), job))
                except (FileNotFoundError, ValueError, KeyError, TypeError):
                    found.append([])
    failed = [[(number, one) for number, one in run if one[2]] for run in found]
    return Failures(
        frozenset(one for number, one in failed[0] if number == 0),
        frozenset(one for number, one in failed[0] if number > 0),
        frozenset(one for _, one in failed[1]),
        frozenset(one[0] for number, one in found[0] if number == 0) if in_time[0] else None,
    )


def _read(data: bytes, job: Plain) -> list[tuple[int, Failure]]:
    """Round and result of each line; a test that passed has no exception in it."""
    return [
        (int(number), (f"{job.names[module]}::{test}", int(place), str(kind), str(said), int(line)))
        for number, module, test, place, kind, said, line in map(json.loads, data.splitlines())
        if test
    ]


def unmended(
    base: Collection[Failure],
    patched: Collection[Failure],
    red: Mapping[str, TestOutcome],
    failing: Collection[str] = (),
) -> list[str]:
    """The tests that fail unwatched after the fix just as without it; `red` are their outcomes in the real run
    without it. `failing` are tests that fail with it in the real run too: which set of parameters is which of them is
    not known here, so as many sets of a test may fail unwatched."""
    same = set(base) & set(patched)
    found = []
    for test, outcome in red.items():
        name = test.partition("[")[0]
        sets = {one[1] for one in same if one[0] == name and _is(outcome, one)}
        if len(sets) > sum(other.partition("[")[0] == name for other in failing):
            found.append(test)
    return sorted(found)


def _is(outcome: TestOutcome, failure: Failure) -> bool:
    """Whether the real run's failure is this one: stand-ins bring about other ones."""
    _, _, kind, said, _ = failure
    if kind == "AssertionError":
        return outcome.message.startswith(("assert ", "AssertionError"))
    name, _, text = outcome.message.partition("\n")[0].partition(":")
    return name.rpartition(".")[2] == kind and text.strip()[:300] == said


def _word() -> str:
    """A name like any other."""
    return "abcdefghij"[secrets.randbelow(10)] + secrets.token_hex(6)
