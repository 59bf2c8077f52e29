"""The engine of a Ray cluster (`pip install 'assay[ray]'`): each task runs on some node, by the same code as here.

A node says that it can run sandboxes by the custom resource `assay`, as many as it may run at once:
`ray start --address=HEAD --resources='{"assay": 4}'`. Each task takes one of these and one CPU. A task whose node is
lost ends as a crash, which the batch runs again elsewhere. Ray keeps no queue on disk: results.jsonl does.

The ledger stays with the driver. A task's requests are reserved there, by an actor on the driver's node, in a ledger of
its own for each task: when the task ends, or is lost, what it had reserved and not settled counts as spent.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from agent.batch.board import Board
from agent.batch.engine import Ended, Happened, Shared, Told
from agent.batch.far_ledger import FarLedger
from agent.batch.local import Local, Work
from agent.batch.tasks import TaskLine
from agent.config import home, per_day
from agent.errors import EnvironmentFault, UsageError

RESOURCE = "assay"
STOP_SECONDS = 60.0
MAX_FILE = 64 * 1024 * 1024
"""Bytes of a file of a run's folder that comes back from another machine."""


class Cluster:
    """A context manager: the cluster that RAY_ADDRESS names, or the one that runs on this machine."""

    def __init__(self, work: Work, shared: Shared) -> None:
        self._work = work
        self._names: dict[ray.ObjectRef[Any], str] = {}
        try:
            ray.init(
                address=os.environ.get("RAY_ADDRESS") or "auto", logging_level="error", log_to_driver=False
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(
                "--engine ray: no Ray cluster answers; start one with `ray start --head --resources='{\"assay\": 2}'`, "
                f"or name one in RAY_ADDRESS: {str(error).splitlines()[0]}"
            ) from error
        self.workers = int(min(ray.cluster_resources().get(name, 0) for name in ("CPU", RESOURCE)))
        if not self.workers:
            ray.shutdown()
            raise UsageError(
                "--engine ray: no node says that it can run sandboxes; start those that have an engine with "
                "`ray start … --resources='{\"assay\": 2}'`"
            )
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = (
            ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote(str(home()), per_day())
        )
        self._shared = replace(shared, logs="")
        self._run = ray.remote(on_node).options(num_cpus=1, resources={RESOURCE: 1}, max_retries=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for ref in self._names:
            ray.cancel(ref, force=True)
        ray.shutdown()

    def start(self, line: TaskLine) -> None:
        ref = self._run.remote(self._work, line, self._shared, self._board)
        self._names[ref] = line.id

    def wait(self, seconds: float) -> Sequence[Happened]:
        if not self._names:
            time.sleep(seconds)
            return []
        ray.wait(list(self._names), num_returns=1, timeout=seconds)
        done, _ = ray.wait(list(self._names), num_returns=len(self._names), timeout=0)
        happened: list[Happened] = [Told(task, news) for task, news in ray.get(self._board.heard.remote())]
        for ref in done:
            task = self._names.pop(ref)
            ray.get(self._board.closed.remote(task))
            happened.append(_ended(task, ref))
        return happened

    def stop(self, task: str) -> None:
        self._board.stop.remote(task)

    def kill(self, task: str) -> None:
        for ref, name in self._names.items():
            if name == task:
                ray.cancel(ref, force=True)


def _ended(task: str, ref: ray.ObjectRef[Any]) -> Ended:
    ended: Ended
    try:
        ended, files = ray.get(ref)
    except RayError as error:  # the node, or Ray's worker on it, is gone
        return Ended(task, None, f"lost with its node: {type(error).__name__}")
    if ended.ending is None or not ended.ending.get("run"):
        return ended
    return replace(ended, ending=_brought_home(ended.ending, files))


def _brought_home(ending: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """The ending, with the run's folder here as it was on its node."""
    run = dict(ending["run"])
    folder = home() / "runs" / Path(run["run_id"]).name
    if not folder.exists():
        for name, data in files.items():
            path = (folder / name).resolve()
            if path.is_relative_to(folder.resolve()):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.write_bytes(data)
    if run["patch"]:
        run["patch"] = str(folder / "patch.diff")
    return {**ending, "run": run}


def on_node(work: Work, line: TaskLine, shared: Shared, board: Any) -> tuple[Ended, dict[str, bytes]]:
    """One task, on the node that Ray chose for it: in a process of its own, so that Ray's worker outlives it."""
    ours, theirs = multiprocessing.Pipe()
    with Local(work, replace(shared, ledger=FarLedger(theirs))) as local:
        local.start(line)
        theirs.close()
        threading.Thread(target=_pass_on, args=(ours, board, line.id), daemon=True).start()
        asked = 0.0
        while True:
            for happened in local.wait(0.5):
                if isinstance(happened, Ended):
                    return happened, _files(happened)
                board.hear.remote(happened.id, dict(happened.news))
            if not asked and ray.get(board.stopping.remote(line.id)):
                asked = time.monotonic()
                local.stop(line.id)
            if asked and time.monotonic() - asked > STOP_SECONDS:
                local.kill(line.id)


def _pass_on(ledger: Connection, board: Any, task: str) -> None:
    """What the task's process asks of the ledger, and the answers, until it ends."""
    with ledger, contextlib.suppress(EOFError, OSError):
        while True:
            method, *arguments = ledger.recv()
            try:
                answer = ray.get(getattr(board, method).remote(task, *arguments))
            except RayError as error:
                answer = EnvironmentFault(str(error).splitlines()[-1])
            ledger.send(answer)


def _files(ended: Ended) -> dict[str, bytes]:
    """The folder of the run, but what is too large."""
    run = (ended.ending or {}).get("run")
    if not run:
        return {}
    folder = home() / "runs" / run["run_id"]
    found = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size <= MAX_FILE]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
