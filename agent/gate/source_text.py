"""Sources of other languages than Python as text: strings and comments blanked out, places and lengths kept.

No parser: what looks at the blanked text knows that a bracket or a word in it is code, and no more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

Language = Literal["js", "go", "rust", "java"]
MAX_TEXT = 1_000_000
"""Characters of a source that is read as text; a larger one is data or generated."""

_NAMES: list[tuple[str, Language]] = [
    (r"\.[cm]?[jt]sx?$", "js"),
    (r"\.go$", "go"),
    (r"\.rs$", "rust"),
    (r"\.java$", "java"),
]
_COMMENT = r"//[^\n]*|/\*.*?(?:\*/|\Z)"
_DOUBLE = r'"(?:[^"\\\n]|\\.)*"'
_SINGLE = r"'(?:[^'\\\n]|\\.)*'"
_TOKENS: dict[Language, re.Pattern[str]] = {
    "js": re.compile(rf"(?P<comment>\A#![^\n]*|{_COMMENT})|(?P<string>{_DOUBLE}|{_SINGLE})|[`{{}}/]", re.S),
    "go": re.compile(rf"(?P<comment>{_COMMENT})|(?P<string>{_DOUBLE}|`[^`]*`|{_SINGLE})", re.S),
    "rust": re.compile(
        r"(?P<comment>//[^\n]*)|(?P<nested>/\*)"
        r'|(?P<string>(?<![\w#])[bc]?r(?P<hashes>#*)".*?"(?P=hashes)|"(?:[^"\\]|\\.)*"'
        r"|'(?:[^'\\\n]|\\(?:x[0-9a-fA-F]{2}|u\{[^}\n]*\}|.))')",
        re.S,
    ),
    "java": re.compile(
        rf'(?P<comment>{_COMMENT})|(?P<string>"""(?:[^\\]|\\.)*?"""|{_DOUBLE}|{_SINGLE})', re.S
    ),
}
_TEMPLATE = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*", re.S)
_REGEX = re.compile(r"/(?![*/])(?:[^\\/\[\n]|\\[^\n]|\[(?:[^\]\\\n]|\\[^\n])*\])+/[a-z]*")
_BEFORE_REGEX = re.compile(
    r"(?:^|[(,=:\[!&|?{};~+\-*%>^]"
    r"|(?<![\w$.])(?:return|typeof|case|in|of|delete|void|throw|new|instanceof|do|else|yield|await))\Z"
)
_CLOSES = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Text:
    """A source three times, each of the same length and with the same lines."""

    source: str
    plain: str
    """Without comments."""
    code: str
    """Without comments and without what is in strings, whose quotes stay."""

    def line(self, at: int) -> int:
        return self.source.count("\n", 0, at) + 1


def language(path: str) -> Language | None:
    """What a file is written in, as far as its name tells; None for Python and all else."""
    return next((lang for pattern, lang in _NAMES if re.search(pattern, path)), None)


@lru_cache(maxsize=64)
def text_of(source: str, lang: Language) -> Text:
    """Read a source. What is wrong in it (a string without an end) is taken for code."""
    comments: list[tuple[int, int]] = []
    strings: list[tuple[int, int]] = []
    if lang == "js":
        _read_js(source, comments, strings)
    else:
        at = 0
        while match := _TOKENS[lang].search(source, at):
            at = match.end()
            if match.lastgroup == "comment":
                comments.append(match.span())
            elif lang == "rust" and match["nested"]:
                at = _end_of_nested(source, at)
                comments.append((match.start(), at))
            else:
                strings.append(_inside(match["string"], match.start()))
    plain = _blanked(source, comments)
    return Text(source, plain, _blanked(plain, strings))


def closing(code: str, at: int) -> int | None:
    """Where the bracket that opens at `at` closes, in blanked code; None when it does not."""
    waiting: list[str] = []
    for match in re.compile(r"[()\[\]{}]").finditer(code, at):
        if match[0] in _CLOSES:
            waiting.append(_CLOSES[match[0]])
        elif not waiting or waiting.pop() != match[0]:
            return None
        if not waiting:
            return match.start()
    return None


def arguments(code: str, opening: int, end: int) -> list[tuple[int, int]]:
    """The places of what commas part between the bracket at `opening` and the one at `end`, without blanks."""
    commas, depth = [opening], 0
    for match in re.compile(r"[()\[\]{},]").finditer(code, opening + 1, end):
        if match[0] == ",":
            commas += [match.start()] if not depth else []
        else:
            depth += 1 if match[0] in _CLOSES else -1
    parts = [(one + 1, other) for one, other in pairwise([*commas, end])]
    spans = [
        (start + len(part) - len(part.lstrip()), start + len(part.rstrip()))
        for start, stop in parts
        for part in [code[start:stop]]
    ]
    return [span for span in spans if span[0] < span[1]]


def _read_js(source: str, comments: list[tuple[int, int]], strings: list[tuple[int, int]]) -> None:
    """JavaScript and TypeScript: code may stand in template literals, and a slash may begin a regex."""
    braces: list[bool] = []  # whether each open brace is a template's
    at = last = 0

    def template(start: int) -> int:
        """Past a template's text: its end, or the code in it."""
        match = _TEMPLATE.match(source, start)
        stop = match.end() if match else start
        strings.append((start, stop))
        if source.startswith("${", stop):
            braces.append(True)
            return stop + 2
        return stop + 1

    while match := _TOKENS["js"].search(source, at):
        at = match.end()
        if match.lastgroup == "comment":
            comments.append(match.span())
            continue
        if match.lastgroup == "string":
            strings.append((match.start() + 1, match.end() - 1))
        elif match[0] == "{":
            braces.append(False)
        elif match[0] == "}":
            if braces and braces.pop():
                at = template(at)
        elif match[0] == "`":
            at = template(at)
        elif _begins_regex(source, last, match.start(), comments) and (
            regex := _REGEX.match(source, match.start())
        ):
            at = regex.end()
            strings.append((match.start() + 1, match.start() + regex[0].rindex("/")))
        last = match.start()


def _begins_regex(source: str, last: int, at: int, comments: list[tuple[int, int]]) -> bool:
    """Whether a slash may begin a regular expression: it does where a value is due."""
    start = max(last, at - 200)
    for first, end in reversed(comments):
        if end > start and source[end:at].strip() == "":
            at = first
        elif end <= start:
            break
    before = source[start:at].rstrip()
    if before.endswith(("++", "--")) or (before.endswith((">", "}")) and source.startswith("/>", at)):
        return False
    return bool(_BEFORE_REGEX.search(before)) or (not before and start == 0)


def _end_of_nested(source: str, at: int) -> int:
    """The end of a Rust block comment, in which others may stand."""
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(source, at):
        depth += 1 if match[0] == "/*" else -1
        if not depth:
            return match.end()
    return len(source)


def _inside(string: str, start: int) -> tuple[int, int]:
    """What is between the quotes."""
    opening = re.match(r'(?:[bc]?r(#*))?("""|["\'`])', string)
    assert opening, string
    return start + opening.end(), start + len(string) - len(opening[2]) - len(opening[1] or "")


def _blanked(source: str, places: list[tuple[int, int]]) -> str:
    parts, at = [], 0
    for start, end in places:
        parts += [source[at:start], re.sub(r"[^\n]", " ", source[start:end])]
        at = end
    return "".join([*parts, source[at:]])
