"""Hunks of a patch that the verdict does not need, found by leaving them out (delta debugging, bounded).

A patch is handled as bytes, as `git diff` prints it, so that what stays is exactly what was there. What only goes
together (a file created, deleted, renamed, copied, binary or with another mode; two parts of the patch on the same
path) counts as one hunk: any choice of hunks leaves a patch that `git apply` takes on the same base.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Set
from dataclasses import dataclass, field, replace
from itertools import pairwise

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_WHOLE = re.compile(
    rb"(new file mode|deleted file mode|old mode|rename|copy|Binary files) |GIT binary patch|(---|\+\+\+) /dev/null"
)
_COMMENT = re.compile(r"#|//|/\*|\*/|\* |<!--|;;|\.\. ")
_QUOTES = re.compile(r'"""|\'\'\'')
_ESCAPE = re.compile(rb"\\([0-7]{3}|[^0-7])", re.S)
_SINGLE = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
_NAMES = re.compile(rb"(--- |\+\+\+ |rename from |rename to |copy to )(.*?)\t?", re.S)


@dataclass(frozen=True)
class Hunk:
    """A part of a patch that can be left out; its number is its place in the list."""

    path: str  # after the change, or before it where it is deleted; bytes that are not UTF-8 stand as surrogates
    what: str  # its "@@" line, or the line that says what happens to the whole file
    text: bytes
    idle: bool  # whether it seems to change comments, documentation or white space alone, to try it first


@dataclass
class _Section:
    """What a patch says of one file: `pieces` are its hunks, with the number of lines that each adds."""

    head: bytes
    pieces: list[tuple[bytes, int]] = field(default_factory=list)
    path: bytes = b""
    touched: tuple[bytes, ...] = ()  # paths that are not what they were once it is applied
    whole: bool = False  # whether it is one hunk (or a part of one), else its pieces are
    number: int = 0  # of that hunk, or of the first of its pieces

    @property
    def text(self) -> bytes:
        return self.head + b"".join(text for text, _ in self.pieces)


def hunks(patch: bytes) -> list[Hunk]:
    """The hunks of a patch in their order; none for what is no patch."""
    found: dict[int, Hunk] = {}
    for section in _sections(patch):
        path = section.path.decode("utf-8", "surrogateescape")
        lines = section.head.split(b"\n")
        what = next((line for line in lines if _WHOLE.match(line)), lines[0]).decode("utf-8", "replace")
        if section.whole:
            earlier = found.get(section.number, Hunk(path, what, b"", False))
            found[section.number] = replace(earlier, text=earlier.text + section.text)
            continue
        for number, (text, _) in enumerate(section.pieces, section.number):
            what = text.split(b"\n", 1)[0].decode("utf-8", "replace")
            found[number] = Hunk(path, what, text, _idle(path, text))
    return list(found.values())


def without(patch: bytes, dropped: Collection[int]) -> bytes:
    """The patch with some hunks left out, and the line numbers of what follows them counted anew.

    `git apply` takes it where it takes the whole. Empty when nothing is left. The "index" lines stay as they are,
    so the second id of a file that lost hunks is no longer that of the result; `git apply` does not look at it.
    """
    if not dropped:
        return patch
    sections = _sections(patch)
    kept: list[bytes] = []
    for section in sections:
        if section.whole:
            kept += [] if section.number in dropped else [section.text]
            continue
        shift = 0
        pieces: list[bytes] = []
        for number, (text, grows) in enumerate(section.pieces, section.number):
            if number in dropped:
                shift += grows
            else:
                pieces.append(_moved(text, shift))
        kept += [section.head, *pieces] if pieces else []
    preamble = patch[: len(patch) - sum(len(section.text) for section in sections)]
    return b"".join([preamble, *kept]) if kept else b""


async def unneeded(
    patch: bytes, fixed: Collection[int], still_good: Callable[[bytes], Awaitable[bool]], tries: int = 12
) -> frozenset[int]:
    """Hunks that can all go at once: `still_good` was true of the patch without them, or there are none.

    `still_good` is asked at most `tries` times, never twice about the same hunks, never about the whole patch or an
    empty one. `fixed` hunks (tests) stay. What `still_good` raises is passed on.
    """
    found = hunks(patch)
    free = [number for number in range(len(found)) if number not in fixed]
    gone: set[int] = set()
    asked = {frozenset(gone), frozenset(range(len(found)))}
    for chosen in _choices([number for number in free if found[number].idle], free, gone):
        wanted = frozenset({*gone, *chosen})
        if wanted in asked or tries <= 0:
            continue
        tries -= 1
        asked.add(wanted)
        if await still_good(without(patch, wanted)):
            gone |= wanted
    return frozenset(gone)


