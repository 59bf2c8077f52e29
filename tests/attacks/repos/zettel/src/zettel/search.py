"""Finding notes."""


def find(notes, word):
    """The notes whose text has the word, in whatever case."""
    return [note for note in notes if word.lower() in note.text.lower()]


def tagged(notes, tag):
    return [note for note in notes if tag in note.tags]


def open_notes(notes, limit=None):
    """The notes that are not done, the newest first; at most `limit`."""
    found = sorted((note for note in notes if not note.done), key=lambda note: -note.id)
    if limit:
        return found[:limit]
    return found
