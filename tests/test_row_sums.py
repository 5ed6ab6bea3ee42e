"""Sums over the answers of rows: a byte each while all values are 0 or 1, floats from the first other one on."""

import random

import numpy as np
import pytest

from harness.summary.outcomes import RowSums


def test_right_and_wrong_take_two_bytes_a_row() -> None:
    sums = RowSums(10, 1)
    for n in range(9):
        sums.add(n, float(n % 2))
    assert sums.sums.nbytes + sums.counts.nbytes == 20
    means = sums.means()
    assert means[:9].tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0] and np.isnan(means[9])
    assert means.dtype == np.float64


@pytest.mark.parametrize("repeats", [1, 3, 255, 300])
@pytest.mark.parametrize("values", [(0.0, 1.0), (1.0,), (0.0, 1.0, 0.25), (-1.0, 1.0), (1e9, 1.0), (2.0,)])
def test_means_are_those_of_floats(values: tuple[float, ...], repeats: int) -> None:
    rng = random.Random(repeats)
    sums, plain, counts = RowSums(5, repeats), np.zeros(5), np.zeros(5)
    for n in range(5):
        for _ in range(repeats):
            value = rng.choice(values)
            sums.add(n, value)
            plain[n] += value
            counts[n] += 1
    assert np.array_equal(sums.means(), plain / counts)
    assert np.array_equal(sums.sums, plain)
