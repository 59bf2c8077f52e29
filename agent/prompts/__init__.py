"""Prompt templates: one Markdown file each, filled by `string.Template`."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from importlib.resources import files
from string import Template


def render(name: str, **values: str) -> str:
    """The template `name`.md with its `$placeholders` filled. Raises KeyError when one is missing."""
    text = files(__name__).joinpath(f"{name}.md").read_text("utf-8")
    return Template(text).substitute(values).strip() + "\n"


def system_prompt(spec: str) -> str:
    """What a model (`provider/name[:thinking]`) is told before all else; the same bytes for the same model."""
    added = tomllib.loads(files(__name__).joinpath("models.toml").read_text("utf-8"))["add"]
    lines = [one["text"] for one in added if any(fnmatchcase(spec.lower(), p) for p in one["model"])]
    return "\n".join([render("system"), *lines]) if lines else render("system")
