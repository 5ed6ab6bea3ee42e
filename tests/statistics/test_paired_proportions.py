"""Right/wrong of two candidates on the same rows: the worked example, a published table, and other people's code."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import ndtr
from statsmodels.stats.contingency_tables import mcnemar

from harness.statistics.proportions import exact_p, harm_p, mid_p, wilson
from harness.statistics.tango import score, tango_interval

A = (512, 21, 13, 54)
C = (2110, 40, 34, 216)


def newcombe_interval(both: int, b: int, c: int, neither: int, level: float) -> tuple[float, float]:
    """Newcombe's method 10 (Statist. Med. 1998, 17:2635): Wilson's limits of the two rates joined with the
    correlation phi, continuity-corrected where positive. Another road to the same interval as Tango's."""
    n = both + b + c + neither
    product: float = both * neither - b * c
    product = max(product - n / 2, 0) if product > 0 else product
    phi = product / ((both + b) * (c + neither) * (both + c) * (b + neither)) ** 0.5
    candidate, reference = (both + c) / n, (both + b) / n
    low_1, high_1 = wilson(both + c, n, level)
    low_2, high_2 = wilson(both + b, n, level)

    def spread(one: float, two: float) -> float:
        return float((one * one - 2 * phi * one * two + two * two) ** 0.5)

    difference = candidate - reference
    return (
        difference - spread(candidate - low_1, high_2 - reference),
        difference + spread(high_1 - candidate, reference - low_2),
    )


def inferiority_p(b: int, c: int, n: int, margin: float) -> float:
    """One-sided p of "the candidate is worse by the margin or more", by the score that the interval turns round."""
    return float(ndtr(-score(b, c, n, -margin)))


@pytest.mark.parametrize(
    ("table", "exact", "harm", "mid"),
    [(A, 0.229481013, 0.114740507, 0.175465), (C, 0.561381, 0.280690, 0.488683)],
)
def test_mcnemar_of_the_worked_example(table: tuple[int, ...], exact: float, harm: float, mid: float) -> None:
    both, b, c, neither = table
    assert exact_p(b, c) == pytest.approx(exact, abs=5e-7)
    assert harm_p(b, c) == pytest.approx(harm, abs=5e-7)
    assert mid_p(b, c) == pytest.approx(mid, abs=5e-7)
    assert exact_p(b, c) == pytest.approx(mcnemar([[both, b], [c, neither]], exact=True).pvalue, rel=1e-12)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (0, 6), (5, 5), (30, 12)])
def test_mcnemar_equals_a_count_in_whole_numbers(b: int, c: int) -> None:
    m = b + c
    tail = Fraction(sum(comb(m, k) for k in range(min(b, c) + 1)), 2**m)
    above = Fraction(sum(comb(m, k) for k in range(b, m + 1)), 2**m)
    assert exact_p(b, c) == pytest.approx(min(1.0, float(2 * tail)), rel=1e-12)
    assert harm_p(b, c) == pytest.approx(float(above), rel=1e-12)
    assert mid_p(b, c) <= exact_p(b, c)


def test_without_a_discordant_row_nothing_is_shown() -> None:
    assert (exact_p(0, 0), mid_p(0, 0), harm_p(0, 0)) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("table", "level", "tango", "newcombe"),
    [
        (A, 0.90, (-0.0302285, 0.0027530), (-0.0300143, 0.0030168)),
        (A, 0.95, (-0.0337952, 0.0060207), None),
        (C, 0.90, (-0.0085345, 0.0034548), (-0.0085114, 0.0034838)),
        (C, 0.95, (-0.0097479, 0.0046365), None),
        # Fagerland, Lydersen and Laake 2014: airway data, 21 children.
        ((1, 7, 1, 12), 0.95, (-0.517232, -0.026003), (-0.506920, -0.025559)),
    ],
)
def test_intervals_of_the_worked_example_and_of_the_published_one(
    table: tuple[int, int, int, int],
    level: float,
    tango: tuple[float, float],
    newcombe: tuple[float, float] | None,
) -> None:
    _, b, c, _ = table
    assert tango_interval(b, c, sum(table), level) == pytest.approx(tango, abs=6e-7)
    if newcombe is not None:
        assert newcombe_interval(*table, level) == pytest.approx(newcombe, abs=6e-7)


