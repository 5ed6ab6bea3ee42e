import numpy as np
import pytest
from scipy.stats import binom, binomtest
from statsmodels.stats.proportion import proportion_confint

from harness.statistics.proportions import clopper_pearson, exact_upper, rows_for_zero_failures, wilson

CASES = [(0, 10), (1, 10), (5, 10), (10, 10), (87, 100), (500, 7600), (7599, 7600)]


@pytest.mark.parametrize(("k", "n"), CASES)
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_and_clopper_pearson_are_those_of_scipy_and_statsmodels(k: int, n: int, level: float) -> None:
    for method, ours in (("wilson", wilson(k, n, level)), ("exact", clopper_pearson(k, n, level))):
        ci = binomtest(k, n).proportion_ci(level, method=method)
        assert ours == pytest.approx((ci.low, ci.high), abs=1e-12)
    assert wilson(k, n, level) == pytest.approx(proportion_confint(k, n, 1 - level, "wilson"), abs=1e-12)
    assert clopper_pearson(k, n, level) == pytest.approx(proportion_confint(k, n, 1 - level, "beta"), abs=1e-12)


@pytest.mark.parametrize(("k", "n", "upper"), [(0, 100, 0.0295), (3, 500, 0.0154), (5, 1000, 0.0105)])
def test_the_upper_bound_of_a_rare_error_is_the_tabled_one(k: int, n: int, upper: float) -> None:
    assert exact_upper(k, n) == pytest.approx(upper, abs=5e-5)


@pytest.mark.parametrize(("limit", "rows"), [(0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598), (0.001, 2995)])
def test_zero_failures_need_so_many_rows_to_show_a_limit(limit: float, rows: int) -> None:
    assert rows_for_zero_failures(limit) == rows
    assert exact_upper(0, rows) <= limit < exact_upper(0, rows - 1)


def test_no_rows_tell_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("n", [20, 200])
def test_coverage_summed_over_all_outcomes_is_near_95_percent(p: float, n: int) -> None:
    """Exact coverage: no simulation needed. Clopper-Pearson never falls short, Wilson hardly."""
    k = np.arange(n + 1)
    weight = binom.pmf(k, n, p)
    covered = {
        f: np.array([low <= p <= high for low, high in (f(int(i), n) for i in k)]) for f in (wilson, clopper_pearson)
    }
    assert weight @ covered[clopper_pearson] >= 0.95
    assert 0.92 < weight @ covered[wilson] < 0.985
