"""The repositories are data; their tests run in sandboxes."""

collect_ignore = ["repos"]
