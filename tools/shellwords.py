"""The simple commands of a bash command line, and edits to them that keep the rest byte for byte."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

# One word of a shell command line. Substitutions are one level deep: test commands are simple.
_NESTED = r"\((?:[^()]|\((?:[^()])*\))*\)"
_WORD = rf"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[$<>]{_NESTED}|`[^`]*`|[^\s;&|<>()'"\\`])+"""
_TOKEN = re.compile(
    rf"(?P<space>(?:[ \t\r]|\\\n)+|\#[^\n]*)"
    rf"|(?P<redirect>(?:\d*(?:<<<|<<-?|<&|>&|>>|<>|>\||[<>](?!\())|&>>?)[ \t]*(?:{_WORD})?)"
    rf"|(?P<word>{_WORD})"
    r"|(?P<end>;;|&&|\|\||\|&|[\n;|&()])",
    re.DOTALL,
)
LEAD_IN = re.compile(
    r"[A-Za-z_]\w*=.*|!|\{|if|then|else|elif|do|while|until|time|env|exec|command", re.DOTALL
)


class NotASuite(ValueError):
    """The test command cannot be made to leave a JUnit report."""


@dataclass(frozen=True, slots=True)
class Word:
    start: int
    end: int
    text: str
    """Without its quotes."""


def simple_commands(command: str) -> Iterator[list[Word]]:
    """The words of each simple command. Raises NotASuite for a quote or bracket that nothing closes."""
    words: list[Word] = []
    at = 0
    while at < len(command):
        token = _TOKEN.match(command, at)
        if token is None:
            raise NotASuite(f"the test command {command!r} has an unclosed quote or bracket")
        if token.lastgroup == "word":
            try:
                text = "".join(shlex.split(token[0]))
            except ValueError:
                text = token[0]
            words.append(Word(token.start(), token.end(), text))
        elif token.lastgroup == "end":
            yield words
            words = []
        at = token.end()
    yield words


def after_lead_in(words: Sequence[Word]) -> int:
    """Where a simple command's program stands, after variables and shell keywords."""
    lead = 0
    while lead < len(words) and LEAD_IN.fullmatch(words[lead].text):
        lead += 1
    return lead


Edit = tuple[int, int, str]
"""Start, end and what comes there instead."""


def edited(command: str, edits: Iterable[Edit]) -> str:
    for start, end, text in sorted(edits, reverse=True):
        command = command[:start] + text + command[end:]
    return command
