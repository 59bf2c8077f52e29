"""All cases."""

from tests.hostile.cases import artifacts, asking, checkouts, issues, pull_requests, texts
from tests.hostile.corpus import Case

CASES: list[Case] = [
    *asking.case,
    *issues.case,
    *checkouts.case,
    *artifacts.case,
    *texts.case,
    *pull_requests.case,
]
