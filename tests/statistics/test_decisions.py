"""Holm, the non-inferiority verdict, planning and the anytime-valid test."""

import math

import numpy as np
import pytest
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from harness.statistics.confidence_sequence import SequentialUnits, first_crossing, log_wealth
from harness.statistics.multiple_testing import benjamini_hochberg, holm
from harness.statistics.noninferiority import noninferiority_verdict
from harness.statistics.power_analysis import (
    detectable_difference,
    detectable_mean_difference,
    resolvable_margin,
    rows_for_difference,
    rows_for_margin,
)
from harness.statistics.proportions import exact_p, harm_p
from harness.statistics.tango import tango_interval


def test_holm_is_that_of_the_note_and_of_statsmodels() -> None:
    assert holm([0.004, 0.02, 0.03, 0.4]) == pytest.approx([0.016, 0.06, 0.06, 0.4])
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 20):
        p = rng.random(size) ** 3
        assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([]) == []


def test_benjamini_hochberg_is_that_of_scipy_and_statsmodels() -> None:
    rng = np.random.default_rng(1)
    for size in (1, 2, 9, 40):
        p = np.append(rng.random(size) ** 2, [0.5, 0.5])
        assert benjamini_hochberg(list(p)) == pytest.approx(multipletests(p, method="fdr_bh")[1])
        assert benjamini_hochberg(list(p)) == pytest.approx(false_discovery_control(p))
    assert benjamini_hochberg([]) == []


@pytest.mark.parametrize(
    ("table", "verdicts"),
    [((21, 13, 600), ("inconclusive",) * 3), ((40, 34, 2400), ("pass",) * 3)],
)
def test_the_worked_example_is_judged_as_in_the_note(table: tuple[int, int, int], verdicts: tuple[str, ...]) -> None:
    b, c, n = table
    low, high = tango_interval(b, c, n, 0.90)
    for margin, verdict in zip((0.01, 0.02, 0.03), verdicts, strict=True):
        assert noninferiority_verdict(low, high, margin, harm_p(b, c)) == verdict


def test_not_significant_is_not_a_pass_and_significant_harm_within_the_margin_is_not_a_fail() -> None:
    assert exact_p(3, 1) > 0.05
    assert noninferiority_verdict(*tango_interval(3, 1, 60, 0.90), 0.02, harm_p(3, 1)) == "inconclusive"
    low, high = tango_interval(60, 30, 20_000, 0.90)
    assert harm_p(60, 30) < 0.05
    assert noninferiority_verdict(low, high, 0.02, harm_p(60, 30)) == "pass"


def test_no_data_decide_nothing() -> None:
    assert noninferiority_verdict(math.nan, math.nan, 0.02, 1.0) == "inconclusive"
    assert noninferiority_verdict(-math.inf, math.inf, 0.02, 1.0) == "inconclusive"


MARGINS = (0.005, 0.01, 0.02, 0.03, 0.05)


@pytest.mark.parametrize(
    ("discordance", "rows"),
    [
        (0.03, (7420, 1855, 464, 207, 75)),
        (0.05, (12366, 3092, 773, 344, 124)),
        (0.10, (24731, 6183, 1546, 687, 248)),
        (0.20, (49461, 12366, 3092, 1374, 495)),
    ],
)
def test_rows_for_a_margin_are_those_of_the_table(discordance: float, rows: tuple[int, ...]) -> None:
    for margin, n in zip(MARGINS, rows, strict=True):
        assert rows_for_margin(margin, discordance) == pytest.approx(n, abs=1)


def test_a_loss_as_large_as_the_margin_needs_endless_rows() -> None:
    assert rows_for_margin(0.02, 0.05, loss=0.02) is None
    assert rows_for_margin(0.02, 34 / 600) == pytest.approx(876, abs=1)
    assert rows_for_margin(0.02, 34 / 600, loss=8 / 600) == pytest.approx(7900, rel=0.01)


@pytest.mark.parametrize(("difference", "rows"), [(0.01, 7847), (0.02, 1960), (0.03, 870)])
def test_rows_for_a_difference_are_connors(difference: float, rows: int) -> None:
    assert rows_for_difference(difference, 0.1) == pytest.approx(rows, abs=1)
    assert detectable_difference(rows, 0.1) == pytest.approx(difference, rel=1e-3)


def test_what_known_data_sets_resolve() -> None:
    assert resolvable_margin(7600, 0.05) == pytest.approx(0.0064, abs=5e-5)
    assert resolvable_margin(40_430, 0.1) == pytest.approx(0.0039, abs=5e-5)
    assert resolvable_margin(200, 0.05) == pytest.approx(0.04, abs=0.001)


