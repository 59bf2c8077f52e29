"""Batches on a Ray cluster of three node processes. By hand, where Ray is installed: CI has no room for its 285 MB."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agent.batch.drive import run_batch
from agent.batch.engine import Shared
from agent.batch.queue import Limits
from agent.batch.tasks import TaskLine
from agent.batch.view import View
from agent.budget import Ledger, Limit
from tests.integration.batch_work import work

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, list[Any]]]:
    """A head without CPUs, and three nodes that say they can run a sandbox each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("AGENT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=1, resources={"assay": 1}) for _ in range(3)]
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made, nodes
    made.shutdown()


def test_one_of_three_nodes_is_killed_and_all_tasks_end_once(cluster, tmp_path):
    from agent.batch.on_ray import Cluster

    made, nodes = cluster
    tasks = [TaskLine(f"t{number}", str(tmp_path), issue="accepted 2") for number in range(12)]
    results = []
    with Cluster(work, Shared()) as engine:
        assert engine.workers == 3
        for result in run_batch(tasks, engine, Limits(6), seconds=120, watcher=View(sys.stderr, len(tasks))):
            results.append(result)
            if len(results) == 3:
                made.remove_node(nodes[1], allow_graceful=False)
    assert sorted(result.id for result in results) == sorted(task.id for task in tasks)
    assert {result.status for result in results} == {"accepted"}
    assert max(result.tries for result in results) == 2  # what the lost node had, and nothing else twice
    assert sum(result.tries for result in results) <= len(tasks) + 2


def test_money_is_granted_by_the_drivers_ledger_wherever_a_task_runs(cluster, tmp_path):
    from agent.batch.on_ray import Cluster
    from tests.integration.batch_spender import spend

    tasks = [TaskLine(f"t{number}", str(tmp_path), issue="x") for number in range(6)]
    shared = Shared(batch="b", usd=Decimal("1.00"))
    with Cluster(spend, shared) as engine:
        results = list(run_batch(tasks, engine, Limits(3), seconds=120, watcher=View(sys.stderr, len(tasks))))
    assert [result.status for result in results].count("accepted") == 3  # each reserves 0.40 and spends 0.30
    assert [result.status for result in results].count("limit") == 3
    with Ledger(tmp_path / "home" / "ledger.sqlite") as ledger:
        [account] = ledger.accounts({"batch:b": Limit(Decimal("1.00"))}).values()
    assert (account.spent.usd, account.reserved.usd) == (0.9, 0.0)
