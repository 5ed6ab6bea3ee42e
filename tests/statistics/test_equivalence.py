"""Two one-sided tests: the verdict, its error rate, and the rows that it takes."""

import numpy as np
import pytest

from harness.statistics.equivalence import equivalence_verdict, rows_for_equal_means, rows_for_equivalence
from harness.statistics.power_analysis import margin_power
from harness.statistics.tango import tango_interval


def test_the_verdict_follows_the_interval_and_then_the_test() -> None:
    assert equivalence_verdict(-0.004, 0.006, 0.01, 1.0) == "alike"
    assert equivalence_verdict(-0.004, 0.006, 0.01, 0.01) == "alike", "a real difference within the margin is alike"
    assert equivalence_verdict(-0.03, -0.012, 0.01, 1.0) == "not alike"
    assert equivalence_verdict(0.012, 0.03, 0.01, 1.0) == "not alike", "better by more than the margin is another model"
    assert equivalence_verdict(-0.02, -0.002, 0.01, 0.03) == "not alike"
    assert equivalence_verdict(-0.02, 0.002, 0.01, 0.4) == "not shown yet"
    assert equivalence_verdict(float("nan"), float("nan"), 0.01, 1.0) == "not shown yet"


@pytest.mark.parametrize(("discordance", "rows"), [(0.04, 800), (0.1, 2000)])
def test_a_difference_of_the_margin_is_called_alike_in_one_case_of_twenty(discordance: float, rows: int) -> None:
    margin, rng = 0.02, np.random.default_rng(1)
    worse, better = (discordance + margin) / 2, (discordance - margin) / 2
    drawn = rng.multinomial(rows, [worse, better, 1 - discordance], size=4000)[:, :2]
    pairs, counts = np.unique(drawn, axis=0, return_counts=True)
    alike = 0
    for (b, c), count in zip(pairs, counts, strict=True):
        low, high = tango_interval(int(b), int(c), rows, 0.9)
        alike += int(count) * (equivalence_verdict(low, high, margin, 1.0) == "alike")
    assert 0.02 < alike / 4000 < 0.065


def test_the_rows_forecast_reach_their_power() -> None:
    rows = rows_for_equivalence(0.01, 0.03, 0.0)
    assert rows is not None
    assert 2 * margin_power(rows, 0.01, 0.03) - 1 == pytest.approx(0.8, abs=0.03), "both one-sided tests pass"
    assert rows_for_equivalence(0.01, 0.0, 0.0) == 268, "without one differing row: Tango's bound alone"
    assert rows_for_equivalence(0.01, 0.03, -0.012) is None


def test_rows_for_means_fall_with_the_square_of_the_distance() -> None:
    near, far = rows_for_equal_means(0.01, 0.05, 0.0), rows_for_equal_means(0.02, 0.05, 0.0)
    assert near is not None and far is not None
    assert near == pytest.approx(4 * far, rel=0.01)
    assert rows_for_equal_means(0.01, 0.05, 0.011) is None