def test_a_difference_brings_its_own_discordance() -> None:
    """Without a discordant row so far, 6 rows all one way would be the least that McNemar's test can see."""
    found = detectable_difference(1000, 0.0)
    assert found is not None and 5 / 1000 < found < 10 / 1000
    assert detectable_difference(1, 0.0) is None
    assert detectable_difference(0, 0.1) is None
    assert detectable_mean_difference(0.01) == pytest.approx(0.028, abs=1e-4)


def test_the_promised_power_is_reached() -> None:
    """1960 rows, 2 points apart, discordance 10 %: Connor promises 80 %; the exact test is a little weaker."""
    n = rows_for_difference(0.02, 0.1)
    counts = np.random.default_rng(0).multinomial(n, [0.06, 0.04, 0.9], size=4000)
    found = np.mean([exact_p(int(b), int(c)) <= 0.05 for b, c, _ in counts])
    assert 0.75 < found < 0.83


@pytest.mark.parametrize(("b", "c", "e"), [(21, 13, 0.528946), (40, 34, 0.183408)])
def test_the_e_value_of_harm_is_that_of_the_worked_example(b: int, c: int, e: float) -> None:
    """2^m / ((m + 1) C(m, b)) is the wealth against "no difference" averaged over all stakes from -1 to 1."""
    rows = SequentialUnits(np.repeat([1.0, -1.0], [b, c]), np.ones(b + c), -1.0, 1.0)
    stakes = (np.arange(100_000) + 0.5) / 50_000 - 1
    assert np.exp(log_wealth(rows, 0.0, stakes)[-1]) == pytest.approx(e, abs=1e-6)


def test_the_bet_is_fair_at_the_margin_and_wins_above_it() -> None:
    """At a true loss of exactly the margin the wealth has expectation 1."""
    margin = 0.02
    p_worse, p_better = 0.04, 0.02
    wealths = [
        float(np.exp(log_wealth(SequentialUnits(np.array([d]), np.ones(1), -1.0, 1.0), -margin)[-1]))
        for d in (-1.0, 0.0, 1.0)
    ]
    assert p_worse * wealths[0] + (1 - p_worse - p_better) * wealths[1] + p_better * wealths[2] == pytest.approx(1.0)
    assert first_crossing(SequentialUnits(np.zeros(600), np.ones(600), -1.0, 1.0), -margin, 0.05) is not None


def _shares(n: int, true: float, discordant: float, runs: int, seed: int) -> dict[str, float]:
    """How often the whole rule passes, fails or stays open, with a margin of 2 points."""
    p = [(discordant - true) / 2, (discordant + true) / 2, 1 - discordant]
    counts = np.random.default_rng(seed).multinomial(n, p, size=runs)[:, :2]
    tables, times = np.unique(counts, axis=0, return_counts=True)
    found = {"pass": 0.0, "fail": 0.0, "inconclusive": 0.0}
    for (b, c), weight in zip(tables.tolist(), times, strict=True):
        low, high = tango_interval(b, c, n, 0.90)
        found[noninferiority_verdict(low, high, 0.02, harm_p(b, c))] += weight / runs
    return found


@pytest.mark.parametrize(
    ("n", "true", "expected"),
    [
        (200, 0.0, (0.28, 0.02, 0.69)),
        (600, 0.0, (0.63, 0.04, 0.32)),
        (600, -0.01, (0.25, 0.22, 0.53)),
        (600, -0.02, (0.05, 0.59, 0.36)),
        (600, -0.03, (0.01, 0.90, 0.10)),
        (1500, -0.02, (0.05, 0.93, 0.02)),
    ],
)
def test_the_rule_decides_as_often_as_the_design_table_says(
    n: int, true: float, expected: tuple[float, float, float]
) -> None:
    """Discordance 6 %, 4,000 runs here and there: within 3 Monte-Carlo errors of two such simulations."""
    found = _shares(n, true, 0.06, runs=4000, seed=1)
    for share, told in zip(found.values(), expected, strict=True):
        assert share == pytest.approx(told, abs=3 * math.sqrt(2 * max(told * (1 - told), 0.005) / 4000) + 0.005)


@pytest.mark.parametrize("discordant", [0.03, 0.06, 0.1, 0.2])
@pytest.mark.parametrize("n", [200, 500, 1500])
def test_false_passes_at_the_margin_over_sizes_and_discordances(n: int, discordant: float) -> None:
    """20,000 runs each: at a true loss of exactly the margin a pass is an error, and alpha bounds it."""
    assert _shares(n, -0.02, discordant, runs=20_000, seed=2)["pass"] <= 0.05 + 3 * (0.05 * 0.95 / 20_000) ** 0.5
