"""Why a text was not found in a file, said so that the next try succeeds."""

from __future__ import annotations

import re
from collections import Counter

from tools.text import safe, short_line

MAX_COMPARED = 20_000
"""Lines of a file that are compared; the answer must come soon."""


def explain_no_match(path: str, text: str, old: str, new: str) -> str:
    """The fault, a guess at its cause, and the lines of `text` that are nearest to `old`, with their numbers."""
    wanted = old.replace("\r\n", "\n").strip("\n").split("\n")
    lines = text.replace("\r\n", "\n").split("\n")[:MAX_COMPARED]
    at = _nearest(lines, wanted)
    causes: list[str] = []
    if sum(bool(re.match(r" *\d+\t", line)) for line in wanted) * 2 > len(wanted):
        causes.append("`old` starts lines with line numbers as read_file shows them; leave them out")
    if at is not None:
        causes += _whitespace_causes(lines[at : at + len(wanted)], wanted)
    if new.strip() and new.replace("\r\n", "\n") in text.replace("\r\n", "\n"):
        causes.append("`new` is already in the file; was this edit made before?")
    answer = [f"`old` is not in {path!r}; nothing was changed."]
    answer += [f"{cause[0].upper()}{cause[1:]}." if cause[0] != "`" else f"{cause}." for cause in causes]
    if at is None:
        answer.append("No line of it is like the first lines of `old`; read the file again.")
    else:
        answer.append("The nearest lines are:")
        first, last = max(0, at - 2), min(len(lines), at + min(len(wanted), 40) + 2)
        answer += [f"{n + 1:>6}\t{short_line(safe(lines[n]))}" for n in range(first, last)]
    return "\n".join(answer)


def _nearest(lines: list[str], wanted: list[str]) -> int | None:
    """Index of the line where a stretch begins that is most like `wanted`; None when nothing is."""
    squeezed = [" ".join(line.split()) for line in lines]
    # A line that both have votes for the stretch that would begin where `wanted` then begins.
    votes: Counter[int] = Counter()
    places: dict[str, list[int]] = {}
    for index, line in enumerate(squeezed):
        if line:
            places.setdefault(line, []).append(index)
    for offset, line in enumerate(wanted):
        found = places.get(" ".join(line.split()), [])
        for index in found[:200]:
            votes[max(0, index - offset)] += 10 + len(line.strip()) if len(found) < 10 else 1
    if votes:
        return min(votes, key=lambda index: (-votes[index], index))
    from difflib import get_close_matches

    longest = max(range(len(wanted)), key=lambda i: len(wanted[i].strip()))
    near = get_close_matches(" ".join(wanted[longest].split()), places, n=1, cutoff=0.5)
    return max(0, places[near[0]][0] - longest) if near else None


def _whitespace_causes(found: list[str], wanted: list[str]) -> list[str]:
    """What makes `found` differ from `wanted`, if it is whitespace alone."""
    # The text may begin and end within a line.
    if "".join("".join(wanted).split()) not in "".join("".join(found).split()):
        return []
    tabs_found, tabs_wanted = ("\t" in "".join(part) for part in (found, wanted))
    if tabs_found != tabs_wanted:
        a, b = ("tabs", "spaces") if tabs_found else ("spaces", "tabs")
        return [f"only whitespace differs: the file has {a} where `old` has {b}"]
    if "\n".join(map(str.rstrip, wanted)) in "\n".join(map(str.rstrip, found)):
        return ["only whitespace at the ends of lines differs"]
    shifts = {
        _shift(_indent(line), _indent(want))
        for line, want in zip(found, wanted, strict=False)
        if line.strip() and want.strip()
    }
    if len(shifts) == 1 and (how := shifts.pop()):
        return [f"each line of the file begins with {how} than that of `old`"]
    return ["only whitespace differs: look at the indentation"]


def _shift(theirs: str, ours: str) -> str:
    """How one indentation differs from another; empty when they are not alike but for their length."""
    if theirs == ours or not (theirs.endswith(ours) or ours.endswith(theirs)):
        return ""
    more = len(theirs) > len(ours)
    return (
        f"{_counted_space(theirs[len(ours) :] if more else ours[len(theirs) :])} {'more' if more else 'less'}"
    )


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _counted_space(space: str) -> str:
    kind = "tab" if set(space) == {"\t"} else "space" if set(space) == {" "} else "blank"
    return f"{len(space)} {kind}{'s' * (len(space) != 1)}"
