"""Programs that run in containers. They use the standard library alone and are sent over as text."""

from __future__ import annotations

from importlib.resources import files


def source(name: str) -> str:
    """The text of one of these programs."""
    return files(__package__).joinpath(f"{name}.py").read_text("utf-8")
