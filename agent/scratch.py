"""Temporary folders of the agent's: see sandboxes.scratch."""

from sandboxes.scratch import scratch, stale

__all__ = ["scratch", "stale"]
