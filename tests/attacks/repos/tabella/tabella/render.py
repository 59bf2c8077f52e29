"""Whole tables."""

from tabella.cells import cell
from tabella.layout import align, columns


def _line(texts, layout, separator):
    parts = [
        align(text, width, "right" if numeric else "left")
        for text, (width, numeric) in zip(texts, layout)
    ]
    return separator.join(parts).rstrip()


def table(rows, headers):
    """A table with a rule below its headers."""
    rows = [list(row) for row in rows]
    layout = columns(rows, headers)
    lines = [_line(headers, layout, " | ")]
    lines.append("-+-".join("-" * width for width, _ in layout))
    lines += [_line([cell(value) for value in row], layout, " | ") for row in rows]
    return "\n".join(lines)


def markdown(rows, headers):
    """A table as GitHub's Markdown has it."""
    lines = ["| " + " | ".join(headers) + " |"]
    lines.append("|" + "|".join(" --- " for _ in headers) + "|")
    for row in rows:
        lines.append("| " + " | ".join(cell(value) for value in row) + " |")
    return "\n".join(lines)
