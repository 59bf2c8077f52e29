"""Columns: their widths, and texts brought to them."""

from tabella.cells import cell, is_number
from tabella.width import clip, display_width


def align(text, width, how="left"):
    """`text` brought to `width` columns; what is too long is clipped."""
    text = clip(text, width)
    space = " " * (width - display_width(text))
    if how == "right":
        return space + text
    if how == "center":
        half = len(space) // 2
        return space[:half] + text + space[half:]
    return text + space


def columns(rows, headers):
    """For each column its width and whether all of it is numbers."""
    found = []
    for index, header in enumerate(headers):
        values = [row[index] for row in rows]
        width = max([display_width(header)] + [display_width(cell(value)) for value in values])
        found.append((width, bool(values) and all(is_number(value) for value in values)))
    return found
