"""Lines that only failing tests run, observed in real sandboxes on a small project."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from agent.environment import TOOLS
from agent.gate import Runner
from agent.git import REGULAR, Repository
from agent.spectrum import Spectrum, spectrum, told
from sandboxes.docker import Docker
from tests.docker.project import ABOVE, RED, TESTS, git, make_project

pytestmark = pytest.mark.docker


@asynccontextmanager
async def runner_on(repository: Repository, folder: Path, command: str) -> AsyncIterator[Runner]:
    docker = await Docker.connect()
    tar = folder / "tree.tar"
    repository.write_tar(repository.tree_of(repository.resolve("HEAD")), tar)
    environment = await docker.environment(tar, tools_dir=TOOLS, log=lambda text: None)
    yield Runner(docker, repository, environment, command, 300, "spectrum-tests", lambda text: None)


def observed(
    folder: Path,
    *asked: tuple[list[str], Mapping[str, str]],
    command: str = "python -m pytest",
    passing: tuple[str, ...] = (),
    seconds: float = 20.0,
) -> list[Spectrum]:
    """For each of `asked` (failing tests, files to lay on the base commit of the project in `folder`) the spectrum."""

    async def work() -> list[Spectrum]:
        with Repository(folder / "repo") as repository:
            base = repository.tree_of(repository.resolve("HEAD"))
            found = []
            async with runner_on(repository, folder, command) as runner:
                for failing, files in asked:
                    new = {
                        path: (REGULAR, repository.add_blob(text.encode())) for path, text in files.items()
                    }
                    tree = repository.with_files(base, new)
                    found.append(await spectrum(runner, tree, failing, passing=passing, seconds=seconds))
            return found

    return anyio.run(work)


def test_the_line_that_only_the_red_test_runs_comes_first(tmp_path: Path) -> None:
    make_project(tmp_path, red=False)
    [found] = observed(tmp_path, ([ABOVE], {"tests/test_calc.py": TESTS + RED}))
    assert found.reason == ""
    assert (found.failing, found.passing) == (1, 3)
    first = found.suspects[0]
    assert (first.path, first.line, first.text.strip()) == ("calc.py", 5, "return low")
    assert (first.failing, first.passing, first.score) == (1, 0, 1.0)
    assert {s.line: s.passing for s in found.suspects} == {1: 2, 2: 2, 4: 1, 5: 0}  # what runs, nothing else
    text = told(found)
    assert text.startswith(
        "Lines that only the failing test ran, and none of 3 passing tests:\n- calc.py:5\n"
    )
    assert "\n- calc.py:5 (0 of 3 passing): return low\n" in text
    assert "\n- calc.py:4 (1 of 3 passing): if value > high:" in text
    assert "mean" not in text and "test_calc" not in text


def test_files_and_parametrised_tests_may_be_named_and_passing_ones_chosen(tmp_path: Path) -> None:
    make_project(tmp_path, red=False)
    more = (
        "import pytest\nfrom calc import clamp\n\n\n@pytest.mark.parametrize('value', [2, 5, 6])\n"
        "def test_up_to_3(value):\n    assert clamp(value, 1, 3) == min(value, 3)\n"
    )
    files = {"tests/test_more.py": more}
    passing = ("tests/test_calc.py::test_below", "tests/test_more.py::test_up_to_3[2]")
    names = ["tests/test_more.py::test_up_to_3", "tests/test_more.py"]
    for found in observed(tmp_path, *(([name], files) for name in names), passing=passing):
        # Of the three one passes: its lines are no failing test's.
        assert (found.failing, found.passing) == (2, 2)
        counts = {s.line: (s.failing, s.passing) for s in found.suspects}
        assert counts == {1: (2, 2), 2: (2, 2), 4: (2, 1), 5: (2, 0)}
    assert "- calc.py:5 (2 of 2 failing, 0 of 2 passing): return low" in told(found)


def test_a_test_that_never_ends_is_observed_too(tmp_path: Path) -> None:
    make_project(tmp_path)
    endless = "def endless(n):\n    while n:\n        n = n + 1\n\n\ndef other():\n    return 1\n"
    test = "from loop import endless, other\n\n\ndef test_ends():\n    endless(1)\n\n\ndef test_other():\n    other()\n"
    files = {"loop.py": endless, "tests/test_loop.py": test}
    [found] = observed(tmp_path, (["tests/test_loop.py::test_ends"], files), seconds=6)
    assert {s.line for s in found.suspects if not s.passing} == {1, 2, 3}
    assert found.failing == 1


def test_where_nothing_can_be_observed_it_says_why(tmp_path: Path) -> None:
    make_project(tmp_path)
    none = "def test_n():\n    assert 0\n"
    cases: list[tuple[list[str], dict[str, str], str]] = [
        ([], {}, "no test fails"),
        (["tests/test_calc.py::test_mean"], {}, "the tests pass when they run alone"),
        (["tests/test_calc.py::test_gone"], {}, "the tests were not found"),
        ([ABOVE], {"conftest.py": "raise RuntimeError('no\\x1b[31m way')\n"}, "RuntimeError: no"),
        (["tests/test_none.py"], {"tests/test_none.py": none}, "run no line of the product"),
    ]
    found = observed(tmp_path, *(case[:2] for case in cases))
    found += observed(tmp_path, ([ABOVE], {}), command="python -m unittest")
    reasons = [case[2] for case in cases] + [
        "only pytest's tests can be observed, not those of `python -m unittest`"
    ]
    for one, reason in zip(found, reasons, strict=True):
        assert reason in one.reason
        assert "\x1b" not in one.reason
        assert one.suspects == ()
        assert told(one) == ""


def test_what_a_forged_result_tells_of_other_files_is_not_believed(tmp_path: Path) -> None:
    repo = make_project(tmp_path)
    forged = {
        "missing": [], "hanging": [], "passed": ["a", "b"], "tests": {}, "sources": {"calc.py": "evil\n"},
        "failing": {ABOVE: {"ok": False, "seconds": 0.1, "spawns": False, "frames": [["/etc/passwd", 1]]}},
        "lines": {"/etc/passwd": [[1, 1, 0]], "tests/test_calc.py": [[4, 1, 0]], "calc.py": [[99, 1, 0], [5, 1, 0]]},
        "modules": [], "startup": 1.0, "known_seconds": 1.0,
    }  # fmt: skip
    (repo / "conftest.py").write_text(
        "import base64, os, zlib\n\n\ndef pytest_unconfigure():\n"
        f"    data = base64.b64encode(zlib.compress({json.dumps(forged)!r}.encode()))\n"
        "    open(os.environ['REPAIR_OUT'], 'wb').write(data)\n"
    )
    git(repo, "commit", "-qam", "a forger")
    [found] = observed(tmp_path, ([ABOVE], {}))
    assert [(s.path, s.line, s.text.strip()) for s in found.suspects] == [("calc.py", 5, "return low")]
    (repo / "conftest.py").write_text(
        "import os\n\n\ndef pytest_unconfigure():\n    open(os.environ['REPAIR_OUT'], 'wb').write(b'nonsense')\n"
    )
    git(repo, "commit", "-qam", "nonsense")
    assert "the result is broken" in observed(tmp_path, ([ABOVE], {}))[0].reason
