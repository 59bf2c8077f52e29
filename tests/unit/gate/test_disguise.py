"""Which tests fail without a runner just as they did without the fix."""

from agent.gate.disguise import unmended
from tools.suite import TestOutcome

RED = {"test_a.py::test_x[bad]": TestOutcome("test_a.py::test_x[bad]", "failed", "assert 1 == 2", "", 0.1)}


def failure(place, test="test_a.py::test_x", kind="AssertionError", said="assert 1 == 2"):
    return (test, place, kind, said, 7)


def test_a_failure_that_stays_is_the_named_tests():
    assert unmended([failure(1)], [failure(1)], RED) == ["test_a.py::test_x[bad]"]
    assert unmended([failure(1)], [], RED) == []
    assert unmended([failure(1)], [failure(1, kind="KeyError")], RED) == []


def test_other_parameters_of_the_test_that_fail_with_the_fix_too_say_nothing_of_it():
    base, patched = [failure(1), failure(2)], [failure(2)]
    assert unmended(base, patched, RED, ["test_a.py::test_x[other issue]"]) == []
    assert unmended(base, patched, RED, ["test_a.py::test_y[other issue]"]) == ["test_a.py::test_x[bad]"]
    # one of two is not explained by the other
    assert unmended(base, base, RED, ["test_a.py::test_x[other issue]"]) == ["test_a.py::test_x[bad]"]
