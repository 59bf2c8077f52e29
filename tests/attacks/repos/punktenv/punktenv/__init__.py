"""Reads and writes .env files."""

from .errors import ParseError
from .expand import expand
from .files import load, merge
from .parser import loads
from .writer import dumps

__all__ = ["ParseError", "dumps", "expand", "load", "loads", "merge"]
__version__ = "0.9.1"
