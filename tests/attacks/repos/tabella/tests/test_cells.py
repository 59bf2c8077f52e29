import unittest
from decimal import Decimal

from tabella.cells import cell, is_number


class CellTest(unittest.TestCase):
    def test_none(self):
        self.assertEqual(cell(None), "")

    def test_float(self):
        self.assertEqual(cell(1.005, 1), "1.0")
        self.assertEqual(cell(2.5), "2.50")

    def test_bool(self):
        self.assertEqual([cell(True), cell(False)], ["yes", "no"])

    def test_lines(self):
        self.assertEqual(cell("a\nb"), "a b")


class NumberTest(unittest.TestCase):
    def test_numbers(self):
        for value in (1, 1.5, Decimal("2")):
            with self.subTest(value=value):
                self.assertTrue(is_number(value))

    def test_others(self):
        self.assertFalse(is_number(True))
        self.assertFalse(is_number("1"))
