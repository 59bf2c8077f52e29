"""The gate: judges a patch in fresh sandboxes, from evidence alone.

Here is what a run begins with; `judge`, `proof` and `smaller`, which take longer to import, are modules of their own.
"""

from agent.gate.baseline import Baseline, Shelf
from agent.gate.runner import Runner

__all__ = ["Baseline", "Runner", "Shelf"]
