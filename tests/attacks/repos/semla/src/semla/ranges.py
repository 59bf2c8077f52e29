"""Ranges: `>=1.2.0 <2.0.0`, `^1.2.3`, `~1.2.3`, joined by `||`."""

import operator
import re

from semla.errors import InvalidRange
from semla.version import Version, parse

OPERATORS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "": operator.eq,
}


def _upper(sign, version):
    """The first version that a caret or tilde leaves out."""
    if sign == "~":
        return Version(version.major, version.minor + 1, 0)
    return Version(version.major + 1, 0, 0)


def _comparators(text):
    for word in text.split():
        match = re.fullmatch(r"(>=|<=|>|<|=|\^|~|)(.+)", word)
        sign, version = match[1], parse(match[2])
        if sign in ("^", "~"):
            yield operator.ge, version
            yield operator.lt, _upper(sign, version)
        else:
            yield OPERATORS[sign], version


class Range:
    """Alternatives of comparators that must all hold."""

    def __init__(self, text):
        try:
            self.alternatives = [list(_comparators(part)) for part in text.split("||")]
        except ValueError as error:
            raise InvalidRange(f"not a range: {text!r}") from error

    def __contains__(self, version):
        return any(
            all(compare(version, bound) for compare, bound in alternative)
            for alternative in self.alternatives
        )


def satisfies(version, text):
    """Whether the version (as text) is in the range."""
    return parse(version) in Range(text)


def best(versions, text):
    """The greatest of `versions` (texts) in the range, or None."""
    wanted = Range(text)
    found = [parse(version) for version in versions]
    return max((version for version in found if version in wanted), default=None)
