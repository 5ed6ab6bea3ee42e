"""Calibration error, temperature, risk and coverage: right values, and intervals that cover."""

import math

import numpy as np
import pytest
from scipy.special import softmax

from harness.statistics.calibration_error import (
    aurc,
    brier_scores,
    calibration_error,
    coverage_curve,
    equal_bins,
    log_losses,
)
from harness.statistics.multiple_testing import last_rejected
from harness.statistics.proportions import two_shares_p
from harness.statistics.tango import score, tango_interval, tango_scores
from harness.statistics.temperature_scaling import MIN_ROWS, fit_temperature, negative_log_likelihood

Array = np.ndarray


def test_bins_hold_equally_many_rows_and_never_part_equal_confidences() -> None:
    bins = equal_bins(np.linspace(0, 1, 300), np.ones(300))
    assert bins.rows.tolist() == [20.0] * 15
    tied = equal_bins(np.repeat([0.25, 0.5, 1.0], 100), np.repeat([0.0, 1.0, 1.0], 100))
    assert (tied.rows.tolist(), tied.confidence.tolist()) == ([100, 100, 100], [0.25, 0.5, 1.0])
    assert tied.accuracy.tolist() == [0.0, 1.0, 1.0]


def test_the_error_is_the_plain_one_without_the_variance_of_each_bin() -> None:
    confidence = np.repeat([0.6, 0.9], 50)
    right = np.concatenate([np.repeat([1.0, 0.0], [20, 30]), np.repeat([1.0, 0.0], [45, 5])])
    found = calibration_error(confidence, right)
    assert found is not None
    plain = 0.5 * 0.2**2
    variance = 0.5 * (0.4 * 0.6 / 49 + 0.9 * 0.1 / 49)
    assert found.value == pytest.approx(math.sqrt(plain - variance))
    assert found.low < found.value < found.high
    assert calibration_error(confidence[:39], right[:39]) is None


def draw(rng: np.random.Generator, n: int, power: float) -> tuple[Array, Array, Array]:
    """Confidence, the true probability of being right, and whether it was."""
    p = rng.beta(4.0, 1.0, n)
    return p**power, p, (rng.random(n) < p).astype(float)


def true_error(confidence: Array, p: Array) -> float:
    """Of the bins in use, from the true probabilities."""
    ours, bins = equal_bins(confidence, p), equal_bins(confidence, confidence)
    weight = ours.rows / ours.rows.sum()
    return math.sqrt(float((weight * (ours.accuracy - bins.accuracy) ** 2).sum()))


@pytest.mark.slow
@pytest.mark.parametrize("power", [1.0, 0.7, 0.2])
@pytest.mark.parametrize("n", [200, 1000, 5000])
def test_the_interval_of_the_error_covers_calibrated_or_not(power: float, n: int) -> None:
    rng, runs, missed, bias = np.random.default_rng(n), 2000, 0, 0.0
    for _ in range(runs):
        confidence, p, right = draw(rng, n, power)
        found, true = calibration_error(confidence, right), true_error(confidence, p)
        assert found is not None
        missed += not found.low - 1e-12 <= true <= found.high
        plain = found.bins
        square = float((plain.rows * (plain.accuracy - plain.confidence) ** 2).sum()) / n
        bias += square - true**2
    assert missed / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert bias / runs > 0, "the plain square is too large: what the correction is for"


def test_brier_and_log_losses_by_hand() -> None:
    confidence, right = np.array([0.9, 0.6, 1.0]), np.array([1.0, 0.0, 1.0])
    assert brier_scores(confidence, right) == pytest.approx([0.01, 0.36, 0.0])
    assert log_losses(confidence, right) == pytest.approx([-math.log(0.9), -math.log(0.4), 0.0], abs=2e-6)
    assert np.isfinite(log_losses(np.array([1.0]), np.array([0.0]))).all()


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_scaled_scores_is_found_again(true: float) -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 2, (20_000, 4))
    references = np.array([rng.choice(4, p=row) for row in softmax(scores, axis=1)])
    found = fit_temperature(scores * true, references)
    assert found == pytest.approx(true, rel=0.05)
    assert negative_log_likelihood(scores * true, references, found or 1.0) <= negative_log_likelihood(
        scores * true, references
    )


