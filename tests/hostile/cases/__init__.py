"""All cases."""

from tests.hostile.cases import pull_requests
from tests.hostile.corpus import Case

CASES: list[Case] = [*pull_requests.case]
