"""Test commands and JUnit reports, on what real pytest writes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.suite import NotASuite, TestOutcome, parse_junit, suite_command

# Writes what pytest itself calls each test, to compare with what is read from the XML.
CONFTEST = """
import json
def pytest_runtest_logreport(report):
    with open("ids.jsonl", "a") as f:
        f.write(json.dumps(report.nodeid) + "\\n")
"""

TEST_A = r"""
import unittest
import pytest
from helper import Base, deco

def test_ok(): pass
def test_fail():
    assert 1 == 2, "boom\x1b[31m"
class TestC:
    def test_m(self): pass
    class TestN:
        def test_deep(self): pass
class TestInherited(Base): pass
@deco
def test_wrapped(): pass
@pytest.mark.parametrize("v", ["a/b", "a::b", "x[y]", "\xfcn\xef", "tab\t", "\x1b[0m", "a b", "nul\0", "a\\b", "",
    "\u65e5", "l\nl", "<&>\"'", "]", "\ud800", "\x7f", "a.py::test[x]", "#x41", "; touch owned", "$(touch owned)"])
def test_p(v): pass
@pytest.mark.parametrize("v", [b"\x00\xff", 1.5, None, object()])
def test_q(v): pass
class U(unittest.TestCase):
    def test_u(self): pass
    def test_s(self):
        for i in range(3):
            with self.subTest(i=i): self.assertNotEqual(i, 1)
@pytest.mark.xfail
def test_xf(): assert 0
@pytest.mark.xfail
def test_xp(): pass
@pytest.mark.xfail(strict=True)
def test_xps(): pass
@pytest.mark.skip(reason="no")
def test_sk(): pass
@pytest.fixture
def bad_setup(): raise RuntimeError("set-up")
@pytest.fixture
def bad_teardown():
    yield
    raise RuntimeError("tear-down")
def test_se(bad_setup): pass
def test_te(bad_teardown): pass
def test_fte(bad_teardown): assert 0
def test_sub(subtests):
    for i in range(2):
        with subtests.test(msg="m", i=i): assert i
def test_sub_ok(subtests):
    with subtests.test(msg="m"): pass
