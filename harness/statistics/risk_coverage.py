"""Accuracy against the share of rows kept, when the least confident ones are left out.

R. El-Yaniv and Y. Wiener, JMLR 2010, 11:1605; Y. Geifman and R. El-Yaniv, Selective Classification for Deep Neural
Networks, NeurIPS 2017 (arXiv 1705.08500). AURC is the mean of the selective risk over all coverages 1/n .. 1; rows of
equal confidence share their errors, which is the mean over all orders of them.

The band: given the confidence of the row at a rank, the rows above it are independent draws of the surer rows, so that
their errors are binomial, and Clopper and Pearson's bound holds at that rank. Over all ranks that are looked at
together it holds at level alpha / ranks each (Bonferroni, as in Geifman and El-Yaniv's algorithm SGR).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RANKS = 40
"""Coverages at which the band is computed."""


@dataclass(frozen=True)
class Coverage:
    """Rows kept at or above each threshold, from few to all: (k,) threshold, rows kept, their share, accuracy, and the
    simultaneous lower and upper bound of the accuracy."""

    threshold: Array
    rows: NDArray[np.int64]
    share: Array
    accuracy: Array
    low: Array
    high: Array


def aurc(confidence: Array, wrong: Array) -> float:
    """The mean selective risk over all coverages. confidence, wrong: (n,), n >= 1; -inf: kept last."""
    order = np.argsort(-confidence, kind="stable")
    _, ties, counts = np.unique(-confidence[order], return_inverse=True, return_counts=True)
    shared = (np.bincount(ties, weights=wrong[order]) / counts)[ties]
    return float((np.cumsum(shared) / np.arange(1, len(order) + 1)).mean())


def coverage_curve(confidence: Array, right: Array, level: float = 0.95, inflation: float = 1.0) -> Coverage:
    """Accuracy at RANKS coverages with a simultaneous band. confidence: (n,), -inf is never kept but with all rows;
    right: (n,) 0 or 1, or shares.

    inflation: of the variance where rows are dependent: so many times fewer rows are counted.
    """
    n = len(confidence)
    order = np.argsort(-confidence, kind="stable")
    ranked, hits = confidence[order], np.cumsum(right[order])
    ends = np.unique(np.linspace(0, n, RANKS + 1).round().astype(np.int64)[1:])
    # A threshold keeps every row of its confidence.
    ends = np.unique(np.searchsorted(-ranked, -ranked[ends - 1], "right"))
    rows = ends.astype(np.int64)
    accuracy = hits[rows - 1] / rows
    tail = (1 - level) / (2 * len(rows))
    trials = rows / max(inflation, 1.0)
    good, bad = accuracy * trials, (1 - accuracy) * trials
    with np.errstate(invalid="ignore"):
        from scipy.special import betaincinv  # takes longer to import than a short run computes

        low = np.where(good > 0, betaincinv(np.maximum(good, 1e-9), bad + 1, tail), 0.0)
        high = np.where(bad > 0, betaincinv(good + 1, np.maximum(bad, 1e-9), 1 - tail), 1.0)
    return Coverage(ranked[rows - 1], rows, rows / n, accuracy, low, high)