def test_the_exact_p_of_the_airway_data() -> None:
    assert exact_p(7, 1) == pytest.approx(0.0703125)


def test_one_discordant_row_has_a_finite_interval() -> None:
    assert tango_interval(1, 0, 44, 0.90) == pytest.approx((-0.095662, 0.036517), abs=6e-7)


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 1), (0, 0, 500), (1, 0, 1), (0, 1, 1), (5, 0, 5), (0, 5, 5)])
def test_extreme_tables_give_ordered_bounds_within_minus_one_and_one(b: int, c: int, n: int) -> None:
    low, high = tango_interval(b, c, n)
    assert -1 <= low <= (c - b) / n <= high <= 1
    assert low < high


def test_no_rows_give_the_whole_range() -> None:
    assert tango_interval(0, 0, 0) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("table", "margin", "p"),
    [(A, 0.01, 0.634959), (A, 0.02, 0.249631), (A, 0.03, 0.052161), (C, 0.01, 0.02145), (C, 0.02, 7e-6)],
)
def test_the_p_of_inferiority_agrees_with_the_worked_example(
    table: tuple[int, int, int, int], margin: float, p: float
) -> None:
    _, b, c, _ = table
    assert inferiority_p(b, c, sum(table), margin) == pytest.approx(p, abs=6e-6 if p > 1e-3 else 6e-7)


@pytest.mark.parametrize("table", [A, C, (1, 7, 1, 12), (90, 3, 0, 7)])
def test_the_bound_and_the_p_decide_alike(table: tuple[int, int, int, int]) -> None:
    _, b, c, _ = table
    n = sum(table)
    low, _high = tango_interval(b, c, n, 0.90)
    assert inferiority_p(b, c, n, -low) == pytest.approx(0.05, abs=1e-9)


def test_the_score_at_zero_is_mcnemars() -> None:
    assert score(21, 13, 600, 0.0) == pytest.approx((13 - 21) / (21 + 13) ** 0.5)


@pytest.mark.parametrize("d", [-0.03, -0.01, 0.0, 0.02])
def test_the_constrained_fit_is_the_one_a_numeric_search_finds(d: float) -> None:
    """Tango's closed form against maximising the likelihood of (b, c, rest) under p_c - p_b = d."""
    both, b, c, neither = A
    n = sum(A)

    def minus_log_likelihood(p_b: float) -> float:
        p_c = p_b + d
        rest = 1 - p_b - p_c
        if min(p_b, p_c, rest) <= 0:
            return np.inf
        return float(-(b * np.log(p_b) + c * np.log(p_c) + (both + neither) * np.log(rest)))

    low, high = max(0.0, -d), (1 - d) / 2
    p_b = minimize_scalar(minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    variance = n * (2 * p_b + d - d * d)
    assert score(b, c, n, d) == pytest.approx((c - b - n * d) / variance**0.5, abs=1e-5)


def test_false_passes_at_the_margin_stay_near_alpha_where_wald_does_not() -> None:
    """True loss = margin = 2 points, discordance 3 %, 200 rows; the note's figures: Tango 3.4 %, Wald 9.5 %."""
    n, margin, discordant, runs = 200, 0.02, 0.03, 20_000
    p = [(discordant + margin) / 2, (discordant - margin) / 2, 1 - discordant]
    counts = np.random.default_rng(1).multinomial(n, p, size=runs)
    tables, times = np.unique(counts[:, :2], axis=0, return_counts=True)
    tango = sum(t for (b, c), t in zip(tables, times, strict=True) if inferiority_p(int(b), int(c), n, margin) < 0.05)
    d = (tables[:, 1] - tables[:, 0]) / n
    se = np.sqrt(np.maximum(tables.sum(axis=1) / n - d**2, 0) / n)
    wald = times[d - 1.6448536 * se > -margin].sum()
    monte_carlo = 3 * (0.05 * 0.95 / runs) ** 0.5
    assert tango / runs <= 0.05 + monte_carlo
    assert wald / runs > 0.08
