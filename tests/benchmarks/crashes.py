"""Runs killed and gone on with: python -m tests.benchmarks.crashes [--moments 200] [--every 1] [--seed 1] [--beside 2]
                                                                  [--sandbox docker] [--only scripted]

Three runs of `agent fix` on a tiny repository: `scripted`, whose first attempt is rejected and whose second edits by
a tool, by the shell and in vain; `paid`, a Claude on loopback within a budget; and `rejected`, two attempts in vain,
which take the gate the least time. Each is run undisturbed; then its process is killed (SIGKILL) after each event of
its log, and `rejected` at random moments too, and `agent resume` goes on with it. Prints how many came to the same
verdict and patch, with the same replies and calls in their logs; what was charged twice; and what was left over.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.event_log import current, read_events
from agent.events import ModelReplied, ToolReturned, VerdictReached
from tests.benchmarks.kills import docker, processes
from tests.docker.project import (
    ABOVE,
    CAUSE,
    FIXED_LINE,
    SEE,
    SUBMIT,
    call,
    command,
    environment,
    make_project,
    script,
    state,
)
from tests.loopback.anthropic_server import Answer, AnthropicServer

NAMES = ("scripted", "paid", "rejected")
FINE = ("the same", "had ended", "killed before")
KILLED = -signal.SIGKILL
WRONG = call("edit_file", path="calc.py", old=FIXED_LINE[0], new="        return value\n    return value")
HALF = call("shell", command="sed -i '5s/low/hi/' calc.py && sed -n 5p calc.py")
REST = call("shell", command="sed -i '5s/hi/high/' calc.py && sed -n 5p calc.py")
STATED = ("root_cause", {**CAUSE["arguments"], "test": ABOVE, "observed": "assert 1 == 3"})  # type: ignore[dict-item]
ANSWERS = (
    Answer("Looking.", [("read_file", {"path": "calc.py"}), ("run_tests", {"ids": [ABOVE]})]),
    Answer("So.", [STATED, ("shell", {"command": HALF["arguments"]["command"]})]),  # type: ignore[index]
    Answer("Then.", [("shell", {"command": REST["arguments"]["command"]})]),  # type: ignore[index]
    Answer("Green.", [("run_tests", {})]),
    Answer("Done.", [("submit", {"summary": "return the upper bound"})]),
)
HOOK = """
import os, signal, sys
from agent import event_log
append, left = event_log.EventLog.append, int(sys.argv.pop(1))
def counted(self, event):
    global left
    append(self, event)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
