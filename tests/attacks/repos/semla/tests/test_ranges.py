import unittest

import pytest

from semla import InvalidRange, Range, satisfies
from semla.ranges import best


@pytest.mark.parametrize(
    "version, text, expected",
    [
        ("1.2.3", ">=1.2.0 <2.0.0", True),
        ("2.0.0", ">=1.2.0 <2.0.0", False),
        ("1.9.9", "^1.2.3", True),
        ("1.2.2", "^1.2.3", False),
        ("2.0.0", "^1.2.3", False),
        ("1.2.9", "~1.2.3", True),
        ("1.3.0", "~1.2.3", False),
        ("3.0.0", "^1.0.0 || ^3.0.0", True),
    ],
)
def test_satisfies(version, text, expected):
    assert satisfies(version, text) is expected


class RangeTest(unittest.TestCase):
    def test_invalid(self):
        for text in ("", "x", ">=", "1.2", "^1"):
            if text:
                with self.subTest(text=text), self.assertRaises(InvalidRange):
                    Range(text)

    def test_best(self):
        self.assertEqual(str(best(["1.0.0", "1.5.0", "2.0.0"], "^1.0.0")), "1.5.0")
        self.assertIsNone(best(["0.9.0"], "^1.0.0"))
