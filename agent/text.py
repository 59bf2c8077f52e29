"""Text that came from issues, repositories, tools or models, made safe to print."""

from __future__ import annotations

import re
import unicodedata

# Control, format (bidirectional marks, zero-width) and surrogate characters, and line breaks that are not \n: what
# moves the cursor, or makes a line read as something else than it is.
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")

ESCAPE = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, cursor
    r"|\x1b[ -/]*[0-~]?"
)
"""What programs print to a terminal beside text."""


def plain(text: str) -> str:
    """What a program printed, without colours and the like."""
    return printable(ESCAPE.sub("", text))


def printable(text: str) -> str:
    """`text` with its escapes and invisible characters shown as \\x.. or \\u...., not obeyed; \\n and \\t stay."""
    return _ODD.sub(_shown, text)


_ODD = re.compile(r"[^\n\t -~]")


def _shown(found: re.Match[str]) -> str:
    c = found[0]
    if unicodedata.category(c) not in _UNSAFE:
        return c
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
