"""What text looks like before a model or a terminal sees it."""

from __future__ import annotations

import pytest

from tools.text import MAX_LINE, counted, cut_middle, nearest, readable, safe, short_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext é 日本", "plain\n\ttext é 日本"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\r\nb\rc", "a\nb\\x0dc"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("a\u202eb\u2028c", "a\\u202eb\\u2028c"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_acts_on_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert safe(text) == shown
    safe(text).encode()


def test_lines_and_middles_are_cut_with_a_count() -> None:
    assert short_line("x" * (MAX_LINE + 7)).endswith(" [... 7 more characters in this line]")
    text = "".join(f"line {n}\n" for n in range(10_000))
    cut = cut_middle(text, 1000)
    assert len(cut) < 1100
    head, _, rest = cut.partition("\n[... ")
    number, _, tail = rest.partition(" characters cut ...]\n")
    assert text.startswith(head + "\n")
    assert text.endswith(tail)
    assert len(head) + 1 + int(number) + len(tail) == len(text)
    assert cut_middle("short", 1000) == "short"
    assert len(cut_middle("x" * 5000, 1000)) < 1100


def test_any_bytes_become_text() -> None:
    assert readable(bytes(range(256)) * 100).isprintable() is False
    assert not set(readable(bytes(range(256)))) & {chr(c) for c in range(32) if c not in (9, 10)}


def test_small_helpers() -> None:
    assert [counted(n, "match") for n in (0, 1, 2)] == ["0 matches", "1 match", "2 matches"]
    assert nearest("serach", ["search", "shell", "submit"]) == ["search"]
    assert nearest("zzz", ["search"]) == []
