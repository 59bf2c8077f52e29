"""`local/repair`: the embedded model that needs no key and no network."""

from agent.models.repair.model import RepairModel

__all__ = ["RepairModel"]
