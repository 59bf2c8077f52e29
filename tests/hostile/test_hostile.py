"""Every attempt on the Action ends as it must."""

import pytest

from tests.hostile.cases import CASES
from tests.hostile.corpus import attempted


def marked(case):
    return pytest.param(case, id=str(case), marks=[pytest.mark.docker] if case.docker else [])


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_it_ends_as_it_must(case, tmp_path):
    attempted(case, tmp_path)


def test_there_are_many_and_each_is_named_once():
    names = [str(case) for case in CASES]
    assert len(set(names)) == len(names) >= 40
