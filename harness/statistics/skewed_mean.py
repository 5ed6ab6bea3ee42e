"""One-sided bounds of the mean of skewed values such as costs, where Student's t promises too much.

P. Hall, On the Removal of Skewness by Transformation, J. R. Statist. Soc. B 1992, 54:221. With T = (mean - mu) / s and
g the skewness, T + g T^2 / 3 + g^2 T^3 / 27 + g / (6 n) is normal to the second order, and its inverse is
(3 / g) ((1 + g (y - g / (6 n)))^(1/3) - 1). Student's quantile replaces the normal one, for few values.
"""

import math

import numpy as np
from numpy.typing import NDArray

from harness.statistics.distributions import student_quantile

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

FEWEST = 100
"""Values (or groups) below which they do not show what the tail of a distribution is like. Dear values that are rarer
than about 3 in this number may be missing among them, and no interval knows what was not drawn."""


def skewed_mean_interval(values: Array, clusters: Codes | None = None, level: float = 0.9) -> tuple[float, float]:
    """The two-sided interval of the mean of `values` (n,) whose ends are one-sided bounds at (1 + level) / 2.

    clusters: (n,) numbers of groups of dependent values; None: every value on its own. Values that are all
    equal have no width. Unbounded below FEWEST values or groups.
    """
    mean = float(values.mean()) if len(values) else math.nan
    parts = _contributions(values, mean, clusters)
    n = len(parts)
    if n < FEWEST:
        return -math.inf, math.inf
    s = float(parts.std(ddof=1))
    if s <= 1e-12 * max(1.0, abs(mean)) or s <= 1e-9 * abs(mean):
        return mean, mean
    skewness = float(((parts - mean) ** 3).mean()) / float(parts.std()) ** 3
    y = student_quantile(n - 1, 0.5 + level / 2) / math.sqrt(n)
    return mean - s * _inverse(y, skewness, n), mean - s * _inverse(-y, skewness, n)


def _contributions(values: Array, mean: float, clusters: Codes | None) -> Array:
    """What each group adds to the mean, as values of one mean each (linearised, so that sizes may differ)."""
    if clusters is None:
        return values
    _, codes = np.unique(clusters, return_inverse=True)
    residuals = np.bincount(codes, weights=values - mean)
    return np.asarray(mean + residuals * len(residuals) / len(values))


def _inverse(y: float, skewness: float, n: int) -> float:
    if abs(skewness) < 1e-6:
        return y
    return 3 / skewness * (math.copysign(abs(inner := 1 + skewness * (y - skewness / (6 * n))) ** (1 / 3), inner) - 1)
