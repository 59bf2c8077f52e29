"""From text to a dict."""

import re

from .errors import ParseError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def _unquote(value, line):
    """The text of a quoted value, or the value as it is."""
    if value[:1] not in ("'", '"'):
        return value
    quote = value[0]
    if len(value) < 2 or value[-1] != quote:
        raise ParseError("the quote is not closed", line)
    inner = value[1:-1]
    if quote == "'":
        return inner
    return re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[0]), inner)


def _without_comment(value):
    """The value without a comment at its end."""
    return value.split(" #")[0].strip()


def parse_line(text, line=1):
    """(name, value) of a line, or None for one that says nothing."""
    text = text.strip()
    if not text or text.startswith("#"):
        return None
    if text.startswith("export "):
        text = text[len("export ") :].lstrip()
    name, sign, value = text.partition("=")
    name = name.strip()
    if not sign or not NAME.fullmatch(name):
        raise ParseError(f"no assignment: {text!r}", line)
    return name, _unquote(_without_comment(value), line)


def loads(text):
    """All assignments; a later one wins."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        pair = parse_line(line, number)
        if pair:
            found[pair[0]] = pair[1]
    return found
