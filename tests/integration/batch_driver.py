"""A driver of a batch in a process of its own: python -m tests.integration.batch_driver TASKS OUT WORKERS [--resume]"""

from __future__ import annotations

import sys
from pathlib import Path

from agent.batch.drive import run_batch
from agent.batch.engine import Shared
from agent.batch.folder import Folder
from agent.batch.local import Local
from agent.batch.queue import Limits
from agent.batch.tasks import read_tasks
from agent.batch.view import View
from tests.integration.batch_work import work


def main(tasks: str, out: str, workers: str, *resume: str) -> None:
    lines = read_tasks(tasks, ".")
    with Folder(Path(out), resume=bool(resume)) as folder, Local(work, Shared()) as engine:
        left = [line for line in lines if line.id not in folder.results]
        view = View(sys.stderr, len(lines))
        for result in run_batch(left, engine, Limits(int(workers)), seconds=60, watcher=view):
            folder.add(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
