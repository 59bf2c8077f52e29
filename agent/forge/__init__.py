"""GitHub: an issue in, a draft pull request with its proof out. It needs no clone, and no git but plumbing here.

Nothing here is imported before it is asked for: an HTTP client and a Markdown parser take a fifth of a second.
"""
