"""Quantiles and distribution functions of single values: normal, Student's t, and the binomial with even odds.

`scipy.special` has them for arrays, and takes longer to import than a short run computes; this module needs the
standard library alone. `tests/statistics/test_distributions.py` holds each against scipy.

Student's t and the binomial are incomplete beta functions: for X ~ Binomial(m, p), P(X >= k) = I_p(k, m - k + 1), and
for t > 0, P(T > t) = I_x(df / 2, 1/2) / 2 with x = df / (df + t^2) (NIST Digital Library of Mathematical Functions,
8.17.5; M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions, 26.7.1).
"""

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
TINY = 1e-300
"""Replaces a denominator of 0 in the continued fraction."""
PRECISION = 1e-16
MOST_TERMS = 1_000_000
MOST_STEPS = 500
FEW_TOSSES = 300
NEARLY_NORMAL = 1e6
"""Degrees of freedom above which R. A. Fisher's expansion (Abramowitz and Stegun, 26.7.5) is the more precise."""


def normal_quantile(p: float) -> float:
    """The value that a standard normal variable stays below with probability p, 0 < p < 1 (M. J. Wichura's AS 241)."""
    return _NORMAL.inv_cdf(p)


def student_cdf(df: float, t: float) -> float:
    """P(T <= t) of Student's t with df > 0 degrees of freedom, which need not be whole."""
    if math.isinf(t):
        return 1.0 if t > 0 else 0.0
    tail = incomplete_beta(df / 2, 0.5, df / (df + t * t), t * t / (df + t * t)) / 2
    return 1 - tail if t > 0 else tail


def student_quantile(df: float, p: float) -> float:
    """The value that Student's t with df > 0 degrees of freedom stays below with probability p, 0 < p < 1."""
    if not df > 0:
        return math.nan
    return _upper_student_quantile(df, 1 - p) if p >= 0.5 else -_upper_student_quantile(df, p)


@lru_cache(maxsize=256)
def _upper_student_quantile(df: float, tail: float) -> float:
    """The value that is passed with probability `tail`, 0 < tail <= 1/2.

    Newton's method from the normal quantile, which lies nearer to 0: the distribution function is concave beyond 0, so
    that every step ends between the last one and the root.
    """
    t = z = -normal_quantile(tail)
    if df > NEARLY_NORMAL:
        return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    constant = _log_gamma_half_step(df / 2) - 0.5 * math.log(df * math.pi)
    for _ in range(MOST_STEPS):
        density = math.exp(constant - (df + 1) / 2 * math.log1p(t * t / df))
        above = incomplete_beta(df / 2, 0.5, df / (df + t * t), t * t / (df + t * t)) / 2
        step = (above - tail) / density
        t += step
        if step <= 1e-14 * t:
            break
    return t


def even_odds_at_most(k: int, m: int) -> float:
    """P(X <= k) for X ~ Binomial(m, 1/2)."""
    return even_odds_at_least(m - k, m)


def even_odds_at_least(k: int, m: int) -> float:
    """P(X >= k) for X ~ Binomial(m, 1/2); exact but for one rounding where m is at most FEW_TOSSES."""
    if k <= 0:
        return 1.0
    if m <= FEW_TOSSES:
        return sum(math.comb(m, heads) for heads in range(k, m + 1)) / (1 << m)
    return incomplete_beta(k, m - k + 1, 0.5, 0.5) if k <= m else 0.0


def incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function I_x(a, b), a, b > 0; rest: 1 - x, without its cancellation.

    The continued fraction of the Digital Library of Mathematical Functions, 8.17.22, by W. J. Lentz's method (as in
    W. H. Press et al., Numerical Recipes, 6.4), on the side where it converges fast.
    """
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, rest, x)
    front = math.exp(a * _log(x, rest) + b * _log(rest, x) - _log_beta(a, b)) / a
    return front * _continued_fraction(a, b, x)


def _log(x: float, rest: float) -> float:
    """log x, precise near 1 too."""
    return math.log(x) if x < 0.5 else math.log1p(-rest)


def _continued_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d or TINY)
    value = d
    for m in range(1, MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / ((1 + term * d) or TINY)
            c = (1 + term / c) or TINY
            value *= c * d
        if abs(c * d - 1) <= PRECISION:
            break
    return value


def _log_beta(a: float, b: float) -> float:
    """log B(a, b); for b = 1/2 without the cancellation of large logarithms."""
    if b == 0.5:
        return 0.5 * math.log(math.pi) - _log_gamma_half_step(a)
    if a == 0.5:
        return _log_beta(b, a)
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_gamma_half_step(a: float) -> float:
    """log(Gamma(a + 1/2) / Gamma(a)); for large a by its asymptotic series (F. G. Tricomi and A. Erdelyi, Pacific
    Journal of Mathematics 1951, 1:133)."""
    if a < 50:
        return math.lgamma(a + 0.5) - math.lgamma(a)
    return 0.5 * math.log(a) - 1 / (8 * a) + 1 / (192 * a**3) - 1 / (640 * a**5) + 17 / (14336 * a**7)
