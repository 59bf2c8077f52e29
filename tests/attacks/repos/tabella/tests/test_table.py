import pytest

from tabella import align, markdown, table


def test_table(people):
    assert table(people, ["Name", "Age"]).splitlines() == [
        "Name | Age",
        "-----+----",
        "Ana  |  31",
        "Bo   |   7",
    ]


def test_no_rows():
    assert table([], ["a", "bc"]) == "a | bc\n--+---"


def test_wide_text():
    assert table([["日本", 1], ["x", 2]], ["k", "v"]).splitlines()[2:] == ["日本 | 1", "x    | 2"]


@pytest.mark.parametrize(
    "how, expected", [("left", "ab  "), ("right", "  ab"), ("center", " ab ")]
)
def test_align(how, expected):
    assert align("ab", 4, how) == expected


def test_align_clips(größe):
    assert align("x" * 20, größe) == "x" * 12


def test_markdown(people):
    assert markdown(people, ["Name", "Age"]) == (
        "| Name | Age |\n| --- | --- |\n| Ana | 31 |\n| Bo | 7 |"
    )


@pytest.mark.slow
def test_many_rows():
    text = table([[n, "x" * (n % 30)] for n in range(3000)], ["n", "text"])
    assert len(text.splitlines()) == 3002
