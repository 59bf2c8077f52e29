"""Text tables for terminals and Markdown."""

from tabella.layout import align, columns
from tabella.render import markdown, table
from tabella.width import display_width

__all__ = ["align", "columns", "display_width", "markdown", "table"]
