from datetime import date

from termin import Rule, between, every, first


class TestFirst:
    def test_days(self):
        assert first(every("3 days", date(2024, 1, 1)), 3) == [date(2024, 1, d) for d in (1, 4, 7)]

    def test_week(self):
        assert first(every("week", date(2024, 1, 3)), 2) == [date(2024, 1, 3), date(2024, 1, 10)]

    def test_weekdays(self):
        found = first(every("2 weeks on mon, fri", date(2024, 1, 2)), 4)
        assert found == [date(2024, 1, 5), date(2024, 1, 15), date(2024, 1, 19), date(2024, 1, 29)]

    def test_months(self):
        assert first(every("month", date(2024, 11, 5)), 3)[-1] == date(2025, 1, 5)

    def test_years_keep_the_leap_day(self):
        found = first(every("year", date(2024, 2, 29)), 5)
        assert found[1] == date(2025, 2, 28)
        assert found[4] == date(2028, 2, 29)


def test_until():
    rule = every("day", date(2024, 1, 1), until=date(2024, 1, 4))
    assert list(rule.dates())[:3] == [date(2024, 1, d) for d in (1, 2, 3)]


def test_between():
    rule = Rule("day", 1, date(2024, 1, 1))
    assert between(rule, date(2024, 1, 3), date(2024, 1, 5)) == [date(2024, 1, d) for d in (3, 4, 5)]


def test_long_run():
    assert first(every("day", date(2000, 1, 1)), 9000)[-1] == date(2024, 8, 21)
