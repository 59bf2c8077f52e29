"""Red, green and kept, from outcomes made by hand."""

from __future__ import annotations

import pytest

from agent.gate import compare
from agent.gate.compare import Red, Secret
from agent.gate.proof import verdict_from_json, verdict_json
from agent.gate.suites import SuiteRun
from agent.types import Check, Verdict
from tools.suite import TestOutcome

Outcomes = dict[str, TestOutcome]


def outcomes(**by_name: str) -> Outcomes:
    """`a__x="failed"` stands for the outcome of a.py::x; `a="error"` for a.py, which cannot be collected."""
    found = {}
    for name, outcome in by_name.items():
        file, _, test = name.partition("__")
        key = f"{file}.py::{test}" if test else f"{file}.py"
        found[key] = TestOutcome(key, outcome, f"about {key}", "", 0.0, collection=not test)
    return found


# ---- red


def test_named_tests_must_be_there_and_fail() -> None:
    before = outcomes(a__x="failed", a__y="error", a__z="passed", a__s="skipped")
    red = compare.red_named(["a.py::x", "a.py::y"], before, set(), Secret())
    assert (red.fault, red.ids) == (False, ("a.py::x", "a.py::y"))
    red = compare.red_named(["a.py::x", "a.py::z"], before, set(), Secret())
    assert red.fault
    assert red.evidence == "not reproduced: a.py::z is passed without the fix"
    assert compare.red_named(["a.py::s"], before, set(), Secret()).fault
    assert (
        "unknown test: a.py::nowhere"
        in compare.red_named(["a.py::nowhere"], before, set(), Secret()).evidence
    )


def test_a_name_that_no_test_has_is_told_with_the_nearest() -> None:
    before = outcomes(a__above="failed", b__below="passed")
    assert compare.unknown(["a.py::above", "b.py", "c.py::x"], before, {"c.py"}) == ""
    told = compare.unknown(["a.py::abov"], before, set())
    assert told == "--fail-to-pass a.py::abov: no such test on the base commit; the nearest is a.py::above"
    assert compare.unknown(["x"], {}, set()) == "--fail-to-pass x: no such test on the base commit"


def test_a_name_may_stand_for_parameter_sets_a_class_or_a_file() -> None:
    key = "a.py::C::x[1]"
    before = {key: TestOutcome(key, "failed", "", "", 0.0), **outcomes(a__xy="passed")}
    for name in ("a.py::C::x", "a.py::C", "a.py", key):
        assert compare.red_named([name], before, set(), Secret()).ids == (key,)
    assert compare.red_named(["a.py::C::x[2]"], before, set(), Secret()).fault


def test_a_named_test_of_a_file_that_cannot_be_loaded_is_red() -> None:
    before = outcomes(a="error")
    red = compare.red_named(["a.py::x"], before, compare.unloaded(before), Secret())
    assert not red.fault
    assert compare.not_green(red, {}, outcomes(a__x="passed"), set()) == []
    assert compare.not_green(red, {}, outcomes(a__y="passed"), set()) == ["a.py::x"]
    assert compare.not_green(red, {}, outcomes(a="error"), set()) == ["a.py::x"]


def test_hidden_tests_are_red_where_they_fail_newly() -> None:
    baseline = outcomes(a__old="failed", a__kept="passed")
    before = outcomes(
        a__old="failed", a__kept="passed", a__new="failed", a__skip="skipped", b__other="failed"
    )
    red = compare.red_hidden(before, baseline, (), Secret(), {"a.py"})
    assert red.ids == ("a.py::new",)
    assert compare.red_hidden(before, baseline, (), Secret(), None).ids == ("a.py::new", "b.py::other")
    red = compare.red_hidden(baseline, baseline, (), Secret(), None)
    assert red.fault
    assert "not reproduced" in red.evidence