event_log.EventLog.append = counted
from agent.cli import main
sys.exit(main())
"""


class ByPlace(AnthropicServer):
    """Answers by how far the conversation is, so that it is the same to a run that was gone on with."""

    def take(self, body: dict[str, Any]) -> Any:
        place = sum(message["role"] == "assistant" for message in body["messages"])
        self._replies = iter([ANSWERS[place]])
        return super().take(body)


@dataclass(frozen=True)
class Told:
    """What a run came to, as far as it must be the same."""

    code: int
    status: str
    patch: str
    verdicts: tuple[tuple[int, bool, tuple[tuple[str, bool], ...]], ...]
    replies: tuple[tuple[int, int], ...]
    calls: tuple[tuple[int, int, str, bool], ...]
    cost: float
    spent: float
    """By the ledger."""


@dataclass
class Case:
    """One way to run, in a folder of its own."""

    name: str
    folder: Path
    flags: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def made(cls, name: str, folder: Path, environ: Mapping[str, str], sandbox: str = "docker") -> Case:
        folder.mkdir()
        make_project(folder)
        (folder / "temporary").mkdir()
        case = cls._made(name, folder, environ)
        if sandbox == "bubblewrap":  # which keeps environments in the home; all cases share them
            case.flags = [*case.flags, "--sandbox", sandbox]
            shared = folder.parent.parent / "environments"
            shared.mkdir(exist_ok=True)
            (folder / "home").mkdir()
            (folder / "home/bubblewrap").symlink_to(shared)
        return case

    @classmethod
    def _made(cls, name: str, folder: Path, environ: Mapping[str, str]) -> Case:
        if name == "paid":
            return cls(name, folder, ["--model", "anthropic/claude-sonnet-5", "--budget", "5"], environ)
        edits = [[HALF], [call("edit_file", path="calc.py", old="nothing", new="like it"), REST], [SUBMIT]]
        if name == "rejected":
            edits = [[HALF], [SUBMIT]]
        model = script(folder, [[WRONG], [call("shell", command=SEE)], [SUBMIT]], edits)
        return cls(name, folder, ["--model", model, "--attempts", "2"])

    def run(self, *argv: str, after: int | None = None, moment: float | None = None) -> int:
        """Run the agent, killed after so many events of its, or so many seconds; its exit code."""
        line = command(*argv)
        if after is not None:
            line = [sys.executable, "-c", HOOK, str(after), *argv]
        env = environment(self.folder, TMPDIR=str(self.folder / "temporary"), **self.environ)
        with (self.folder / "output").open("ab") as out:
            process = subprocess.Popen(
                line, stdout=out, stderr=out, env=env, cwd=self.folder, start_new_session=True
            )
            with (self.folder / "pids").open("a") as pids:
                pids.write(f"{process.pid}\n")
            try:
                return process.wait(moment)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()

    def fix(self, *, after: int | None = None, moment: float | None = None) -> int:
        flags = ["--repo", "repo", "--issue", "issue.md", "--fail-to-pass", ABOVE, *self.flags]
        return self.run("fix", *flags, after=after, moment=moment)

    @property
    def log(self) -> Path | None:
        found = list((self.folder / "home/runs").glob("*/events.jsonl"))
        return found[0] if found else None

    def told(self, code: int) -> Told:
        assert self.log is not None
        log = [event for _, event in current(list(read_events(self.log)))]
        result = json.loads((self.log.parent / "result.json").read_bytes())
        patch = self.log.parent / "patch.diff"
        verdicts = [(e.attempt, e.verdict) for e in log if isinstance(e, VerdictReached)]
        returned = [e for e in log if isinstance(e, ToolReturned)]
        return Told(
            code,
            result["status"],
            patch.read_text() if patch.exists() else "",
            tuple(
                (number, one["accepted"], tuple((c["name"], c["passed"]) for c in one["checks"]))
                for number, one in verdicts
            ),
            tuple((e.attempt, e.turn) for e in log if isinstance(e, ModelReplied)),
            tuple((e.attempt, e.turn, e.name, e.is_error) for e in returned),
            result["cost_usd"],
            (result["budget"] or {"usd_spent": 0.0})["usd_spent"],
        )

    def left(self) -> Counter[str]:
        """What there is of the runs in the folder."""
        pids = set((self.folder / "pids").read_text().split())
        owners = docker("ps", "-a", "--filter", "label=assay.run", "--format", '{{.Label "assay.pid"}}')
        names = [one.name for one in (self.folder / "temporary").iterdir()]
        return +Counter(
            {
                "containers": len(pids & set(owners)),
                "processes": len(processes(self.folder)),
                "temporary files": len([name for name in names if name != f"assay-{os.getuid()}"]),
                "mounts": Path("/proc/self/mountinfo").read_text().count(str(self.folder)),
            }
        )


def crashed(
    root: Path,
    name: str,
    whole: Told,
    *,
    after: int | None = None,
    moment: float | None = None,
    sandbox: str = "docker",
) -> str:
    """Kill one run and go on with it; what is not as it was undisturbed, else "the same"."""
    with tempfile.TemporaryDirectory(dir=root) as path, ByPlace([]) as server:
        case = Case.made(name, Path(path) / "case", server.environ, sandbox)
        before = state(case.folder / "repo")
        code = case.fix(after=after, moment=moment)
        if code != KILLED:
            return "had ended" if case.told(code) == whole else f"other, though not killed: {case.told(code)}"
        if case.log is None or not list(read_events(case.log)):
            return "killed before the log began"
        code = case.run("resume", case.log.parent.name)
        if code in (2, 130):
            return f"not resumed: {(case.folder / 'output').read_text()[-300:]}"
        told = case.told(code)
        faults = [
            f"{field}: {getattr(told, field)} for {getattr(whole, field)}"
            for field in ("code", "status", "patch", "verdicts", "replies", "calls")
            if getattr(told, field) != getattr(whole, field)
        ]
        extra = len(server.requests) - len(whole.replies) if name == "paid" else 0
        if extra > 1:  # one may have been under way
            faults.append(f"{extra} requests too many")
        if abs(told.cost - told.spent) > 1e-6 or told.cost < whole.cost - 1e-6:
            faults.append(f"{told.cost} USD told, {told.spent} in the ledger, {whole.cost} undisturbed")
        until = time.monotonic() + 30
        while case.left() and time.monotonic() < until:
            time.sleep(0.5)
        faults += [f"left: {case.left()}"] if case.left() else []
        faults += ["the repository was changed"] if state(case.folder / "repo") != before else []
        return "; ".join(faults) or ("the same, one request sent again" if extra else "the same")


def undisturbed(root: Path, name: str, sandbox: str = "docker") -> tuple[Told, int, float]:
    """The run without a kill, its events, and its seconds."""
    with tempfile.TemporaryDirectory(dir=root) as path, ByPlace([]) as server:
        case = Case.made(name, Path(path) / "case", server.environ, sandbox)
        began = time.monotonic()
        code = case.fix()
        seconds = time.monotonic() - began
        assert case.log is not None, (case.folder / "output").read_text()
        told = case.told(code)
        assert told.status == ("rejected" if name == "rejected" else "accepted"), (
            case.folder / "output"
        ).read_text()
        return told, len(list(read_events(case.log))), seconds


def matrix(
    root: Path, name: str, moments: int, every: int, seed: int, beside: int, sandbox: str
) -> tuple[Counter[str], Counter[str]]:
    """What came of kills after each `every`th event, and at random moments."""
    undisturbed(root, name, sandbox)  # the environment is made, and the baseline kept
    whole, events, seconds = undisturbed(root, name, sandbox)
    chance = random.Random(seed)

    so_far: Counter[str] = Counter()

    def one(after: int | None, moment: float | None) -> str:
        outcome = crashed(root, name, whole, after=after, moment=moment, sandbox=sandbox)
        so_far[outcome] += 1
        if so_far.total() % 20 == 0:
            print(f"{name}, {so_far.total()} so far: {dict(so_far)}", file=sys.stderr, flush=True)
        if not outcome.startswith(FINE):
            print(f"{name}, after {after} events or {moment} s: {outcome}", file=sys.stderr, flush=True)
        return outcome

    places = [(n, None) for n in range(1, events + 1, every)]
    at = [(None, chance.uniform(0.3, 1.2 * seconds)) for _ in range(moments)]
    with ThreadPoolExecutor(beside) as pool:
        boundaries, random_moments = ([pool.submit(one, *place) for place in kind] for kind in (places, at))
        return Counter(one.result() for one in boundaries), Counter(one.result() for one in random_moments)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--beside", type=int, default=2)
    parser.add_argument("--sandbox", choices=("docker", "bubblewrap"), default="docker")
    parser.add_argument("--only", choices=NAMES, action="append")
    given = parser.parse_args()
    faults = 0
    for name in given.only or NAMES:
        with tempfile.TemporaryDirectory() as path:
            moments = given.moments if name == "rejected" else 0
            found = matrix(Path(path), name, moments, given.every, given.seed, given.beside, given.sandbox)
        for what, count in zip(("after an event", "at a random moment"), found, strict=True):
            print(f"{name}, killed {what}: {count.total()}")
            for outcome, number in count.most_common():
                print(f"  {number:4} {outcome}", flush=True)
                faults += not outcome.startswith(FINE)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