def test_few_rows_fit_no_temperature() -> None:
    assert fit_temperature(np.zeros((MIN_ROWS - 1, 2)), np.zeros(MIN_ROWS - 1, dtype=np.int64)) is None


def test_aurc_is_the_mean_error_rate_over_all_shares() -> None:
    confidence, wrong = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.0, 1.0, 0.0, 1.0])
    assert aurc(confidence, wrong) == pytest.approx(np.mean([0, 1 / 2, 1 / 3, 2 / 4]))
    assert aurc(np.ones(4), wrong) == pytest.approx(0.5), "equal confidences order nothing"
    orders = [aurc(np.array([0.9, 0.5, 0.5, 0.1]) + np.array([0, e, -e, 0]), wrong) for e in (1e-3, -1e-3)]
    assert aurc(np.array([0.9, 0.5, 0.5, 0.1]), wrong) == pytest.approx(np.mean(orders))


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 1000, 5000])
def test_the_band_of_the_accuracy_covers_at_all_shares_together(n: int) -> None:
    rng, runs, missed = np.random.default_rng(n), 2000, 0
    grid = np.linspace(0, 1, 100_001)[1:]
    above = np.cumsum((grid**4 * 4)[::-1])[::-1] / np.cumsum((4 * grid**3)[::-1])[::-1]  # E[p | p >= t], p ~ Beta(4, 1)
    for _ in range(runs):
        confidence, _, right = draw(rng, n, 1.0)
        curve = coverage_curve(confidence, right)
        true = above[np.minimum((curve.threshold * 100_000).astype(int), 99_999)]
        missed += bool(((true < curve.low) | (true > curve.high)).any())
    assert missed / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_the_band_shows_how_much_may_be_kept_at_an_accuracy() -> None:
    confidence = np.linspace(1, 0, 1000)
    right = (np.arange(1000) < 600).astype(float)
    curve = coverage_curve(confidence, right)
    assert curve.share[curve.accuracy >= 0.95].max() == 0.625
    assert curve.share[curve.low >= 0.95].max() == 0.6
    assert (curve.low < curve.accuracy).all() and (curve.high >= curve.accuracy).all()
    unsure = coverage_curve(np.where(right > 0, 1.0, -np.inf), right)
    assert unsure.rows.tolist() == [600, 1000]


def test_scores_of_many_tables_are_those_of_each() -> None:
    tables = [(0, 0), (3, 1), (12, 40), (0, 7), (7, 0), (50, 50)]
    b, c = (np.array(column, dtype=float) for column in zip(*tables, strict=True))
    for difference in (-0.02, -0.1, 0.03):
        expected = [score(x, y, 100, difference) for x, y in tables]
        assert tango_scores(b, c, 100, difference) == pytest.approx(expected)
    for x, y in tables:
        passes = tango_scores(np.array([float(x)]), np.array([float(y)]), 100, -0.05)[0] > 1.6448536269514722
        assert passes == (tango_interval(x, y, 100, 0.9)[0] > -0.05)


def test_a_sequence_ends_at_the_first_that_is_not_rejected() -> None:
    assert last_rejected(5, lambda k: k != 3) == 2
    assert last_rejected(5, lambda k: True) == 4
    assert last_rejected(5, lambda k: False) is None
    assert last_rejected(0, lambda k: True) is None


def test_two_shares_differ_where_the_chi_squared_test_says_so() -> None:
    from scipy.stats import chi2_contingency

    table = np.array([[80, 20], [150, 80]])
    expected = chi2_contingency(table, correction=False).pvalue
    assert two_shares_p(0.8, 100, 150 / 230, 230) == pytest.approx(expected)
    assert two_shares_p(0.5, 0, 0.5, 10) == two_shares_p(1.0, 10, 1.0, 20) == 1.0
    assert two_shares_p(0.5, math.inf, 0.4, 100) == pytest.approx(2 * 0.02275, rel=1e-2)
