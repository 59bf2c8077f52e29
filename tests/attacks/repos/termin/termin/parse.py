"""Rules from text."""

import re

from termin.rules import Rule

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TEXT = re.compile(r"(?:(\d+) )?(day|week|month|year)s?(?: on (.+))?")


class RuleError(ValueError):
    """A text that is no rule."""


def _weekdays(text):
    names = re.split(r"\s*,\s*", text.strip())
    unknown = [name for name in names if name not in DAYS]
    if unknown:
        raise RuleError(f"no day of the week: {unknown[0]!r}")
    return tuple(DAYS.index(name) for name in names)


def every(text, start, until=None):
    """The rule that `text` tells: "day", "3 days", "2 weeks on mon, fri", "month", "year"."""
    match = TEXT.fullmatch(text.strip())
    if not match:
        raise RuleError(f"no rule: {text!r}")
    count, unit, days = match.groups()
    if days and unit != "week":
        raise RuleError("days of the week go with weeks only")
    if count == "0":
        raise RuleError("the interval must be 1 at least")
    return Rule(unit, int(count or 1), start, _weekdays(days) if days else (), until)
