"""Batches on this machine: python -m tests.benchmarks.batch [--tasks 200] [--kills 20] [--workers 2] [--seed 1]
                                                               [--only scripted]

Half of the tasks are `local/repair`'s, half a scripted model's, over four small repositories, each a real bug with its
failing test, in sandboxes of the engine that is here. Each half runs undisturbed; then again, while tasks and drivers
are killed (SIGKILL) at random moments and the batch is resumed until all is done. Prints the share of the machine's CPU
time that was in use (by anybody), the memory of a task's process, what is left over, and whether both ways gave the
same results.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.batch.local import descendants
from tests.benchmarks.kills import docker, processes
from tests.docker.project import ABOVE, FIX, ISSUE, SUBMIT, agent, command, environment, make_project, script

REPOSITORIES = 4
NAMES = ("local/repair", "scripted")


@dataclass
class Seen:
    """What a batch did to the machine."""

    seconds: float = 0.0
    busy: float = 0.0
    """Share of all CPUs' time that anybody used."""
    own_mb: list[float] = field(default_factory=list)
    """Memory of a task's process that it shares with nobody, MB."""
    share_mb: list[float] = field(default_factory=list)
    """The same with its share of what is shared."""


def make_tasks(folder: Path, tasks: int) -> Path:
    """`folder` with its repositories; the file of tasks."""
    for number in range(REPOSITORIES):
        (folder / f"r{number}").mkdir()
        make_project(folder / f"r{number}")
    lines = [
        {
            "id": f"t{number}",
            "repo": f"r{number % REPOSITORIES}/repo",
            "issue": ISSUE,
            "fail_to_pass": [ABOVE],
        }
        for number in range(tasks)
    ]
    (folder / "temporary").mkdir()
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def start(folder: Path, out: str, model: str, workers: int, *more: str) -> subprocess.Popen[bytes]:
    given = ["batch", "tasks.jsonl", "--out", out, "--model", model, "--workers", str(workers), *more]
    with (folder / f"{out}.log").open("ab") as log:
        return subprocess.Popen(
            command(*given),
            stdout=log,
            stderr=log,
            env=environment(folder, TMPDIR=str(folder / "temporary")),
            cwd=folder,
            start_new_session=True,
        )


