"""The interval of a difference of two figures that each have one."""

import numpy as np
import pytest

from harness.statistics.proportions import difference_interval, wilson

SIMULATED = 4000


def test_of_two_proportions_it_is_newcombes_tenth_method() -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 873-890, table II: 56/70 - 48/80, method 10: 0.0524 to 0.3339."""
    (low_a, high_a), (low_b, high_b) = wilson(56, 70), wilson(48, 80)
    value, low, high = difference_interval((56 / 70, low_a, high_a), (48 / 80, low_b, high_b))
    assert (
        value == pytest.approx(0.2)
        and low == pytest.approx(0.0524, abs=1e-4)
        and high == pytest.approx(0.3339, abs=1e-4)
    )


@pytest.mark.parametrize("rows", [50, 400])
@pytest.mark.parametrize("common", [0.0, 0.8])
def test_it_covers_the_true_difference_and_more_often_on_common_rows(rows: int, common: float) -> None:
    """common: the share of rows on which both runs give the very same answer."""
    chance = np.random.default_rng(20)
    p, q = 0.9, 0.84
    same = chance.random((SIMULATED, rows)) < common
    first, second = chance.random((2, SIMULATED, rows))
    a = first < p
    b = np.where(same, first, second) < q
    right = np.stack([a.sum(axis=1), b.sum(axis=1)], axis=1)
    covered = 0
    for k, m in right.tolist():
        (low_a, high_a), (low_b, high_b) = wilson(k, rows), wilson(m, rows)
        _, low, high = difference_interval((k / rows, low_a, high_a), (m / rows, low_b, high_b))
        covered += low <= p - q <= high
    share = covered / SIMULATED
    assert share >= 0.99 if common else 0.94 <= share <= 0.97
