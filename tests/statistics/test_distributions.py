"""Quantiles and tails without scipy are those of scipy."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import bdtr, bdtrc, betainc, ndtri, stdtr, stdtrit

from harness.statistics.distributions import (
    even_odds_at_least,
    even_odds_at_most,
    incomplete_beta,
    normal_quantile,
    student_cdf,
    student_quantile,
)
from harness.statistics.power_analysis import difference_power, smallest_difference
from harness.statistics.proportions import exact_p, fewest_discordant

CHANCES = (1e-6, 0.01, 0.025, 0.2, 0.5, 0.6, 0.8, 0.95, 0.975, 0.999, 1 - 1e-6)


@pytest.mark.parametrize("p", CHANCES)
def test_normal_quantile(p: float) -> None:
    assert normal_quantile(p) == pytest.approx(float(ndtri(p)), rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("df", [0.6, 1.0, 1.04, 2.0, 3.7, 11.0, 58.0, 99.9, 100.1, 640.5, 12_345.6, 2e6, 1e9])
@pytest.mark.parametrize("p", CHANCES)
def test_students_quantile(df: float, p: float) -> None:
    assert student_quantile(df, p) == pytest.approx(float(stdtrit(df, p)), rel=1e-9, abs=1e-12)


def test_a_quantile_without_degrees_of_freedom_is_none() -> None:
    assert math.isnan(student_quantile(math.nan, 0.975))
    assert math.isnan(student_quantile(0.0, 0.975))


@pytest.mark.parametrize("df", [0.6, 1.0, 2.5, 30.0, 5_000.0])
@pytest.mark.parametrize("t", [-60.0, -7.0, -2.0, -0.3, 0.0, 1e-3, 1.0, 4.0, 25.0])
def test_students_distribution_function(df: float, t: float) -> None:
    assert student_cdf(df, t) == pytest.approx(float(stdtr(df, t)), rel=1e-9)


def test_students_distribution_function_at_infinity() -> None:
    assert (student_cdf(3.0, math.inf), student_cdf(3.0, -math.inf)) == (1.0, 0.0)


@pytest.mark.parametrize("m", [1, 2, 7, 40, 333, 20_000])
def test_tails_of_the_binomial_with_even_odds(m: int) -> None:
    for k in sorted({0, 1, m // 5, m // 2 - 1, m // 2, m // 2 + 1, m - 1, m} - {-1}):
        assert even_odds_at_most(k, m) == pytest.approx(float(bdtr(k, m, 0.5)), rel=1e-9, abs=1e-300)
        above = 1.0 if k == 0 else float(bdtrc(k - 1, m, 0.5))
        assert even_odds_at_least(k, m) == pytest.approx(above, rel=1e-9, abs=1e-300)


def test_the_middle_of_a_million_tosses_is_exact() -> None:
    """P(X <= m / 2) = 1/2 + P(X = m / 2) / 2, with Stirling's series for the single probability."""
    m = 1_000_000
    at = math.sqrt(2 / (math.pi * m)) * (1 - 1 / (4 * m))
    assert even_odds_at_most(m // 2, m) == pytest.approx(0.5 + at / 2, rel=1e-8)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (3.0, 9.0), (250.0, 4.0), (4.0, 250.0), (1.0, 1.0)])
def test_incomplete_beta_over_its_whole_range(a: float, b: float) -> None:
    for x in np.linspace(0, 1, 23):
        expected = float(betainc(a, b, x))
        assert incomplete_beta(a, b, float(x), float(1 - x)) == pytest.approx(expected, rel=1e-10, abs=1e-300)


def test_mcnemars_p_is_the_exact_sum() -> None:
    for b, c in [(0, 1), (3, 11), (9, 9), (20, 41)]:
        m = b + c
        exact = Fraction(2 * sum(math.comb(m, k) for k in range(min(b, c) + 1)), 2**m)
        assert exact_p(b, c) == pytest.approx(min(1.0, float(exact)), rel=1e-12)


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.05, 0.03125, 0.0499 / 3])
def test_fewest_discordant_rows(alpha: float) -> None:
    m = fewest_discordant(alpha)
    assert exact_p(0, m) <= alpha * (1 + 1e-12)
    assert m == 1 or exact_p(0, m - 1) > alpha


def test_what_many_rows_with_hardly_a_difference_detect_is_found_in_few_tables() -> None:
    found = smallest_difference(200_000, 1e-6)
    assert found is not None
    assert difference_power(200_000, found, 1e-6) >= 0.8 > difference_power(200_000, found - 1e-6, 1e-6)
