import pytest

from tabella.width import char_width, clip, display_width


@pytest.mark.parametrize(
    "text, width",
    [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("naïve", 5), ("한글x", 5)],
)
def test_display_width(text, width):
    assert display_width(text) == width


def test_char_width():
    assert [char_width(char) for char in "a日"] == [1, 2]


@pytest.mark.parametrize("width, expected", [(0, ""), (1, "a"), (2, "a"), (3, "a日"), (9, "a日b")])
def test_clip(width, expected):
    assert clip("a日b", width) == expected
