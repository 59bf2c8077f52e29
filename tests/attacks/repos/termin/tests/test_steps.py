from datetime import date

import pytest

from termin.steps import add_days, add_months, add_years, monday


@pytest.mark.parametrize(
    "start, months, expected",
    [
        (date(2024, 1, 15), 1, date(2024, 2, 15)),
        (date(2024, 1, 31), 1, date(2024, 2, 29)),
        (date(2023, 1, 31), 1, date(2023, 2, 28)),
        (date(2023, 12, 1), 1, date(2024, 1, 1)),
        (date(2024, 3, 31), -1, date(2024, 2, 29)),
    ],
)
def test_add_months(start, months, expected):
    assert add_months(start, months) == expected


def test_add_years():
    assert add_years(date(2024, 2, 29), 1) == date(2025, 2, 28)


def test_add_days():
    assert add_days(date(2024, 2, 28), 2) == date(2024, 3, 1)


@pytest.mark.parametrize("day", range(1, 8))
def test_monday(day):
    assert monday(date(2024, 1, day)) == date(2024, 1, 1)
