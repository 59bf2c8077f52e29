"""Text that came from issues, repositories, tools or models, made safe to print."""

from __future__ import annotations

import unicodedata

_KEPT = {"\n", "\t"}
# Bidirectional controls can make a line read as something else than it is.
_BIDI = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def printable(text: str) -> str:
    """`text` with control characters, escapes, bidi marks and lone surrogates shown as \\x.. or \\u...., not obeyed."""
    return "".join(c if c in _KEPT or not _unsafe(c) else _escaped(c) for c in text)


def _unsafe(c: str) -> bool:
    return c in _BIDI or unicodedata.category(c) in ("Cc", "Cs")


def _escaped(c: str) -> str:
    return f"\\x{ord(c):02x}" if ord(c) < 0x100 else f"\\u{ord(c):04x}"
