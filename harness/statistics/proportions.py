"""Proportions: intervals of one, of two independent ones, and of two on the same rows (Wilson, McNemar)."""

import math

from harness.statistics.distributions import even_odds_at_least, even_odds_at_most, normal_quantile


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


def two_shares_p(first: float, first_rows: float, second: float, second_rows: float) -> float:
    """Two-sided p-value of "both shares are one"; 1 where there are no rows or neither share varies.

    first, second: shares; first_rows, second_rows: what they were measured on (first_rows infinite: known exactly).
    """
    if first_rows <= 0 or second_rows <= 0:
        return 1.0
    if math.isinf(first_rows):  # a share that is known
        pooled = first
    else:
        pooled = (first * first_rows + second * second_rows) / (first_rows + second_rows)
    variance = pooled * (1 - pooled) * (1 / first_rows + 1 / second_rows)
    if variance <= 0:
        return 1.0
    return math.erfc(abs(first - second) / math.sqrt(2 * variance))


def difference_interval(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    """(a - b, low, high) from (value, low, high) of each, at the level of the two intervals.

    The method of variance estimates recovery of Zou and Donner, Statistics in Medicine 27 (2008) 1693-1702, which for
    two proportions with Wilson's intervals is method 10 of Newcombe, Statistics in Medicine 17 (1998) 873-890. It takes
    the two figures as independent. Answers to the same rows are positively correlated, which makes the true interval of
    the difference narrower: this one then covers more often than its level says.
    """
    (value_a, low_a, high_a), (value_b, low_b, high_b) = a, b
    difference = value_a - value_b
    below = math.hypot(value_a - low_a, high_b - value_b)
    above = math.hypot(high_a - value_a, value_b - low_b)
    return difference, difference - below, difference + above


def exact_p(b: int, c: int) -> float:
    """Two-sided exact (conditional binomial) p-value; 1 where there is no discordant row."""
    m = b + c
    return min(1.0, 2 * even_odds_at_most(min(b, c), m)) if m else 1.0


def fewest_discordant(alpha: float = 0.05) -> int:
    """Rows on which exactly one of the two is right that a two-sided exact p-value of `alpha` takes at least: with m of
    them, all on one side, it is 2^(1 - m)."""
    return max(1, math.ceil(1 - math.log2(alpha)))


def mid_p(b: int, c: int) -> float:
    """Two-sided mid-p value (Fagerland, Lydersen and Laake, BMC Med Res Methodol 2013, 13:91).

    Less conservative than the exact one, and within its level in all their scenarios, though not by proof.
    """
    m = b + c
    if not m:
        return 1.0
    k = min(b, c)
    below = even_odds_at_most(k - 1, m) if k else 0.0
    return min(1.0, even_odds_at_most(k, m) + below)


def harm_p(b: int, c: int) -> float:
    """One-sided exact p-value of "the candidate is worse": P(X >= b), X ~ Binomial(b + c, 1/2)."""
    return even_odds_at_least(b, b + c)
