"""The process that parses a repository: grammars are C code, and what they read is hostile.

It is held to MAX_SECONDS of CPU and MAX_MEMORY, can be killed at any time, and is given bytes, not paths to open. On
its standard input come frames, each a line of JSON with the size of what follows it:

    {"file": PATH, "product": BOOL, "bytes": N}     a file of the repository
    {"stored": DESCRIPTOR}                          what an earlier process stored of all files, in place of them
    {"ask": QUESTION, "tokens": N, "store": BOOL}   then it answers with the map's text, and ends
    {"outline": PATH, "bytes": N}                   then it answers with that text's symbols, and ends

An answer is the number of its bytes on a line, and these; where that was asked for, what is to be stored comes after.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

MAX_SECONDS = 120
PARSE_SECONDS = 60.0
"""Of CPU, after which no more files are parsed: the map is then of those that were."""
MAX_MEMORY = 3 * 1024**3
"""Bytes of address space."""


def main() -> None:
    gc.disable()  # nothing here is thrown away before the end
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for part in answered(sys.stdin.buffer):
        sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()


def answered(wire: IO[bytes]) -> Iterator[bytes]:
    """What is answered to the last frame."""
    from agent.orientation.outline import outline
    from agent.orientation.ranking import Index, Question, Units, rendered

    made = Units()
    index: Index = made
    for frame, data in _frames(wire):
        if "outline" in frame:
            yield _answer(outline(frame["outline"], data))
            return
        if "ask" in frame:
            yield _answer(rendered(index, Question(**frame["ask"]), frame["tokens"]))
            if frame["store"]:
                from agent.orientation.stored import stored

                yield stored(made)
            return
        if "stored" in frame:
            from agent.orientation.stored import Stored

            index = Stored(frame["stored"])
        elif time.process_time() < PARSE_SECONDS:
            made.add(frame["file"], data, product=frame["product"])
    yield _answer("")


def _answer(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return b"%d\n" % len(data) + data


def _frames(wire: IO[bytes]) -> Iterator[tuple[dict[str, Any], bytes]]:
    while line := wire.readline():
        frame = json.loads(line)
        yield frame, wire.read(frame.get("bytes", 0))
