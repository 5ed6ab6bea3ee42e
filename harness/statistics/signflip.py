"""Sign-flip test and interval for few clusters (fewer than about 30), where t is not to be trusted.

If the clusters' deviations from the true mean are symmetric, each sign is a coin toss (Fisher 1935). Turned into
an interval by Hartigan's typical values (JASA 1969): the mean of the clusters kept by each flip pattern is as
likely as not to lie below the true mean, and the bounds are order statistics of those subset means.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EXACT_CLUSTERS = 14
"""Up to here all 2^G patterns are visited; beyond, `patterns` random ones."""

TIE = 1e-12
"""Means that differ from the null by rounding only count as equal to it, which makes p larger, not smaller."""


class SignFlip:
    """The flip patterns of one set of clusters.

    sums: (G,) sum of the row values of each cluster; sizes: (G,) its rows.
    """

    def __init__(self, sums: Array, sizes: Array, patterns: int = 10_000, seed: int | list[int] = 0) -> None:
        count = len(sums)
        if count <= EXACT_CLUSTERS:
            numbers = np.arange(1, 2**count)
            flipped = (numbers[:, None] >> np.arange(count)) & 1
        else:
            flipped = np.random.default_rng(seed).integers(0, 2, size=(patterns, count))
            flipped = flipped[flipped.any(axis=1)]
        # A flip of the clusters in S leaves the statistic at least as large exactly where the supposed mean
        # is at least the mean over S: these subset means are all that is needed.
        self._means = np.sort((flipped @ sums) / (flipped @ sizes)) if count else np.zeros(0)
        self._all = len(self._means) + 1

    def p_above(self, null: float) -> float:
        """One-sided p of "the mean is `null` or less"."""
        return float((1 + np.searchsorted(self._means, null + TIE, side="right")) / self._all)

    def p_below(self, null: float) -> float:
        """One-sided p of "the mean is `null` or more"."""
        return float((1 + len(self._means) - np.searchsorted(self._means, null - TIE, side="left")) / self._all)

    def p_two_sided(self, null: float = 0.0) -> float:
        """Twice the smaller one-sided p, at most 1."""
        return min(1.0, 2 * min(self.p_above(null), self.p_below(null)))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The two-sided interval that agrees with both one-sided tests; unbounded where clusters are too few."""
        k = math.floor((1 - level) / 2 * self._all + 1e-9)
        if k < 1:
            return -math.inf, math.inf
        return float(self._means[k - 1]), float(self._means[-k])


def cluster_sums(values: Array, clusters: NDArray[np.int64]) -> tuple[Array, Array]:
    """Sum of the values and number of rows of every cluster."""
    _, codes = np.unique(clusters, return_inverse=True)
    return np.bincount(codes, weights=values).astype(np.float64), np.bincount(codes).astype(np.float64)
