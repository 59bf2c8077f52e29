"""Parsing and ordering."""

import re
from functools import total_ordering

from semla.errors import InvalidVersion

PATTERN = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?"
)


@total_ordering
class Version:
    """One version. Builds do not count in comparisons."""

    def __init__(self, major, minor, patch, pre=(), build=()):
        self.major = major
        self.minor = minor
        self.patch = patch
        self.pre = tuple(pre)
        self.build = tuple(build)

    @property
    def core(self):
        return (self.major, self.minor, self.patch)

    def _key(self):
        # A version without a pre-release comes after all that have one.
        return (self.core, not self.pre, tuple(self.pre))

    def __eq__(self, other):
        if not isinstance(other, Version):
            return NotImplemented
        return self._key() == other._key()

    def __lt__(self, other):
        if not isinstance(other, Version):
            return NotImplemented
        return self._key() < other._key()

    def __hash__(self):
        return hash(self._key())

    def __str__(self):
        text = ".".join(str(part) for part in self.core)
        if self.pre:
            text += "-" + ".".join(self.pre)
        if self.build:
            text += "+" + ".".join(self.build)
        return text

    def __repr__(self):
        return f"Version({str(self)!r})"


def parse(text):
    """The version that `text` says; raises InvalidVersion."""
    match = PATTERN.fullmatch(text.strip())
    if not match:
        raise InvalidVersion(f"not a version: {text!r}")
    major, minor, patch, pre, build = match.groups()
    return Version(
        int(major),
        int(minor),
        int(patch),
        pre.split(".") if pre else (),
        build.split(".") if build else (),
    )
