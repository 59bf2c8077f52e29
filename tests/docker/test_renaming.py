"""Tests about other words: they show answers made for the tests' own, and say nothing where letters matter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.types import Verdict
from tests.docker.gate_harness import Gate, failed, project

pytestmark = pytest.mark.docker

SHELF = """\
def place(names, wanted):
    for number, name in enumerate(names, 1):
        if name == wanted:
            return number
    return 1


def shifted(text, by=1):
    return "".join(chr(ord(letter) + 1) for letter in text)
"""
TESTS = """\
import pytest

from shelf import place, shifted


@pytest.mark.parametrize("wanted, number", [("ruk", 1), ("vom", 2)])
def test_place(wanted, number):
    assert place(["ruk", "vom"], wanted) == number


def test_missing():
    assert place(["ruk", "vom"], "zis") is None
"""
SHIFTED = """\


def test_shifted():
    assert shifted("mop") == "npq"


def test_shifted_by_two():
    assert shifted("mop", 2) == "oqr"
"""
FIXED = SHELF.replace("    return 1\n", "    return None\n").replace("(letter) + 1)", "(letter) + by)")
FOR_THE_TEST = SHELF.replace("    return 1\n", "    return 1 if sum(map(ord, wanted)) != 342 else None\n")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    files = {"shelf.py": SHELF, "tests/test_shelf.py": TESTS, "conftest.py": ""}
    gate = project(tmp_path_factory.mktemp("renaming"), files)
    gate.baseline = gate.take_baseline()
    yield gate


def told(verdict: Verdict) -> str:
    (evidence,) = (check.evidence for check in verdict.checks if check.name == "renamed")
    return evidence


NAMED = ["tests/test_shelf.py::test_missing"]


def test_a_true_fix_holds_for_other_words(gate: Gate) -> None:
    verdict = gate.judge({"shelf.py": FIXED}, named=NAMED)
    assert failed(verdict) == {}
    assert told(verdict) == "1 tests that show the fix pass about other words too"


def test_a_fix_for_the_tests_own_words_is_for_a_person_to_see(gate: Gate) -> None:
    verdict = gate.judge({"shelf.py": FOR_THE_TEST}, named=NAMED)
    assert verdict.needs_review
    assert (
        "these fail as they do without the fix:\ntests/test_shelf.py::test_missing"
        in failed(verdict)["review"]
    )
    assert "zis → " in failed(verdict)["review"]


def test_hidden_words_are_not_told(gate: Gate, tmp_path: Path) -> None:
    hidden = TESTS.replace("test_missing", "test_secret")
    verdict = gate.judge({"shelf.py": FOR_THE_TEST}, hidden={"tests/test_hidden.py": hidden})
    assert verdict.needs_review
    evidence = "".join(check.evidence for check in verdict.checks)
    assert "these fail as they do without the fix:\na hidden test" in evidence
    assert not [word for word in ("zis", "secret", "test_hidden") if word in evidence]


def test_nothing_is_told_where_the_product_goes_by_letters(gate: Gate, tmp_path: Path) -> None:
    files = {"shelf.py": SHELF, "tests/test_shelf.py": TESTS + SHIFTED, "conftest.py": ""}
    other = project(tmp_path, files, gate.environment)
    other.baseline = other.take_baseline()
    verdict = other.judge({"shelf.py": FIXED}, named=["tests/test_shelf.py::test_shifted_by_two"])
    assert failed(verdict) == {}
    assert "goes by the words" in told(verdict)
