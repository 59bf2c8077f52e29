"""`agent eval` where the truth is known: python -m tests.benchmarks.evaluation [--each 7] [--workers 2] [-- FLAG …]

Small projects of three kinds, `--each` of each kind but one less of the last, each with a failing test, and hidden
tests that ask more:

    clamp    one line is wrong. `local/repair` mends it, and so do both scripted models
    mean     the function is missing: nothing to search by. Only the second scripted model writes it, right
    span     the same, but what the second one writes passes the visible test, and not the hidden one

So what each model has accepted, and what of that is right, is known before anything runs. Prints the table, and where a
figure is not the truth or an interval doesn't cover it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docker.project import agent, call, command, environment, git

GOOD = {
    "clamp": """\
def clamp(value, low, high):
    if value < low:
        return low
    if value > high:
        return high
    return value
""",
    "mean": "def mean(values):\n    return sum(values) / len(values)\n",
    "span": "def span(values):\n    return max(values) - min(values)\n",
}
BAD = {
    "clamp": GOOD["clamp"].replace("return high", "return low"),
    "mean": 'def mean(values):\n    raise NotImplementedError("mean")\n',
    "span": 'def span(values):\n    raise NotImplementedError("span")\n',
}
VISIBLE = {
    "clamp": "clamp(5, 1, 3) == 3",
    "mean": "mean([1, 2, 6]) == 3",
    "span": "span([1, 5, 3]) == 4",
}
HIDDEN = {
    "clamp": "clamp(9, 1, 4) == 4",
    "mean": "mean([2, 4]) == 3",
    "span": "span([3, 1, 5]) == 4",
}
FIXES = {
    "clamp": ("    if value > high:\n        return low\n", "    if value > high:\n        return high\n"),
    "mean": ('    raise NotImplementedError("mean")\n', "    return sum(values) / len(values)\n"),
    "span": ('    raise NotImplementedError("span")\n', "    return max(values) - values[0]\n"),
}
"""What the scripted models write; that of `span` is wrong."""
LINES = {"clamp": "calc.py:5", "mean": "calc.py:2", "span": "calc.py:2"}
SEEN = {
    "clamp": "clamp gives 1",
    "mean": "mean gives NotImplementedError",
    "span": "span gives NotImplementedError",
}


@dataclass(frozen=True)
class Truth:
    accepted: float
    right: float
    accepted_wrong: int


def make_cases(folder: Path, counts: Mapping[str, int]) -> Path:
    """The file of cases, with their repositories beside it."""
    lines = [_case(folder, kind, number) for kind, count in counts.items() for number in range(count)]
    path = folder / "cases.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _case(folder: Path, kind: str, number: int) -> dict[str, Any]:
    repo = folder / f"{kind}{number}"
    (repo / "tests").mkdir(parents=True)
    (repo / "conftest.py").write_text("")
    (repo / "calc.py").write_text(f"{BAD[kind]}\n\nNUMBER = {number}\n")
    tests = f"from calc import NUMBER, {kind}\n\n\ndef test_number():\n    assert NUMBER == {number}\n"
    (repo / "tests" / "test_calc.py").write_text(f"{tests}\n\ndef test_seen():\n    assert {VISIBLE[kind]}\n")
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "base")
    (repo / "tests" / "test_hidden.py").write_text(
        f"from calc import {kind}\n\n\ndef test_hidden():\n    assert {HIDDEN[kind]}\n"
    )
    git(repo, "add", "-AN")
    patch = git(repo, "diff")
    git(repo, "reset", "-q")
    (repo / "tests" / "test_hidden.py").unlink()
    return {
        "id": f"{kind}-{number}",
        "repo": repo.name,
        "issue": f"# {kind}() gives wrong results\n\n`{VISIBLE[kind]}` should hold.\n",
        "fail_to_pass": ["tests/test_calc.py::test_seen"],
        "test_patch": patch,
        "case": {"class": kind},
    }


def scripted(folder: Path, name: str, kinds: list[str]) -> str:
    """A model that mends these kinds, and hands in whatever it has of others."""
    program = (
        "import calc\n"
        "for name, given in (('clamp', (5, 1, 3)), ('mean', ([1, 2, 6],)), ('span', ([1, 5, 3],))):\n"
        "    if hasattr(calc, name):\n"
        "        try:\n"
        "            print(name, 'gives', getattr(calc, name)(*given))\n"
        "        except Exception as error:\n"
        "            print(name, 'gives', type(error).__name__)\n"
    )
    see = f"python3 -c {shlex.quote(program)}"
    causes = [
        call(
            "root_cause",
            cause=f"{kind} does not do what it should",
            where=[LINES[kind]],
            test=see,
            observed=SEEN[kind],
            expected=VISIBLE[kind],
            explains="the line is reached by these arguments, and gives what was seen",
        )
        for kind in kinds
    ]
    edits = [call("edit_file", path="calc.py", old=FIXES[kind][0], new=FIXES[kind][1]) for kind in kinds]
    replies = [[call("shell", command=see)], *([one] for one in causes), *([one] for one in edits)]
    replies += [[call("shell", command=see)], [call("submit", summary="mended")]]
    path = folder / f"{name}.jsonl"
    usage = {"requests": 1, "input": 100, "output": 10}
    path.write_text(
        "".join(json.dumps({"text": "so", "tool_calls": calls, "usage": usage}) + "\n" for calls in replies)
    )
    return f"scripted/{path}"


def truths(counts: Mapping[str, int], one: str, two: str) -> dict[str, Truth]:
    n, clamp, span = sum(counts.values()), counts["clamp"], counts["span"]
    return {
        "local/repair": Truth(clamp / n, clamp / n, 0),
        one: Truth(clamp / n, clamp / n, 0),
        two: Truth(1.0, (n - span) / n, span),
    }


def faults(told: Mapping[str, Any], truth: Mapping[str, Truth]) -> list[str]:
    """Where the summary does not say what is true."""
    found = []
    for model, true in truth.items():
        mine = told["models"][model]
        for name, share in (("accepted", true.accepted), ("right", true.right)):
            if mine[name] is None or abs(mine[name]["share"] - share) > 1e-4:
                found.append(f"{model}: {name} is {mine[name]}, in truth {share:.4f}")
            elif not mine[name]["low"] <= share <= mine[name]["high"]:
                found.append(f"{model}: the interval of {name} does not cover {share:.4f}: {mine[name]}")
        if mine["accepted_wrong"] != true.accepted_wrong:
            found.append(
                f"{model}: accepted_wrong is {mine['accepted_wrong']}, in truth {true.accepted_wrong}"
            )
    for pair in told["pairs"]:
        true = getattr(truth[pair["first"]], pair["figure"]) - getattr(truth[pair["second"]], pair["figure"])
        if abs(pair["difference"] - true) > 1e-4 or not pair["low"] <= true <= pair["high"]:
            found.append(f"{pair}: in truth {true:.4f}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("flags", nargs="*", help="more flags of `agent eval`, after --")
    given = parser.parse_args()
    counts = {"clamp": given.each, "mean": given.each, "span": given.each - 1}
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        make_cases(folder, counts)
        one, two = scripted(folder, "one", ["clamp"]), scripted(folder, "two", ["clamp", "mean", "span"])
        models = [part for model in ("local/repair", one, two) for part in ("--model", model)]
        flags = ["--out", "out", "--workers", str(given.workers), "--attempts", "1", *given.flags, *models]
        subprocess.run(command("eval", "cases.jsonl", *flags), cwd=folder, env=environment(folder))
        told = json.loads((folder / "out" / "summary.json").read_text())
        print((folder / "out" / "recommended.toml").read_text())
        found = faults(told, truths(counts, one, two))
        print("\n".join(found) or "all figures are the truth, and intervals cover it")
        agent(folder, "doctor")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
