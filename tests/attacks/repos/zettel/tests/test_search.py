import unittest

from zettel.notes import Note
from zettel.search import find, open_notes, tagged

NOTES = [Note.new(1, "Rot #a"), Note.new(2, "Grün #b"), Note.new(3, "Grau #a #b")]


class SearchTest(unittest.TestCase):
    def ids(self, notes):
        return [note.id for note in notes]

    def test_find(self):
        self.assertEqual(self.ids(find(NOTES, "gr")), [2, 3])
        self.assertEqual(self.ids(find(NOTES, "GRÜN")), [2])

    def test_nothing(self):
        self.assertEqual(find(NOTES, "blau"), [])

    def test_tagged(self):
        self.assertEqual(self.ids(tagged(NOTES, "b")), [2, 3])

    def test_open(self):
        self.assertEqual(self.ids(open_notes(NOTES)), [3, 2, 1])
        self.assertEqual(self.ids(open_notes(NOTES, 2)), [3, 2])
