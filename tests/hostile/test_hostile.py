"""Every attempt on the Action ends as it must."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hostile.cases import CASES
from tests.hostile.corpus import attempted


def marked(case):
    return pytest.param(case, id=str(case), marks=[pytest.mark.docker] if case.docker else [])


@pytest.fixture(scope="module")
def at_work(request, tmp_path_factory):
    """The attempts of this session that need no engine, side by side: each is a few processes, one after the other."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    cases = [param["case"] for param in params if param.get("case") in CASES and not param["case"].docker]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {str(case): pool.submit(attempted, case, tmp_path_factory.mktemp("world")) for case in cases}


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_it_ends_as_it_must(case, at_work, tmp_path):
    if case.docker:
        attempted(case, tmp_path)
    else:
        at_work[str(case)].result()


def test_there_are_many_and_each_is_named_once():
    names = [str(case) for case in CASES]
    assert len(set(names)) == len(names) >= 40
