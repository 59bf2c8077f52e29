"""What is left of runs that were killed: python -m tests.benchmarks.kills [--kills 200] [--seed 1]

Runs `agent fix` on a tiny repository with a scripted model and kills the process (SIGKILL) at a moment drawn from the
time that such a run takes, from its start to its end. After every ten kills `agent doctor` runs; then what is left of
the killed runs is counted by kind. What others do on the same engine does not count: containers, networks and volumes
are told by the process in their labels, mounts and volumes without labels by the containers that had them when the
process was killed, processes and files by the folder that each killed run was given.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.docker.project import ABOVE, FIX, SUBMIT, agent, command, environment, make_project, script, state

KINDS = (
    "containers",
    "networks",
    "volumes",
    "images",
    "processes",
    "mounts",
    "temporary files",
    "changes of the repository",
)
BATCH = 10


@dataclass
class Killed:
    """What one killed run had."""

    pid: int
    phase: str
    """The last phase that its log tells of."""
    mounts: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)


def docker(*arguments: str) -> list[str]:
    done = subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.split("\n")[:-1]


def dangling() -> set[str]:
    """Images of ours without a name."""
    return set(
        docker("images", "-q", "--no-trunc", "--filter", "dangling=true", "--filter", "label=assay.cache")
    )


def started(folder: Path) -> subprocess.Popen[bytes]:
    model = script(folder, [[FIX], [SUBMIT]])
    return subprocess.Popen(
        command("fix", "--repo", "repo", "--issue", "issue.md", "--model", model, "--fail-to-pass", ABOVE),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(folder, TMPDIR=str(folder / "temporary")),
        cwd=folder,
        start_new_session=True,
    )


def killed(process: subprocess.Popen[bytes], folder: Path) -> Killed:
    """Kill the run, and note what it had."""
    process.kill()
    process.wait()
    it = Killed(process.pid, "none")
    for log in (folder / "home" / "runs").glob("*/events.jsonl"):
        phases = [
            json.loads(line).get("phase")
            for line in log.read_bytes().split(b"\n")[:-1]
            if b'"phase_started"' in line
        ]
        it.phase = phases[-1] if phases else it.phase
    for found in docker("ps", "-aq", "--filter", f"label=assay.pid={process.pid}"):
        done = subprocess.run(["docker", "inspect", found], capture_output=True, text=True)
        for one in json.loads(done.stdout or "[]"):
            it.mounts.add(one["GraphDriver"]["Data"].get("MergedDir", found))
            it.volumes |= {
                m["Name"]
                for m in one["Mounts"]
                if m["Type"] == "volume" and not m["Name"].startswith("assay-")
            }
    return it


def left(runs: list[Killed], folder: Path, images: set[str], before: dict[str, str]) -> Counter[str]:
    """What is left of the runs, by kind."""
    count: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    mounted = Path("/proc/self/mountinfo").read_text()
    volumes = set(docker("volume", "ls", "-q"))
    for run in runs:
        label = ["--filter", f"label=assay.pid={run.pid}"]
        count["containers"] += len(docker("ps", "-aq", *label))
        count["networks"] += len(docker("network", "ls", "-q", *label))
        count["volumes"] += len(docker("volume", "ls", "-q", *label)) + len(run.volumes & volumes)
        count["mounts"] += sum(mount in mounted for mount in run.mounts)
    count["mounts"] += mounted.count(str(folder))
    count["images"] += len(dangling() - images)
    count["processes"] += len(processes(folder))
    # the folder of locks is for all runs and stays
    count["temporary files"] += len(
        [p for p in (folder / "temporary").iterdir() if p.name != f"assay-{os.getuid()}"]
    )
    count["changes of the repository"] += state(folder / "repo") != before
    return count


def processes(folder: Path) -> list[int]:
    """Processes that run in the folder or were told of it."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
                told += os.fsencode((process / "cwd").readlink())
            except OSError:
                continue
            if os.fsencode(folder) in told:
                found.append(int(process.name))
    return found


def measure(folder: Path, kills: int, seed: int, batch: int = BATCH) -> tuple[Counter[str], Counter[str]]:
    """Kill so many runs; (what is left by kind, how many were killed in each phase)."""
    repo = make_project(folder)
    (folder / "temporary").mkdir()
    before, images = state(repo), dangling()
    whole = time.monotonic()
    assert started(folder).wait() == 0, "a run that nobody kills must be accepted"
    whole = time.monotonic() - whole
    moments = random.Random(seed)
    total, phases, runs = Counter(dict.fromkeys(KINDS, 0)), Counter[str](), list[Killed]()
    for number in range(1, kills + 1):
        for log in (folder / "home" / "runs").glob("*/events.jsonl"):
            log.unlink()
        process = started(folder)
        try:
            process.wait(moments.uniform(0, whole))
            phases["had ended"] += 1
        except subprocess.TimeoutExpired:
            runs.append(killed(process, folder))
            phases[runs[-1].phase] += 1
        if number % batch == 0 or number == kills:
            done = agent(folder, "doctor", TMPDIR=str(folder / "temporary"))
            assert done.returncode == 0, done.stdout
            total += left(runs, folder, images, before)
            print(f"{number} of {kills}: {dict(+total) or 'nothing left'}", file=sys.stderr, flush=True)
            runs = []
    return total, phases


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        total, phases = measure(Path(folder), given.kills, given.seed)
    print("killed in: " + ", ".join(f"{phase} {number}" for phase, number in phases.most_common()))
    print("| kind | left |\n| --- | --- |")
    for kind in KINDS:
        print(f"| {kind} | {total[kind]} |")
    print(f"\n{given.kills} runs, {time.monotonic() - began:.0f} s")
    return int(any(total.values()))


if __name__ == "__main__":
    sys.exit(main())
