"""Wall time of the gate beside the bare suite in the same image, and how fast it rejects, in one run.

    python -m tests.benchmarks.gate_speed [SECONDS ...]

For each suite (of that many seconds of CPU time, 1, 10 and 60 unless told) prints the wall time of the bare test
command in a container of the environment's image (without the container's start and the copying of the files), and as
ratios to it: the gate's acceptance run (the whole suite in a fresh sandbox, with start, copying and reading of the
report), and the whole judgement of a right patch with a cached baseline (all runs and trials). Then the time to reject
a patch that mends nothing, and the wall time of its named test alone.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import anyio

from agent.environment import TOOLS
from agent.gate import Runner
from agent.gate.judge import judge
from agent.gate.suites import run_suite
from agent.git import Repository
from sandboxes.docker import Docker
from tests.docker.project import BUGGY, FIXED_LINE, git

FILES = 20
TEST = """\
import time

import pytest


@pytest.mark.parametrize("number", range(5))
def test_work(number):
    start = time.process_time()
    while time.process_time() - start < {seconds}:
        pass
"""
RED = "from calc import clamp\n\n\ndef test_above():\n    assert clamp(5, 1, 3) == 3\n"
NAMED = "tests/test_red.py::test_above"
COMMAND = "python -m pytest"


def make(folder: Path, seconds: float) -> Path:
    repo = folder / f"suite-{seconds:g}"
    (repo / "tests").mkdir(parents=True)
    (repo / "calc.py").write_text(BUGGY)
    (repo / "conftest.py").write_text("")
    (repo / "tests" / "test_red.py").write_text(RED)
    for number in range(FILES):
        path = repo / "tests" / f"test_work{number}.py"
        path.write_text(TEST.format(seconds=seconds / FILES / 5))
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "base")
    return repo


def patch(repo: Path, new: str) -> bytes:
    (repo / "calc.py").write_text(new)
    diff = git(repo, "diff").encode()
    git(repo, "checkout", "-q", "calc.py")
    return diff


async def measure(seconds: float, folder: Path) -> None:
    repo = make(folder, seconds)
    right = patch(repo, BUGGY.replace(*FIXED_LINE))
    wrong = patch(repo, BUGGY.replace("value < low:", "value <= low:"))
    docker = await Docker.connect()
    times = 3 if seconds < 30 else 1
    with Repository(repo) as repository:
        base = repository.resolve("HEAD")
        tar = folder / "base.tar"
        repository.write_tar(repository.tree_of(base), tar)
        environment = await docker.environment(tar, tools_dir=TOOLS, log=lambda _: None)
        began = time.monotonic()

        def log(text: str) -> None:
            print(f"    {time.monotonic() - began:6.2f} s  {text}", file=sys.stderr)

        runner = Runner(docker, repository, environment, COMMAND, 600, "b", log, None)
        baseline = await runner.baseline(base)

        async def gate(diff: bytes) -> float:
            nonlocal began
            began = time.monotonic()
            verdict = await judge(runner, diff, base=base, fail_to_pass=[NAMED], baseline=baseline)
            assert verdict.accepted == (diff is right), verdict
            return time.monotonic() - began

        async def bare(files: str = "") -> float:
            async with docker.sandbox(environment, run_id="b") as sandbox:
                await sandbox.put_tree(tar)
                return (await sandbox.run(f"{COMMAND} -q {files}", timeout=600)).seconds

        async def acceptance() -> float:
            began = time.monotonic()
            await run_suite(
                docker, repository, environment, repository.tree_of(base), COMMAND, timeout=600, run_id="b"
            )
            return time.monotonic() - began

        alone = [[await bare(), await acceptance(), await gate(right)] for _ in range(times)]
        suite, accepting, whole = (statistics.median(column) for column in zip(*alone, strict=True))
        print(
            f"suite of {seconds:g} s: bare {suite:.2f} s; acceptance run {accepting / suite:.2f} times that, "
            f"whole judgement {whole / suite:.2f} times"
        )
        rejected = statistics.median([await gate(wrong) for _ in range(times)])
        test = statistics.median([await bare("tests/test_red.py") for _ in range(times)])
        print(f"  rejected after {rejected:.2f} s by a test that takes {test:.2f} s")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for seconds in [float(word) for word in sys.argv[1:]] or [1.0, 10.0, 60.0]:
            await measure(seconds, Path(folder))


if __name__ == "__main__":
    anyio.run(main)
