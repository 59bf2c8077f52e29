"""Notes on the command line."""

from zettel.notes import Note
from zettel.store import Store

__all__ = ["Note", "Store"]