def test_a_hidden_file_that_cannot_be_loaded_must_pass_whole() -> None:
    red = compare.red_hidden(outcomes(a="error"), {}, {"a.py"}, Secret(), {"a.py"})
    assert (red.fault, red.files) == (False, ("a.py",))
    assert compare.not_green(red, {}, outcomes(a__x="passed", a__s="skipped"), set()) == []
    assert compare.not_green(red, {}, outcomes(a__x="passed", a__y="failed"), set()) == ["a.py::y"]
    assert compare.not_green(red, {}, outcomes(a__s="skipped"), set()) == ["a.py"]
    assert compare.not_green(red, {}, {}, set()) == ["a.py"]
    already = outcomes(a__y="failed")
    assert compare.not_green(red, already, outcomes(a__x="passed", a__y="failed"), set()) == []
    known = outcomes(a__s="passed")
    assert compare.not_green(red, known, outcomes(a__x="passed", a__s="skipped"), set()) == ["a.py::s"]


@pytest.mark.parametrize(
    ("before", "own", "broken_off", "line"),
    [
        ({}, set(), None, "brings no test"),
        (outcomes(a__x="passed"), {"a.py"}, None, "pass without the fix"),
        (outcomes(a__x="error"), {"a.py"}, None, "break on the base before"),
        (outcomes(a="error"), {"a.py"}, None, "break on the base before"),
        (outcomes(b__x="failed"), {"a.py"}, None, "no new test"),
        (outcomes(a__known="failed"), {"a.py"}, None, "no new test"),
        ({}, {"a.py"}, SuiteRun(exit_code=4, problem="left no report"), "left no report"),
    ],
)
def test_the_patchs_own_tests_show_nothing(
    before: Outcomes, own: set[str], broken_off: SuiteRun | None, line: str
) -> None:
    red = compare.red_own(before, outcomes(a__known="failed"), own, set(), broken_off)
    assert red.fault
    assert line in red.evidence


def test_one_failing_test_of_the_patch_is_red() -> None:
    before = outcomes(a__x="failed", a__y="passed", b__changed="failed")
    assert compare.red_own(before, {}, {"a.py"}, {"b.py"}, None).ids == ("a.py::x",)
    assert compare.red_own(before, outcomes(b__changed="passed"), set(), {"b.py"}, None).ids == (
        "b.py::changed",
    )
    for code in (None, 139):
        hung = SuiteRun(exit_code=code, problem="left no report")
        red = compare.red_own({}, {}, {"a.py"}, set(), hung)
        assert (red.fault, red.files) == (False, ("a.py",))
    grown = compare.red_own(before, outcomes(a__x="passed"), {"a.py"}, set(), None)
    assert grown.ids == ("a.py::x",)


# ---- green and kept


def test_only_passed_counts_as_green() -> None:
    red = Red("", ("a.py::x",))
    for outcome in ("failed", "error", "skipped", "xfailed", "xpassed"):
        assert compare.not_green(red, {}, outcomes(a__x=outcome), set()) == ["a.py::x"]
    assert compare.not_green(red, {}, {}, set()) == ["a.py::x"]
    assert compare.not_green(red, {}, outcomes(a__x="passed"), set()) == []


def test_all_new_tests_of_the_patch_must_pass() -> None:
    red = Red("", ("a.py::x",))
    after = outcomes(a__x="passed", a__y="skipped", a__old="failed", a__xfail="xfailed", b__z="failed")
    baseline = outcomes(a__old="failed", a__xfail="xfailed")
    assert compare.not_green(red, baseline, after, {"a.py"}) == ["a.py::y"]


def test_what_passed_before_must_pass_after() -> None:
    before = outcomes(
        a__1="passed", a__2="passed", a__3="passed", a__4="passed", a__5="xfailed", a__6="failed"
    )
    after = outcomes(a__1="passed", a__2="failed", a__3="skipped", a__5="passed", a__6="failed")
    required = compare.required_passes(before, before, set(), False)
    kept = compare.kept(required, after)
    assert kept == compare.Kept(4, ("a.py::2",), ("a.py::4",), ("a.py::3",))


