"""The next version."""

from semla.version import Version, parse

PARTS = ("major", "minor", "patch")


def bump(text, part):
    """The version after `text`, as text, with `part` raised."""
    if part not in PARTS:
        raise ValueError(f"not a part of a version: {part!r}")
    version = parse(text)
    numbers = list(version.core)
    index = PARTS.index(part)
    numbers[index] += 1
    if part == "major":
        numbers[1:] = [0, 0]
    return str(Version(*numbers))
