"""Text of models, tests and issues made fit to stand in a comment or a pull request under our name.

It must notify nobody, link to and close nothing, command no bot, and hide nothing. GitHub itself acts on none of that
in code, but other programs read a comment's raw text. So hostile text stands in code, and is changed besides: the
character that makes it act is replaced by its look-alike of full width, which people read the same.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence

from agent.forge.secret_text import cut_out
from agent.text import ESCAPE

WIDTH = 110
"""Columns of prose in a block of code, which GitHub does not wrap."""

_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_MENTION = re.compile(r"@(?=[A-Za-z0-9_\[])")
_NUMBER = re.compile(r"#(?=[0-9])")
_GH = re.compile(r"\b(GH)-(?=[0-9])", re.I)
_LINK = re.compile(r"(?<=[A-Za-z]):(?=//)")
_WWW = re.compile(r"\b(www)\.(?=\S)", re.I)
_COMMAND = re.compile(r"(?m)^([ \t>*+-]*)/(?=[A-Za-z])")
_WORDS = re.compile(r"(?mi)^([ \t>*+-]*)(bors|dependabot|renovate|mergify|copilot)\b(?=[ \t]+\S)")
"""Bots that are commanded by their bare name at the start of a line."""
_SKIP = re.compile(r"\[(?=(?:skip|no|ci|actions)[ -])", re.I)
"""`[skip ci]` in a commit's message."""
_CLOSING = re.compile(
    r"(?i)\b(?:clos|fix|resolv)(?:e[sd]?)?(?=:?\s+(?:[\w.-]+/[\w.-]+)?#\d|:?\s+https?://|:?\s+GH-\d)"
)


def neutral(text: str, secrets: Sequence[str]) -> str:
    """`text` so that it says the same to people and nothing to programs; \\n and \\t stay."""
    text = ESCAPE.sub("", text).replace("\r\n", "\n")
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _UNSEEN)
    # After what is invisible is gone: it could part a secret, or a mark, that must be known.
    text = cut_out(text, secrets)
    text = text.replace("<!", "＜!").replace("<?", "＜?")
    text = _CLOSING.sub(lambda found: found[0][0] + "‧" + found[0][1:], text)
    text = _MENTION.sub("＠", text)
    text = _NUMBER.sub("＃", text)
    text = _GH.sub(r"\1－", text)
    text = _LINK.sub("：", text)
    text = _SKIP.sub("［", text)
    text = _WWW.sub(r"\1．", text)
    text = _COMMAND.sub(r"\1／", text)
    return _WORDS.sub(lambda found: f"{found[1]}“{found[2]}”", text)


def line(text: str, secrets: Sequence[str], most: int) -> str:
    """Plain text on one line, for a title."""
    text = " ".join(neutral(_beginning(text, most), secrets).split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def block(text: str, secrets: Sequence[str], most: int, *, prose: bool = False) -> str:
    """A fenced block of at most `most` characters of `text` (the beginning, and that it was cut)."""
    text = _beginning(text, most)
    if prose:  # before it is made neutral: any word may come to stand at the start of a line
        lines = text.replace("\r\n", "\n").split("\n")
        text = "\n".join(
            textwrap.fill(one, WIDTH, break_long_words=False, break_on_hyphens=False) for one in lines
        )
    text = neutral(text, secrets).strip("\n")
    if len(text) > most:
        text = text[:most].rstrip() + "\n[…]"
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def code(text: str, secrets: Sequence[str], most: int = 200) -> str:
    """A code span on one line, fit for a table's cell."""
    text = line(text, secrets, most)
    if not text:
        return "-"
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    text = text.replace("|", "\\|")
    return f"{ticks}{space}{text}{space}{ticks}"


def _beginning(text: str, most: int) -> str:
    """What is worth reading when `most` characters are shown: a folder's texts may have megabytes. Cut at a space, so
    that no half of a secret is left, which nobody would know again."""
    enough = most * 20
    return text if len(text) <= enough else text[:enough].rpartition(" ")[0]
