import pytest

from semla import InvalidVersion, Version, parse


@pytest.mark.parametrize(
    "text",
    ["0.0.0", "1.2.3", "10.20.30", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0+build.5", "1.0.0-rc.1+exp"],
)
def test_round_trip(text):
    assert str(parse(text)) == text


@pytest.mark.parametrize("text", ["", "1", "1.2", "01.2.3", "1.2.3-", "v1.2.3", "1.2.3 4"])
def test_invalid(text):
    with pytest.raises(InvalidVersion):
        parse(text)


@pytest.mark.parametrize(
    "lower, higher",
    [
        ("1.2.3", "1.2.4"),
        ("1.9.0", "1.10.0"),
        ("1.0.0-alpha", "1.0.0"),
        ("1.0.0-alpha", "1.0.0-alpha.1"),
        ("1.0.0-alpha.1", "1.0.0-beta"),
    ],
)
def test_order(lower, higher):
    assert parse(lower) < parse(higher)
    assert not parse(higher) < parse(lower)


def test_builds_do_not_count():
    assert parse("1.0.0+a") == parse("1.0.0+b")
    assert len({parse("1.0.0+a"), parse("1.0.0+b")}) == 1


def test_repr():
    assert repr(Version(1, 2, 3)) == "Version('1.2.3')"


def test_other_types():
    assert parse("1.0.0") != "1.0.0"
    with pytest.raises(TypeError):
        parse("1.0.0") < "1.0.0"
