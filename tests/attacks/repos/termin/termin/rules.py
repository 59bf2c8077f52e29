"""Rules, and the dates that they give."""

import itertools
from dataclasses import dataclass, field

from termin.steps import add_days, add_months, add_years, monday


@dataclass(frozen=True)
class Rule:
    """Every `interval` units from `start`; `weekdays` (0 is Monday) only for weeks."""

    unit: str
    interval: int
    start: object
    weekdays: tuple = field(default=())
    until: object = None

    def dates(self):
        """All dates, in order; without an end unless there is `until`."""
        found = {"day": self._days, "week": self._weeks, "month": self._months, "year": self._years}
        for date in found[self.unit]():
            if self.until is not None and date >= self.until:
                return
            yield date

    def _days(self):
        date = self.start
        while True:
            yield date
            date = add_days(date, self.interval)

    def _weeks(self):
        days = sorted(self.weekdays) or [self.start.weekday()]
        week = monday(self.start)
        while True:
            for day in days:
                date = add_days(week, day)
                if date >= self.start:
                    yield date
            week = add_days(week, 7 * self.interval)

    def _months(self):
        date = self.start
        while True:
            yield date
            date = add_months(date, self.interval)

    def _years(self):
        for count in itertools.count():
            yield add_years(self.start, count * self.interval)


def first(rule, count):
    """The first `count` dates."""
    return list(itertools.islice(rule.dates(), count))


def between(rule, low, high):
    """The dates from `low` to `high`, both counted in."""
    found = itertools.takewhile(lambda date: date <= high, rule.dates())
    return [date for date in found if date >= low]
