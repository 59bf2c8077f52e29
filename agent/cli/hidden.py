"""A task of an evaluation: hidden tests are kept from the run, and judge afterwards what it delivered."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.text import printable

if TYPE_CHECKING:
    from agent.git import Repository
    from agent.types import Task


def withheld(task: Task, repository: Repository) -> Task:
    """The task as the run gets it: without hidden tests, and without the names of tests in files that they touch.

    Raises PatchError for a test patch that does not apply.
    """
    from agent.gate.policy import changes
    from agent.gate.suites import file_of

    if task.test_patch is None:
        return task
    base = repository.tree_of(task.base)
    after = repository.apply(base, task.test_patch)
    touched = changes(repository.files(base), repository.files(after))
    # An id that names no file may be of any.
    kept = [test for test in task.fail_to_pass if "::" in test and file_of(test) not in touched]
    return replace(task, test_patch=None, fail_to_pass=tuple(kept))


def judged_hidden(
    args: argparse.Namespace, task: Task, repository: Repository, patch: str | None
) -> dict[str, Any] | None:
    """`{"right", "why", "seconds"}` of a delivered patch by the whole task's hidden tests; None where it has none.

    `right` is None where they could not be run, or do not show the fault on the base: that says nothing of the patch.
    """
    from agent.cli import fix, gate
    from agent.cli.inputs import with_test_command
    from agent.cli.signals import run_async
    from agent.config import home
    from agent.errors import AgentError
    from agent.gate import Shelf

    if task.test_patch is None:
        return None
    if patch is None:
        return {"right": False, "why": "no patch was delivered", "seconds": 0.0}
    began = time.monotonic()
    right: bool | None
    try:
        settings = fix.settings_of(args, repository, task.base)
        settings, _ = with_test_command(settings, repository, task.base)
        data = patch.encode("utf-8", "surrogateescape")
        shelf = Shelf(home() / "baselines")
        verdict, _ = run_async(
            gate.judged, repository, task.base, settings, data, (), task.test_patch, shelf, False, _log
        )
        bad = next((check for check in verdict.checks if not check.passed), None)
        no_fault = bad is not None and bad.name in ("baseline", "red")
        right = None if no_fault else verdict.status != "rejected"
        why = f"{bad.name}: {bad.evidence}" if bad else "all checks hold"
    except AgentError as error:
        right, why = None, str(error)
    _log(f"hidden tests: right={right}: {why}")
    return {"right": right, "why": why[:2000], "seconds": round(time.monotonic() - began, 3)}


def _log(text: str) -> None:
    print(printable(text), file=sys.stderr)


def task_class(args: argparse.Namespace, task: Task, repository: Repository, failing: Collection[str]) -> str:
    """The class of `agent.routing` that the task is of; `failing` are the tests that fail at its base commit."""
    from agent.cli import fix
    from agent.routing import packaged, task_facts

    settings = fix.settings_of(args, repository, task.base)
    paths = repository.files(repository.tree_of(task.base))
    facts = task_facts(task.issue, paths, dict.fromkeys(failing, "failed"), task.fail_to_pass)
    return next(route for route in (*settings.routes, *packaged()) if route.holds(facts)).task_class
