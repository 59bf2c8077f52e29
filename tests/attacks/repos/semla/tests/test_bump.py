import pytest

from semla import bump


@pytest.mark.parametrize(
    "text, part, expected",
    [("1.2.3", "major", "2.0.0"), ("1.2.3", "patch", "1.2.4"), ("1.2.0", "minor", "1.3.0")],
)
def test_bump(text, part, expected):
    assert bump(text, part) == expected


def test_bump_drops_the_rest():
    assert bump("1.2.0-rc.1+x", "patch") == "1.2.1"


def test_unknown_part():
    with pytest.raises(ValueError, match="not a part"):
        bump("1.2.3", "build")
