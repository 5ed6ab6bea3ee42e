"""Intervals of a mean whose values are bounded, or whose distribution is skewed."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.statistics.distributions import student_quantile

Array = NDArray[np.float64]
Side = Literal["above", "below"]

LARGEST_STAKE = 0.99
"""Of the largest bet that keeps the wealth positive."""
LARGEST_STAKE_ANYTIME = 0.5
STEPS = 128
"""Rows that are bet on with one stake are n / STEPS: the time for a million rows is that for a thousand and some."""
GRID = 33
ORDER_SEED = 0


def bounded_mean_interval(
    values: Array, low: float, high: float, level: float = 0.95, weights: Array | None = None
) -> tuple[float, float]:
    """The two-sided interval of the mean for a number of rows that was fixed beforehand.

    values: (n,) independent, each in [low, high]; weights: (n,) above 0 (rows of each group). The rows are taken in a
    fixed random order, so sorted data do no harm. Raises ValueError for a value outside of the range.
    """
    return _interval(values, low, high, level, weights, _fixed_rows)


def anytime_interval(values: Array, low: float, high: float, level: float = 0.95) -> tuple[float, float]:
    """The two-sided interval after these rows that holds at any stopping time: the confidence sequence's last value.

    values: (n,) in the order in which they were looked at, which must not depend on them.
    """
    return _interval(values, low, high, level, None, _any_time)


def bounded_mean_p(
    values: Array,
    low: float,
    high: float,
    null: float,
    side: Side,
    alpha: float = 0.05,
    weights: Array | None = None,
) -> float:
    """One-sided p of "the mean is `null` or less" (side "above") or "`null` or more" ("below").

    1 / the largest wealth, valid at every level. The bets aim at 1 / alpha, beyond it at twice the wealth reached:
    p <= alpha exactly where the one-sided bound at alpha excludes `null`.
    """
    x, w = _prepared(values, low, high, weights)
    m = (null - low) / (high - low)
    if side == "below":
        x, m = 1 - x, 1 - m
    if m < 0:
        return 0.0 if len(x) else 1.0
    if m >= 1 or not len(x):
        return 1.0
    order = _order(len(x))
    return float(np.exp(-_fixed_rows(x[order], w[order], np.array([m]), alpha)[0]))


Wealth = Callable[[Array, Array, Array, float], Array]
"""(values, weights, supposed means (k,), alpha) -> (k,) logarithm of the largest wealth of "the mean is above"."""


def _interval(
    values: Array, low: float, high: float, level: float, weights: Array | None, wealth: Wealth
) -> tuple[float, float]:
    x, w = _prepared(values, low, high, weights)
    if not len(x):
        return low, high
    if wealth is _fixed_rows:
        order = _order(len(x))
        x, w = x[order], w[order]
    alpha = (1 - level) / 2
    below, above = _lower_bound(x, w, alpha, wealth), 1 - _lower_bound(1 - x, w, alpha, wealth)
    return low + below * (high - low), low + above * (high - low)


def _prepared(values: Array, low: float, high: float, weights: Array | None) -> tuple[Array, Array]:
    x = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    slack = 1e-9
    if len(x) and not (x.min() >= -slack and x.max() <= 1 + slack):
        raise ValueError(f"values from {np.min(values):g} to {np.max(values):g} lie outside of {low:g} to {high:g}")
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    return np.clip(x, 0.0, 1.0), w / (w.mean() if len(w) else 1.0)


def _order(n: int) -> NDArray[np.int64]:
    return np.random.default_rng(ORDER_SEED).permutation(n)


def _lower_bound(x: Array, w: Array, alpha: float, wealth: Wealth) -> float:
    """The smallest mean that is not rejected, or up to a hundredth of its distance to the sample mean below it."""
    mean = float(x @ w / w.sum())
    if mean <= 0:
        return 0.0
    distances = np.append(0.0, np.geomspace(1e-4, 1.0, GRID - 1))
    for _ in range(2):  # distances from the sample mean as shares of the mean: finer around the bound each time
        means = mean * (1 - distances[::-1])  # rising
        kept = np.flatnonzero(wealth(x, w, means, alpha) < np.log(1 / alpha))
        first = int(kept[0]) if len(kept) else len(means) - 1
        if first == 0:
            break
        outer, inner = 1 - means[first - 1] / mean, 1 - means[first] / mean
        distances = np.linspace(inner, outer, GRID)
    return max(0.0, float(means[max(first - 1, 0)]))


def _fixed_rows(x: Array, w: Array, means: Array, alpha: float) -> Array:
    n = len(x)
    log_wealth, largest = np.zeros(len(means)), np.zeros(len(means))
    target = np.full(len(means), np.log(1 / alpha))
    variance = _variances_before(x, w)
    left = np.append(np.cumsum((w * w)[::-1])[::-1], 0.0)
    step = max(1, n // STEPS)
    with np.errstate(divide="ignore"):
        highest = np.where(means > 0, LARGEST_STAKE / means, np.inf)
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        stakes = np.sqrt(2 * np.maximum(target - log_wealth, 0.0) / (left[start] * variance[start]))
        stakes = np.minimum(stakes, highest / w[part].max())
        gains = np.log1p(stakes * (w[part, None] * (x[part, None] - means)))
        path = log_wealth + np.cumsum(gains, axis=0)
        largest = np.maximum(largest, path.max(axis=0))
        log_wealth = path[-1]
        target = np.maximum(target, np.where(largest >= target, largest + np.log(2), target))
    return largest


def _any_time(x: Array, w: Array, means: Array, alpha: float) -> Array:
    t = np.arange(1, len(x) + 1)
    stakes = np.sqrt(2 * np.log(1 / alpha) / (t * np.log1p(t) * _variances_before(x, w)))
    log_wealth, largest = np.zeros(len(means)), np.zeros(len(means))
    with np.errstate(divide="ignore"):
        highest = np.where(means > 0, LARGEST_STAKE_ANYTIME / means, np.inf)
    for start in range(0, len(x), 10_000):
        part = slice(start, start + 10_000)
        bets = np.minimum(stakes[part, None], highest)
        path = log_wealth + np.cumsum(np.log1p(bets * (x[part, None] - means)), axis=0)
        largest, log_wealth = np.maximum(largest, path.max(axis=0)), path[-1]
    return largest


def _variances_before(x: Array, w: Array) -> Array:
    """(n,) the weighted variance of the values before each, one value of variance 1/4 around 1/2 taken as seen."""
    weight = 1.0 + np.append(0.0, np.cumsum(w))
    mean = (0.5 + np.append(0.0, np.cumsum(w * x))) / weight
    squares = np.cumsum(np.append(0.25, w * (x - mean[1:]) ** 2))
    return np.asarray((squares / weight)[: len(x)], dtype=np.float64)


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
