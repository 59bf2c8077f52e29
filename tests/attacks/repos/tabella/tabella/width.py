"""How many columns of a terminal a text takes."""

import unicodedata


def char_width(char):
    """0 for combining marks, 2 for wide characters, else 1."""
    if unicodedata.combining(char):
        return 0
    if unicodedata.east_asian_width(char) == "W":
        return 2
    return 1


def display_width(text):
    return sum(char_width(char) for char in text)


def clip(text, width):
    """The longest beginning of `text` that takes at most `width` columns."""
    taken = 0
    for index, char in enumerate(text):
        taken += char_width(char)
        if taken > width:
            return text[:index]
    return text
