"""Rows needed: the smaller of the rows to pass and the rows to fail, and what decides after so many rows."""

import numpy as np
import pytest

from harness.statistics.mean_intervals import bounded_mean_interval
from harness.statistics.multiple_testing import selection_level, selection_p
from harness.statistics.noninferiority import LEVEL, noninferiority_verdict
from harness.statistics.proportions import harm_p
from harness.statistics.rows_needed import RowsNeeded, distance_told, least_rows_to_pass, rows_to_decide, two_digits
from harness.statistics.tango import tango_interval


def needed(margin: float, loss: float, discordance: float, tests: int = 1) -> RowsNeeded | None:
    return rows_to_decide(margin, -loss, discordance - loss**2, proportion=True, tests=tests)


def test_a_loss_on_the_margin_never_passes_and_fails_all_the_same() -> None:
    found = needed(0.03, 0.03, 0.04)
    assert found is not None and found.verdict == "fail"
    assert found.rows == pytest.approx(300, abs=5)  # 270 by the formula, which promises too much of few differing rows


def test_just_inside_the_margin_failing_comes_long_before_passing() -> None:
    found = needed(0.02, 0.0195, 0.09)
    assert found is not None and found.verdict == "fail" and found.rows < 1_600


def test_a_gain_can_only_pass() -> None:
    assert needed(0.02, -0.01, 0.05) == RowsNeeded(772, "pass")  # a gain is not counted on


@pytest.mark.parametrize("margin", [0.005, 0.01, 0.02, 0.05, 0.3])
def test_the_least_rows_are_those_at_which_tangos_bound_of_no_difference_passes(margin: float) -> None:
    least = least_rows_to_pass(margin)
    assert tango_interval(0, 0, least, LEVEL)[0] > -margin
    assert tango_interval(0, 0, least - 1, LEVEL)[0] <= -margin


def test_the_default_margins_need_268_and_133_rows() -> None:
    assert (least_rows_to_pass(0.01), least_rows_to_pass(0.02)) == (268, 133)
    assert needed(0.01, 0.0, 0.0) == RowsNeeded(268, "pass")


def test_a_graded_figure_without_spread_is_never_decided() -> None:
    assert rows_to_decide(0.5, 0.0, 0.0, proportion=False) is None


@pytest.mark.parametrize(("spread", "margin"), [(0.03, 0.03), (0.2, 0.1)])
def test_the_rows_planned_for_a_graded_figure_pass_by_bets_on_its_range(spread: float, margin: float) -> None:
    """A normal formula would promise 7 and 25 rows; the range alone takes 3 / margin."""
    found = rows_to_decide(margin, 0.0, spread**2, proportion=False, span=1.0)
    assert found is not None and found.verdict == "pass" and found.rows > 3 / margin
    rng = np.random.default_rng(5)
    drawn = np.clip(rng.normal(0, spread, (40, found.rows)), -1, 1)
    passed = [bounded_mean_interval(row, -1, 1, LEVEL)[0] > -margin for row in drawn]
    assert np.mean(passed) >= 0.65  # 80 % are promised, of 40


def test_the_distance_that_rows_tell_is_the_formula_turned_round() -> None:
    found = rows_to_decide(0.02, 0.0, 0.04, proportion=False, span=1.0)
    assert found is not None
    assert distance_told(found.rows, 0.04, 1.0) == pytest.approx(0.02, rel=2e-3)
    assert distance_told(100, 0.04, 0.0) == pytest.approx(2.4865 * 0.02, rel=1e-3)


def test_correction_over_more_checks_takes_more_rows_to_fail() -> None:
    one, four = needed(0.02, 0.02, 0.05), needed(0.02, 0.02, 0.05, tests=4)
    assert one is not None and four is not None and four.rows > 1.3 * one.rows


@pytest.mark.parametrize(
    ("margin", "loss", "discordance"),
    [(0.02, 0.0, 0.05), (0.02, 0.02, 0.0267), (0.02, 0.015, 0.03), (0.02, 0.1, 0.3), (0.05, 0.04, 0.1)],
)
def test_after_so_many_rows_the_gate_mostly_decides(margin: float, loss: float, discordance: float) -> None:
    """80 % are planned; exact tests of few discordant rows reach a little less."""
    found = needed(margin, loss, discordance)
    assert found is not None
    shares = [(discordance + loss) / 2, (discordance - loss) / 2]
    drawn = np.random.default_rng(7).multinomial(found.rows, [*shares, 1 - sum(shares)], size=1_000)[:, :2]
    decided = 0
    for (worse, better), count in zip(*np.unique(drawn, axis=0, return_counts=True), strict=True):
        low, high = tango_interval(int(worse), int(better), found.rows, LEVEL)
        verdict = noninferiority_verdict(low, high, margin, harm_p(int(worse), int(better)))
        decided += int(count) * (verdict != "inconclusive")
    assert 0.72 < decided / 1_000 < 0.97


@pytest.mark.parametrize(("rows", "shown"), [(7, 7), (42, 42), (413, 420), (146_073, 150_000), (1_000, 1_000)])
def test_a_forecast_has_two_digits(rows: int, shown: int) -> None:
    assert two_digits(rows) == shown


def test_the_picked_one_of_k_keeps_its_level() -> None:
    """Five equal candidates against one incumbent on the same rows: the interval of the best covers 0."""
    draws = np.random.default_rng(3).normal(size=(20_000, 6))
    differences = draws[:, :5] - draws[:, 5:]
    best = differences.max(axis=1) / np.sqrt(2)
    from scipy.special import ndtri

    plain, corrected = (float(ndtri(0.5 + level / 2)) for level in (0.95, selection_level(0.95, 5)))
    assert (best <= plain).mean() < 0.94
    assert (np.abs(best) <= corrected).mean() > 0.95
    assert selection_level(0.95, 1) == pytest.approx(0.95)
    assert [selection_p(0.02, 5), selection_p(0.5, 5)] == pytest.approx([0.1, 1.0])
    with pytest.raises(ValueError, match="at least one"):
        selection_level(0.95, 0)
