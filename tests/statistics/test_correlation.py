"""Rank correlation and kappa: the values of scipy and scikit-learn, and intervals that cover."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from harness.errors import UsageError
from harness.metrics import Metric
from harness.statistics.correlation import agreement, agreement_draws, quadratic_kappa, rank_correlation
from harness.summary.comparison import compare_all
from harness.summary.estimates import estimate_all
from harness.summary.outcomes import NUMBER, REFERENCE_NUMBER, Outcomes, RowTable

RANK = Metric(name="rank_correlation", kind="correlation", proportion=False)
KAPPA = Metric(name="quadratic_kappa", kind="correlation", proportion=False)


def levels(rng: np.random.Generator, n: int, noise: float, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.integers(0, count, n)
    seen = np.clip(np.round(truth + rng.normal(0, noise, n)), 0, count - 1)
    return truth.astype(float), seen.astype(float)


@pytest.mark.parametrize("seed", range(3))
def test_the_values_are_those_of_scipy_and_scikit_learn(seed: int) -> None:
    x, y = levels(np.random.default_rng(seed), 200, 1.0)
    once = np.ones((1, len(x)))
    assert rank_correlation(once, x, y)[0] == pytest.approx(spearmanr(x, y).statistic)
    assert quadratic_kappa(once, x, y)[0] == pytest.approx(cohen_kappa_score(x, y, weights="quadratic"))


def test_weights_are_rows_drawn_several_times() -> None:
    x, y = levels(np.random.default_rng(1), 50, 1.0)
    times = np.random.default_rng(2).integers(0, 4, 50)
    drawn = np.repeat(x, times), np.repeat(y, times)
    for function in (rank_correlation, quadratic_kappa):
        weighted = function(times[None].astype(float), x, y)[0]
        assert weighted == pytest.approx(function(np.ones((1, times.sum())), *drawn)[0])


def test_an_answer_without_a_number_lowers_both() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 0.0])
    y = x.copy()
    once = np.ones((1, len(x)))
    assert rank_correlation(once, x, y)[0] == pytest.approx(1.0) and quadratic_kappa(once, x, y)[0] == 1.0
    y[-1] = np.nan
    assert 0.5 < rank_correlation(once, x, y)[0] < 1.0
    assert quadratic_kappa(once, x, y)[0] == pytest.approx(
        cohen_kappa_score(x.astype(int), [0, 1, 2, 3, 4, 4], weights="quadratic")
    )


def test_answers_that_are_all_alike_correlate_with_nothing() -> None:
    x = np.arange(10.0)
    once = np.ones((1, 10))
    assert rank_correlation(once, x, np.full(10, 3.0))[0] == 0 and quadratic_kappa(once, x * 0, x * 0)[0] == 0


def test_groups_are_drawn_whole() -> None:
    x, y = levels(np.random.default_rng(4), 60, 0.8)
    alone = agreement_draws(rank_correlation, x, (y,), np.arange(60), 400, [1]).std()
    doubled = np.repeat(np.arange(60), 2)
    copies = agreement_draws(rank_correlation, np.repeat(x, 2), (np.repeat(y, 2),), doubled, 400, [1]).std()
    assert copies == pytest.approx(alone, rel=0.15), "a row that is there twice says nothing more"


def test_an_unknown_correlation_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'rank_correlation'"):
        agreement("rank_corelation")


def outcomes(x: np.ndarray, y: np.ndarray) -> Outcomes:
    return Outcomes("generate", {REFERENCE_NUMBER: x, NUMBER: y}, np.zeros((len(x), 1), dtype=np.int64))


def table(n: int, groups: np.ndarray | None = None) -> RowTable:
    return RowTable((), np.full(n, -1), groups, {})


@pytest.mark.parametrize("metric", [RANK, KAPPA])
@pytest.mark.parametrize(("n", "noise"), [(60, 1.0), (150, 0.5)])
def test_intervals_of_a_correlation_cover(metric: Metric, n: int, noise: float) -> None:
    """120 data sets each; the true value is that of 200,000 rows."""
    rng, runs = np.random.default_rng(n), 120
    function = agreement(metric.name)
    true = float(function(np.ones((1, 200_000)), *levels(rng, 200_000, noise))[0])
    covered = 0
    for k in range(runs):
        x, y = levels(rng, n, noise)
        found = estimate_all((metric,), table(n), outcomes(x, y), f"a{k}", 200)[metric.name]
        assert found.low is not None and found.high is not None
        covered += found.low <= true <= found.high
    assert covered / runs >= 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5


@pytest.mark.parametrize("metric", [RANK, KAPPA])
def test_equal_candidates_are_seldom_told_apart(metric: Metric) -> None:
    """Two candidates of one quality on 80 rows: differences are significant in 5 % of 120 data sets, and the interval
    of the difference covers 0 in 95 %."""
    rng, runs, n = np.random.default_rng(7), 120, 80
    told = missed = 0
    for k in range(runs):
        x, a = levels(rng, n, 0.8)
        b = np.clip(np.round(x + rng.normal(0, 0.8, n)), 0, 4)
        found = compare_all((metric,), table(n), outcomes(x, a), outcomes(x, b), ("a", f"b{k}"), 0.95, 200)
        comparison = found[metric.name]
        told += comparison.p <= 0.05
        missed += not comparison.low <= 0 <= comparison.high
    most = 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert told / runs <= most and missed / runs <= most


def test_few_rows_or_differences_give_no_verdict() -> None:
    x = np.arange(40.0)
    same = compare_all((RANK,), table(40), outcomes(x, x), outcomes(x, x), ("a", "b"))["rank_correlation"]
    assert same.no_verdict and same.gain == 0
    assert estimate_all((RANK,), table(10), outcomes(x[:10], x[:10]), "a")["rank_correlation"].low is None
