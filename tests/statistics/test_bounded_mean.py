"""The mean of a bounded variable: intervals that cover for any distribution, and one-sided p-values that agree."""

from collections.abc import Callable

import numpy as np
import pytest

from harness.statistics.mean_intervals import anytime_interval, bounded_mean_interval, bounded_mean_p

Array = np.ndarray
Draw = Callable[[np.random.Generator, int], tuple[Array, float]]


def _normal(rng: np.random.Generator, n: int) -> tuple[Array, float]:
    return np.clip(rng.normal(0.0, 0.2, n), -1, 1), 0.0


def _total_losses(rng: np.random.Generator, n: int) -> tuple[Array, float]:
    """Two rows of a hundred lose everything, the others tie: symmetric tests pass these."""
    return -(rng.random(n) < 0.02).astype(float), -0.02


def _mostly_ties(rng: np.random.Generator, n: int) -> tuple[Array, float]:
    return np.where(rng.random(n) < 0.05, rng.uniform(-1.0, 0.2, n), 0.0), -0.02


def _coin(rng: np.random.Generator, n: int) -> tuple[Array, float]:
    return 2.0 * (rng.random(n) < 0.5) - 1, 0.0


@pytest.mark.parametrize("kind", [_normal, _total_losses, _mostly_ties, _coin])
@pytest.mark.parametrize("n", [20, 60])
def test_the_interval_covers_whatever_the_distribution(kind: Draw, n: int) -> None:
    rng, runs = np.random.default_rng(n), 300
    misses = 0
    for _ in range(runs):
        values, true = kind(rng, n)
        # The interval's ends agree with these tests (below), which look at one mean instead of a grid of them.
        misses += min(bounded_mean_p(values, -1, 1, true, side) for side in ("above", "below")) <= 0.05
    assert misses / runs <= 0.1 + 3 * (0.1 * 0.9 / runs) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", [_normal, _total_losses, _mostly_ties, _coin])
@pytest.mark.parametrize("n", [20, 50, 200, 1000])
def test_a_loss_of_the_margin_passes_in_one_of_twenty_at_most(kind: Draw, n: int) -> None:
    rng, runs = np.random.default_rng(n), 2000
    passed = 0
    for _ in range(runs):
        values, true = kind(rng, n)
        passed += bounded_mean_p(values, -1, 1, true, "above") <= 0.05
    assert passed / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_with_hundreds_of_rows_it_is_nearly_as_narrow_as_students() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for _ in range(8):
        values, _ = _normal(rng, 1000)
        low, high = bounded_mean_interval(values, -1, 1, 0.9)
        widths.append((high - low) / (2 * 1.645 * values.std() / 1000**0.5))
    assert 1.0 < np.mean(widths) < 1.12


def test_p_values_agree_with_the_bounds() -> None:
    values, _ = _normal(np.random.default_rng(4), 300)
    low, high = bounded_mean_interval(values, -1, 1, 0.9)
    assert bounded_mean_p(values, -1, 1, low, "above") <= 0.05 < bounded_mean_p(values, -1, 1, low + 0.002, "above")
    assert bounded_mean_p(values, -1, 1, high, "below") <= 0.05 < bounded_mean_p(values, -1, 1, high - 0.002, "below")
    assert bounded_mean_p(values, -1, 1, -0.5, "above") < 1e-6
    assert bounded_mean_p(values, -1, 1, -1.5, "above") == 0.0
    assert bounded_mean_p(values, -1, 1, 1.0, "above") == 1.0


def test_a_larger_range_or_a_mirror_image_changes_what_it_must() -> None:
    values = np.random.default_rng(5).uniform(0.4, 0.9, 100)
    low, high = bounded_mean_interval(values, 0, 1)
    marks_low, marks_high = bounded_mean_interval(1 + 9 * values, 1, 10)
    assert (marks_low, marks_high) == pytest.approx((1 + 9 * low, 1 + 9 * high))
    assert bounded_mean_interval(-values, -1, 0) == pytest.approx((-high, -low))
    wide = bounded_mean_interval(values, -1, 2)
    assert wide[0] < low and wide[1] > high


def test_what_could_have_come_out_otherwise_has_no_interval_of_width_zero() -> None:
    for value in (0.0, 0.5, 1.0):
        low, high = bounded_mean_interval(np.full(30, value), 0, 1)
        assert 0 <= low <= value <= high <= 1 and high - low > 0.05
    assert bounded_mean_interval(np.zeros(0), 0, 1) == (0, 1)
    assert bounded_mean_p(np.zeros(0), 0, 1, 0.5, "above") == 1.0
    # Without a differing row the bound follows the rule of three: 3 / n of the range on either side.
    low, high = bounded_mean_interval(np.zeros(1000), -1, 1, 0.9)
    assert high == pytest.approx(-low) and 0.003 <= high < 0.0035


def test_one_group_with_half_of_the_rows_is_one_observation() -> None:
    rng = np.random.default_rng(6)
    sizes = np.append(60.0, np.ones(60))
    runs, misses = 150, 0
    for _ in range(runs):
        means = (rng.random(61) < 0.5).astype(float)
        low, high = bounded_mean_interval(means, 0, 1, 0.9, weights=sizes)
        misses += not low <= 0.5 <= high
    assert misses / runs <= 0.1 + 3 * (0.1 * 0.9 / runs) ** 0.5
    values = rng.random(40)
    assert bounded_mean_interval(values, 0, 1, weights=np.full(40, 7.0)) == bounded_mean_interval(values, 0, 1)


def test_values_outside_of_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match="outside of 0 to 1"):
        bounded_mean_interval(np.array([0.2, 1.4]), 0, 1)


def test_the_interval_for_any_stopping_time_holds_at_the_worst_moment() -> None:
    """Looked at after every twentieth row, one interval of all of them must miss in 10 % of runs at most."""
    rng, runs, missed = np.random.default_rng(7), 60, 0
    for _ in range(runs):
        values, true = _coin(rng, 200)
        intervals = [anytime_interval(values[:n], -1, 1, 0.9) for n in range(20, 201, 20)]
        missed += any(not low <= true <= high for low, high in intervals)
    assert missed / runs <= 0.1 + 3 * (0.1 * 0.9 / runs) ** 0.5
    values, _ = _normal(rng, 400)
    fixed, anytime = bounded_mean_interval(values, -1, 1), anytime_interval(values, -1, 1)
    assert anytime[0] < fixed[0] and anytime[1] > fixed[1]
