"""What the trials make of failures and of the mutants' runs."""

from __future__ import annotations

import pytest

from agent.gate.mutants import Mutant
from agent.gate.trials import _is_little, _lacks_name
from tools.suite import TestOutcome


@pytest.mark.parametrize(
    "message",
    [
        "AttributeError: module 'a' has no attribute 'b'",
        "TypeError: f() got an unexpected keyword argument 'x'",
        "TypeError: cache.clear is not a function",
        "(0 , _a.parse) is not a function",
        "ReferenceError: parse is not defined",
        "Cannot find module '../src/new' from 'test/a.test.js'",
        "SyntaxError: The requested module './a.js' does not provide an export named 'b'",
        "test/a.test.ts(3,9): error TS2339: Property 'b' does not exist on type 'A'.",
        "./a_test.go:7:9: undefined: Parse",
        "c.Clear undefined (type *Cache has no field or method Clear)",
        "error[E0425]: cannot find function `parse` in this scope",
        "error[E0599]: no method named `clear` found for struct `Cache`",
        "FooTest.java:9: error: cannot find symbol",
        "java.lang.NoSuchMethodError: 'void x.Foo.clear()'",
    ],
)
def test_for_want_of_a_name(message: str) -> None:
    assert _lacks_name(TestOutcome("a::b", "failed", message, "", 0.1))


@pytest.mark.parametrize(
    "message",
    [
        "AssertionError: assert 1 == 2",
        "TypeError: Cannot read properties of undefined (reading 'x')",
        "Expected: 1 Received: undefined",
        "expected undefined to be 3",
        "AssertionError [ERR_ASSERTION]: undefined == 1",
        'a_test.go:9: got "", want "x"',
        "panicked at src/a.rs:4:5: assertion `left == right` failed",
        "org.opentest4j.AssertionFailedError: expected: <1> but was: <2>",
        "",
    ],
)
def test_for_other_reasons(message: str) -> None:
    assert not _lacks_name(TestOutcome("a::b", "failed", message, "", 0.1))
    assert not _lacks_name(None)


def some(count: int, what: str = "1 became 2") -> list[Mutant]:
    return [Mutant("shop.py", number, what, "") for number in range(count)]


@pytest.mark.parametrize(
    "killed, missed, little",
    [
        (0, 1, True),
        (0, 8, True),
        (1, 1, False),
        (1, 2, False),  # too few to tell
        (1, 3, True),
        (2, 4, True),
        (2, 3, False),
        (3, 5, False),
        (8, 0, False),
    ],
)
def test_few_mutants_noticed(killed: int, missed: int, little: bool) -> None:
    assert _is_little(some(killed), some(missed)) is little


def test_changes_taken_back_do_not_count() -> None:
    undone = some(3, "line 3 was as before the fix")
    assert _is_little([*undone, *some(1)], some(3))
    assert not _is_little([*undone, *some(2)], some(3))
