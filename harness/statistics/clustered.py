"""Means of rows that are not independent: rows of one group (or repeats of one row) are dependent.

E. Miller, Adding Error Bars to Evals, arXiv 2411.00640, 2024: SE = (1/n) sqrt(sum_g (sum_{i in g} (d_i - mean))^2),
here times sqrt(G / (G - 1)), which makes it the ordinary standard error where every row is its own group, and
equal to statsmodels' `cov_type="cluster"`. Repeats are averaged within the row first.

Intervals and tests use the bias-reduced standard error and the degrees of freedom of R. M. Bell and D. F. McCaffrey,
Survey Methodology 2002, 28:169 ("CR2"), as J. E. Pustejovsky and E. Tipton, JBES 2018, 36:672 write them: group g with
the share w_g of the rows adds w_g^2 (mean_g - mean)^2 / (1 - w_g) to the variance, and the degrees of freedom are
Satterthwaite's, 2 E(v)^2 / Var(v), where the rows of a group agree. For groups of one size both are the ordinary ones
(Miller's standard error, G - 1); a group with half of the rows leaves little more than one degree of freedom.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.statistics.distributions import normal_quantile, student_cdf, student_quantile

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class ClusteredMean:
    """A mean over n rows in `clusters` groups.

    se: Miller's clustered standard error; robust_se, df: the bias-reduced one and its degrees of freedom, of intervals
    and tests; effective: number of groups of one size that would say as much, (sum m)^2 / sum m^2 over the groups'
    rows m (L. Kish, Survey Sampling, 1965). se is nan with one group only.
    """

    mean: float
    se: float
    n: int
    clusters: int
    robust_se: float
    df: float
    effective: float

    @property
    def constant(self) -> bool:
        """No spread between groups but rounding."""
        return self.se <= 1e-12 * max(1.0, abs(self.mean))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Mean -+ t(df) x SE; unbounded with fewer than two groups."""
        if self.clusters < 2:
            return -math.inf, math.inf
        half = student_quantile(self.df, 0.5 + level / 2) * self.robust_se
        return self.mean - half, self.mean + half

    def trials(self, level: float = 0.95) -> float:
        """For a rate: so many independent answers would say as much (E. L. Korn and B. I. Graubard, Survey Methodology
        1998, 24:193, for intervals of a rate that is near 0 or 1). Without spread the effective groups are the
        trials. Rows in groups are never worth more than as many rows on their own.
        """
        if self.constant:
            return self.effective
        wider = normal_quantile(0.5 + level / 2) / student_quantile(self.df, 0.5 + level / 2)
        found = self.mean * (1 - self.mean) / self.robust_se**2 * wider**2
        return found if self.clusters == self.n else min(found, float(self.n))

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
        return student_cdf(self.df, -excess / self.robust_se)


def clustered_mean(values: Array, clusters: Codes | None = None) -> ClusteredMean:
    """The mean of `values` (n,) and its standard error. `clusters` (n,) are group numbers; None: every row its own."""
    n = len(values)
    if n == 0:
        return ClusteredMean(math.nan, math.nan, 0, 0, math.nan, math.nan, 0.0)
    mean = float(values.mean())
    residuals = values - mean
    if clusters is None:
        sums, sizes = residuals, np.ones(n)
    else:
        _, codes = np.unique(clusters, return_inverse=True)
        sums = np.bincount(codes, weights=residuals).astype(np.float64)
        sizes = np.bincount(codes).astype(np.float64)
    count, effective = len(sums), effective_groups(sizes)
    if count < 2:
        return ClusteredMean(mean, math.nan, n, count, math.nan, math.nan, effective)
    squares = sums**2
    se = math.sqrt(float(squares.sum()) * count / (count - 1)) / n
    robust = math.sqrt(float((squares / (1 - sizes / n)).sum())) / n
    return ClusteredMean(mean, se, n, count, robust, degrees_of_freedom(sizes), effective)


def effective_groups(sizes: Array) -> float:
    """(sum m)^2 / sum m^2: so many groups of one size would say as much as these, of `sizes` (G,) rows."""
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def degrees_of_freedom(sizes: Array) -> float:
    """Satterthwaite's of the bias-reduced variance of a mean over groups of `sizes` (G,), G >= 2; G - 1 for one size.

    v = sum_g q_g (y_g - mean)^2 with q = w^2 / (1 - w), for group means y_g of one variance: (tr A)^2 / tr(A A) with
    A = diag(q) C and C_gh = [g = h] - w_g - w_h + sum w^2.
    """
    w = sizes / sizes.sum()
    q, s = w**2 / (1 - w), float((w**2).sum())
    total, first, second = float(q.sum()), float((q * w).sum()), float((q * w * w).sum())
    trace = float((q * (1 - 2 * w + s)).sum())
    everywhere = s * s * total**2 + 2 * total * second + 2 * first**2 - 4 * s * total * first
    diagonal = float((q**2 * ((1 - 2 * w + s) ** 2 - (s - 2 * w) ** 2)).sum())
    return trace**2 / (everywhere + diagonal)
