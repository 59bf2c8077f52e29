"""Exceptions."""


class SemlaError(Exception):
    """Any of this package's."""


class InvalidVersion(SemlaError, ValueError):
    """A text that is no semantic version."""


class InvalidRange(SemlaError, ValueError):
    """A text that is no range of versions."""
