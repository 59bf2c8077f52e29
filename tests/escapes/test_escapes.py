"""Every attempt of the corpus against the Docker driver: its wall must hold.

Bubblewrap's walls are lower, as ARCHITECTURE says: `python -m tests.escapes.run bubblewrap` tells where.
"""

import pytest
from anyio.from_thread import start_blocking_portal

from tests.escapes.cases import CASES
from tests.escapes.cell import host
from tests.escapes.run import Cells

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def attempt(tmp_path_factory):
    """Runs a case in the sandbox that it needs."""
    folder = tmp_path_factory.mktemp("escapes")
    with (
        host(folder) as outside,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Cells("docker", outside)) as cells,
    ):
        yield lambda case: portal.call(cells.attempted, case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_wall_holds(attempt, case):
    attempt(case)


def test_there_are_enough_of_them():
    assert len(CASES) >= 60