def results(folder: Path, out: str) -> dict[str, tuple[str, str | None]]:
    lines = (folder / out / "results.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert len({one["id"] for one in told}) == len(told), "a task has two results"
    return {one["id"]: (one["status"], one["model_patch"]) for one in told}


def left(folder: Path) -> Counter[str]:
    """What is there of the batches in the folder, when none of them runs any more."""
    count: Counter[str] = Counter()
    pids = {json.loads(line)["pid"] for line in (folder / "pids").read_text().splitlines()}
    owners = docker("ps", "-a", "--filter", "label=assay.run", "--format", '{{.Label "assay.pid"}}')
    count["containers"] = len(pids & set(owners))
    count["processes"] = len(processes(folder))
    names = [one.name for one in (folder / "temporary").iterdir()]
    count["temporary files"] = len([name for name in names if name != f"assay-{os.getuid()}"])
    count["mounts"] = Path("/proc/self/mountinfo").read_text().count(str(folder))
    return +count


@contextmanager
def watched(folder: Path, process: subprocess.Popen[bytes]) -> Iterator[Seen]:
    """Look at the machine and at the tasks' processes twice a second, and note who they were."""
    seen, over = Seen(), threading.Event()

    def look() -> None:
        noted: set[int] = set()
        with (folder / "pids").open("a") as pids:
            while not over.wait(0.5):
                for pid in descendants(process.pid):
                    if pid not in noted:
                        noted.add(pid)
                        pids.write(json.dumps({"pid": str(pid)}) + "\n")
                        pids.flush()
                    if memory := _memory(pid):
                        seen.own_mb.append(memory[0])
                        seen.share_mb.append(memory[1])

    thread = threading.Thread(target=look)
    began, before = time.monotonic(), _cpu()
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    idle, total = (now - then for now, then in zip(_cpu(), before, strict=True))
    seen.seconds, seen.busy = time.monotonic() - began, 1 - idle / total


def _cpu() -> tuple[int, int]:
    """Idle and all time of all CPUs, in ticks."""
    fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return fields[3] + fields[4], sum(fields)


def _memory(pid: int) -> tuple[float, float] | None:
    """Of a task's process, in MB: what it alone has, and with its share of the rest. A task leads its session, and runs
    what it was forked from."""
    with suppress(OSError, ValueError, KeyError):
        if os.getsid(pid) != pid or b"multiprocessing" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return None
        lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        kb = {line[0]: int(line[1]) for line in lines}
        return (kb["Private_Dirty:"] + kb["Private_Clean:"]) / 1024, kb["Pss:"] / 1024
    return None


def undisturbed(folder: Path, model: str, workers: int, out: str = "quiet") -> Seen:
    process = start(folder, out, model, workers)
    with watched(folder, process) as seen:
        process.wait()
    assert process.returncode in (0, 1), (folder / f"{out}.log").read_text()
    return seen


def disturbed(folder: Path, model: str, workers: int, kills: int, seed: int, most: float) -> Counter[str]:
    """The same, with so many kills, every third the driver's; each after up to `most` seconds. What was killed."""
    chance, killed, process = random.Random(seed), Counter[str](), start(folder, "killed", model, workers)
    while True:
        with watched(folder, process):
            while True:
                try:
                    process.wait(chance.uniform(0, most) if killed.total() < kills else None)
                    break
                except subprocess.TimeoutExpired:
                    if killed.total() % 3 == 2:
                        process.kill()
                        killed["drivers"] += 1
                        break
                    tasks = [pid for pid in descendants(process.pid) if _memory(pid)]
                    if tasks:
                        with suppress(ProcessLookupError):
                            os.kill(chance.choice(tasks), signal.SIGKILL)
                            killed["tasks"] += 1
            process.wait()
        log = (folder / "killed.log").read_text()
        assert process.returncode in (0, 1, -signal.SIGKILL), log
        if process.returncode != -signal.SIGKILL and not any(
            status == "crash" for status, _ in results(folder, "killed").values()
        ):
            return killed
        process = start(folder, "killed", model, workers, "--resume")


def _filled(folder: Path, workers: int, seconds: float) -> float:
    """The share of the workers' time in which a task ran; the rest is the batch's own, and its end, when none waits."""
    lines = (folder / "quiet/results.jsonl").read_text().splitlines()
    return sum(json.loads(line)["seconds"] for line in lines) / (workers * seconds)


def _reason(folder: Path, task: str) -> str:
    """Why a task of the disturbed batch has no accepted patch."""
    for line in map(json.loads, (folder / "killed/results.jsonl").read_text().splitlines()):
        if line["id"] == task and line["run"]:
            attempts = line["run"]["attempts"]
            checks = [check for one in attempts for check in (one["verdict"] or {"checks": []})["checks"]]
            failed = [check for check in checks if not check["passed"]]
            return f"{line['error']} {[one['ended'] for one in attempts]} {failed}"
    return "no run"


def settled(folder: Path, seconds: float = 90) -> Counter[str]:
    """What is left once tasks that lost their driver had time to end."""
    until = time.monotonic() + seconds
    while left(folder) and time.monotonic() < until:
        time.sleep(1)
    return left(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=NAMES)
    given = parser.parse_args()
    faults = 0
    for name in [given.only] if given.only else NAMES:
        with tempfile.TemporaryDirectory() as path:
            folder = Path(path)
            model = name if name == "local/repair" else script(folder, [[FIX], [SUBMIT]])
            make_tasks(folder, given.tasks // 2)
            seen = undisturbed(folder, model, given.workers)
            quiet, rest = results(folder, "quiet"), settled(folder, 10)
            count = len(quiet)
            print(
                f"{name}: {count} tasks, {Counter(status for status, _ in quiet.values())}, {seen.seconds:.0f} s"
            )
            print(
                f"  {60 * count / seen.seconds:.1f} tasks a minute; the CPUs were in use {100 * seen.busy:.0f} %"
            )
            filled = 100 * _filled(folder, given.workers, seen.seconds)
            print(f"  a task ran in {filled:.0f} % of the workers' time")
            own, share = statistics.median(seen.own_mb), statistics.median(seen.share_mb)
            print(
                f"  memory of a task: {own:.0f} MB of its own (most {max(seen.own_mb):.0f}), {share:.0f} with its share"
            )
            print(f"  left over: {dict(rest) or 'nothing'}", flush=True)
            killed = disturbed(
                folder, model, given.workers, given.kills, given.seed, 2 * seen.seconds / given.kills
            )
            again, more = results(folder, "killed"), settled(folder)
            same = again == quiet
            print(
                f"  killed: {dict(killed)}; the same results: {same}; left over: {dict(more) or 'nothing'}",
                flush=True,
            )
            for task in (task for task in quiet if quiet[task] != again[task]):
                print(f"  {task}: {quiet[task][0]}, {again[task][0]}: {_reason(folder, task)}", flush=True)
            faults += bool(rest or more or not same)
            agent(folder, "doctor")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
