"""Means of rows that are not independent: rows of one group (or repeats of one row) stand or fall together.

E. Miller, Adding Error Bars to Evals, arXiv 2411.00640, 2024: SE = (1/n) sqrt(sum_g (sum_{i in g} (d_i - mean))^2),
here times sqrt(G / (G - 1)), which makes it the ordinary standard error where every row is its own group, and
equal to statsmodels' `cov_type="cluster"`. Repeats are averaged within the row first.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class ClusteredMean:
    """A mean over n rows in `clusters` groups; se is nan with one group only."""

    mean: float
    se: float
    n: int
    clusters: int

    @property
    def constant(self) -> bool:
        """No spread between groups but rounding."""
        return self.se <= 1e-12 * max(1.0, abs(self.mean))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Mean -+ t(G - 1) x SE; unbounded with fewer than two groups."""
        if self.clusters < 2:
            return -math.inf, math.inf
        half = float(stdtrit(self.clusters - 1, 0.5 + level / 2)) * self.se
        return self.mean - half, self.mean + half

    def trials(self, level: float = 0.95) -> float:
        """For a rate: so many independent answers would say as much (E. L. Korn and B. I. Graubard, Survey Methodology
        1998, 24:193, for intervals of a rate that is near 0 or 1). Without spread the groups are the trials.
        """
        if self.constant:
            return float(self.clusters)
        wider = float(ndtri(0.5 + level / 2) / stdtrit(self.clusters - 1, 0.5 + level / 2))
        return self.mean * (1 - self.mean) / self.se**2 * wider**2

    def p_two_sided(self, null: float = 0.0) -> float:
        """Of "the mean is `null`"."""
        return min(1.0, 2 * min(self.p_above(null), self.p_below(null)))

    def p_above(self, null: float = 0.0) -> float:
        """One-sided p of "the mean is `null` or less": small means it lies above."""
        return self._tail(self.mean - null)

    def p_below(self, null: float = 0.0) -> float:
        """One-sided p of "the mean is `null` or more": small means it lies below."""
        return self._tail(null - self.mean)

    def _tail(self, excess: float) -> float:
        if self.clusters < 2:
            return 1.0
        if self.constant:
            return 0.0 if excess > 1e-12 else 1.0
        return float(stdtr(self.clusters - 1, -excess / self.se))


def clustered_mean(values: Array, clusters: Codes | None = None) -> ClusteredMean:
    """The mean of `values` (n,) and its standard error. `clusters` (n,) are group numbers; None: every row its own."""
    n = len(values)
    if n == 0:
        return ClusteredMean(mean=math.nan, se=math.nan, n=0, clusters=0)
    mean = float(values.mean())
    residuals = values - mean
    if clusters is None:
        count, squares = n, float((residuals**2).sum())
    else:
        _, codes = np.unique(clusters, return_inverse=True)
        sums = np.bincount(codes, weights=residuals)
        count, squares = len(sums), float((sums**2).sum())
    se = math.sqrt(squares * count / (count - 1)) / n if count > 1 else math.nan
    return ClusteredMean(mean=mean, se=se, n=n, clusters=count)
