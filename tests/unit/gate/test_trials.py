"""What the trials make of the mutants' runs."""

from __future__ import annotations

import pytest

from agent.gate.mutants import Mutant
from agent.gate.trials import _is_little


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
