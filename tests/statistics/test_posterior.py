"""The Bayesian reading of a paired table, against sampling and against what symmetry demands."""

import numpy as np
import pytest

from harness.statistics.posterior import probability_of_loss_below


@pytest.mark.parametrize(
    ("margin", "worse", "better", "rows"),
    [(0.02, 21, 13, 600), (0.02, 0, 0, 5), (0.05, 3, 9, 40), (0.02, 300, 200, 1000), (0.3, 7, 1, 21)],
)
def test_it_is_the_probability_of_a_dirichlet_sample(margin: float, worse: int, better: int, rows: int) -> None:
    # Both right and neither together have two of the four prior counts.
    rest = rows - worse - better + 2
    drawn = np.random.default_rng(5).dirichlet([rest, worse + 1, better + 1], 200_000)
    sampled = float((drawn[:, 1] - drawn[:, 2] < margin).mean())
    error = 3 * np.sqrt(sampled * (1 - sampled) / len(drawn)) + 1e-4
    assert probability_of_loss_below(margin, worse, better, rows) == pytest.approx(sampled, abs=float(error))


def test_a_loss_and_the_same_gain_are_mirror_images() -> None:
    loss, gain = (probability_of_loss_below(0.0, *counts, 200) for counts in ((9, 4), (4, 9)))
    assert loss + gain == pytest.approx(1.0, abs=1e-9)
    assert probability_of_loss_below(0.0, 6, 6, 200) == pytest.approx(0.5, abs=1e-9)


def test_more_rows_without_a_difference_make_a_small_loss_ever_surer() -> None:
    found = [probability_of_loss_below(0.02, 0, 0, rows) for rows in (5, 50, 500, 100_000)]
    assert found == sorted(found)
    assert found[-1] <= 1.0 and found[-1] == pytest.approx(1.0)
