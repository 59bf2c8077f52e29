"""Notes in a JSON file."""

import json
from pathlib import Path

from zettel.notes import Note


class Store:
    def __init__(self, path):
        self.path = Path(path)
        self.notes = []
        if self.path.exists():
            data = json.loads(self.path.read_text(encoding="utf-8"))
            self.notes = [Note(**note) for note in data]

    def save(self):
        data = [note.as_dict() for note in self.notes]
        self.path.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")

    def add(self, text):
        number = max((note.id for note in self.notes), default=0) + 1
        note = Note.new(number, text)
        self.notes.append(note)
        return note

    def get(self, number):
        return next((note for note in self.notes if note.id == number), None)

    def remove(self, number):
        """Whether there was such a note."""
        before = len(self.notes)
        self.notes = [note for note in self.notes if note.id != number]
        return len(self.notes) < before