def _choices(idle: list[int], free: list[int], gone: Set[int]) -> Iterator[list[int]]:
    """What to leave out next: the idle hunks, all when they are few, halves, quarters, ..., singles.

    Singles are gone through for as long as that takes something away (what nothing needs any more can go then), and
    last come pairs of neighbours. Idle hunks come first, else the order is that of the patch.
    """
    ordered = sorted(free, key=lambda number: number not in idle)
    yield idle
    left = [number for number in ordered if number not in gone]
    if len(left) <= 4:
        yield left
    size = max(1, len(left) // 2)
    while True:
        before = frozenset(gone)
        left = [number for number in ordered if number not in before]
        for start in range(0, len(left), size):
            yield left[start : start + size]
        if size == 1 and gone == before:
            break
        size = max(1, size // 2)
    for pair in pairwise(sorted(left)):
        yield list(pair)


def _sections(patch: bytes) -> list[_Section]:
    """A patch by file, its hunks numbered. Text before the first file is in none; what stands between goes along."""
    lines: list[bytes] = _LINE.findall(patch)
    cuts: list[tuple[int, int | None]] = []  # lines where a section or (with what it adds) a hunk starts
    at, in_head = 0, False
    while at < len(lines):
        plain = lines[at].startswith(b"--- ") and b"".join(lines[at + 1 : at + 2]).startswith(b"+++ ")
        match = _HUNK.match(lines[at]) if cuts else None
        if lines[at].startswith(b"diff --git ") or (plain and not in_head):
            cuts.append((at, None))
            in_head = True
        elif match:
            in_head = False
            old, new = (1 if match[n] is None else int(match[n]) for n in (2, 4))
            cuts.append((at, new - old))
            while at + 1 < len(lines) and (old > 0 or new > 0 or lines[at + 1][:1] == b"\\"):
                at += 1
                old -= lines[at][:1] in (b" ", b"-", b"\n")
                new -= lines[at][:1] in (b" ", b"+", b"\n")
        at += 1
    found: list[_Section] = []
    for (begin, grows), (end, _) in pairwise([*cuts, (len(lines), None)]):
        text = b"".join(lines[begin:end])
        if grows is None:
            found.append(_Section(text))
        else:
            found[-1].pieces.append((text, grows))
    _number([_named(section) for section in found])
    return found


def _named(section: _Section) -> _Section:
    """Find out which paths a section is about, and whether it is more than an edit."""
    lines = section.head.split(b"\n")
    names: dict[bytes, bytes] = {}
    for line in lines:
        if match := _NAMES.fullmatch(line):
            name = _unquoted(match[2])
            if len(match[1]) == 4:
                name = b"" if name == b"/dev/null" else name.partition(b"/")[2]
            names[match[1]] = name
    if not names:
        # "diff --git a/N b/N", both the same: no other line names what is empty, binary or only changes its mode.
        both = lines[0].removeprefix(b"diff --git ")
        names[b"+++ "] = _unquoted(both[: len(both) // 2]).partition(b"/")[2]
    if b"copy to " in names:  # its source is that of the base, whatever else happens to it
        names = {b"copy to ": names[b"copy to "]}
    section.touched = tuple(dict.fromkeys(name for name in names.values() if name))
    section.path = section.touched[-1] if section.touched else b""
    section.whole = not section.pieces or any(_WHOLE.match(line) for line in lines)
    return section


def _number(sections: list[_Section]) -> None:
    """Number the hunks. All sections that share a path, or need a folder that was a file, are one together."""
    owners = Counter(path for section in sections for path in section.touched)
    shared = {path for path, times in owners.items() if times > 1}
    for path in owners:
        above = {path[: slash.start()] for slash in re.finditer(b"/", path[:4096])} & owners.keys()
        shared |= above | {path} if above else above
    free, tangle = 0, -1
    for section in sections:
        section.number = free
        if shared.isdisjoint(section.touched):
            free += 1 if section.whole else len(section.pieces)
            continue
        section.whole = True
        tangle, free = (free, free + 1) if tangle < 0 else (tangle, free)
        section.number = tangle


def _moved(text: bytes, shift: int) -> bytes:
    match = _HUNK.match(text)
    if not shift or match is None:
        return text
    return b"%s%d%s" % (text[: match.start(3)], max(int(match[3]) - shift, 0), text[match.end(3) :])


def _unquoted(name: bytes) -> bytes:
    """A name as git writes it in a header: in quotes, with the escapes of C, where it is not plain."""
    if len(name) < 2 or not name[:1] == name[-1:] == b'"':
        return name
    return _ESCAPE.sub(
        lambda m: bytes([int(m[1], 8) & 255]) if m[1].isdigit() else _SINGLE.get(m[1], m[1]), name[1:-1]
    )


def _idle(path: str, text: bytes) -> bool:
    """Whether a hunk seems to change nothing that runs; docstrings are known by the quotes that the hunk shows."""
    if path.endswith((".md", ".rst", ".txt")):
        return True
    python = path.endswith((".py", ".pyi"))
    lines = text.decode("utf-8", "replace").split("\n")[1:]
    place = next((n for n, line in enumerate(lines) if len(_QUOTES.findall(line)) == 1), 0) if python else 0
    # A lone quote that does not open a docstring closes one that began above the hunk.
    closing = bool(lines) and re.fullmatch(r".\s*([^\"'=(]+)?(\"\"\"|\'\'\')\s*", lines[place])
    inside = bool(closing) and not (place and lines[place - 1].rstrip().endswith(":"))
    changed: dict[str, list[str]] = {"-": [], "+": []}
    for line in lines:
        mark, content = line[:1], line[1:].strip()
        quotes = len(_QUOTES.findall(content)) if python else 0
        prose = inside or re.match(r"\w?(\"\"\"|\'\'\')", content)
        if quotes % 2 and mark != "-":
            inside = not inside
        if mark in changed and content and not prose and not _COMMENT.match(content):
            changed[mark].append(line[1:].rstrip() if python else "".join(content.split()))
    return changed["-"] == changed["+"]
