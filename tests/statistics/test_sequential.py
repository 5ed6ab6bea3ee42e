"""Stopping early: what may be looked at after every row, and how often it then errs."""

import numpy as np
import pytest

from harness.statistics.eprocess import STAKES, harm_e_value
from harness.statistics.sequential import OrderedRule, SequentialRule

MARGIN = 0.02


def _differences(rng: np.random.Generator, rows: int, true: float, discordant: float) -> np.ndarray:
    p = [(discordant - true) / 2, 1 - discordant, (discordant + true) / 2]
    return rng.choice([-1.0, 0.0, 1.0], p=p, size=rows)


def _ever_passes(drawn: np.ndarray) -> float:
    """Share of runs (rows of the matrix) in which the bet ever reaches 20: all runs at once."""
    step = np.log1p(STAKES * (np.array([-1.0, 0.0, 1.0])[:, None] + MARGIN))  # (3, stakes)
    log_wealth = np.zeros((len(drawn), len(STAKES)))
    ever = np.zeros(len(drawn), dtype=bool)
    for column in drawn.T:
        log_wealth += step[column + 1]
        ever |= np.exp(log_wealth).mean(axis=1) >= 20
    return float(ever.mean())


def _draw(seed: int, runs: int, rows: int, true: float, discordant: float) -> np.ndarray:
    p = [(discordant - true) / 2, 1 - discordant, (discordant + true) / 2]
    return np.random.default_rng(seed).choice(np.array([-1, 0, 1], dtype=np.int8), p=p, size=(runs, rows))


def test_the_simulation_decides_as_the_rule_itself() -> None:
    drawn = _draw(8, 40, 800, 0.01, 0.06)
    rules = [SequentialRule(MARGIN) for _ in drawn]
    for rule, row in zip(rules, drawn, strict=True):
        for d in row:
            rule.observe(float(d))
    assert _ever_passes(drawn) == pytest.approx(np.mean([rule.decision == "pass" for rule in rules]))


def test_false_passes_at_the_margin_stay_below_alpha_however_often_one_looks() -> None:
    """True loss = margin, discordance 6 %, a look after each of 1,500 rows, 1,500 runs."""
    share = _ever_passes(_draw(1, 1500, 1500, -MARGIN, 0.06))
    assert share <= 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("discordant", [0.03, 0.06, 0.2])
def test_false_passes_at_the_margin_over_long_runs(discordant: float) -> None:
    """The same over 6,000 rows and 6,000 runs."""
    share = _ever_passes(_draw(2, 6000, 6000, -MARGIN, discordant))
    assert share <= 0.05 + 3 * (0.05 * 0.95 / 6000) ** 0.5


def test_peeking_at_a_fixed_size_test_would_not_keep_it() -> None:
    """What the rule is for: a z test looked at every 50 rows passes far too often at the margin."""
    rng = np.random.default_rng(3)
    passes = 0
    for _ in range(400):
        d = _differences(rng, 2000, -MARGIN, 0.06) + MARGIN
        n = np.arange(50, 2001, 50)
        sums, squares = d.cumsum()[n - 1], (d**2).cumsum()[n - 1]
        se = np.sqrt(np.maximum(squares / n - (sums / n) ** 2, 1e-12) / n)
        passes += bool((sums / n / se > 1.645).any())
    assert passes / 400 > 0.15


@pytest.mark.parametrize("groups", [2, 4])
def test_an_order_with_the_class_shares_of_every_beginning_keeps_the_level_too(groups: int) -> None:
    """The seeded order takes classes in turn. All the loss in one class, which comes every `groups`-th row:
    the product's expectation is bounded by that of the average (arithmetic over geometric mean)."""
    classes = [_draw(40 + g, 1500, 1500 // groups, -MARGIN * groups if g == 0 else 0.0, 0.1) for g in range(groups)]
    in_turn = np.stack(classes, axis=2).reshape(1500, -1)
    assert _ever_passes(in_turn) <= 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5


def test_an_equal_candidate_is_seldom_called_harmful() -> None:
    drawn = _draw(5, 2000, 1500, 0.0, 0.06)
    worse, better = (drawn < 0).cumsum(axis=1), (drawn > 0).cumsum(axis=1)
    table = np.array([[b > c and harm_e_value(b, c) >= 20 for c in range(100)] for b in range(100)])
    ever = table[worse, better].any(axis=1)
    assert ever.mean() <= 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5


def test_a_clearly_better_and_a_clearly_worse_candidate_are_decided_early() -> None:
    rng = np.random.default_rng(6)
    for true, decision in ((0.05, "pass"), (-0.15, "fail")):
        rule = SequentialRule(MARGIN)
        for d in _differences(rng, 4000, true, 0.2):
            rule.observe(float(d))
        assert rule.decision == decision and rule.rows < 1500


def test_only_the_contiguous_beginning_counts() -> None:
    """All the fast answers are good ones; the slow first row holds them back until it has come."""
    rule = OrderedRule(MARGIN)
    for n in range(1, 500):
        rule.observe(n, 1.0)
    assert rule.decided is None and rule.rule.rows == 0
    rule.observe(0, -1.0)
    assert rule.decided == "pass"


def test_any_order_of_arrival_gives_the_same_decision_at_the_same_row() -> None:
    rng = np.random.default_rng(7)
    d = _differences(rng, 800, 0.02, 0.1)
    straight = OrderedRule(MARGIN)
    for n, value in enumerate(d):
        straight.observe(n, float(value))
    shuffled = OrderedRule(MARGIN)
    for n in rng.permutation(800):
        shuffled.observe(int(n), float(d[n]))
    assert (shuffled.decided, shuffled.rule.rows) == (straight.decided, straight.rule.rows)


def test_rows_that_are_not_compared_are_passed_over() -> None:
    rule = OrderedRule(MARGIN)
    for n in range(10):
        rule.observe(n, None if n % 2 else 0.0)
    assert rule.rule.rows == 5


def test_what_cannot_be_a_margin_or_a_difference_is_an_error() -> None:
    with pytest.raises(ValueError, match="margin"):
        SequentialRule(0.0)
    with pytest.raises(ValueError, match="difference"):
        SequentialRule(0.1).observe(1.5)
