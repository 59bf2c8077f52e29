"""From what real runners wrote (recorded/) to test ids: nothing here is made up but the hostile cases."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tools import report
from tools.junit import MAX_DETAIL, TestOutcome, parse_junit

RECORDED = Path(__file__).parent / "recorded"
GO = {
    "go.mod": "module example.com/calc\n\ngo 1.19\n",
    "calc_test.go": "func TestInside(t *testing.T) {}\nfunc TestAbove(\nfunc TestTable(\nfunc TestSkipped(\n",
    "sub/sub_test.go": "func TestSub(t *testing.T) {}\n",
    "broken/x_test.go": "func TestB(t *testing.T) { missing() }\n",
    "crash/c_test.go": "func TestOk(\nfunc TestPanics(\nfunc TestAfter(\n",
}
RUST = {"src/lib.rs": "", "src/a/mod.rs": "", "tests/api.rs": ""}
NODE = {"test/calc.test.js": "", "test/broken.test.js": ""}
JAVA = {"src/main/java/com/x/Calc.java": "", "src/test/java/com/x/CalcTest.java": ""}
JAVA |= {"src/test/java/com/x/OtherTest.java": ""}


def told(tmp_path: Path, name: str, folder: str, files: dict[str, str], code: int = 1) -> report.Told:
    """The recorded run, as if it had run on these files just now."""
    root, wrote = tmp_path / "root", tmp_path / "wrote"
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    wrote.mkdir()
    for source in (RECORDED / name).iterdir():
        text = source.read_text().replace(f"/repo/{folder}", str(root))
        (wrote / source.name).write_text(text)
    output = wrote / "output"
    began = time.time()
    return report.Told("x", wrote, root, root, began, code, output.read_bytes() if output.exists() else b"")


def outcomes(runner: str, run: report.Told) -> dict[str, TestOutcome]:
    """Through the XML, as everybody gets them."""
    target = run.folder / "report.xml"
    report.write(report.cases(runner, run), target)
    return parse_junit(target.read_bytes())


def shown(found: dict[str, TestOutcome]) -> dict[str, str]:
    return {test: "unloaded" if o.collection else o.outcome for test, o in found.items()}


def test_go(tmp_path: Path) -> None:
    found = outcomes("go", told(tmp_path, "go", "go", GO))
    assert shown(found) == {
        "calc_test.go::TestInside": "passed",
        "calc_test.go::TestAbove": "failed",
        "calc_test.go::TestTable": "failed",
        "calc_test.go::TestTable/low_one": "passed",
        "calc_test.go::TestTable/high": "failed",
        "calc_test.go::TestSkipped": "skipped",
        "crash/c_test.go::TestOk": "passed",
        "crash/c_test.go::TestPanics": "failed",
        "sub/sub_test.go::TestSub": "passed",
        "broken/x_test.go": "unloaded",
    }
    assert found["calc_test.go::TestAbove"].message == "calc_test.go:13: got 1, want 3"
    assert found["calc_test.go::TestTable"].message == "a subtest failed"
    assert "panic: assignment to entry in nil map" in found["crash/c_test.go::TestPanics"].detail
    assert found["broken/x_test.go"].message == "broken/x_test.go:5:28: undefined: missing"
    assert "want 3" not in found["broken/x_test.go"].detail


def test_go_in_newer_versions_tells_a_failed_build_as_events(tmp_path: Path) -> None:
    run = told(tmp_path, "go", "go", GO)
    lines = (
        '{"ImportPath":"example.com/calc/broken [example.com/calc/broken.test]","Action":"build-output",'
        '"Output":"# example.com/calc/broken [example.com/calc/broken.test]\\n"}\n'
        '{"ImportPath":"example.com/calc/broken [example.com/calc/broken.test]","Action":"build-output",'
        '"Output":"broken/x_test.go:5:28: undefined: missing\\n"}\n'
        '{"Action":"start","Package":"example.com/calc/broken"}\n'
        '{"Action":"output","Package":"example.com/calc/broken",'
        '"Output":"FAIL\\texample.com/calc/broken [build failed]\\n"}\n'
        '{"Action":"fail","Package":"example.com/calc/broken","Elapsed":0}\n'
    )
    new = report.Told("x", run.folder, run.root, run.root, run.began, 1, lines.encode())
    found = outcomes("go", new)
    assert shown(found) == {"broken/x_test.go": "unloaded"}
    assert "undefined: missing" in found["broken/x_test.go"].message


def test_go_program_that_ends_early(tmp_path: Path) -> None:
    run = told(tmp_path, "go", "go", GO)
    lines = (
        '{"Action":"run","Package":"example.com/calc/sub","Test":"TestSub"}\n'
        '{"Action":"fail","Package":"example.com/calc/sub"}\n'
        '{"Action":"output","Package":"example.com/calc/crash","Output":"no database\\n"}\n'
        '{"Action":"fail","Package":"example.com/calc/crash"}\n'
    )
    found = outcomes("go", report.Told("x", run.folder, run.root, run.root, run.began, 1, lines.encode()))
    assert shown(found) == {"sub/sub_test.go::TestSub": "failed", "crash/c_test.go": "unloaded"}
    assert found["sub/sub_test.go::TestSub"].message == "the test did not end"
    assert "no database" in found["crash/c_test.go"].detail


def test_cargo(tmp_path: Path) -> None:
    found = outcomes("cargo", told(tmp_path, "cargo", "rust", RUST))
    assert shown(found) == {
        "src/a/mod.rs::a::tests::in_a": "failed",
        "src/lib.rs::tests::ignored": "skipped",
        "src/lib.rs::tests::inside": "passed",
        "src/lib.rs::tests::panics": "passed",
        "tests/api.rs::above": "failed",
        "tests/api.rs::below": "passed",
        "src/lib.rs::doctest clamp": "passed",
    }
    in_a = found["src/a/mod.rs::a::tests::in_a"]
    assert "sums are off" in in_a.message
    assert in_a.detail.startswith("hint\n")
    assert found["src/lib.rs::tests::ignored"].message == "slow"


def test_cargo_that_does_not_compile(tmp_path: Path) -> None:
    found = outcomes("cargo", told(tmp_path, "cargo_broken", "rust", RUST))
    assert shown(found) == {"src/lib.rs": "unloaded"}
    assert found["src/lib.rs"].message == "error[E0425]: cannot find value `low` in this scope"


def test_cargo_when_a_test_ends_the_program_and_when_tests_print(tmp_path: Path) -> None:
    run = told(tmp_path, "cargo", "rust", RUST)
    head = run.output.partition(b"running 4 tests")[0]
    lines = b"running 3 tests\ntest tests::a ... hello\nok\ntest tests::b ... partok\ntest tests::c ... "
    text = head + lines + b"\nerror: test failed, to rerun pass `--lib`\n\nCaused by:\n  signal: 6, SIGABRT\n"
    found = outcomes("cargo", report.Told("x", run.folder, run.root, run.root, run.began, 101, text))
    assert shown(found) == {
        "src/lib.rs::tests::a": "passed",
        "src/lib.rs::tests::b": "passed",
        "src/lib.rs::tests::c": "failed",
    }
    assert "SIGABRT" in found["src/lib.rs::tests::c"].detail
    forged = (
        head + b"running 1 test\ntest tests::a ... ok\nFAILED\n\nfailures:\n\nfailures:\n    tests::a\n\n"
    )
    found = outcomes("cargo", report.Told("x", run.folder, run.root, run.root, run.began, 101, forged))
    assert shown(found) == {"src/lib.rs::tests::a": "failed"}


@pytest.mark.parametrize("version", ["node18", "node20"])
def test_node(tmp_path: Path, version: str) -> None:
    found = outcomes("node", told(tmp_path, version, "node", NODE))
    assert shown(found) == {
        "test/calc.test.js::clamp > inside": "passed",
        "test/calc.test.js::clamp > above": "failed",
        "test/calc.test.js::clamp > deep > works": "skipped",
        "test/calc.test.js::top > sub one": "passed",
        "test/calc.test.js::top > sub two": "failed",
        "test/calc.test.js::top": "failed",
        "test/calc.test.js::todo": "skipped",
        "test/broken.test.js": "unloaded",
    }
    above = found["test/calc.test.js::clamp > above"]
    assert above.message.startswith("AssertionError: Expected values to be strictly equal")
    assert "1 !== 3" in above.detail


def test_jest_and_vitest(tmp_path: Path) -> None:
    files = {"src/calc.test.js": "", "src/broken.test.js": ""}
    found = outcomes("jest", told(tmp_path, "jest", "jest", files))
    assert shown(found) == {
        "src/calc.test.js::clamp > inside": "passed",
        "src/calc.test.js::clamp > above": "failed",
        "src/calc.test.js::clamp > deep > works": "passed",
        "src/calc.test.js::skipped": "skipped",
        "src/calc.test.js::later": "skipped",
        "src/broken.test.js": "unloaded",
    }
    assert "Cannot find module './missing'" in found["src/broken.test.js"].message
    assert "Received:\n  1" in found["src/calc.test.js::clamp > above"].detail
    shutil.rmtree(tmp_path / "wrote")
    found = outcomes("vitest", told(tmp_path, "vitest", "vitest", files))
    assert shown(found) == {
        "src/broken.test.js": "unloaded",
        "src/calc.test.js::clamp > inside": "passed",
        "src/calc.test.js::clamp > above": "failed",
        "src/calc.test.js::skipped": "skipped",
    }
    assert found["src/calc.test.js::clamp > above"].message == "expected 1 to be 3 // Object.is equality"


def test_mocha(tmp_path: Path) -> None:
    found = outcomes("mocha", told(tmp_path, "mocha", "mocha", {"test/calc.test.js": ""}))
    assert shown(found) == {
        "test/calc.test.js::clamp > inside": "passed",
        "test/calc.test.js::clamp > above": "failed",
        "test/calc.test.js::clamp > pending": "skipped",
        'test/deep/hook.test.js::hooked > "before all" hook for "a"': "error",
    }
    assert "1 !== 3" in found["test/calc.test.js::clamp > above"].detail


def test_maven(tmp_path: Path) -> None:
    run = told(tmp_path, "maven", "j4", JAVA)
    reports = run.root / "target/surefire-reports"
    reports.mkdir(parents=True)
    for file in (RECORDED / "maven").iterdir():
        shutil.copyfile(file, reports / file.name)
    stale = reports / "TEST-com.x.GoneTest.xml"
    stale.write_text('<testsuite><testcase classname="com.x.GoneTest" name="old"/></testsuite>')
    os.utime(stale, (run.began - 60, run.began - 60))
    found = outcomes("maven", run)
    assert shown(found) == {
        "src/test/java/com/x/CalcTest.java::inside": "passed",
        "src/test/java/com/x/CalcTest.java::off": "skipped",
        "src/test/java/com/x/CalcTest.java::above": "failed",
        "src/test/java/com/x/CalcTest.java::throwing": "failed",
        "src/test/java/com/x/OtherTest.java": "unloaded",
    }
    above = found["src/test/java/com/x/CalcTest.java::above"]
    assert above.message == "expected:<3> but was:<1>"
    assert "CalcTest.java:10" in above.detail


def test_gradle_in_a_project_of_modules(tmp_path: Path) -> None:
    other = {f"other/{path}": text for path, text in JAVA.items()}
    run = told(tmp_path, "gradle", "gradle", {f"mod/{path}": text for path, text in JAVA.items()} | other)
    reports = run.root / "mod/build/test-results/test"
    shutil.copytree(RECORDED / "gradle", reports, copy_function=shutil.copyfile)
    assert shown(outcomes("gradle", run)) == {
        "mod/src/test/java/com/x/CalcTest.java": "unloaded",  # its nested class, whose set-up failed
        "mod/src/test/java/com/x/CalcTest.java::inside": "passed",
        "mod/src/test/java/com/x/CalcTest.java::off": "skipped",
        "mod/src/test/java/com/x/CalcTest.java::above": "failed",
        "mod/src/test/java/com/x/CalcTest.java::throwing": "failed",
        "mod/src/test/java/com/x/OtherTest.java": "unloaded",
    }


def test_java_that_does_not_compile(tmp_path: Path) -> None:
    found = outcomes("maven", told(tmp_path, "maven_broken", "j4", JAVA))
    assert shown(found) == {"src/test/java/com/x/CalcTest.java": "unloaded"}
    assert "cannot find symbol" in found["src/test/java/com/x/CalcTest.java"].detail


RUNNERS = [
    "unittest",
    "doctest",
    "nose",
    "nose2",
    "node",
    "jest",
    "vitest",
    "mocha",
    "go",
    "cargo",
    "maven",
    "gradle",
]
HOSTILE = [
    b"",
    b"\0\xff\x1b[31m<testsuite>]]>&\n" * 50,
    b"[" * 100_000,
    b'{"Action":"output","Package":[],"Test":{},"Output":7}\n{"Action":"pass","Elapsed":"x"}\nnull\n{"Action":{}}',
    b'{"testResults":[null,{"name":[],"assertionResults":[{"ancestorTitles":3,"failureMessages":9}]}]}',
    b'[{"file":{},"name":null},{"titles":7,"file":"../../etc/passwd"},3]',
    b'{"type":"test:fail","name":"\\ud800","nesting":-1,"error":[]}\n{"type":"test:pass","name":"x","nesting":1e9}\n',
    b"     Running unittests ../../etc/passwd (x)\ntest \xff ... FAILED\ntest  ... ok\n---- \x00 stdout ----\n",
]


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_and_output_give_a_report_or_none(tmp_path: Path, runner: str, data: bytes) -> None:
    root = tmp_path / "root"
    (root / "target/surefire-reports").mkdir(parents=True)
    (root / "target/surefire-reports/TEST-x.xml").write_bytes(data)
    for name in ("tests.json", "nose.xml", "node.jsonl", "jest.json", "vitest.json", "mocha.json"):
        (tmp_path / name).write_bytes(data)
    run = report.Told("x", tmp_path, root, root, time.time(), 1, data)
    for test in outcomes(runner, run):
        assert not test.startswith(("/", ".."))


def test_huge_and_odd_texts_become_xml(tmp_path: Path) -> None:
    odd = "\ud800\x00\x08\ufffe<&\"'>]]>\r\n\x1b[31mred\x1b[0m\u2028"
    cases = [
        report.Case("a.py", odd, "failed", odd, "x" * 10_000_000 + odd),
        report.Case("", "name\nof two lines", "passed", classname=odd),
    ]
    report.write(cases, tmp_path / "r.xml")
    assert (tmp_path / "r.xml").stat().st_size < 3 * MAX_DETAIL
    first, second = parse_junit((tmp_path / "r.xml").read_bytes()).values()
    assert first.id.startswith("a.py::#xD800#x00#x08#xFFFE<&\"'>]]>")
    assert first.detail.endswith("red\u2028")
    assert "\x1b" not in first.message
    assert second.id.endswith("::name of two lines")
    assert [case.id for case in cases] == [first.id, second.id]


@pytest.mark.parametrize(("code", "shown_as"), [(0, "passed"), (3, "failed"), (139, "failed")])
def test_an_exit_code_is_one_test(tmp_path: Path, code: int, shown_as: str) -> None:
    run = report.Told("make check", tmp_path, tmp_path, tmp_path, 0.0, code, b"all that it said")
    found = outcomes("exit code", run)
    assert shown(found) == {"exit code::make check": shown_as}
    assert ("all that it said" in found["exit code::make check"].detail) == (code != 0)


@pytest.mark.parametrize("code", [126, 127])
def test_a_program_that_is_not_there_tells_of_no_test(tmp_path: Path, code: int) -> None:
    run = report.Told("make check", tmp_path, tmp_path, tmp_path, 0.0, code, b"not found")
    assert report.cases("exit code", run) == []
