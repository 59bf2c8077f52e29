"""Intervals and tests for shares of few cases. No library: each is a line of a paper, tested on its examples.

Counts may be fractions: a case that was run several times counts once, with its mean. Its runs are alike, so to count
each would make intervals too short; to count the case once makes them rather too long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

Z = 1.959963984540054
"""Of a normal distribution, for 95 %."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Interval:
    share: float
    low: float
    high: float


def wilson(successes: float, n: float) -> Interval | None:
    """A share with its 95 % score interval; None of nothing. Wilson (1927), JASA 22:209-212; Newcombe (1998),
    Statistics in Medicine 17:857-872, method 3."""
    if n <= 0:
        return None
    share = successes / n
    middle = share + Z * Z / (2 * n)
    half = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # At 0 and 1 the bound is the share itself; rounding must not put it beside that.
    low = 0.0 if share <= 0 else (middle - half) / (1 + Z * Z / n)
    high = 1.0 if share >= 1 else (middle + half) / (1 + Z * Z / n)
    return Interval(share, max(0.0, low), min(1.0, high))


@dataclass(frozen=True, slots=True)
class Paired:
    """How two models differ on the same cases: the first one's share less the second's."""

    cases: int
    first_better: int
    second_better: int
    """Cases on which either had more runs accepted."""
    difference: float
    low: float
    high: float
    p: float


def paired(first: Sequence[float], second: Sequence[float]) -> Paired | None:
    """Shares from 0 to 1 by case, in the same order. `p` is the exact sign test's, which for 0 and 1 is McNemar's; the
    interval is Newcombe's for paired shares. None without cases."""
    n = len(first)
    if not n:
        return None
    # The cells of the 2x2 table; of several runs of a case, taken as independent given the case.
    pairs = list(zip(first, second, strict=True))
    both = sum(a * b for a, b in pairs)
    only_first = sum(a * (1 - b) for a, b in pairs)
    only_second = sum((1 - a) * b for a, b in pairs)
    low, high = newcombe(both, only_first, only_second, n - both - only_first - only_second)
    better, worse = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
    return Paired(n, better, worse, (sum(first) - sum(second)) / n, low, high, sign_test(better, worse))


def newcombe(a: float, b: float, c: float, d: float) -> tuple[float, float]:
    """The 95 % interval of (b - c) / n for pairs: both, only the first, only the second, neither. Newcombe (1998),
    Statistics in Medicine 17:2635-2650, method 10."""
    n = a + b + c + d
    one, two = wilson(a + b, n), wilson(a + c, n)
    if one is None or two is None:
        return -1.0, 1.0
    spread = sqrt(max(0.0, (a + b) * (c + d) * (a + c) * (b + d)))
    product = a * d - b * c
    phi = 0.0 if spread == 0 else (max(product - n / 2, 0.0) if product > 0 else product) / spread
    difference = (b - c) / n
    below = _root(one.share - one.low, two.high - two.share, phi)
    above = _root(one.high - one.share, two.share - two.low, phi)
    return difference - below, difference + above


def _root(x: float, y: float, phi: float) -> float:
    return sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))


def sign_test(more: int, less: int) -> float:
    """Two-sided exact p of so many cases one way and the other; ties say nothing. McNemar's exact test is this."""
    n = more + less
    tail: float = sum(comb(n, k) for k in range(min(more, less) + 1)) / (1 << n)
    return min(1.0, 2 * tail)


def holm(values: Sequence[float]) -> list[float]:
    """p values of several comparisons, adjusted so that by chance alone at most 5 of 100 evaluations show any
    difference. Holm (1979), Scandinavian Journal of Statistics 6:65-70."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = highest
    return adjusted


def least_cases(comparisons: int = 1) -> int:
    """So many cases, all one way, are beyond chance: 6 for one comparison."""
    n = 1
    while 2 * 0.5**n * max(1, comparisons) >= ALPHA:
        n += 1
    return n


def least_difference(cases: int, comparisons: int = 1) -> float | None:
    """The smallest difference of shares that so many cases can show, if none goes the other way; None if they can show
    none at all."""
    least = least_cases(comparisons)
    return least / cases if cases >= least else None
