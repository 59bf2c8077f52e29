"""The gate: judges a patch in fresh sandboxes, from evidence alone."""

from agent.gate.judge import judge, take_baseline
from agent.gate.proof import proof, verdict_from_json, verdict_json
from agent.gate.runner import Baseline

__all__ = ["Baseline", "judge", "proof", "take_baseline", "verdict_from_json", "verdict_json"]
