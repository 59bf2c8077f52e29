from pathlib import Path

import pytest

from punktenv import ParseError, loads
from punktenv.parser import parse_line

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("A=1", ("A", "1")),
        ("  A = 1  ", ("A", "1")),
        ("export A=b", ("A", "b")),
        ("A=", ("A", "")),
        ('A="x y"', ("A", "x y")),
        (r'A="x\ty"', ("A", "x\ty")),
        (r"A='x\ty'", ("A", r"x\ty")),
        ("A=x # note", ("A", "x")),
        ("A=x#y", ("A", "x#y")),
        ("# only", None),
        ("", None),
    ],
)
def test_line(text, expected):
    assert parse_line(text) == expected


@pytest.mark.parametrize("text", ["A", "1A=2", "A B=1", "=x", 'A="x', "A='"])
def test_errors(text):
    with pytest.raises(ParseError, match="line 3"):
        loads(f"\n\n{text}\n")


def test_later_wins():
    assert loads("A=1\nB=2\nA=3") == {"A": "3", "B": "2"}


def test_sample():
    text = (DATA / "sample.env").read_text(encoding="utf-8")
    assert loads(text) == {"NAME": "Zoë", "MODE": "fast", "EMPTY": "", "QUOTED": "a b", "SINGLE": r"$x \n"}
