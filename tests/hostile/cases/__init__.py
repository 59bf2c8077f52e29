"""All cases."""

from tests.hostile.cases import asking, pull_requests
from tests.hostile.corpus import Case

CASES: list[Case] = [*asking.case, *pull_requests.case]
