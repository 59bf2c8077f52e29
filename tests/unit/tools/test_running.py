"""The run_tests tool, with real pytest."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.tool import Result
from tools.workspace import Workspace

Use = Callable[..., Result]
Alive = Callable[[int], bool]

SUITE = """
import pytest
def test_good(): pass
def test_bad():
    print("a hint on standard output")
    assert 1 + 1 == 3, "sums are off \\x1b[31m"
class TestA:
    def test_m(self): pass
@pytest.mark.parametrize("v", ["a b", "$(touch owned)"])
def test_p(v): pass
@pytest.mark.skip
def test_s(): pass
"""
UNITTEST = """
import unittest

class TestA(unittest.TestCase):
    def test_good(self): pass
    def test_bad(self): self.assertEqual(1 + 1, 3, "sums are off \\x1b[31m \\ud800 \\0")
    def test_parts(self):
        for part in (1, 2):
            with self.subTest(part=part): self.assertEqual(part, 1)
    @unittest.skip("later")
    def test_s(self): pass
    @unittest.expectedFailure
    def test_x(self): raise KeyError("k")

class TestB(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise OSError("no database")
    def test_b(self): pass
"""


@pytest.fixture
def suite(root: Path) -> Path:
    (root / "tests").mkdir()
    (root / "tests/test_a.py").write_text(SUITE)
    return root


def data(result: Result) -> dict[str, Any]:
    assert result.data is not None
    return dict(result.data)


def test_the_whole_suite(good: Use, suite: Path) -> None:
    result = good("run_tests")
    found = data(result)
    assert found["outcomes"] == {
        "tests/test_a.py::test_good": "passed",
        "tests/test_a.py::test_bad": "failed",
        "tests/test_a.py::TestA::test_m": "passed",
        "tests/test_a.py::test_p[a b]": "passed",
        "tests/test_a.py::test_p[$(touch owned)]": "passed",
        "tests/test_a.py::test_s": "skipped",
    }
    assert found["counts"] == {"passed": 4, "failed": 1, "skipped": 1}
    assert (found["exit_code"], found["timed_out"], found["not_found"]) == (1, False, [])
    assert found["collection_errors"] == []
    [failure] = found["failures"]
    assert failure["id"] == "tests/test_a.py::test_bad"
    assert failure["message"].startswith("AssertionError: sums are off")
    assert "tests/test_a.py:6: AssertionError" in failure["detail"]
    lines = result.text.split("\n")
    assert lines[0].startswith("1 failed, 4 passed, 1 skipped in ")
    assert lines[2] == "FAILED tests/test_a.py::test_bad"
    assert lines[3].startswith("AssertionError: sums are off")
    assert "\x1b" not in result.text
    printed = result.text.rpartition("[all that the tests printed is in ")[2].rstrip("]")
    assert "a hint on standard output" in good("read_file", path=printed).text


def test_chosen_tests_only(good: Use, suite: Path) -> None:
    ids = ["tests/test_a.py::test_p[$(touch owned)]", "tests/test_a.py::TestA"]
    assert data(good("run_tests", ids=ids))["outcomes"] == {
        "tests/test_a.py::test_p[$(touch owned)]": "passed",
        "tests/test_a.py::TestA::test_m": "passed",
    }
    assert not (suite / "owned").exists()
    assert len(data(good("run_tests", ids=["tests"]))["outcomes"]) == 6
    assert len(data(good("run_tests", ids=["./tests/test_a.py"]))["outcomes"]) == 6
    assert len(data(good("run_tests", ids=[]))["outcomes"]) == 6


def test_nothing_is_left_in_the_workspace(good: Use, suite: Path) -> None:
    good("run_tests")
    assert sorted(p.name for p in suite.rglob("*") if ".git" not in p.parts) == ["test_a.py", "tests"]
    assert good("diff").text.startswith("no changes")


@pytest.mark.parametrize(
    ("test_id", "near"),
    [
        ("tests/test_a.py::test_god", "tests/test_a.py::test_good"),
        ("tests/test_a.py::test_m", "tests/test_a.py::TestA::test_m"),
        ("test_a.py::test_good", "tests/test_a.py"),
        ("tests/test_b.py", "tests/test_a.py"),
        ("--collect-only", None),
        ("-x", None),
        ("zzz/../../../../etc/passwd::x", None),
    ],
)
def test_ids_that_do_not_exist(use: Use, suite: Path, test_id: str, near: str | None) -> None:
    result = use("run_tests", ids=[test_id])
    assert result.is_error
    assert data(result)["not_found"] == [test_id]
    assert f"not found: {test_id}" in result.text
    if near:
        assert near in result.text.split("\n")[0]


def test_collection_errors(good: Use, suite: Path) -> None:
    (suite / "tests/test_broken.py").write_text("import nothing_of_that_name\n")
    result = good("run_tests")
    [error] = data(result)["collection_errors"]
    assert error["id"] == "tests/test_broken.py"
    assert error["message"] == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert data(result)["outcomes"] == {"tests/test_broken.py": "error"}
    assert data(result)["failures"] == []
    assert "ERROR tests/test_broken.py" in result.text


def test_a_conftest_that_breaks_pytest_shows_the_output(use: Use, suite: Path) -> None:
    (suite / "conftest.py").write_text("raise RuntimeError('broken conftest')\n")
    result = use("run_tests")
    assert result.is_error
    assert data(result)["outcomes"] == {}
    assert "RuntimeError: broken conftest" in result.text
    assert "exit code 4" in result.text


def test_a_runner_that_is_missing(use: Use, workspace: Workspace) -> None:
    workspace.test_command = "no-such-python -m pytest"
    result = use("run_tests")
    assert result.is_error
    assert "no report (exit code 127)" in result.text
    assert "no-such-python" in result.text


def test_a_command_that_is_no_suite(use: Use, workspace: Workspace) -> None:
    workspace.test_command = "go test ./a; go test ./b"
    result = use("run_tests")
    assert result.is_error
    assert "more than once" in result.text


def test_a_plain_command_is_one_test(good: Use, workspace: Workspace, root: Path) -> None:
    workspace.test_command = "grep -c right answer"
    (root / "answer").write_text("wrong")
    result = good("run_tests", ids=["tests/a"])
    assert data(result)["outcomes"] == {"exit code::grep -c right answer": "failed"}
    assert "exit code of the whole command alone" in result.text
    assert "ids were not looked at" in result.text
    (root / "answer").write_text("right")
    assert data(good("run_tests"))["outcomes"] == {"exit code::grep -c right answer": "passed"}


def test_a_plain_command_that_is_not_there(use: Use, workspace: Workspace) -> None:
    workspace.test_command = "no-such-checker all"
    result = use("run_tests")
    assert result.is_error
    assert "no report (exit code 127)" in result.text
    assert "no-such-checker: command not found" in result.text


def test_unittest(good: Use, workspace: Workspace, root: Path) -> None:
    workspace.test_command = f"{sys.executable} -m unittest"
    (root / "tests").mkdir()
    (root / "tests/__init__.py").write_text("")
    (root / "tests/test_a.py").write_text(UNITTEST)
    (root / "tests/test_b.py").write_text("import missing_thing\n")
    before = sorted((root / "tests").iterdir())
    result = good("run_tests")
    assert data(result)["outcomes"] == {
        "tests/test_a.py::TestA::test_good": "passed",
        "tests/test_a.py::TestA::test_bad": "failed",
        "tests/test_a.py::TestA::test_parts": "failed",
        "tests/test_a.py::TestA::test_s": "skipped",
        "tests/test_a.py::TestA::test_x": "xfailed",
        "tests/test_a.py::TestB": "error",
        "tests/test_b.py": "error",
    }
    [broken] = data(result)["collection_errors"]
    assert broken["message"] == "ModuleNotFoundError: No module named 'missing_thing'"
    texts = {failure["id"]: failure["detail"] for failure in data(result)["failures"]}
    assert "sums are off" in texts["tests/test_a.py::TestA::test_bad"]
    assert "(part=2)" in result.text
    assert data(result)["exit_code"] == 1
    assert data(good("run_tests", ids=["tests/test_a.py::TestA::test_good"]))["outcomes"] == {
        "tests/test_a.py::TestA::test_good": "passed"
    }
    assert sorted(path for path in (root / "tests").iterdir() if path.name != "__pycache__") == before
    assert {path.name for path in root.iterdir()} <= {"tests", ".git", "__pycache__"}


def test_unittest_runs_tests_in_the_order_that_is_asked_for(
    good: Use, workspace: Workspace, root: Path
) -> None:
    workspace.test_command = f"{sys.executable} -m unittest"
    (root / "test_a.py").write_text(
        "import unittest\nSEEN = []\nclass A(unittest.TestCase):\n"
        "    def test_a(self): SEEN.append('a')\n"
        "    def test_b(self): self.assertEqual(SEEN, ['a'])\n"
    )
    ids = ["test_a.py::A::test_a", "test_a.py::A::test_b"]
    assert data(good("run_tests", ids=ids))["outcomes"] == dict.fromkeys(ids, "passed")
    backwards = data(good("run_tests", ids=ids[::-1]))["outcomes"]
    assert backwards == {ids[0]: "passed", ids[1]: "failed"}


def test_unittest_runs_files_that_its_arguments_do_not_name(
    good: Use, workspace: Workspace, root: Path
) -> None:
    workspace.test_command = f"{sys.executable} -m unittest test_a"
    (root / "test_a.py").write_text(UNITTEST)
    (root / "test_b.py").write_text(
        "import unittest\nclass B(unittest.TestCase):\n    def test_b(self): pass\n"
    )
    assert data(good("run_tests", ids=["test_b.py"]))["outcomes"] == {"test_b.py::B::test_b": "passed"}


def test_doctest(good: Use, workspace: Workspace, root: Path) -> None:
    workspace.test_command = f"{sys.executable} -m doctest calc.py notes.txt"
    (root / "calc.py").write_text('def one():\n    """\n    >>> one()\n    1\n    """\n    return 2\n')
    (root / "notes.txt").write_text(">>> 1 + 1\n2\n")
    result = good("run_tests")
    assert data(result)["outcomes"] == {"calc.py::calc.one": "failed", "notes.txt": "passed"}
    assert "Expected:" in result.text


def test_what_a_plain_command_leaves_running_does_not_hold_the_call(good: Use, workspace: Workspace) -> None:
    workspace.test_command = "echo began; sleep 60 & true"
    began = time.monotonic()
    assert len(data(good("run_tests"))["outcomes"]) == 1
    assert time.monotonic() - began < 20


def test_a_script_of_package_json(good: Use, use: Use, workspace: Workspace, root: Path) -> None:
    workspace.test_command = "cd web && npm test"
    (root / "web").mkdir()
    (root / "web/package.json").write_text(
        '{"scripts": {"pretest": "echo first", "test": "unit-checks --all"}}'
    )
    programs = root / "web/node_modules/.bin"
    programs.mkdir(parents=True)
    (programs / "mocha").write_text("#!/bin/sh\nexit 3\n")
    (programs / "mocha").chmod(0o755)
    # The script runs no runner that we know, so that npm runs it, which is not there or fails.
    assert "mocha" not in use("run_tests").text
    (root / "web/package.json").write_text('{"scripts": {"pretest": "echo first", "test": "mocha"}}')
    result = use("run_tests")
    assert result.is_error
    assert "no report (exit code 3)" in result.text
    assert "first" in result.text
    workspace.test_command = "npm test"
    assert "package.json has no script 'test'" in use("run_tests").text


def test_a_forged_report_is_refused(use: Use, workspace: Workspace) -> None:
    workspace.test_command = "echo '<!DOCTYPE x><testsuite/>' > {junit}"
    result = use("run_tests")
    assert result.is_error
    assert "document type" in result.text


def test_time_out_kills_the_tests(use: Use, suite: Path, alive: Alive) -> None:
    (suite / "tests/test_slow.py").write_text(
        "import os, subprocess, time\n"
        "def test_slow():\n"
        "    child = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        "    open('pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "    time.sleep(300)\n"
    )
    result = use("run_tests", ids=["tests/test_slow.py"], timeout=5)
    assert result.is_error
    assert result.text.startswith("timed out after 5 s")
    assert data(result)["timed_out"] is True
    for pid in (suite / "pids").read_text().split():
        assert not alive(int(pid))


def test_what_tests_leave_running_does_not_hold_the_call(good: Use, suite: Path, alive: Alive) -> None:
    (suite / "tests/test_leak.py").write_text(
        "import subprocess\ndef test_leak():\n    open('pid', 'w').write(str(subprocess.Popen(['sleep', '300']).pid))\n"
    )
    before = time.monotonic()
    assert data(good("run_tests", ids=["tests/test_leak.py"], timeout=250))["timed_out"] is False
    assert time.monotonic() - before < 200, "the leaked process would have run for 300 s"
    assert not alive(int((suite / "pid").read_text()))


def test_many_failures_are_bounded_and_counted(good: Use, suite: Path) -> None:
    (suite / "tests/test_many.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', range(300))\ndef test_n(n): assert not n + 1, f'{n}' * 3000\n"
    )
    result = good("run_tests", ids=["tests/test_many.py"])
    assert len(result.text) < 30_000
    assert "further failures" in result.text
    assert len(data(result)["failures"]) == 300
    assert sum(len(f["detail"]) for f in data(result)["failures"]) <= 500_000


def test_the_assertion_comes_before_the_trace_and_few_failures_in_detail(good: Use, suite: Path) -> None:
    (suite / "tests/test_six.py").write_text(
        "def deep(n, text):\n    # on the way down\n    assert n, text\n    deep(n - 1, text)\n"
        + "".join(f"def test_{n}(): deep(4, 'fault {n} of six')\n" for n in range(6))
        + "def test_passes(): pass\n"
    )
    head, *parts = good("run_tests", ids=["tests/test_six.py"]).text.split("\n\nFAILED ")
    assert head.startswith("6 failed, 1 passed")
    assert len(parts) == 6 and "test_passes" not in "".join(parts)
    for number, part in enumerate(parts):
        lines = part.split("\n")
        assert lines[1].startswith(f"AssertionError: fault {number} of six")
        assert "tests/test_six.py:3: AssertionError" in part
        assert ("# on the way down" in part) == (number < 3)


def test_ids_that_do_not_fit_on_a_command_line(good: Use, suite: Path) -> None:
    name = f"test_with_a_name_that_is_{'very_' * 50}long"
    (suite / "tests/test_many.py").write_text(
        f"import pytest\n@pytest.mark.parametrize('n', range(500))\ndef {name}(n): pass\n"
    )
    ids = [f"tests/test_many.py::{name}[{n}]" for n in range(500)]
    assert sum(map(len, ids)) > 131_072, "more than one argument of a command may hold"
    assert data(good("run_tests", ids=ids))["counts"] == {"passed": 500}


def test_the_session_of_the_shell_stays_apart(good: Use, suite: Path) -> None:
    good("shell", command="cd tests; export PYTEST_ADDOPTS=--collect-only")
    assert len(data(good("run_tests"))["outcomes"]) == 6


@pytest.mark.parametrize("ids", ["tests/test_a.py", [1], [["a"]]])
def test_ids_must_be_a_list_of_strings(use: Use, ids: object) -> None:
    result = use("run_tests", ids=ids)
    assert result.is_error
    assert "must be an array of strings" in result.text


def test_an_id_that_no_command_can_hold(use: Use) -> None:
    assert "not a test id" in use("run_tests", ids=["a\0b"]).text


def test_what_breaks_every_test_is_told_once(good: Use, suite: Path) -> None:
    (suite / "tests/test_alike.py").write_text(
        "def f(): raise KeyError('gone')\ndef test_1(): f()\ndef test_2(): f()\ndef test_3(): assert 'no' == ''\n"
    )
    result = good("run_tests", ids=["tests/test_alike.py"])
    assert result.text.count("KeyError: 'gone'") < 4
    assert "FAILED tests/test_alike.py::test_1\nin the same way: tests/test_alike.py::test_2\n" in result.text
    assert "FAILED tests/test_alike.py::test_3\n" in result.text


def test_a_run_tells_what_broke_since_an_earlier_one(good: Use, suite: Path) -> None:
    module = suite / "tests/test_since.py"
    module.write_text("def test_1(): pass\ndef test_2(): pass\n")
    assert "now fail" not in good("run_tests", ids=["tests/test_since.py"]).text
    module.write_text("def test_1(): pass\ndef test_2(): assert 1 == 2\n")
    assert ": 1 test that passed before now fail]" in good("run_tests", ids=["tests/test_since.py"]).text
