"""A pytest plugin that observes tests and tries candidate repairs. PYTEST_DONT_REWRITE

Runs in the sandbox under the project's own Python (3.8 and later), loaded by PYTEST_PLUGINS. REPAIR_ROOT is the
workspace, REPAIR_JOB the file of the job (JSON, compressed, base64), REPAIR_OUT that of the result.
A job has:

    mode      "observe", "hot" (edits go into live functions) or "cold" (each candidate imports the product anew)
    wanted    test ids to repair; known: ids that pass without a repair, nearest first
    seconds   when to stop; the rest is in the module of each mode
"""
# ruff: noqa: PTH118, PTH123

from __future__ import annotations

import base64
import json
import os
import time
import zlib
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest
import repair_observe  # type: ignore[import-not-found]
import repair_trial  # type: ignore[import-not-found]
from _pytest.runner import runtestprotocol

with open(os.environ["REPAIR_JOB"], "rb") as _file:
    JOB: Dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(_file.read())))
JOB["root"] = os.environ["REPAIR_ROOT"]
STARTED = time.monotonic()

CHILD: Optional[repair_trial.ColdChild] = None

if JOB["mode"] == "cold":
    # The parent never comes back from here; each child goes on into an ordinary pytest run with its candidate.
    CHILD = repair_trial.serve_cold(JOB)


class Failure:
    """Where and why a test failed."""

    def __init__(self, item: Any, excinfo: Any) -> None:
        self.kind: str = excinfo.type.__name__
        self.message = str(excinfo.value)[:2000]
        self.frames: List[Tuple[str, int]] = []
        self.test_line = 0
        own = os.path.realpath(str(item.fspath))
        for entry in excinfo.traceback:
            path = os.path.realpath(str(entry.path))
            line = entry.lineno + 1
            self.frames.append((path, line))
            if path == own:
                self.test_line = line


def run_items(items: List[Any], after: Any = None, before: Any = None) -> Dict[str, Any]:
    """Run `items` in this process: None for each that passed (or was skipped), else its failure.

    `before(item)` and `after(item, failure)` surround each; a true value of the latter ends the run.
    """
    results: Dict[str, Any] = {}
    for position, item in enumerate(items):
        # Rendering a long traceback costs more than most tests.
        item.repr_failure = lambda excinfo, *a, **k: "failed"
        item._repair_failure = None
        following = items[position + 1] if position + 1 < len(items) else None
        if before:
            before(item)
        failed = "the test did not run"
        try:
            reports = runtestprotocol(item, nextitem=following, log=False)
            failed = "" if all(r.outcome != "failed" for r in reports) else "failed"
        except BaseException as error:
            failed = type(error).__name__
        failure = (item._repair_failure or failed) if failed else None
        results[item.nodeid] = failure
        if after and after(item, failure):
            break
    return results


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[None]:
    yield  # unittest's exceptions are known only after its own hook
    if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
        item._repair_failure = item._repair_failure or Failure(item, call.excinfo)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: Any) -> None:
    # Measuring coverage would slow each trial down, and fight with the observing tracer.
    early_config.known_args_namespace.no_cov = True
    early_config.known_args_namespace.cov_source = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: Any) -> None:
    if hasattr(config.option, "dist"):
        config.option.dist, config.option.tx = "no", []  # one process: its children are ours
    if CHILD is not None and not CHILD.whole:
        config.args = [os.path.join(str(config.rootdir), one) for one in JOB["wanted"]]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: Any) -> bool:
    JOB["startup"] = time.monotonic() - STARTED
    JOB["tmp_path_factory"] = getattr(session.config, "_tmp_path_factory", None)
    items = {item.nodeid: item for item in session.items}
    if JOB["mode"] == "observe":
        repair_observe.observe(items, JOB, run_items)
    elif CHILD is not None:
        CHILD.test(items, JOB, run_items)
    else:
        repair_trial.serve_hot(items, JOB, run_items)
    return True
