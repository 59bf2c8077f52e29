"""Tasks of a batch that spend money and do nothing else."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path

from agent.batch.engine import Shared
from agent.batch.tasks import TaskLine
from agent.budget import Amount, Budget, BudgetSpent, Limit


def spend(line: TaskLine, shared: Shared, ending: Path, news: Connection) -> None:
    """One request that may cost 0.40 and costs 0.30; it waits, as a run does, while others have it reserved."""
    assert shared.ledger is not None
    run = {"run_id": line.id, "cost_usd": 0.30, "patch": None, "attempts": []}
    status, error = "accepted", None
    with shared.ledger() as ledger:
        budget = Budget(ledger, line.id, Limit(), batch=(shared.batch, Limit(shared.usd)))
        while True:
            try:
                made = budget.reserve(lambda output: Amount.of(Decimal("0.40"), output), 100, 100)
                time.sleep(0.5)
                budget.settle(made, Amount.of(Decimal("0.30"), 100))
                break
            except BudgetSpent as spent:
                if not spent.later:
                    status, error = "limit", str(spent)
                    break
                time.sleep(0.1)
    ending.write_text(json.dumps({"status": status, "error": error, "run": run}))
