"""All cases."""

from tests.hostile.cases import asking, issues, pull_requests
from tests.hostile.corpus import Case

CASES: list[Case] = [*asking.case, *issues.case, *pull_requests.case]
