"""Semantic versions."""

from semla.bump import bump
from semla.errors import InvalidRange, InvalidVersion
from semla.ranges import Range, satisfies
from semla.version import Version, parse

__all__ = ["InvalidRange", "InvalidVersion", "Range", "Version", "bump", "parse", "satisfies"]
