"""Files on disk."""

from pathlib import Path

from .parser import loads


def load(path, encoding="utf-8"):
    """The assignments of a file; none when it is not there."""
    path = Path(path)
    if not path.exists():
        return {}
    return loads(path.read_text(encoding=encoding))


def merge(*paths):
    """The assignments of several files, the last one winning."""
    found = {}
    for path in paths:
        found.update(load(path))
    return found
