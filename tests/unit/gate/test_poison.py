"""Poisoned tests, run by a real pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agent.gate.poison import poisoned

WORD = "w0rd"
TESTS = '''
"""Tests."""
from __future__ import annotations
import sys
import unittest
import pytest


def test_plain():
    """What it does."""
    assert 1 == 1


def test_only_doc():
    """Nothing else."""


def test_returns():
    return


def test_skips():
    pytest.skip("never")


def test_exits():
    sys.exit(0)


def test_raises():
    with pytest.raises(ZeroDivisionError):
        1 / 0


@pytest.mark.parametrize("n", [1, 2])
def test_each(n, tmp_path):
    assert n


class TestA:
    def test_in(self):
        assert True

    class TestB:
        def test_deep(self):
            assert True


class Old(unittest.TestCase):
    def test_old(self):
        self.assertEqual(1, 1)


if sys.version_info > (3, 0):
    def test_under_if():
        assert True

else:
    def test_never():
        assert True


def helper():
    return 1


def test_left_alone():
    assert helper() == 1
'''
NAMES = {
    *("test_plain", "test_only_doc", "test_returns", "test_skips", "test_exits", "test_raises", "test_each"),
    *("TestA::test_in", "TestA::TestB::test_deep", "Old::test_old", "test_under_if"),
}


def test_each_named_test_fails_with_the_word(tmp_path: Path) -> None:
    text, found = poisoned(TESTS, {*NAMES, "test_absent", "TestA::test_absent"}, WORD)
    assert found == NAMES
    (tmp_path / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-c", "/dev/null"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path)
    assert "12 failed, 1 passed" in done.stdout, done.stdout
    assert done.stdout.count(f"AssertionError: {WORD}") >= 12
    assert "PASSED" in done.stdout and "test_left_alone" in done.stdout.partition("PASSED")[2]


def test_what_does_not_parse_is_left_as_it_is() -> None:
    assert poisoned("def test_x(:\n", {"test_x"}, WORD) == ("def test_x(:\n", frozenset())
    assert poisoned("x = 1\n", {"test_x"}, WORD)[1] == frozenset()
