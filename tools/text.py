"""Text for a model out of bytes from anywhere: bounded, valid, and without terminal tricks."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_TEXT = 30_000
"""Characters of one result, about."""
MAX_LINE = 2_000
"""Characters shown of one line."""

# Controls but tab and newline, lone surrogates, and the marks that reorder or split lines on a screen.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def safe(text: str) -> str:
    r"""Show what could act on a terminal, or is no valid text, as escapes such as \x1b."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def readable(data: bytes) -> str:
    """Safe text of output: invalid UTF-8 replaced, long lines cut."""
    text = safe(data.decode("utf-8", "replace"))
    if len(text) > MAX_LINE:
        text = "\n".join(map(short_line, text.split("\n")))
    return text


def short_line(line: str) -> str:
    """Cut one line to MAX_LINE characters, and say how many were cut."""
    if len(line) <= MAX_LINE:
        return line
    return f"{line[:MAX_LINE]} [... {len(line) - MAX_LINE} more characters in this line]"


def cut_middle(text: str, limit: int = MAX_TEXT) -> str:
    """Cut the middle out of a text longer than `limit` characters, at line ends where there are some."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit * 2 // 5], text[-(limit * 3 // 5) :]
    head = head[: head.rfind("\n") + 1 or None]
    tail = tail[tail.find("\n", 0, len(tail) // 2) + 1 :]
    cut = len(text) - len(head) - len(tail)
    return f"{head.rstrip()}\n[... {cut} characters cut ...]\n{tail}"


def counted(number: int, noun: str) -> str:
    """ "1 line", "2 lines", "2 matches"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith(('ch', 's')) else 's'}"


def nearest(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """Those of `names` most like `name`, the nearest first."""
    from difflib import get_close_matches

    return get_close_matches(name, list(names), n=limit, cutoff=0.6)
