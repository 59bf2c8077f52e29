"""Values as the text of a cell."""

from decimal import Decimal


def is_number(value):
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def cell(value, precision=2):
    """The text of a value: floats with `precision` digits, None as nothing, line breaks as spaces."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{precision}f}"
    return " ".join(str(value).split("\n"))
