import unittest

from punktenv import expand


class ExpandTest(unittest.TestCase):
    def test_earlier_value(self):
        self.assertEqual(expand({"A": "1", "B": "${A}2"}), {"A": "1", "B": "12"})

    def test_environment(self):
        self.assertEqual(expand({"B": "${HOME}/x"}, {"HOME": "/h"}), {"B": "/h/x"})

    def test_default(self):
        self.assertEqual(expand({"B": "${A:-z}"}), {"B": "z"})

    def test_unknown(self):
        self.assertEqual(expand({"B": "<${A}>"}), {"B": "<>"})

    def test_chain(self):
        self.assertEqual(expand({"A": "x", "B": "${A}", "C": "${B}${B}"})["C"], "xx")
