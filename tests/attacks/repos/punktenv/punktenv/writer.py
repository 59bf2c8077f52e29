"""From a dict to text."""

import re

PLAIN = re.compile(r"[\w./:@%+,-]*")


def quoted(value):
    """The value as it must stand in a file."""
    if PLAIN.fullmatch(value):
        return value
    return '"' + value.replace('"', '\\"') + '"'


def dumps(values):
    """One line a value, in their order."""
    return "".join(f"{name}={quoted(value)}\n" for name, value in values.items())
