"""Steps from one date to another."""

import calendar
import datetime


def add_days(date, days):
    return date + datetime.timedelta(days=days)


def add_months(date, months):
    """The same day `months` later, or the last day of a month that is too short for it."""
    index = date.year * 12 + date.month - 1 + months
    year, month = divmod(index, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date.replace(year=year, month=month + 1, day=min(date.day, last))


def add_years(date, years):
    return add_months(date, 12 * years)


def monday(date):
    """The Monday of the date's week."""
    return add_days(date, -date.weekday())
