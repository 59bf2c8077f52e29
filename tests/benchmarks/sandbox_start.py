"""Wall time until a fresh sandbox is ready, beside `docker run --rm IMAGE true`, for a small and a large repository.

    python -m tests.benchmarks.sandbox_start [ROUNDS]

In each round, one after the other: the engine's own start and end of a container of the same image; and for
repositories of 1,000, 100,000 and 1,000,000 lines, of 200 lines a file, the start of a sandbox whose /workspace begins
with the tree, until a command (`busybox true`) has ended in it. Prints medians in milliseconds and their ratios. The
environment and the tree are there already: both are made once.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from agent.environment import TOOLS
from agent.git import Repository
from sandboxes.docker import Docker
from tests.docker.project import git

LINES = (1_000, 100_000, 1_000_000)
A_FILE = 200
BUSYBOX = "/opt/toolbox/bin/busybox"


def make(folder: Path, lines: int) -> Path:
    repo = folder / f"lines-{lines}"
    for number in range(lines // A_FILE):
        path = repo / f"part{number // 100}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"value_{line} = {number * line}\n" for line in range(A_FILE)))
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "base")
    return repo


async def measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    docker = await Docker.connect()
    times: dict[str, list[float]] = {"docker run --rm IMAGE true": []}
    async with AsyncExitStack() as stack:
        begun = {}
        for lines in LINES:
            repository = stack.enter_context(Repository(make(folder, lines)))
            tree = repository.tree_of(repository.resolve("HEAD"))
            tar = folder / f"{lines}.tar"
            repository.write_tar(tree, tar)
            made = await docker.environment(tar, setup=["true"], tools_dir=TOOLS, log=print)
            name = f"sandbox, {lines:,} lines"
            times[name] = []
            write = lambda path, r=repository, t=tree: r.write_tar(t, path)  # noqa: E731
            begun[name] = await stack.enter_async_context(docker.workspace(made, tree, write, log=print))
        command = ["docker", "run", "--rm", "--network", "none", begun[name].image, "/bin/true"]
        for _ in range(rounds):
            started = time.perf_counter()
            await anyio.to_thread.run_sync(lambda: subprocess.run(command, check=True, capture_output=True))
            times["docker run --rm IMAGE true"].append(time.perf_counter() - started)
            for name, environment in begun.items():
                started = time.perf_counter()
                async with docker.sandbox(environment, run_id="benchmark") as sandbox:
                    done = await sandbox.run([BUSYBOX, "true"], timeout=60)
                    times[name].append(time.perf_counter() - started)
                    assert done.exit_code == 0 and sandbox.tree
    return times


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        times = anyio.run(measure, Path(folder), rounds)
    medians = {name: statistics.median(taken) * 1000 for name, taken in times.items()}
    base, small, *_ = medians.values()
    for name, median in medians.items():
        print(
            f"{name}: median {median:.0f} ms of {rounds}, {median / base:.2f} of docker run, {median / small:.2f}"
        )
    print("the last figure: of the sandbox with 1,000 lines")


if __name__ == "__main__":
    main()
