"""Standard streams that break without harm: closed, full, or with nobody at the other end.

stderr carries notes: what cannot be written there is lost, and nothing stops for it. stdout carries results: a write
that fails raises OutputLost, which is no OSError, so that it is not taken for a fault of what is being done.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO, cast

from agent.errors import EnvironmentFault


class OutputLost(Exception):
    """What was printed did not reach stdout; the text says why. `unread`: its reader just went away."""

    def __init__(self, reason: str, *, unread: bool = False) -> None:
        super().__init__(reason)
        self.unread = unread


def open_streams() -> None:
    """Put streams that take any text, and break as said above, in the place of the process's own."""
    for name, kind in (("stdout", _Results), ("stderr", _Stream)):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        if stream is None or isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, cast(TextIO, kind(stream)))


def tell(text: str) -> None:
    """One line for the user, on stderr. What follows a line break stands further in: no text can forge such a line."""
    shown = text.replace("\n", "\n    ")
    print(f"agent: {shown}", file=sys.stderr, flush=True)


def print_result(text: str, code: int, *, for_programs: bool = False) -> int:
    """Print what a command found out; its exit code, which is `code` whatever becomes of the text.

    Only when the text is `for_programs` (--json) and is lost, a code that stands for a verdict (0, 1 or 6) becomes 3: a
    script that asked for JSON and got none must not take that for success, nor for a word on the patch.
    """
    try:
        print(text, flush=True)
    except OutputLost as lost:
        tell(f"could not write the result to stdout: {lost}")
        return lost_code(code) if for_programs else code
    return code


def lost_code(code: int) -> int:
    """The exit code in place of `code` when a result for programs is lost."""
    return EnvironmentFault.exit_code if code in (0, 1, 6) else code


class _Stream:
    """Stands before a stream of the process, or for a closed one (None)."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lost = ""

    def write(self, text: str) -> int:
        try:
            if self._stream is None:
                raise OSError("it is closed")
            self._stream.write(text)
        except (OSError, ValueError) as error:
            self._failed(error)
        return len(text)

    def flush(self) -> None:
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError) as error:
            self._failed(error)

    def isatty(self) -> bool:
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise OSError("it is closed")
        return self._stream.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _failed(self, error: Exception) -> None:
        """Nobody can be told that stderr is lost."""


class _Results(_Stream):
    def _failed(self, error: Exception) -> None:
        self._drop()
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        full = "no space left" if "no space left" in reason else reason
        raise OutputLost(full, unread=isinstance(error, BrokenPipeError)) from None

    def _drop(self) -> None:
        """What the stream still holds would be a second fault, and an exit code of Python's own, at the end."""
        if self._stream is not None:
            try:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)
            except (OSError, ValueError):
                return
