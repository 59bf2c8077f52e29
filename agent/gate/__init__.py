"""The gate: judges a patch in fresh sandboxes, from evidence alone."""

from agent.gate.baseline import Baseline, Shelf
from agent.gate.judge import judge
from agent.gate.proof import proof, verdict_from_json, verdict_json
from agent.gate.runner import Runner
from agent.gate.smaller import smaller

__all__ = [
    "Baseline",
    "Runner",
    "Shelf",
    "judge",
    "proof",
    "smaller",
    "verdict_from_json",
    "verdict_json",
]
