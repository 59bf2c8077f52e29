"""The ledger: what is spent, reserved and asked for never exceeds a limit together, whoever asks, however it ends."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.budget import Amount, Budget, BudgetSpent, Change, Ledger, Limit, today
from agent.errors import EnvironmentFault
from tests.benchmarks.budget import measure

DOLLAR = Limit(Decimal("1.00"))


def worth(cents: float, tokens: int = 100) -> Callable[[int], Amount]:
    return lambda output: Amount.of(Decimal(str(cents)) / 100, tokens)


def per_token(output: int) -> Amount:
    """One cent, and a cent for each thousand tokens of output."""
    return Amount.of(Decimal("0.01") + Decimal(output) / 100_000, 50 + output)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as made:
        yield made


def stands(ledger: Ledger, scope: str = "run:a", limit: Limit = DOLLAR) -> tuple[float, float]:
    """Cents that are spent and reserved."""
    account = ledger.accounts({scope: limit})[scope]
    return round(account.spent.usd * 100, 7), round(account.reserved.usd * 100, 7)


def test_what_is_reserved_counts_until_it_is_settled(ledger: Ledger) -> None:
    first = ledger.reserve({"run:a": DOLLAR}, worth(60), 1)
    with pytest.raises(BudgetSpent):
        ledger.reserve({"run:a": DOLLAR}, worth(41), 1)
    assert stands(ledger) == (0, 60)
    ledger.settle(first, Amount.of(Decimal("0.10"), 7))
    assert stands(ledger) == (10, 0)
    second = ledger.reserve({"run:a": DOLLAR}, worth(90), 1)
    ledger.release(second)
    assert stands(ledger) == (10, 0)
    with pytest.raises(BudgetSpent):
        ledger.reserve({"run:a": DOLLAR}, worth(90.0000001), 1)


def test_a_request_counts_in_all_its_scopes_and_each_limit_holds(ledger: Ledger) -> None:
    both = {"run:a": DOLLAR, "day:2026-01-01": Limit(Decimal("1.50"))}
    ledger.settle(ledger.reserve(both, worth(80), 1), Amount.of(Decimal("0.80"), 9))
    other = {**both, "run:b": DOLLAR}
    del other["run:a"]
    with pytest.raises(BudgetSpent, match="all runs of today"):
        ledger.reserve(other, worth(80), 1)
    assert stands(ledger, "run:b") == (0, 0)  # a refusal leaves nothing in any scope
    ledger.reserve(other, worth(70), 1)
    assert stands(ledger, "day:2026-01-01") == (80, 70)


def test_tokens_are_limited_like_money(ledger: Ledger) -> None:
    scope = {"run:a": Limit(tokens=1_000)}
    ledger.settle(ledger.reserve(scope, worth(0, 900), 1), Amount(None, 700))
    with pytest.raises(
        BudgetSpent, match=r"700 of 1,000 tokens .* could cost 301 tokens.* --tokens gives more"
    ):
        ledger.reserve(scope, worth(0, 301), 1)
    ledger.reserve(scope, worth(0, 300), 1)


def test_the_answer_is_held_to_the_longest_that_can_be_paid(ledger: Ledger) -> None:
    assert ledger.reserve({"run:a": DOLLAR}, per_token, 32_000, 2_000).output == 32_000
    assert ledger.reserve({"run:a": DOLLAR}, per_token, 98_000, 2_000).output == 66_000
    with pytest.raises(BudgetSpent, match="held to 2,000 tokens"):
        ledger.reserve({"run:a": DOLLAR}, per_token, 32_000, 2_000)
    tokens = {"run:b": Limit(tokens=3_050)}
    assert ledger.reserve(tokens, per_token, 32_000, 2_000).output == 3_000


def test_a_refusal_tells_sums_and_mend_in_one_line(ledger: Ledger) -> None:
    ledger.settle(ledger.reserve({"run:a": DOLLAR}, worth(97), 1), Amount.of(Decimal("0.9712"), 9))
    with pytest.raises(BudgetSpent) as caught:
        ledger.reserve({"run:a": DOLLAR}, per_token, 32_000, 2_000)
    assert str(caught.value) == (
        "0.9712 of 1.0000 USD are spent for this run; the next request could cost 0.0300 USD, its answer held to "
        "2,000 tokens; --budget gives more"
    )
    with pytest.raises(BudgetSpent, match=re.escape("usd_per_day in $AGENT_HOME/budget.toml gives more")):
        ledger.reserve({"run:b": Limit(), "day:x": Limit(Decimal("0.02"))}, per_token, 32_000, 2_000)


def test_a_refusal_says_whether_waiting_may_help(ledger: Ledger) -> None:
    held = ledger.reserve({"run:a": DOLLAR}, worth(80), 1)
    with pytest.raises(BudgetSpent, match=r"0\.8000 reserved") as caught:
        ledger.reserve({"run:a": DOLLAR}, worth(30), 1)
    assert caught.value.later
    ledger.settle(held, Amount.of(Decimal("0.8"), 9))
    with pytest.raises(BudgetSpent) as caught:
        ledger.reserve({"run:a": DOLLAR}, worth(30), 1)
    assert not caught.value.later


def test_what_cost_more_than_it_could_is_counted_in_full_and_told(ledger: Ledger) -> None:
    changes: list[Change] = []
    budget = Budget(ledger, "a", DOLLAR, on_change=changes.append)
    budget.settle(budget.reserve(worth(10), 1, 1), Amount.of(Decimal("1.30"), 100))
    assert [change.beyond for change in changes] == [False, True]
    assert changes[-1].accounts["run"].spent.usd == 1.30
    with pytest.raises(BudgetSpent):
        budget.reserve(worth(0.0000001), 1, 1)


def test_no_part_of_a_dollar_is_lost(ledger: Ledger) -> None:
    third = Amount.of(Decimal(1) / 3 / 10**6, 1)  # 333.33 nano-dollars, rounded up
    for _ in range(60):
        ledger.settle(ledger.reserve({"run:a": DOLLAR}, lambda output: third, 1), third)
    assert ledger.accounts({"run:a": DOLLAR})["run:a"].spent == Amount(60 * 334, 60)


def test_absurd_amounts_do_no_harm(ledger: Ledger) -> None:
    for usd, tokens in ((Decimal("1e40"), 10**40), (Decimal("-5"), -5), (Decimal("1e40"), 10**40)):
        free = ledger.reserve({"run:a": DOLLAR}, worth(0, 0), 1)  # which no bill keeps from being sent
        ledger.settle(free, Amount.of(usd, tokens))
        with pytest.raises(BudgetSpent):
            ledger.reserve({"run:a": DOLLAR}, worth(1), 1)


def test_an_unknown_price_is_counted_and_refused_where_dollars_are_limited(ledger: Ledger) -> None:
    def unknown(output: int) -> Amount:
        return Amount(None, 70)

    ledger.settle(ledger.reserve({"run:a": Limit()}, unknown, 1), Amount(None, 60))
    account = ledger.accounts({"run:a": Limit()})["run:a"]
    assert (account.spent, account.unpriced) == (Amount(0, 60), 1)
    with pytest.raises(BudgetSpent, match="could cost unknown"):
        ledger.reserve({"run:a": DOLLAR}, unknown, 1)


HOLD = """
import sys, time
from decimal import Decimal
from pathlib import Path
from agent.budget import Amount, Ledger, Limit
with Ledger(Path(sys.argv[1])) as ledger:
    ledger.reserve({"run:a": Limit(Decimal(1))}, lambda output: Amount(700_000_000, 5), 1)
    print("held", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_had_reserved_is_spent_and_what_a_living_one_has_stays(
    ledger: Ledger, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "ledger.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            assert stands(ledger) == (0, 70)
        finally:
            process.kill()
    assert stands(ledger) == (70, 0)
    with pytest.raises(BudgetSpent) as caught:
        ledger.reserve({"run:a": DOLLAR}, worth(40), 1)
    assert not caught.value.later
    owners = [path.name for path in (tmp_path / "ledger.owners").iterdir()]
    assert len(owners) == 1  # our own; the dead one's is gone


def test_a_ledger_that_is_closed_with_reservations_leaves_none(ledger: Ledger, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as other:
        other.reserve({"run:a": DOLLAR}, worth(5), 1)
        assert stands(ledger) == (0, 5)
    assert stands(ledger) == (5, 0)


def test_sums_outlive_the_process(tmp_path: Path) -> None:
    for expected in (0, 25, 50):
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            assert stands(ledger) == (expected, 0)
            ledger.settle(ledger.reserve({"run:a": DOLLAR}, worth(50), 1), Amount.of(Decimal("0.25"), 1))


def test_the_day_counts_all_runs(ledger: Ledger) -> None:
    day = Limit(Decimal("0.30"))
    for run in ("a", "b"):
        budget = Budget(ledger, run, DOLLAR, day)
        budget.settle(budget.reserve(worth(10), 1, 1), Amount.of(Decimal("0.10"), 1))
    assert stands(ledger, today()) == (20, 0)
    with pytest.raises(BudgetSpent, match="all runs of today"):
        Budget(ledger, "c", DOLLAR, day).reserve(worth(11), 1, 1)


def test_a_file_that_is_no_ledger_is_named_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("no database at all, but long enough to be looked at as one " * 9)
    with pytest.raises(EnvironmentFault, match="move a broken file away"):
        Ledger(tmp_path / "ledger.sqlite")


OPERATION = st.tuples(
    st.integers(0, 3), st.sampled_from(["reserve", "settle", "release"]), st.integers(1, 60), st.floats(0, 1)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATION, max_size=40))
def test_no_order_of_requests_overspends(
    tmp_path: Path, operations: list[tuple[int, str, int, float]]
) -> None:
    scopes = {f"run:{tmp_path}{hash(tuple(operations))}": DOLLAR, "day:x": Limit()}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        held = []
        for which, what, cents, share in operations:
            if what == "reserve":
                try:
                    held.append(ledger.reserve(scopes, worth(cents), 1))
                except BudgetSpent as spent:
                    assert held or not spent.later
            elif held:
                one = held.pop(which % len(held))
                nano = int((one.asked.nano_usd or 0) * share) if what == "settle" else 0
                ledger.settle(one, Amount(nano, 1))
            account = next(iter(ledger.accounts(scopes).values()))
            assert account.spent.usd + account.reserved.usd <= 1.0


def test_processes_that_share_a_budget_and_are_killed_spend_no_more_than_it_holds() -> None:
    outcome = measure(seed=7, processes=4, requests=120, kills=2, usd=Decimal("0.10"))
    assert outcome.killed == 2
    assert outcome.sent > 20 and outcome.refused > 20
    assert outcome.billed <= outcome.spent <= 100_000_000
    assert outcome.reserved == 0
