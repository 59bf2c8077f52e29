import unittest
from datetime import date

from termin import RuleError, every

START = date(2024, 5, 1)


class ParseTest(unittest.TestCase):
    def test_units(self):
        for unit in ("day", "week", "month", "year"):
            with self.subTest(unit=unit):
                self.assertEqual(every(unit, START).unit, unit)
                self.assertEqual(every(f"4 {unit}s", START).interval, 4)

    def test_weekdays(self):
        self.assertEqual(every("week on tue, sun", START).weekdays, (1, 6))

    def test_errors(self):
        for text in ("", "fortnight", "2", "week on", "week on xyz", "month on mon", "0 days"):
            with self.subTest(text=text), self.assertRaises(RuleError):
                every(text, START)
