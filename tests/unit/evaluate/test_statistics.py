"""The formulas against the figures in the papers that they are from, and against counting out."""

from __future__ import annotations

import itertools
import random

import pytest

from agent.evaluate.statistics import (
    holm,
    least_cases,
    least_difference,
    newcombe,
    paired,
    sign_test,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_s_interval_is_newcombe_s_of_1998_table_1(successes, n, low, high):
    found = wilson(successes, n)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_no_share_of_nothing_and_bounds_within_0_and_1():
    assert wilson(0, 0) is None
    all_of_them = wilson(7, 7)
    assert all_of_them is not None and all_of_them.high == 1.0 and all_of_them.low > 0.6


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe (1998), Statistics in Medicine 17:2635, method 10
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland et al. (2014), Statistics in Medicine 33:2850: airways
    ],
)
def test_the_paired_interval_is_the_papers(cells, low, high):
    digits = 4 if low == 0.0569 else 3
    assert tuple(round(bound, digits) for bound in newcombe(*cells)) == (low, high)


def test_the_sign_test_is_mcnemar_s_exact_one():
    assert sign_test(1, 7) == pytest.approx(0.0703, abs=5e-5)  # Fagerland et al. (2014): airways
    assert sign_test(6, 16) == pytest.approx(0.0525, abs=5e-5)  # the same: complete response
    assert sign_test(0, 0) == 1.0
    # By counting all ways in which five coins can fall.
    ways = [abs(sum(signs)) >= 3 for signs in itertools.product((1, -1), repeat=5)]
    assert sign_test(4, 1) == sum(ways) / len(ways)


def test_several_comparisons_are_adjusted_as_holm_does():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_six_cases_all_one_way_are_the_fewest_that_show_anything():
    assert least_cases() == 6 and sign_test(6, 0) < 0.05 <= sign_test(5, 0)
    assert least_difference(5) is None
    assert least_difference(20) == 6 / 20
    assert least_cases(3) == 7 and 3 * sign_test(7, 0) < 0.05 <= 3 * sign_test(6, 0)


def test_repeats_count_once_by_case():
    once = paired([1, 0, 1, 0], [0, 0, 1, 0])
    assert once is not None and (once.first_better, once.second_better, once.difference) == (1, 0, 0.25)
    half = paired([0.5, 0.5], [0.5, 0.5])
    assert half is not None and half.p == 1.0 and half.low < 0 < half.high
    assert paired([], []) is None


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    chance = random.Random(1)
    covered = 0
    for _ in range(400):
        pairs = [(chance.random() < 0.7, chance.random() < 0.5) for _ in range(25)]
        found = paired([float(a) for a, _ in pairs], [float(b) for _, b in pairs])
        covered += found is not None and found.low <= 0.2 <= found.high
    assert covered / 400 > 0.92
