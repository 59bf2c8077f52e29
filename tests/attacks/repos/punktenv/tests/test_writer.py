import pytest

from punktenv import dumps, loads


@pytest.mark.parametrize("value", ["", "plain", "with space", "ümlaut", 'a "quote"', "a/b:c"])
def test_round_trip(value):
    assert loads(dumps({"A": value})) == {"A": value}


def test_order():
    assert dumps({"B": "1", "A": "2"}) == "B=1\nA=2\n"


def test_plain_values_are_not_quoted():
    assert dumps({"A": "x,y"}) == "A=x,y\n"
