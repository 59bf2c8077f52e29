"""The symbols of one file, for a reader."""

from __future__ import annotations

from agent.orientation.symbols import LANGUAGES, Symbol, language_of, symbols
from agent.text import printable
from tools.text import counted

MAX_SHOWN = 400
"""Symbols."""


def place(symbol: Symbol) -> str:
    return f"{symbol.line}-{symbol.end}" if symbol.end > symbol.line else str(symbol.line)


def outline(path: str, source: bytes) -> str:
    """One line for each definition, with its first and last line; what is in another one is indented below it."""
    language = language_of(path)
    if language is None:
        known = ", ".join(sorted(LANGUAGES))
        return f"no outline of {printable(path)}: only files that end in {known} can be parsed; use search"
    found = symbols(language, source)
    depth: list[int] = []
    lines = []
    for symbol in found:
        depth.append(depth[symbol.parent] + 1 if symbol.parent >= 0 else 0)
        lines.append(f"{'  ' * min(depth[-1], 8)}{place(symbol)}: {printable(symbol.signature)}")
    total = source.count(b"\n") + (not source.endswith(b"\n") and source != b"")
    left = f"\n[{len(lines) - MAX_SHOWN} more left out]" if len(lines) > MAX_SHOWN else ""
    head = f"{printable(path)}: {counted(len(lines), 'symbol')} in {counted(total, 'line')}"
    return "\n".join([head, *lines[:MAX_SHOWN]]) + left
