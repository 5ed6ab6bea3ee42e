"""What confidences are worth: calibration errors, proper scores, and risk against coverage."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.statistics.distributions import normal_quantile

Array = NDArray[np.float64]

BINS = 15
ROWS_A_BIN = 20
"""Fewest rows of a bin: with fewer rows in all there are fewer bins."""
LEAST = 1e-6
"""Confidences are kept so far from 0 and 1 in the log-likelihood."""


@dataclass(frozen=True)
class Bins:
    """Rows in bins of equally many, by confidence: rows of each bin, mean confidence, share right, all (bins,)."""

    rows: Array
    confidence: Array
    accuracy: Array


@dataclass(frozen=True)
class CalibrationError:
    """The debiased root mean square error with its interval (None: no bin has ROWS_A_BIN rows)."""

    value: float
    low: float
    high: float
    bins: Bins


def equal_bins(confidence: Array, right: Array, most: int = BINS) -> Bins:
    """Bins of equally many rows in the order of confidence; equal confidences stay in one bin.

    confidence, right: (n,), n >= 1; right may be a share, of repeats.
    """
    count = max(1, min(most, len(confidence) // ROWS_A_BIN))
    order = np.argsort(confidence, kind="stable")
    ranked = confidence[order]
    cuts = np.linspace(0, len(ranked), count + 1).round().astype(np.int64)[1:-1]
    starts = np.unique(np.concatenate([[0], np.searchsorted(ranked, ranked[cuts], "left")]))
    rows = np.diff(np.append(starts, len(ranked))).astype(np.float64)
    return Bins(
        rows, np.add.reduceat(ranked, starts) / rows, np.add.reduceat(right[order].astype(np.float64), starts) / rows
    )


def calibration_error(
    confidence: Array, right: Array, level: float = 0.95, inflation: float = 1.0
) -> CalibrationError | None:
    """The debiased calibration error of confidences in [0, 1]; None with fewer than 2 ROWS_A_BIN rows.

    inflation: of the variance where rows are dependent (rows / effective rows).
    """
    if len(confidence) < 2 * ROWS_A_BIN:
        return None
    bins = equal_bins(confidence, right)
    kept = bins.rows > 1
    weight = bins.rows[kept] / bins.rows[kept].sum()
    d = bins.accuracy[kept] - bins.confidence[kept]
    rows = bins.rows[kept]
    v = inflation * bins.accuracy[kept] * (1 - bins.accuracy[kept]) / (rows - 1)
    square = float((weight * (d**2 - v)).sum())
    # A bin without a wrong answer shows no variance, and still has one.
    smoothed = (bins.accuracy[kept] * rows + 1) / (rows + 2)
    spread = np.maximum(v, inflation * smoothed * (1 - smoothed) / rows)
    # The plain d^2 in the place of delta^2 is too large on average: the interval errs to the wide side.
    variance = float((weight**2 * (4 * d**2 * spread + 2 * spread**2)).sum())
    half = normal_quantile(0.5 + level / 2) * math.sqrt(variance)
    return CalibrationError(_root(square), _root(square - half), _root(square + half), bins)


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0))


def brier_scores(confidence: Array, right: Array) -> Array:
    """(n,) squared distances of the confidence from being right, 1 or 0 (G. W. Brier, Monthly Weather Review 1950)."""
    return np.asarray((confidence - right) ** 2, dtype=np.float64)


def log_losses(confidence: Array, right: Array) -> Array:
    """(n,) negative log-likelihoods of being right or wrong under the confidence."""
    p = np.clip(confidence, LEAST, 1 - LEAST)
    return np.asarray(-(right * np.log(p) + (1 - right) * np.log1p(-p)), dtype=np.float64)


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
