"""Confidence intervals of a rate: Wilson's for reports, Clopper and Pearson's where coverage must be guaranteed."""

import math

from harness.statistics.distributions import normal_quantile


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval, two-sided (E. B. Wilson, JASA 1927).

    `successes` and `n` need not be whole (it may be an effective sample size). n = 0 carries no information: (0, 1).
    """
    if n <= 0:
        return 0.0, 1.0
    z = normal_quantile(0.5 + level / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At 0 and n the bound is 0 and 1 exactly; rounding would leave 1e-17.
    return (0.0 if successes <= 0 else centre - half), (1.0 if successes >= n else centre + half)


def clopper_pearson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """The exact interval, two-sided (Clopper and Pearson, Biometrika 1934); it may be an effective sample size."""
    tail = (1 - level) / 2
    return _exact_lower(successes, n, tail), exact_upper(successes, n, 1 - tail)


def exact_upper(successes: float, n: float, level: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound: the largest rate that `level` cannot exclude."""
    if successes >= n:
        return 1.0
    from scipy.special import betaincinv  # takes longer to import than a short run computes; see `distributions`

    return float(betaincinv(successes + 1, n - successes, level))


def _exact_lower(successes: float, n: float, tail: float) -> float:
    if successes <= 0:
        return 0.0
    from scipy.special import betaincinv

    return float(betaincinv(successes, n - successes + 1, tail))


def rows_for_zero_failures(limit: float, level: float = 0.95) -> int:
    """Rows without a single failure that show a rate below `limit`: ln(1 - level) / ln(1 - limit)."""
    return math.ceil(math.log(1 - level) / math.log1p(-limit))
