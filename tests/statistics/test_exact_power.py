"""Planning with few differing rows: the promised power is the power of the test."""

import itertools

import numpy as np
import pytest
from scipy.stats import multinomial

from harness.statistics.power_analysis import (
    difference_power,
    margin_power,
    rows_for_difference,
    rows_for_margin,
    rows_to_pass,
    rows_to_see,
    smallest_difference,
    smallest_margin,
)
from harness.statistics.proportions import exact_p
from harness.statistics.tango import tango_interval


def tables(rows: int, worse: float, better: float) -> list[tuple[int, int, float]]:
    """Every table with its probability, by scipy."""
    law = multinomial(rows, [worse, better, 1 - worse - better])
    pairs = [(b, c) for b, c in itertools.product(range(rows + 1), repeat=2) if b + c <= rows]
    chances = law.pmf([[b, c, rows - b - c] for b, c in pairs])
    return [(b, c, float(p)) for (b, c), p in zip(pairs, chances, strict=True)]


@pytest.mark.parametrize(("rows", "margin", "discordance", "loss"), [(25, 0.1, 0.05, 0.0), (40, 0.2, 0.2, 0.05)])
def test_power_to_pass_is_the_sum_over_all_tables_that_pass(
    rows: int, margin: float, discordance: float, loss: float
) -> None:
    worse, better = (discordance + loss) / 2, (discordance - loss) / 2
    by_hand = sum(p for b, c, p in tables(rows, worse, better) if tango_interval(b, c, rows, 0.9)[0] > -margin)
    assert margin_power(rows, margin, discordance, loss) == pytest.approx(by_hand, abs=1e-9)


def test_power_to_see_is_the_sum_over_all_tables_that_mcnemar_rejects() -> None:
    by_hand = sum(p for b, c, p in tables(30, 0.25, 0.05) if b > c and exact_p(b, c) <= 0.05)
    assert difference_power(30, 0.2, 0.3) == pytest.approx(by_hand, abs=1e-9)


def test_thirty_one_rows_do_not_pass_ten_points_with_eighty_percent() -> None:
    assert rows_for_margin(0.1, 0.05) == 31
    assert margin_power(31, 0.1, 0.05) == pytest.approx(0.522, abs=0.001)
    rows = rows_to_pass(0.1, 0.05)
    assert rows == 49 and margin_power(49, 0.1, 0.05) >= 0.8 > margin_power(48, 0.1, 0.05)


@pytest.mark.parametrize(("margin", "discordance"), [(0.03, 0.02), (0.05, 0.05), (0.2, 0.1), (0.3, 0.02)])
def test_the_rows_named_have_the_power_named(margin: float, discordance: float) -> None:
    rows = rows_to_pass(margin, discordance)
    assert rows is not None and margin_power(rows, margin, discordance) >= 0.8
    seen = rows_to_see(margin, discordance)
    if seen * max(margin, discordance) < 20:
        assert difference_power(seen, margin, discordance) >= 0.8


@pytest.mark.parametrize("rows", [1, 2, 12, 31, 50, 200, 390])
def test_the_margin_named_has_the_power_named_and_never_passes_a_hundred_points(rows: int) -> None:
    margin = smallest_margin(rows, 0.05)
    assert 0 < margin <= 1
    assert margin_power(rows, margin, 0.05) >= 0.8 > margin_power(rows, margin - 2e-6, 0.05)


def test_a_margin_that_no_test_of_so_few_rows_passes_is_a_hundred_points() -> None:
    assert smallest_margin(1, 0.9) == 1.0


def test_five_rows_never_show_a_difference_and_six_may() -> None:
    assert smallest_difference(5, 0.5) is None
    found = smallest_difference(6, 0.5)
    assert found is not None and difference_power(6, found, 0.5) >= 0.8
    assert smallest_difference(0, 0.5) is None


def test_with_many_differing_rows_the_formulas_hold() -> None:
    assert rows_to_pass(0.02, 0.05) == rows_for_margin(0.02, 0.05)
    assert rows_to_see(0.02, 0.1) == rows_for_difference(0.02, 0.1)
    assert rows_to_pass(0.02, 0.05, loss=0.02) is None


def test_the_exact_power_meets_the_formula_where_many_rows_differ() -> None:
    rows = rows_for_margin(0.02, 0.1)
    assert rows is not None and margin_power(rows, 0.02, 0.1) == pytest.approx(0.8, abs=0.02)
    assert np.isclose(smallest_margin(2000, 0.05), 0.0124, atol=2e-4)
