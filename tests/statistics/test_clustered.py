import numpy as np
import pytest
import statsmodels.api as sm

from harness.statistics.clustered import clustered_mean
from harness.statistics.proportions import clopper_pearson
from harness.statistics.randomisation import SignFlip, cluster_sums


def _correlated(groups: int, size: int, seed: int, mean: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(groups), size)
    return mean + rng.normal(size=groups)[codes] + rng.normal(size=groups * size), codes


def test_the_standard_error_is_statsmodels_cluster_robust_one() -> None:
    values, codes = _correlated(40, 7, 0)
    values[:60] += 3
    fit = sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": codes})
    ours = clustered_mean(values, codes)
    assert ours.mean == pytest.approx(fit.params[0])
    assert ours.se == pytest.approx(fit.bse[0], rel=1e-10)
    assert ours.clusters == 40


def test_rows_on_their_own_give_the_ordinary_t_interval() -> None:
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(1).normal(0.2, 1, 25)
    theirs = ttest_1samp(values, 0)
    ours = clustered_mean(values)
    assert ours.interval() == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert ours.p_two_sided() == pytest.approx(theirs.pvalue)
    assert clustered_mean(values, np.arange(25)).se == pytest.approx(ours.se)


def test_ignoring_clusters_would_cover_far_too_seldom() -> None:
    """400 data sets, 60 clusters of 5 with intra-class correlation 1/2; within 3 Monte-Carlo errors of 95 %."""
    clustered = naive = 0
    for seed in range(400):
        values, codes = _correlated(60, 5, seed)
        low, high = clustered_mean(values, codes).interval()
        clustered += low <= 0 <= high
        low, high = clustered_mean(values).interval()
        naive += low <= 0 <= high
    assert clustered / 400 == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 400) ** 0.5)
    assert naive / 400 < 0.85


def test_one_cluster_says_nothing() -> None:
    one = clustered_mean(np.array([1.0, 2.0, 3.0]), np.zeros(3, dtype=np.int64))
    assert one.interval() == (-np.inf, np.inf)
    assert one.p_two_sided() == 1.0


def test_differences_that_are_all_alike_are_no_division_by_zero() -> None:
    same = clustered_mean(np.zeros(10))
    assert same.interval() == (0.0, 0.0)
    assert same.p_two_sided() == 1.0


def test_sign_flips_agree_with_a_full_count() -> None:
    sums, sizes = np.array([3.0, -1.0, 2.0, 4.0, 0.5, 1.5]), np.array([2.0, 1.0, 2.0, 3.0, 1.0, 1.0])
    flip = SignFlip(sums, sizes)
    for null in (-0.5, 0.0, 0.3, 1.7):
        centred = sums - null * sizes
        signs = 1 - 2 * ((np.arange(2**6)[:, None] >> np.arange(6)) & 1)
        statistic = signs @ centred
        assert flip.p_above(null) == pytest.approx((statistic >= centred.sum() - 1e-12).mean())
        assert flip.p_below(null) == pytest.approx((statistic <= centred.sum() + 1e-12).mean())


def test_the_sign_flip_interval_agrees_with_its_own_tests() -> None:
    values, codes = _correlated(12, 3, 5)
    flip = SignFlip(*cluster_sums(values, codes))
    low, high = flip.interval(0.90)
    assert flip.p_above(low - 1e-9) <= 0.05 < flip.p_above(low + 1e-9)
    assert flip.p_below(high + 1e-9) <= 0.05 < flip.p_below(high - 1e-9)


def test_with_few_clusters_sign_flips_keep_their_level() -> None:
    """600 data sets of 10 clusters; one-sided 95 % lower bound."""
    missed = 0
    for seed in range(600):
        values, codes = _correlated(10, 4, seed)
        missed += SignFlip(*cluster_sums(values, codes)).interval(0.90)[0] > 0
    assert missed / 600 <= 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5


def test_four_clusters_are_too_few_for_any_bound() -> None:
    assert SignFlip(np.ones(4), np.ones(4)).interval(0.90) == (-np.inf, np.inf)


def test_a_rate_over_groups_is_worth_fewer_answers_than_it_has_rows() -> None:
    rng = np.random.default_rng(3)
    right = (rng.random(400) < 0.9).astype(np.float64)
    assert clustered_mean(right).trials() == pytest.approx(400, rel=0.02)
    together = np.repeat(right[:80], 5)
    assert clustered_mean(together, np.repeat(np.arange(80), 5)).trials() == pytest.approx(80, rel=0.05)
    assert clustered_mean(np.ones(60), np.repeat(np.arange(12), 5)).trials() == 12


def test_a_tie_is_a_tie_although_its_sum_is_rounded() -> None:
    assert 0.1 + 0.2 - 0.3 > 0
    tenths, whole = np.array([0.1, 0.2, -0.3]), np.array([1.0, 2.0, -3.0])
    for null in (0.0, 0.1):
        rounded, exact = SignFlip(tenths, np.ones(3)), SignFlip(whole, np.ones(3))
        assert rounded.p_above(null) == exact.p_above(10 * null)
        assert rounded.p_below(null) == exact.p_below(10 * null)


@pytest.mark.parametrize(("groups", "size", "rate", "correlation"), [(100, 5, 0.03, 0.3), (40, 5, 0.1, 0.5)])
def test_an_exact_bound_over_groups_is_too_low_about_as_seldom_as_it_says(
    groups: int, size: int, rate: float, correlation: float
) -> None:
    """1,000 sets of correlated right/wrong answers each: a one-sided 95 % bound, where t is too low twice as often."""
    rng, codes = np.random.default_rng(0), np.repeat(np.arange(groups), size)
    spread = 1 / correlation - 1
    exact = student = 0
    for _ in range(1000):
        share = rng.beta(rate * spread, (1 - rate) * spread, groups)
        mean = clustered_mean((rng.random(groups * size) < share[codes]).astype(np.float64), codes)
        trials = mean.trials(0.90)
        exact += clopper_pearson(mean.mean * trials, trials, 0.90)[1] < rate
        student += mean.interval(0.90)[1] < rate
    assert exact / 1000 <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5
    assert student / 1000 > 0.08
