"""What is told of suspicious lines: short, and safe to read."""

from __future__ import annotations

from agent.spectrum import Spectrum, Suspect, told


def suspect(path: str, line: int, passing: int = 0, text: str = "x = 1") -> Suspect:
    return Suspect(path, line, text, 1, passing, 1.0)


def test_lines_stand_together_by_file_the_most_suspicious_file_first() -> None:
    lines = [suspect("b.py", 9), *(suspect("a.py", n) for n in (14, 3, 12, 13)), suspect("a.py", 5, 2)]
    text = told(Spectrum(lines, 1, 7))
    assert text.split("\n")[:4] == [
        "Lines that only the failing test ran, and none of 7 passing tests:",
        "- b.py:9",
        "- a.py:3, 12-14",
        "The 6 most suspicious lines of those that the failing test ran:",
    ]
    assert text.endswith("\n- a.py:5 (2 of 7 passing): x = 1")


def test_where_passing_tests_run_every_line_it_says_so() -> None:
    text = told(Spectrum([suspect("a.py", 5, 2)], 1, 7))
    assert text.startswith("Passing tests ran every line that the failing test ran.\nThe 1 most suspicious")
    alone = told(Spectrum([suspect("a.py", 5)], 2, 0))
    assert alone.startswith("No passing test could be observed beside the 2 failing tests.\n")


def test_it_is_bounded_and_shows_no_escapes() -> None:
    lines = [suspect(f"f{n % 40}\x1b[2J\n.py", n, text="y\x1b" * 500) for n in range(0, 2000, 2)]
    text = told(Spectrum(lines, 3, 7))
    assert text.count("\n") < 30
    assert len(text) < 10_000
    assert "\x1b" not in text
    assert "- and in 10 more files" in text
    assert " and 30 more\n" in text  # of 50 lines in one file


def test_nothing_is_told_of_nothing() -> None:
    assert told(Spectrum(reason="no test fails")) == ""
