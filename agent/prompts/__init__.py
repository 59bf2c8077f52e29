"""Prompt templates: one Markdown file each, filled by `string.Template`."""

from __future__ import annotations

from importlib.resources import files
from string import Template


def render(name: str, **values: str) -> str:
    """The template `name`.md with its `$placeholders` filled. Raises KeyError when one is missing."""
    text = files(__name__).joinpath(f"{name}.md").read_text("utf-8")
    return Template(text).substitute(values).strip() + "\n"