"""

FILES = {
    "conftest.py": CONFTEST,
    "helper.py": "def deco(f):\n    def inner(): f()\n    return inner\n"
    "class Base:\n    def test_inherited(self): pass\n",
    "tests/test_a.py": TEST_A,
    "tests/test_broken.py": "import nonexistent_zz\n",
    "tests/test_skipped.py": "import pytest\npytest.skip('not here', allow_module_level=True)\n",
    "src/pkg/__init__.py": "",
    "src/pkg/tests/__init__.py": "",
    "src/pkg/tests/test_in.py": 'def test_in(): pass\ndef f():\n    """\n    >>> 1+1\n    3\n    """\n',
    "odd[dir/test_odd.py": "def test_odd(): pass\nclass TestOdd:\n    def test_z(self): pass\n",
    "README.txt": ">>> 1\n1\n",
    "-rf.py": "def test_dash(): pass\n",
    "@args.py": "def test_at(): pass\n",
    "sub.dir/test_we_ird.py": "def test_w(): pass\n",
}
OPTIONS = "--doctest-modules --doctest-glob='*.txt' --continue-on-collection-errors -p no:randomly"


def run(root: Path, command: str, ids: Sequence[str] = ()) -> dict[str, TestOutcome]:
    report = root / "out" / "report.xml"
    report.unlink(missing_ok=True)
    python = f"{shlex.quote(sys.executable)} -B "
    line = suite_command(command.replace("python ", python), str(report), ids)
    done = subprocess.run(["bash", "-c", line], cwd=root, capture_output=True, timeout=120)
    assert report.exists(), done.stdout.decode() + done.stderr.decode()
    return parse_junit(report.read_bytes())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def whole(root: Path) -> dict[str, TestOutcome]:
    return run(root, f"python -m pytest -q {OPTIONS}")


def test_ids_are_pytests_own_node_ids(root: Path, whole: dict[str, TestOutcome]) -> None:
    real = {json.loads(line) for line in (root / "ids.jsonl").read_text().splitlines()}
    assert len(real) > 40
    assert {o.id for o in whole.values() if not o.collection} == real
    assert all(key == outcome.id for key, outcome in whole.items())


@pytest.mark.parametrize(
    ("test_id", "outcome"),
    [
        ("tests/test_a.py::test_ok", "passed"),
        ("tests/test_a.py::test_fail", "failed"),
        ("tests/test_a.py::TestC::TestN::test_deep", "passed"),
        ("tests/test_a.py::TestInherited::test_inherited", "passed"),
        ("tests/test_a.py::test_wrapped", "passed"),
        ("tests/test_a.py::U::test_u", "passed"),
        ("tests/test_a.py::U::test_s", "failed"),
        ("tests/test_a.py::test_xf", "xfailed"),
        ("tests/test_a.py::test_xp", "passed"),  # the XML does not tell it from a pass
        ("tests/test_a.py::test_xps", "failed"),
        ("tests/test_a.py::test_sk", "skipped"),
        ("tests/test_a.py::test_se", "error"),
        ("tests/test_a.py::test_te", "error"),
        ("tests/test_a.py::test_fte", "failed"),
        ("tests/test_a.py::test_sub", "failed"),
        ("tests/test_a.py::test_sub_ok", "passed"),
        ("src/pkg/tests/test_in.py::test_in", "passed"),
        ("src/pkg/tests/test_in.py::src.pkg.tests.test_in.f", "failed"),
        ("README.txt::README.txt", "passed"),
        ("odd[dir/test_odd.py::TestOdd::test_z", "passed"),
        ("sub.dir/test_we_ird.py::test_w", "passed"),
    ],
)
def test_outcomes(whole: dict[str, TestOutcome], test_id: str, outcome: str) -> None:
    found = whole.get(test_id) or whole.get(test_id.replace("::src.pkg", "::pkg"))
    assert found is not None
    assert found.outcome == outcome


def test_a_collection_error_has_its_file_as_id(whole: dict[str, TestOutcome]) -> None:
    broken = whole["tests/test_broken.py"]
    assert (broken.outcome, broken.collection) == ("error", True)
    assert broken.message == "ModuleNotFoundError: No module named 'nonexistent_zz'"
    assert "tests/test_broken.py:1" in broken.detail
    skipped = whole["tests/test_skipped.py"]
    assert (skipped.outcome, skipped.collection) == ("skipped", True)


def test_messages_and_details(whole: dict[str, TestOutcome]) -> None:
    failed = whole["tests/test_a.py::test_fail"]
    assert failed.message.startswith("AssertionError: boom")
    assert "\x1b" not in failed.message
    assert "tests/test_a.py:8: AssertionError" in failed.detail
    assert "set-up" in whole["tests/test_a.py::test_se"].message
    assert whole["tests/test_a.py::test_sk"].message == "no"


def test_the_ids_select_exactly_those_tests(root: Path, whole: dict[str, TestOutcome]) -> None:
    # Doctests need their option, and pytest itself can't select in a path with a bracket.
    unselectable = (".txt", ".f")
    ids = [
        i for i, o in whole.items() if not (o.collection or i.startswith("odd[") or i.endswith(unselectable))
    ]
    again = run(root, "python -m pytest tests -o addopts= -q", ids)
    assert {i: o.outcome for i, o in again.items()} == {i: whole[i].outcome for i in ids}
    assert not (root / "owned").exists()
    assert not (root / ".pytest_cache").exists()


def test_files_that_look_like_options_can_be_run(root: Path) -> None:
    ids = ["-rf.py::test_dash", "@args.py::test_at"]
    assert {i: o.outcome for i, o in run(root, "python -m pytest", ids).items()} == dict.fromkeys(
        ids, "passed"
    )


JUNIT = "-o junit_family=xunit1 -o cache_dir=/r.xml.cache --junitxml=/r.xml"


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("python -m pytest", "python -m pytest JUNIT"),
        ("python -m pytest tests -o addopts= -q", "python -m pytest -o addopts= -q JUNIT"),
        ("pytest tests/a.py 'b c' -k 'x or y' -m slow", "pytest -k 'x or y' -m slow JUNIT"),
        (
            "pytest -xvk foo -rA -p no:x -pno:y -c setup.cfg t",
            "pytest -xvk foo -rA -p no:x -pno:y -c setup.cfg JUNIT",
        ),
        (
            "pytest --rootdir . --deselect a::b --ignore=c src",
            "pytest --rootdir . --deselect a::b --ignore=c JUNIT",
        ),
        (
            "pytest --strict-markers unit --maxfail 3 --tb short unit",
            "pytest --strict-markers --maxfail 3 --tb short JUNIT",
        ),
        ("pytest --own-option value --own-flag tests", "pytest --own-option value --own-flag JUNIT"),
        ("pytest --cov", "pytest --cov JUNIT"),
        ("pytest -q -- tests", "pytest -q JUNIT"),
        (
            "cd lib && PYTHONPATH=. /v/bin/py.test t 2>&1 | tee log",
            "cd lib && PYTHONPATH=. /v/bin/py.test JUNIT 2>&1 | tee log",
        ),
        ("pip install pytest; uv run pytest t > log", "pip install pytest; uv run pytest JUNIT > log"),
        ("coverage run -m pytest t; coverage report", "coverage run -m pytest JUNIT; coverage report"),
        ("(pytest $(ls tests) \\\n -q)", "(pytest -q JUNIT)"),
    ],
)
def test_ids_replace_path_arguments_only(command: str, kept: str) -> None:
    def squeezed(text: str) -> str:
        return " ".join(text.replace("\\\n", "").split())

    expected = squeezed(kept.replace("JUNIT", f"{JUNIT} a.py::t"))
    assert squeezed(suite_command(command, "/r.xml", ["a.py::t"])) == expected
    without_ids = suite_command(command, "/r.xml")
    assert without_ids.count(f" {JUNIT}") == 1
    assert without_ids.replace(f" {JUNIT}", "") == command


def test_ids_are_quoted_and_never_options() -> None:
    line = suite_command("pytest", "/r.xml", ["--collect-only", "@file", "a.py::t[$(touch x); 'y']"])
    assert shlex.split(line)[-3:] == ["./--collect-only", "./@file", "a.py::t[$(touch x); 'y']"]


def test_a_runner_that_writes_the_report_itself() -> None:
    assert suite_command("make check REPORT={junit}", "/a b.xml") == "make check REPORT='/a b.xml'"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("pytest a && pytest b", "more than once"),
        ("go test ./a && go test ./b", "more than once"),
        ("pytest 'a", "unclosed"),
        ("make 'a", "unclosed"),
        (" ", "empty"),
    ],
)
def test_other_commands_are_refused_in_one_line(command: str, said: str) -> None:
    with pytest.raises(NotASuite, match=said) as raised:
        suite_command(command, "/r.xml")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("bad", ["", "a\0b"])
def test_ids_that_no_command_line_can_hold(bad: str) -> None:
    with pytest.raises(NotASuite, match="not a test id"):
        suite_command("pytest", "/r.xml", [bad])


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"<testsuite><testcase",
        b"<html/>",
        b"\xff\xfe<testsuite/>",
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><testsuite name="&a;"/>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>',
        b"<testsuite><testcase name='a'><testcase name='b'/></testcase></testsuite>",
        b"<testsuite>&undefined;</testsuite>",
    ],
)
def test_broken_and_hostile_reports_are_refused(xml: bytes) -> None:
    with pytest.raises(ValueError, match="report"):
        parse_junit(xml)


def test_odd_numbers_and_long_texts_are_tamed() -> None:
    cases = "".join(
        f'<testcase classname="c" name="{t}" time="{t}"/>' for t in ("nan", "inf", "-1", "x", "1.5")
    )
    long = f'<testcase name="long"><failure message="{"m" * 9999}">{"d" * 99999}</failure></testcase>'
    outcomes = parse_junit(f"<testsuites><testsuite>{cases}{long}</testsuite></testsuites>".encode())
    assert [o.seconds for o in outcomes.values()] == [0, 0, 0, 0, 1.5, 0]
    assert len(outcomes["long"].message) < 2100
    assert len(outcomes["long"].detail) < 20100


def test_the_worst_outcome_of_a_repeated_id_wins() -> None:
    def case(body: str) -> str:
        return f'<testcase classname="t" name="n" file="t.py" time="1">{body}</testcase>'

    bodies = ["", '<skipped message="s"/>', '<failure message="f">boom</failure>', ""]
    xml = f"<testsuite>{''.join(map(case, bodies))}</testsuite>".encode()
    assert parse_junit(xml) == {"t.py::n": TestOutcome("t.py::n", "failed", "f", "boom", 4.0)}


def test_reports_of_other_runners() -> None:
    xml = (
        b'<testsuite><testcase classname="pkg.Foo" name="bar"/>'
        b'<testcase classname="suite" name="does it" file="src/a.test.ts"/>'
        b'<testcase name="plain"><error/></testcase></testsuite>'
    )
    assert {i: o.outcome for i, o in parse_junit(xml).items()} == {
        "pkg.Foo::bar": "passed",
        "src/a.test.ts::suite::does it": "passed",
        "plain": "error",
    }
