"""What people who read an issue don't see, taken out before a model reads it: comments, and invisible characters.

It is a defence in depth alone: an issue's text is hostile also where it can be seen.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_COMMENT = re.compile(
    r"<!--(?:-?>|.*?(?:--!?>|\Z))|<\?.*?(?:\?>|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<![A-Za-z].*?(?:>|\Z)", re.S
)
"""What HTML does not show: comments, processing instructions, sections of data, declarations. Left open they hide all
that follows, as in Markdown."""
_MAY_HIDE = re.compile(r"<[!?]|^ {0,3}\[[^\]\n]+\]:", re.M)

_ZERO_WIDTH = frozenset(
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\u3164\ufeff\uffa0"
)
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

KINDS = (
    "HTML comment",
    "link definition",
    "zero-width character",
    "direction mark",
    "tag character",
    "control character",
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A text as people see it, and what was taken out of it: how many of each of KINDS."""

    text: str
    hidden: Counter[str]


def shown(text: str) -> Shown:
    """`text`, Markdown, without what it hides. Comments in code stay: there they are seen."""
    hidden: Counter[str] = Counter()
    # Characters first: one of them in a comment's mark must not keep it from being known as one.
    kept = "".join(_visible(text.replace("\r\n", "\n").replace("\r", "\n"), hidden))
    if _MAY_HIDE.search(kept):
        kept = _without_comments(kept, hidden)
    return Shown(kept, hidden)


def told(hidden: Counter[str]) -> str:
    """What was taken out, for one line; empty when nothing was."""
    parts = [f"{hidden[kind]} {kind}{'' if hidden[kind] == 1 else 's'}" for kind in KINDS if hidden[kind]]
    return ", ".join(parts)


def _visible(text: str, hidden: Counter[str]) -> Iterator[str]:
    for before, c in pairwise(f"\n{text}"):
        kind = _kind(c, before)
        if kind is None:
            yield c
        else:
            hidden[kind] += 1


def _kind(c: str, before: str) -> str | None:
    """Which invisible character this is; None for one that is seen."""
    if c in "\n\t" or " " <= c <= "~":
        return None
    if c in _ZERO_WIDTH:
        return "zero-width character"
    if c in _BIDI:
        return "direction mark"
    if "\U000e0000" <= c <= "\U000e0fff":  # tags, and variation selectors 17 to 256: letters that nobody sees
        return "tag character"
    if "\ufe00" <= c <= "\ufe0f":  # one chooses how the character before it looks; more of them carry data
        return "zero-width character" if before.isspace() or "\ufe00" <= before <= "\ufe0f" else None
    if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return "control character"
    return None


def _without_comments(text: str, hidden: Counter[str]) -> str:
    """The text without HTML comments and definitions that serve as comments, by CommonMark's own reading of it."""
    from markdown_it import MarkdownIt

    lines = text.split("\n")
    env: dict[str, Any] = {}
    cuts: list[tuple[int, int, str, list[str]]] = []
    for token in MarkdownIt("commonmark").parse(text, env):
        if token.map is None:
            continue
        first, last = token.map
        if token.type == "html_block":
            cuts.append((first, last, "HTML comment", _COMMENT.findall("\n".join(lines[first:last]))))
        elif token.type == "inline":
            html = [c.content for c in token.children or [] if c.type == "html_inline"]
            comments = [one for one in html if one.startswith(("<!", "<?"))]
            cuts.append((first, last, "HTML comment", comments))
    for one in [*env.get("references", {}).values(), *env.get("duplicate_refs", [])]:
        # `[//]: # (words)`: defines a link that goes nowhere, for its words' sake
        if one["title"] and one["href"] in ("#", "", "/"):
            first, last = one["map"]
            cuts.append((first, last, "link definition", ["\n".join(lines[first:last])]))
    # From the end, so that the numbers of lines before stay right.
    for first, last, kind, found in sorted(cuts, key=lambda cut: cut[0], reverse=True):
        part = "\n".join(lines[first:last])
        for words in found:
            # Within a quotation or a list the lines of a comment have marks before them.
            asked = r"\n[ \t>]*".join(re.escape(line.lstrip()) for line in words.split("\n"))
            part, times = re.subn(asked, "", part, count=1)
            if not times:
                part = _COMMENT.sub("", part)
            hidden[kind] += 1
        lines[first:last] = part.split("\n")
    return "\n".join(lines)
