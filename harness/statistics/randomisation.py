"""Randomisation tests of paired differences: exchanged answers, and flipped signs of groups."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from harness.statistics.bootstrap import CELLS_AT_ONCE, ResamplingUnits

Array = NDArray[np.float64]
TIE = 1e-12
"""Differences that differ by rounding only count as equal, which makes p larger, not smaller."""


def randomisation_p(
    units: ResamplingUnits,
    functions: Mapping[str, Callable[[Array], Array]],
    replicates: int = 10_000,
    seed: int | list[int] = 0,
) -> dict[str, tuple[float, float]]:
    """(two-sided p, one-sided p of "side 0 is lower") of each function's difference; p = (1 + hits) / (replicates + 1).

    The smallest p it can give is 1 / (replicates + 1).
    """
    rng = np.random.default_rng(seed)
    total = units.total
    differs = np.flatnonzero((units.tables[:, 0] != units.tables[:, 1]).any(axis=(1, 2)))
    counts = units.counts[differs]
    gap = (units.tables[differs, 1] - units.tables[differs, 0]).reshape(len(differs), total[0].size)
    observed = {name: _difference(function(total)) for name, function in functions.items()}
    two_sided = dict.fromkeys(functions, 0)
    lower = dict.fromkeys(functions, 0)
    batch = max(1, CELLS_AT_ONCE // max(total.size, len(differs), 1))
    for start in range(0, replicates, batch):
        size = min(batch, replicates - start)
        swapped = rng.binomial(counts, 0.5, size=(size, len(differs)))
        move = (swapped @ gap).reshape(size, *total.shape[1:])
        tables = np.stack([total[0] + move, total[1] - move], axis=1)
        for name, function in functions.items():
            values = _difference(function(tables))
            two_sided[name] += int((np.abs(values) >= abs(observed[name]) - TIE).sum())
            lower[name] += int((values <= observed[name] + TIE).sum())
    return {
        name: ((1 + two_sided[name]) / (replicates + 1), (1 + lower[name]) / (replicates + 1)) for name in functions
    }


def _difference(values: Array) -> Array:
    return np.asarray(values[..., 0] - values[..., 1])


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
