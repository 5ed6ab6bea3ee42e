"""Monitoring over batches: how often it raises a false alarm, how soon a true one, and the wealth by hand."""

import math

import numpy as np
import pytest

from harness.statistics.confidence_sequence import STAKES, SequentialUnits, change_log_wealth, first_alarm, log_wealth

ALPHA = 0.05
Array = np.ndarray


def batch(values: Array) -> SequentialUnits:
    """Values of losses in [-1, 1]."""
    return SequentialUnits(np.asarray(values, dtype=float), np.ones(len(values)), -1.0, 1.0)


def losses(random: np.random.Generator, loss: float, rows: int, discordant: float = 0.1) -> Array:
    """Paired losses of right/wrong answers: -1, 0 or 1, with this mean."""
    p = [(discordant - loss) / 2, 1 - discordant, (discordant + loss) / 2]
    return random.choice(np.array([-1.0, 0.0, 1.0]), p=p, size=rows)


def test_one_batch_is_half_bet_and_half_cash() -> None:
    one = batch(np.array([1.0, 0.0, -1.0, 1.0]))
    by_hand = 0.5 * math.exp(log_wealth(one, 0.02)[-1]) + 0.5
    assert math.exp(change_log_wealth([one], 0.02)[0]) == pytest.approx(by_hand)


def test_three_batches_by_hand() -> None:
    batches = [batch(np.array(v)) for v in ([1.0, 0.0], [0.0, -1.0, 1.0], [1.0, 1.0])]
    null = 0.1
    factors = [np.prod([1 + STAKES * (x - null) / (null + 1) for x in b.totals], axis=0) for b in batches]
    by_hand = (
        0.25
        + np.mean(factors[0] * factors[1] * factors[2]) / 2
        + np.mean(factors[1] * factors[2]) / 6
        + np.mean(factors[2]) / 12
    )
    assert math.exp(change_log_wealth(batches, null)[-1]) == pytest.approx(by_hand)


def test_an_empty_batch_changes_no_bet_and_nothing_means_no_alarm() -> None:
    full, empty = batch(np.array([1.0, 0.0])), batch(np.array([]))
    wealth = change_log_wealth([full, empty], 0.02)
    assert wealth[1] == pytest.approx(wealth[0])
    assert first_alarm([], 0.02, ALPHA) is None
    assert first_alarm([empty], 0.02, ALPHA) is None


def test_at_the_margin_an_alarm_is_ever_raised_with_the_stated_probability_at_most() -> None:
    """60 batches of 40 rows at the very edge of the promise, where false alarms are most likely."""
    random, series = np.random.default_rng(3), 400
    ever = sum(
        first_alarm([batch(losses(random, 0.02, 40)) for _ in range(60)], 0.02, ALPHA) is not None
        for _ in range(series)
    )
    assert ever / series <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / series)


def test_a_late_change_is_found_although_much_went_well_before() -> None:
    """20 good batches of 100 rows, then a loss of 10 points: without restarts the early gains would hide it."""
    random, found = np.random.default_rng(4), []
    for _ in range(40):
        good = [batch(losses(random, -0.02, 100)) for _ in range(20)]
        bad = [batch(losses(random, 0.10, 100, 0.2)) for _ in range(15)]
        found.append(first_alarm([*good, *bad], 0.02, ALPHA))
    late = [n for n in found if n is not None and n > 20]
    assert len(late) >= 0.9 * len(found)
    assert np.median(late) <= 28
