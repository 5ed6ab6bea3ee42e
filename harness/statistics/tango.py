"""Tango's score interval for the difference of two paired proportions (T. Tango, Statist. Med. 1998, 17:891).

Of n rows, `b` only the reference got right and `c` only the candidate; the difference is candidate minus
reference, (c - b) / n. McNemar's test is the special case of the score at 0.
"""

import math

import numpy as np
from numpy.typing import NDArray

from harness.statistics.distributions import normal_quantile

EDGE = 1 - 1e-12
PRECISION = 1e-13


def score(b: float, c: float, n: float, difference: float) -> float:
    """Tango's z at a supposed difference: the variance is that of the constrained maximum likelihood fit."""
    d = difference
    quadratic = 2 * n
    linear = -b - c + (2 * n - c + b) * d
    constant = -b * d * (1 - d)
    root = math.sqrt(max(linear * linear - 4 * quadratic * constant, 0.0))
    only_reference = max((root - linear) / (2 * quadratic), 0.0)  # its probability under the constraint
    variance = n * (2 * only_reference + d * (1 - d))
    excess = c - b - n * d
    if variance <= 0:
        return 0.0 if excess == 0 else math.copysign(math.inf, excess)
    return excess / math.sqrt(variance)


def tango_scores(b: NDArray[np.float64], c: NDArray[np.float64], n: float, difference: float) -> NDArray[np.float64]:
    """`score` of many tables (k,) at one supposed difference."""
    d = difference
    linear = -b - c + (2 * n - c + b) * d
    root = np.sqrt(np.maximum(linear * linear + 8 * n * b * d * (1 - d), 0.0))
    variance = n * (2 * np.maximum((root - linear) / (4 * n), 0.0) + d * (1 - d))
    excess = c - b - n * d
    with np.errstate(divide="ignore", invalid="ignore"):
        found = excess / np.sqrt(np.maximum(variance, 0.0))
    return np.where(variance > 0, found, np.where(excess == 0, 0.0, np.copysign(np.inf, excess)))


def tango_interval(b: int, c: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The two-sided interval: all differences whose |score| stays below the normal quantile. n = 0: (-1, 1)."""
    if n == 0:
        return -1.0, 1.0
    z = normal_quantile(0.5 + level / 2)
    estimate = (c - b) / n

    def bound(side: int) -> float:
        # The score falls from +inf to -inf as the supposed difference grows.
        if side * estimate >= EDGE or (score(b, c, n, side * EDGE) + side * z) * side >= 0:
            return float(side)
        low, high = sorted((estimate, side * EDGE))
        while high - low > PRECISION:
            middle = (low + high) / 2
            low, high = (middle, high) if score(b, c, n, middle) + side * z > 0 else (low, middle)
        return (low + high) / 2

    return bound(-1), bound(1)
