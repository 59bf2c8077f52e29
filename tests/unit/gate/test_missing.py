"""What a suite's run says is not installed, and when that is the set-up's fault."""

from __future__ import annotations

import pytest

from agent.gate.missing import missing, not_set_up, unloadable
from agent.gate.suites import SuiteRun
from tools.suite import EXIT_CODE, TestOutcome

FILES = {"pyproject.toml", "src/calc/__init__.py", "tests/test_calc.py"}


def failed(tail: str, code: int = 1, runner: str = "pytest") -> SuiteRun:
    """A run that left no report."""
    return SuiteRun({}, code, tail, 1.0, f"the run ended with exit code {code} and left no report", runner)


def ran(*outcomes: TestOutcome, tail: str = "", code: int = 1) -> SuiteRun:
    return SuiteRun({one.id: one for one in outcomes}, code, tail)


def unloaded(file: str, detail: str) -> TestOutcome:
    return TestOutcome(file, "error", detail.splitlines()[-1], detail, 0.0, collection=True)


def passed(test: str, outcome: str = "passed") -> TestOutcome:
    return TestOutcome(test, outcome, "", "", 0.0)


def absent(name: str) -> str:
    return f"tests/x.py:1: in <module>\n    import x\nE   ModuleNotFoundError: No module named '{name}'"


@pytest.mark.parametrize(
    ("tail", "what", "mend"),
    [
        ("python: No module named pytest\n", "the module pytest is not installed", "pip install -e . pytest"),
        (absent("yaml"), "the module yaml is not installed", "pytest PyYAML"),
        (absent("yaml.parser"), "the module yaml is not installed", "pytest PyYAML"),
        (absent("calc"), "the repository's own module calc is not found", "pip install -e . pytest"),
        ("/bin/bash: line 1: jest: command not found\n", "the program jest is not there", "--image"),
        ("> test\n> jest\n\nsh: 1: jest: not found\n", "the program jest is not there", "--dockerfile"),
        ("env: 'node': No such file or directory\n", "the program node is not there", "--image"),
        ("make: pytest: No such file or directory\nmake: *** [Makefile:2: test] Error 127", "program pytest", "setup"),
        (
            "ERROR: usage: pytest [options]\npytest: error: unrecognized arguments: --cov=calc --cov-report=xml\n",
            "pytest's option --cov is not known: its plugin is not there",
            "pip install -e . pytest pytest-cov",
        ),
        ("pytest: error: unrecognized arguments: -n auto\n", "option --n is not known", "pytest-xdist"),
        (
            "ImportError: libpq.so.5: cannot open shared object file: No such file or directory\n",
            "the library libpq.so.5 is not there",
            "--image",
        ),
        ("Error: Cannot find module 'express'\nRequire stack:\n", "the package express is not installed", "setup"),
        ("x.go:4:2: no required module provides package github.com/a/b; to add it:\n", "github.com/a/b", "setup"),
        ("go: example.com/x@v1: dial tcp: lookup proxy.golang.org: no such host\n", "the network", "--image"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_a_mend(tail: str, what: str, mend: str) -> None:
    run = failed(tail)
    found = missing(run, FILES)
    assert found is not None and not_set_up(run, FILES)
    assert what in found.what
    assert mend in found.mend


def test_a_run_that_names_nothing_gives_no_guess() -> None:
    run = failed("E   RuntimeError: the conftest is broken\n", 4)
    assert missing(run, FILES) is None
    assert not_set_up(run, FILES)


def test_a_suite_that_hangs_or_crashes_is_no_fault_of_the_set_up() -> None:
    assert not not_set_up(SuiteRun({}, None, "", 60.0, "the suite was stopped after 60 s"), FILES)
    assert not not_set_up(failed("Segmentation fault\n", 139), FILES)


def test_failing_tests_are_no_sign_of_a_bad_set_up() -> None:
    assert not not_set_up(ran(passed("tests/a.py::a", "failed"), passed("tests/a.py::b", "error")), FILES)


def test_most_files_that_cannot_be_loaded_are_the_set_up_s_fault_and_few_are_not() -> None:
    few = [unloaded("tests/a.py", absent("boto3")), passed("tests/b.py::b"), passed("tests/b.py::c")]
    assert not not_set_up(ran(*few), FILES)
    assert len(unloadable(ran(*few), FILES)) == 1
    most = [*few, unloaded("tests/c.py", absent("yaml")), unloaded("tests/d.py", absent("yaml"))]
    assert not_set_up(ran(*most), FILES)
    found = missing(ran(*most), FILES)
    assert found is not None and found.what == "the module yaml is not installed"


@pytest.mark.parametrize(
    "said",
    [
        absent("calc.median"),
        "E   ImportError: cannot import name 'median' from 'calc' (/workspace/src/calc/__init__.py)",
        "E   ImportError: cannot import name 'a' from partially initialized module 'calc.b' (most likely due to ...)",
        "E   SyntaxError: invalid syntax",
    ],
)
def test_what_is_missing_in_the_repository_s_own_code_may_be_the_bug(said: str) -> None:
    run = ran(unloaded("tests/test_calc.py", said))
    assert unloadable(run, FILES) == [] and not not_set_up(run, FILES)


def test_a_name_that_another_package_lacks_is_the_set_up_s_fault() -> None:
    said = "E   ImportError: cannot import name 'soft_unicode' from 'markupsafe' (/opt/env/lib/markupsafe.py)"
    assert not_set_up(ran(unloaded("tests/test_calc.py", said)), FILES)


def test_a_command_by_its_exit_code_has_failed_unless_the_shell_did_not_find_it() -> None:
    def command(code: int, tail: str = "") -> SuiteRun:
        return ran(passed(f"{EXIT_CODE}::make check", "failed" if code else "passed"), tail=tail, code=code)

    assert not not_set_up(command(0), FILES)
    assert not not_set_up(command(2, "lint: 3 errors\nmake: *** [Makefile:2: check] Error 1\n"), FILES)
    run = command(127, "/bin/bash: line 1: terraform: command not found\n")
    found = missing(run, FILES)
    assert not_set_up(run, FILES) and found is not None and found.what == "the program terraform is not there"
    assert not_set_up(
        command(2, "sh: 1: tflint: not found\nmake: *** [Makefile:2: check] Error 127\n"), FILES
    )


def test_no_tests_at_all_and_skipped_tests_differ() -> None:
    skipped = passed("tests/a.py::a", "skipped")
    assert not_set_up(ran(skipped), FILES)
    assert not_set_up(ran(skipped, unloaded("tests/b.py", absent("yaml"))), FILES)
    assert not not_set_up(ran(skipped, passed("tests/b.py::b", "failed")), FILES)
    assert not not_set_up(ran(), FILES)


def test_output_that_is_made_to_be_slow_is_read_at_once() -> None:
    for part in ("a: line 1: ", "make: x", "No module named ", "cannot import name ''", ": 1: \n"):
        missing(failed(part * (4000 // len(part))), FILES)
