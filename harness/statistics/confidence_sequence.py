"""Bounds of a mean that hold however often one looks, and wherever one stops.

Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSSB 2024 (arXiv 2010.09686): for
values y in [0, 1] and a supposed mean m, a bettor whose wealth is the product of 1 + theta (y / m - 1) cannot gain in
expectation where the mean is m or less; by Ville's inequality such a wealth, which starts at 1, ever reaches 1/alpha
with probability alpha at most. The means at which it never did are a confidence sequence. Here theta is not adapted:
the wealth is the average over the fixed STAKES, so that it falls in m and the bound is found by bisection.

Units (rows, or groups of rows that are answered alike) must come in random order. A unit of several rows bets with
their sum, scaled by the size of the largest unit, so that the mean is that of the rows.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STAKES = np.geomspace(0.08, 0.8, 6)
"""The best stake is about the distance from the supposed mean over the variance. Below 1 the wealth stays positive."""

BISECTIONS = 25


@dataclass(frozen=True)
class Units:
    """Units in the order in which they came.

    totals: (n,) sum of the values of each unit's rows; sizes: (n,) its rows; low, high: the range of a row's value;
    most: rows of the largest unit, those included that did not come: it must not depend on the values.
    """

    totals: Array
    sizes: Array
    low: float
    high: float
    most: float = 1.0

    @property
    def mean(self) -> float:
        """Of the rows; nan without any."""
        rows = float(self.sizes.sum())
        return float(self.totals.sum()) / rows if rows else math.nan

    @property
    def mirrored(self) -> "Units":
        """The same with the sign of every value turned: bets that the mean is low become bets that it is high."""
        return Units(-self.totals, self.sizes, -self.high, -self.low, self.most)


def log_wealth(units: Units, null: float, stakes: Array = STAKES) -> Array:
    """(n,) logarithm of the wealth after each unit, from betting against "the mean of the rows is `null` or less".

    null lies in (low, high]; at low itself nothing can be bet against.
    """
    room = null - units.low
    if room <= 0:
        return np.full(len(units.totals), math.inf)
    gain = (units.totals - units.sizes * null) / (units.most * room)
    paths = np.log1p(np.multiply.outer(gain, stakes)).cumsum(axis=0)
    highest = paths.max(axis=1)
    return np.asarray(highest + np.log(np.exp(paths - highest[:, None]).mean(axis=1)))


def anytime_p(units: Units, null: float) -> float:
    """One-sided p of "the mean is `null` or less" that may be looked at after every unit."""
    if not len(units.totals):
        return 1.0
    return float(min(1.0, math.exp(-float(log_wealth(units, null).max()))))


def first_crossing(units: Units, null: float, alpha: float) -> int | None:
    """After how many units the wealth against "the mean is `null` or less" first reached 1/alpha."""
    reached = np.flatnonzero(log_wealth(units, null) >= -math.log(alpha))
    return int(reached[0]) + 1 if len(reached) else None


def confidence_sequence(units: Units, level: float = 0.95) -> tuple[float, float]:
    """The two-sided interval at the last unit: at every moment together it holds with probability `level`."""
    alpha = (1 - level) / 2
    return _lower(units, alpha), -_lower(units.mirrored, alpha)


def _lower(units: Units, alpha: float) -> float:
    """The largest mean that a bettor has ever refuted."""
    low, high = units.low, units.high
    if first_crossing(units, low + 1e-9 * (high - low), alpha) is None:
        return low
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if first_crossing(units, middle, alpha) is None:
            high = middle
        else:
            low = middle
    return low
