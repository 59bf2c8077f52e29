"""A fix that holds in the suite's own order of tests alone is shown to a person; a suite's own habit is only told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.gate import scan
from agent.types import Verdict
from tests.docker.gate_harness import Gate, failed, project

pytestmark = pytest.mark.docker

CACHE = """\
_CACHE = {}


def first(words):
    return words[0] if words[0] else None


def last(words):
    return words[0]
"""
TESTS = """\
import pytest

from cache import first, last


def test_first():
    assert first(["a", "b"]) == "a"


@pytest.mark.parametrize("words", [["c"], ["c", "c"]])
def test_same(words):
    assert last(words) == "c"


def test_last(letters):
    assert last(letters) == "b"
"""
# The trial without a runner in the process knows no fixtures of other files.
CONFTEST = "import pytest\n\n\n@pytest.fixture\ndef letters():\n    return ['a', 'b']\n"
RED = "tests/test_cache.py::test_last"
FIXED = CACHE.replace("def last(words):\n    return words[0]", "def last(words):\n    return words[-1]")
WARM = CACHE.replace(
    "def last(words):\n    return words[0]",
    "def last(words):\n    _CACHE['asked'] = _CACHE.get('asked', 0) + 1\n"
    "    return words[-1 if _CACHE['asked'] > 2 else 0]",
)
STALE = FIXED.replace(
    "    return words[0] if words[0] else None",
    "    return _CACHE.setdefault('first', words[0] + 'x' * len(_CACHE))",
).replace("    return words[-1]", "    _CACHE['last'] = words[-1]\n    return words[-1]")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    files = {"cache.py": CACHE, "tests/test_cache.py": TESTS, "conftest.py": CONFTEST}
    gate = project(tmp_path_factory.mktemp("order"), files)
    gate.baseline = gate.take_baseline()
    yield gate


def told(verdict: Verdict) -> str:
    (evidence,) = (check.evidence for check in verdict.checks if check.name == "order")
    return evidence


def test_a_true_fix_holds_backwards(gate: Gate) -> None:
    verdict = gate.judge({"cache.py": FIXED}, named=[RED])
    assert failed(verdict) == {}
    assert told(verdict) == "4 tests pass backwards too"


def test_a_fix_that_needs_an_earlier_test_is_for_a_person_to_see(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "scan", lambda *_, **__: [])
    verdict = gate.judge({"cache.py": WARM}, named=[RED])
    assert verdict.needs_review
    assert "backwards, these fail as they do without the fix" in failed(verdict)["review"]
    assert RED in failed(verdict)["review"]


def test_a_fix_that_breaks_the_tests_before_it_is_for_a_person_to_see(gate: Gate) -> None:
    verdict = gate.judge({"cache.py": STALE}, named=[RED])
    assert verdict.needs_review
    assert "backwards, these fail with the fix alone" in failed(verdict)["review"]
    assert "tests/test_cache.py::test_first" in failed(verdict)["review"]


def test_tests_that_depend_on_their_order_are_told_and_not_blamed_on_the_patch(gate: Gate) -> None:
    tests = "from cache import last\n\nleft = []\n\n\ndef test_fills():\n    left.append('z')\n\n\n"
    tests += "def test_there():\n    assert left == ['z']\n\n\n"
    tests += "def test_red():\n    assert last([*left, 'b', left[0] + 'c']) == 'zc'\n"
    verdict = gate.judge({"cache.py": FIXED}, hidden={"tests/test_left.py": tests})
    assert failed(verdict) == {}
    assert "depends on the order of the tests" in told(verdict)
    own = gate.judge({"cache.py": FIXED, "tests/test_left.py": tests})
    assert failed(own) == {}
    assert "depends on the order of the tests: tests/test_left.py::test_red" in told(own)
