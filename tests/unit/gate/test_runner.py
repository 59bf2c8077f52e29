"""A suite that is stopped: by what the code does, or because the machine has become slow since the baseline."""

import anyio
import pytest

from agent.gate import runner as module
from agent.gate.runner import Runner
from agent.gate.suites import SuiteRun

BASELINE = SuiteRun(seconds=20.0, tree="base")


class Driver:
    async def cpus(self, limits):
        return 1


def runs(monkeypatch, seconds):
    """The runs that a patched tree gets, as (tree, limit), and the last one, when a run takes that many `seconds`."""
    made = []

    async def run_suite(driver, repository, environment, tree, command, *, files, timeout, run_id, limits):
        made.append((tree, timeout))
        took = seconds[tree].pop(0)
        if took > timeout:
            return SuiteRun({}, None, seconds=timeout, problem="stopped", tree=tree)
        return SuiteRun({}, 0, seconds=took, tree=tree)

    monkeypatch.setattr(module, "run_suite", run_suite)
    runner = Runner(Driver(), None, None, "pytest", 3000.0, "run", lambda line: None)

    async def main():
        return await runner.run("the patched tree", "patched", baseline=BASELINE)

    return made, anyio.run(main)


@pytest.mark.parametrize(
    ("patched", "base", "made", "ends"),
    [
        ([25], [], [("patched", 200)], True),
        # it hangs: the base takes what it took
        ([9999], [30], [("patched", 200), ("base", 200)], False),
        # the machine is slower
        ([300, 300], [150], [("patched", 200), ("base", 200), ("patched", 1500)], True),
        ([9999, 9999], [150], [("patched", 200), ("base", 200), ("patched", 1500)], False),
        # so slow that the base's run is stopped too
        ([900, 900], [900], [("patched", 200), ("base", 200), ("patched", 2000)], True),
    ],
)
def test_a_slow_machine_is_not_blamed_on_the_patch(monkeypatch, patched, base, made, ends):
    did, run = runs(monkeypatch, {"patched": patched, "base": base})
    assert did == made
    assert (run.exit_code is not None) is ends