def test_hidden_versions_of_tests_replace_those_of_the_base() -> None:
    baseline = outcomes(a__gone="passed", a__kept="passed", b__x="passed")
    before = outcomes(a__kept="failed", a__new="passed", b__x="failed")
    assert compare.required_passes(baseline, before, {"a.py"}, False) == ["b.py::x", "a.py::new"]
    assert compare.required_passes(baseline, before, {"a.py"}, True) == ["a.py::new"]


def test_a_changed_expectation_passes_in_the_patchs_version_or_is_left_out_there() -> None:
    ids = ("a.py::x[2]", "a.py::x[3]", "a.py::y")
    changed = {test: TestOutcome(test, "passed", "", "", 0.0) for test in ids} | outcomes(a__z="failed")
    modules = {"a.py"}
    assert compare.is_changed("a.py::y", changed, modules)
    assert compare.is_changed("a.py::x[1]", changed, modules)
    assert not compare.is_changed("a.py::x[1]", changed, set())
    assert not compare.is_changed("a.py::z", changed, modules)
    assert not compare.is_changed("a.py::w", changed, modules)


# ---- evidence


def test_hidden_tests_are_not_told() -> None:
    secret = Secret(frozenset({"a.py"}), frozenset({"a.py::known"}))
    seen = outcomes(a__hidden="failed", a__known="failed", b__x="failed")
    told = secret.told(["a.py::hidden", "a.py::known", "b.py::x", "a.py"], seen)
    assert (
        told
        == "a.py::known: failed\nb.py::x: failed: about b.py::x\nhidden tests: 1 absent\nhidden tests: 1 failed"
    )


def test_evidence_is_bounded() -> None:
    many = {f"a.py::{n}": TestOutcome(f"a.py::{n}", "failed", "m" * 5000, "", 0.0) for n in range(1000)}
    told = Secret().told(many, many)
    assert len(told) < 5000
    assert told.endswith("and 990 more")


# ---- a run that can be believed


SUMMARY = "========= 1 failed, 2 passed, 1 warning in 0.12s =========\n"


@pytest.mark.parametrize(
    ("code", "tail", "seen", "fault"),
    [
        (1, SUMMARY, outcomes(a__1="failed", a__2="passed", a__3="passed"), ""),
        (0, "3 passed in 0.12s\n", outcomes(a__1="passed", a__2="passed", a__3="passed"), ""),
        (
            0,
            "1 passed, 2 xpassed in 61.20s (0:01:01)\n",
            outcomes(a__1="passed", a__2="passed", a__3="passed"),
            "",
        ),
        (0, "1 passed, 2 subtests passed in 0.1s\n", outcomes(a__1="passed"), ""),
        (0, "no summary\n", outcomes(a__1="passed"), ""),
        (5, "no tests ran in 0.01s\n", {}, ""),
        (0, SUMMARY, outcomes(a__1="failed"), "exit code is 0"),
        (1, "", outcomes(a__1="passed"), "exit code is 1"),
        (
            0,
            "1 passed in 0.1s\n",
            outcomes(a__1="passed", a__2="passed"),
            "counts 1 passed tests, its report 2",
        ),
    ],
)
def test_exit_code_report_and_output_must_agree(code: int, tail: str, seen: Outcomes, fault: str) -> None:
    disagreement = SuiteRun(seen, code, tail).disagreement()
    assert fault in disagreement
    assert bool(disagreement) is bool(fault)


def test_a_run_without_a_report_says_so() -> None:
    assert SuiteRun(exit_code=0, problem="left no report").disagreement() == "left no report"


def test_a_verdict_survives_json() -> None:
    checks = (Check("red", True, "x"), Check("green", False, "y"))
    verdict = Verdict(False, checks, True, ("a",), {"a": "failed"}, {"a": "passed"}, 1.5)
    assert verdict_from_json(verdict_json(verdict)) == verdict
