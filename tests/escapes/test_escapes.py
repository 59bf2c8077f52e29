"""Every attempt of the corpus against the Docker driver, and some against bubblewrap: the wall must hold.

Most walls of bubblewrap's are tested in tests/integration/test_bubblewrap.py; `python -m tests.escapes.run bubblewrap`
tries all of the corpus.
"""

import os

import pytest
from anyio.from_thread import start_blocking_portal

from tests.escapes.cases import CASES
from tests.escapes.cell import host
from tests.escapes.run import Cells

pytestmark = pytest.mark.docker


OF_BUBBLEWRAP = (
    "look into and write to PID 1",
    "what is mounted",
    "all writable places full, and then more memory",
)
"""Those that it is most likely not to hold: it has one user, shows the machine's own folders, and few processes."""


@pytest.fixture(scope="module")
def attempt(tmp_path_factory):
    """Runs a case in the sandbox of Docker's that it needs."""
    yield from attempts("docker", tmp_path_factory.mktemp("escapes"))


@pytest.fixture(scope="module")
def attempt_bubblewrap(tmp_path_factory):
    yield from attempts("bubblewrap", tmp_path_factory.mktemp("escapes"))


def attempts(driver, folder):
    with (
        host(folder) as outside,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Cells(driver, outside)) as cells,
    ):
        yield lambda case: portal.call(cells.attempted, case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_wall_holds(attempt, case):
    attempt(case)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's sandboxes show where the cache is")
@pytest.mark.parametrize("case", [case for case in CASES if case.name in OF_BUBBLEWRAP], ids=str)
def test_the_wall_of_bubblewrap_holds(attempt_bubblewrap, case):
    attempt_bubblewrap(case)


def test_there_are_enough_of_them():
    assert len(CASES) >= 60
