"""What a ladder costs against always asking the dearest model, on recorded sessions.

    python -m tests.benchmarks.ladders

No live model answers: each session is written down below, and `agent fix` replays it from the command line over the
real SDK, against a loopback server that counts tokens at four characters each and its cache by the API's published
rules. The gate and its verdicts are real, and so are the catalogue's prices. What the cheap model gets wrong here is
the script's choice, so the table shows what each way up the ladder costs, not how often it is taken. The dearest model
is taken to be right at its first attempt everywhere, which flatters it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docker.project import ABOVE, FIXED_LINE, ISSUE, fix, git, make_project
from tests.loopback.anthropic_server import Answer, AnthropicServer

CHEAP, DEAR = "anthropic/claude-haiku-5-5", "anthropic/claude-opus-5-5"
LADDER = ("local/repair", CHEAP, DEAR)

MEDIAN_TEST = """\
import calc


def test_median():
    assert calc.median([3, 1, 2]) == 2
    assert calc.median([4, 1, 2, 9]) == 3
"""
MEDIAN_ISSUE = (
    "# No median\n\n`calc.median(values)` is wanted: for an even number the mean of the middle two.\n"
)
MEDIAN = "tests/test_median.py::test_median"
MEDIAN_RIGHT = """\
def median(values):
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def mean("""
MEDIAN_WRONG = "def median(values):\n    return sorted(values)[len(values) // 2]\n\n\ndef mean("
MEDIAN_WRONG_TOO = "def median(values):\n    return sorted(values)[(len(values) - 1) // 2]\n\n\ndef mean("
RULES = '[[models.routes]]\nclass = "change of many files"\nwhen = { min_named = 3 }\nstart = "last"\n'


@dataclass(frozen=True)
class Task:
    name: str
    issue: str
    test: str
    files: dict[str, str]
    """Added to the project."""
    ladder: Sequence[Answer]
    """All that the ladder's models are recorded to answer, attempt after attempt."""
    alone: Sequence[Answer]
    """The same of the dearest model."""


def session(test: str, observed: str, cause: str, old: str, new: str) -> list[Answer]:
    """A short repair: look, reproduce, state the cause, edit, test, submit."""
    path = {"path": "calc.py"}
    stated = {"cause": cause, "where": ["calc.py:1-6"], "test": test, "observed": observed}
    stated |= {"expected": "what the test asks for", "explains": "the test calls it, and that comes of it"}
    return [
        Answer("I look at the code.", [("read_file", path), ("search", {"pattern": "def "})]),
        Answer("I reproduce it.", [("run_tests", {"ids": [test]})], thinking="What does it do there? " * 20),
        Answer("I see the cause.", [("root_cause", stated)], thinking="Which line is wrong, and why? " * 40),
        Answer("I mend it.", [("edit_file", {**path, "old": old, "new": new})]),
        Answer("I check it.", [("run_tests", {})]),
        Answer("Done.", [("submit", {"summary": "mended"})]),
    ]


def median(new: str) -> list[Answer]:
    observed = "AttributeError: module 'calc' has no attribute 'median'"
    return session(MEDIAN, observed, "there is no median", "def mean(", new)


CLAMP = session(ABOVE, "assert 1 == 3", "clamp returns low above the range", *FIXED_LINE)
RIGHT, WRONG, WRONG_TOO = median(MEDIAN_RIGHT), median(MEDIAN_WRONG), median(MEDIAN_WRONG_TOO)
MEDIAN_FILES = {"tests/test_median.py": MEDIAN_TEST}
TASKS = (
    Task("a small edit", ISSUE, ABOVE, {}, [], CLAMP),
    Task("beyond small edits", MEDIAN_ISSUE, MEDIAN, MEDIAN_FILES, RIGHT, RIGHT),
    Task("right at the second try", MEDIAN_ISSUE, MEDIAN, MEDIAN_FILES, [*WRONG, *RIGHT], RIGHT),
    Task("beyond the cheap model", MEDIAN_ISSUE, MEDIAN, MEDIAN_FILES, [*WRONG, *WRONG_TOO, *RIGHT], RIGHT),
    Task(
        "routed to the last rung",
        MEDIAN_ISSUE + "\nSeen in calc.py, tests/test_calc.py and tests/test_median.py.\n",
        MEDIAN,
        {**MEDIAN_FILES, "agent.toml": RULES},
        RIGHT,
        RIGHT,
    ),
)


def replayed(task: Task, models: Sequence[str], answers: Sequence[Answer]) -> dict[str, Any]:
    """The result of a run with these models."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repo = make_project(folder, red=task.test == ABOVE)
        for path, text in task.files.items():
            (repo / path).write_text(text)
        git(repo, "add", "-A")
        git(repo, "commit", "-q", "--allow-empty", "-m", task.name)
        (folder / "issue.md").write_text(task.issue)
        more = [word for model in models[1:] for word in ("--model", model)]
        with AnthropicServer(answers) as server:
            code, result, stderr = fix(
                folder, models[0], *more, "--fail-to-pass", task.test, **server.environ
            )
            assert len(server.requests) == len(answers), "the run took another way than was recorded"
    assert code == 0, stderr
    return result


def main() -> None:
    print(f"ladder: {', '.join(LADDER)}; the dearest alone: {DEAR}\n")
    print(f"{'task':<24} {'attempts':>8}  {'accepted by':<32} {'ladder':>10} {'dearest':>10}  USD")
    sums = [0.0, 0.0]
    for task in TASKS:
        ladder, alone = replayed(task, LADDER, task.ladder), replayed(task, [DEAR], task.alone)
        costs = [float(result["cost_usd"]) for result in (ladder, alone)]
        sums = [total + cost for total, cost in zip(sums, costs, strict=True)]
        last = ladder["attempts"][-1]["model"]
        print(f"{task.name:<24} {len(ladder['attempts']):>8}  {last:<32} {costs[0]:>10.5f} {costs[1]:>10.5f}")
    print(f"{'together':<24} {'':>8}  {'':<32} {sums[0]:>10.5f} {sums[1]:>10.5f}")


if __name__ == "__main__":
    main()
