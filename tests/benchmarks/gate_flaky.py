"""Verdicts of the gate on a suite of which 5 % of the tests are flaky.

    python -m tests.benchmarks.gate_flaky [RUNS]

40 tests, of which two fail by chance in one of three runs. In turn a right patch, one that mends the fault but breaks
a steady test, a right one again, and one that mends nothing are judged, each with a baseline of its own.
Prints each false verdict as it comes, then how many of RUNS (200 unless told) were false.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import anyio

from agent.environment import TOOLS
from agent.gate import Runner
from agent.gate.judge import judge
from agent.git import Repository
from sandboxes.docker import Docker
from tests.docker.project import BUGGY, FIXED_LINE, git

PRODUCT = (
    BUGGY
    + "\n\ndef label(value):\n    return f'<{value}>'\n\n\ndef title(value):\n    return value.title()\n"
)
FIXED = PRODUCT.replace(*FIXED_LINE)
PATCHES = {
    "right": (FIXED, True),
    "breaks a steady test": (FIXED.replace("f'<{value}>'", "f'[{value}]'"), False),
    "right, too": (FIXED.replace("sum(values) / len(values)", "sum(values) / max(1, len(values))"), True),
    "mends nothing": (PRODUCT.replace("value < low", "value <= low"), False),
}
STEADY = "from calc import clamp, label\n\n\n" + "\n\n".join(
    f"def test_steady{n}():\n    assert label({n}) == '<{n}>'\n" for n in range(37)
)
FLAKY = "import os\n\nfrom calc import title\n\n\n" + "\n\n".join(
    f"def test_flaky{n}():\n    assert os.urandom(1)[0] >= 85\n    assert title('a b') == 'A B'\n"
    for n in range(2)
)
RED = "from calc import clamp\n\n\ndef test_above():\n    assert clamp(5, 1, 3) == 3\n"


async def main() -> None:
    runs = int(sys.argv[1]) if sys.argv[1:] else 200
    docker = await Docker.connect()
    false: list[str] = []
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        repo = Path(folder) / "repo"
        (repo / "tests").mkdir(parents=True)
        files = {"steady": STEADY, "flaky": FLAKY, "red": RED}
        for name, text in files.items():
            (repo / "tests" / f"test_{name}.py").write_text(text)
        (repo / "conftest.py").write_text("")
        (repo / "calc.py").write_text(PRODUCT)
        git(repo, "init", "-q", "-b", "main")
        git(repo, "add", "-A")
        git(repo, "commit", "-q", "-m", "base")
        with Repository(repo) as repository:
            base = repository.resolve("HEAD")
            tar = Path(folder) / "base.tar"
            repository.write_tar(repository.tree_of(base), tar)
            environment = await docker.environment(tar, tools_dir=TOOLS, log=lambda _: None)
            runner = Runner(docker, repository, environment, "python -m pytest", 60, "flaky", lambda _: None)
            for number in range(runs):
                what, (text, good) = list(PATCHES.items())[number % len(PATCHES)]
                (repo / "calc.py").write_text(text)
                patch = git(repo, "diff").encode()
                verdict = await judge(
                    runner, patch, base=base, fail_to_pass=["tests/test_red.py::test_above"]
                )
                evidence = next((c.evidence for c in verdict.checks if c.name == "pass_to_pass"), "")
                seen["a flaky test failed"] += "flaky" in evidence
                if verdict.accepted != good:
                    failed = [check for check in verdict.checks if not check.passed]
                    false.append(f"run {number}, {what}: {verdict.status} {failed}")
                    print(false[-1], flush=True)
    print(f"{len(false)} of {runs} verdicts false; flaky tests failed in {seen.total()} of the suite's runs")


if __name__ == "__main__":
    anyio.run(main)
