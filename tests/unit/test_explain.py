"""What a user is told of a run without an accepted patch: read from its events."""

from agent.events import AttemptEnded, AttemptStarted, HypothesisStated, RunStarted, VerdictReached
from agent.explain import explained, explanation


def attempt(number, checks, *, cause="", how="submitted", detail=""):
    log = [AttemptStarted(number, f"model/{number}", None, "system")]
    if cause:
        log.append(HypothesisStated(number, 2, cause, [f"calc.py:{number}"], "t", "seen", "3", "so"))
    log.append(AttemptEnded(number, how, detail, "", None, 3, 1.0, ["calc.py:5 (+1 -1)"]))
    if checks is not None:
        found = [{"name": n, "passed": p, "evidence": e} for n, p, e in checks]
        log.append(VerdictReached(number, {"accepted": all(p for _, p, _ in checks), "checks": found}))
    return log


GREEN = ("green", False, "with the fix:\ntests/t.py::test_a: failed: assert 1 == 3")
KEPT = ("pass_to_pass", False, "3 of 4 tests that passed before still pass\nregressions:\ntests/t.py::test_b")


def test_the_attempt_that_came_furthest_is_the_best_evidence():
    log = [
        *attempt(1, [("applies", True, ""), GREEN], cause="wrong bound"),
        *attempt(2, [("applies", True, ""), ("green", True, "1"), KEPT], cause="wrong order"),
        *attempt(3, None, how="turns", detail="60 turns without a submission"),
    ]
    told = explanation(log)
    assert [line.partition(":")[0] for line in told["tried"]] == [
        "attempt 1, model/1",
        "attempt 2, model/2",
        "attempt 3, model/3",
    ]
    assert told["ruled_out"] == [
        "calc.py:1: wrong bound - attempt 1: tests/t.py::test_a: failed: assert 1 == 3"
    ]
    assert (told["best"]["attempt"], told["best"]["check"]) == (2, "pass_to_pass")
    assert (
        told["look_next"].startswith("Decide which behaviour is right") and "calc.py:2" in told["look_next"]
    )
    text = "\n".join(explained(told))
    assert "gate/2.diff" in text and "60 turns" in text


def test_an_accepted_run_needs_no_explanation():
    assert explanation(attempt(1, [("applies", True, "")])) is None
    assert explanation([]) is None


def test_without_a_verdict_the_mend_is_named():
    assert "--turns" in explanation(attempt(1, None, how="turns"))["look_next"]
    assert "--fail-to-pass" in explanation(attempt(1, None, how="gave_up"))["look_next"]
    started = RunStarted("r", "-", "issue", "/r", "0" * 40, ["m"], "pytest", ["tests/t.py::test_a"], {})
    told = explanation([started, *attempt(1, None, how="gave_up")])
    assert "--fail-to-pass" not in told["look_next"]
    assert "key" in explanation(attempt(1, None, how="model_error"))["look_next"]
    assert explanation([AttemptStarted(1, "m", None, "")]) is None  # it never ended


def test_what_others_wrote_is_made_printable():
    told = explanation(attempt(1, [("green", False, "\x1b[31mred\x07")], cause="\x1b]0;title\x07cause"))
    assert all(line.isprintable() for line in explained(told))
