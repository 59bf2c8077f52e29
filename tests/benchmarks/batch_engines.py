"""What an engine adds to each task: python -m tests.benchmarks.batch_engines [--tasks 60] [--workers 3]

The same tasks, which do nothing, as processes of this machine and on a Ray cluster of as many node processes, one task
after the other and side by side. Needs `pip install -e '.[ray]'`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from agent.batch.drive import run_batch
from agent.batch.engine import Engine, Shared
from agent.batch.local import Local
from agent.batch.queue import Limits
from agent.batch.tasks import TaskLine
from agent.batch.view import View
from tests.integration.batch_work import work


def timed(engine: Engine, folder: str, tasks: int, workers: int) -> float:
    """Seconds of wall time for each task."""
    lines = [TaskLine(f"{time.monotonic_ns()}-{number}", folder, issue="accepted") for number in range(tasks)]
    with Path(os.devnull).open("w") as nowhere:
        began = time.monotonic()
        ended = list(run_batch(lines, engine, Limits(workers), seconds=300, watcher=View(nowhere, tasks)))
        assert len(ended) == tasks
        return (time.monotonic() - began) / tasks


def told(name: str, engine: Engine, tasks: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        timed(engine, folder, 3 * workers, workers)  # warm
        for side_by_side in (1, workers):
            seconds = timed(engine, folder, tasks, side_by_side)
            print(f"| {name} | {side_by_side} | {1000 * seconds:.0f} ms |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--workers", type=int, default=3)
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    print("| engine | side by side | a task |\n| --- | --- | --- |")
    with Local(work, Shared()) as local:
        told("local", local, given.tasks, given.workers)
    from ray.cluster_utils import Cluster as Nodes

    from agent.batch.on_ray import Cluster

    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(given.workers):
        nodes.add_node(num_cpus=1, resources={"assay": 1})
    os.environ["RAY_ADDRESS"] = nodes.address
    with Cluster(work, Shared()) as cluster:
        told("ray", cluster, given.tasks, given.workers)
    nodes.shutdown()


if __name__ == "__main__":
    main()
