"""What a search says to the loop and gets back, without the weight of the search itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.types import ToolResult


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply: a sentence for the reader, and tool calls as name and arguments."""

    text: str
    calls: Sequence[tuple[str, Mapping[str, Any]]]


@dataclass
class TurnsLeft:
    """How many more replies an attempt may have; counted where they are given."""

    left: int


T = TypeVar("T")
Steps = Generator[Turn, tuple[ToolResult, ...], T]
"""Yields turns, receives the results of their calls, returns a T."""
Plan = Steps[None]
