"""Stopping early: what may be looked at after every row, how often it then errs, and what is shown afterwards."""

import numpy as np
import pytest

from harness.data.sampling import SeededOrder
from harness.statistics.confidence_sequence import (
    ALPHA,
    LEVEL,
    STAKES,
    SequentialUnits,
    anytime_p,
    confidence_sequence,
    decide,
    first_crossing,
    log_wealth,
)
from harness.statistics.tango import tango_interval

MARGIN = 0.02
Array = np.ndarray


def units(differences: Array) -> SequentialUnits:
    return SequentialUnits(np.asarray(differences, dtype=float), np.ones(len(differences)), -1.0, 1.0)


def draw(seed: int, runs: int, rows: int, true: float, discordant: float) -> Array:
    p = [(discordant - true) / 2, 1 - discordant, (discordant + true) / 2]
    return np.random.default_rng(seed).choice(np.array([-1, 0, 1], dtype=np.int8), p=p, size=(runs, rows))


def ever_passes(drawn: Array, alpha: float = ALPHA) -> Array:
    """(runs,) whether the bet against "the loss is the margin or more" is ever won: all runs at once."""
    step = np.log1p(STAKES * (np.array([-1.0, 0.0, 1.0])[:, None] + MARGIN) / (1 - MARGIN))
    wealth = np.zeros((len(drawn), len(STAKES)))
    ever = np.zeros(len(drawn), dtype=bool)
    for column in drawn.T:
        wealth += step[column + 1]
        ever |= np.exp(wealth).mean(axis=1) >= 1 / alpha
    return ever


def allowed(level: float, runs: int) -> float:
    """A rate with three Monte-Carlo errors."""
    return level + 3 * float((level * (1 - level) / runs) ** 0.5)


def test_the_simulation_decides_as_the_rule_itself() -> None:
    drawn = draw(8, 40, 800, 0.01, 0.06)
    alone = [first_crossing(units(row), -MARGIN, ALPHA) is not None for row in drawn]
    assert alone == ever_passes(drawn).tolist()


def test_wealth_is_the_average_of_the_products_that_the_paper_gives() -> None:
    """By hand: y = (x + 1) / 2 in [0, 1], supposed mean m = (null + 1) / 2, factors 1 + theta (y / m - 1)."""
    x, null = np.array([-1.0, 1.0, 0.0, 1.0]), -0.1
    y, m = (x + 1) / 2, (null + 1) / 2
    by_hand = np.mean([np.prod(1 + theta * (y / m - 1)) for theta in STAKES])
    assert np.exp(log_wealth(units(x), null)[-1]) == pytest.approx(by_hand)


def test_false_passes_at_the_margin_stay_below_alpha_however_often_one_looks() -> None:
    """True loss = margin, discordance 6 %, a look after each of 1,500 rows, 1,500 runs."""
    assert ever_passes(draw(1, 1500, 1500, -MARGIN, 0.06)).mean() <= allowed(ALPHA, 1500)


@pytest.mark.slow
@pytest.mark.parametrize("discordant", [0.03, 0.06, 0.2])
def test_false_passes_at_the_margin_over_long_runs(discordant: float) -> None:
    """The same over 6,000 rows and 6,000 runs."""
    assert ever_passes(draw(2, 6000, 6000, -MARGIN, discordant)).mean() <= allowed(ALPHA, 6000)


def _tango_passes(drawn: Array, level: float) -> Array:
    worse, better = (drawn < 0).sum(axis=1), (drawn > 0).sum(axis=1)
    known: dict[tuple[int, int], bool] = {}
    for b, c in set(zip(worse.tolist(), better.tolist(), strict=True)):
        known[b, c] = tango_interval(b, c, drawn.shape[1], level)[0] > -MARGIN
    return np.array([known[pair] for pair in zip(worse.tolist(), better.tolist(), strict=True)])


@pytest.mark.parametrize("discordant", [0.03, 0.06])
def test_a_run_that_could_stop_and_the_gate_at_its_end_keep_five_percent_together(discordant: float) -> None:
    """A pass while it runs, or else by Tango's interval over all rows: each at half of the 5 %."""
    drawn = draw(3, 1500, 1500, -MARGIN, discordant)
    either = ever_passes(drawn) | _tango_passes(drawn, LEVEL)
    assert either.mean() <= allowed(0.05, 1500)


def _in_order(loss: dict[str, float], sizes: dict[str, int], seeds: int, discordant: float) -> Array:
    """Runs over one population in Bench's own order, a seed each. loss: of each kind of class, exactly.

    Classes of a kind share its name before the first dot.
    """
    labels = [name for name, size in sizes.items() for _ in range(size)]
    rng = np.random.default_rng(0)
    values = np.zeros(len(labels), dtype=np.int8)
    for kind, lost in loss.items():
        members = np.array([k for k, label in enumerate(labels) if label.split(".")[0] == kind])
        worse = round(len(members) * (discordant + lost) / 2)
        better = worse - round(len(members) * lost)
        chosen = rng.permutation(members)
        values[chosen[:worse]], values[chosen[worse : worse + better]] = -1, 1
    found = []
    for seed in range(seeds):
        order = SeededOrder(seed)
        for k, label in enumerate(labels):
            order.add(f"row {k}", label)
        found.append(values[order.positions()])
    return np.stack(found)


RARE = {"yes": 450, "no": 450} | {f"rare.{k}": 1 for k in range(100)}


@pytest.mark.parametrize(
    ("loss", "sizes", "discordant"),
    [
        pytest.param({"rare": 0.2}, RARE, 0.2, id="rare references"),
        pytest.param({"yes": 0.04, "no": 0.0}, {"yes": 500, "no": 500}, 0.06, id="alternation", marks=pytest.mark.slow),
        pytest.param({"a": 0.5}, {"a": 40, "b": 960}, 0.5, id="one small class", marks=pytest.mark.slow),
        pytest.param(
            {"few": 0.1},
            {f"few.{k}": 1 + k % 3 for k in range(100)} | {"many": 800},
            0.15,
            id="classes of one to three",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_false_passes_in_the_seeded_order_stay_below_alpha(
    loss: dict[str, float], sizes: dict[str, int], discordant: float
) -> None:
    drawn = _in_order(loss, sizes, 250, discordant)
    assert drawn[0].mean() == pytest.approx(-MARGIN, abs=0.0011)
    assert ever_passes(drawn, 0.05).mean() <= allowed(0.05, 250)


def test_an_equal_candidate_is_seldom_called_harmful() -> None:
    harmed = [first_crossing(units(-row), 0.0, ALPHA) is not None for row in draw(5, 200, 700, 0.0, 0.06)]
    assert np.mean(harmed) <= allowed(ALPHA, 200)


def test_a_clearly_better_and_a_clearly_worse_candidate_are_decided_early() -> None:
    for true, decision in ((0.05, "pass"), (-0.15, "fail")):
        found = decide(units(draw(6, 1, 4000, true, 0.2)[0]), -MARGIN, 0.0)
        assert found is not None and found.decision == decision and found.units < 1500


@pytest.mark.parametrize(("true", "discordant"), [(0.0, 0.06), (-0.03, 0.1), (0.2, 0.4)])
def test_the_interval_at_the_stop_covers_the_truth(true: float, discordant: float) -> None:
    """Stopped at the first decision; 100 runs of up to 400 rows. The stop is where a fixed interval misses most."""
    missed = 0
    for row in draw(11, 100, 400, true, discordant):
        found = decide(units(row), -MARGIN, 0.0)
        low, high = confidence_sequence(units(row[: found.units] if found else row), LEVEL)
        missed += not low <= true <= high
    assert missed / 100 <= allowed(0.05, 100)


def test_interval_p_and_decision_agree() -> None:
    for row in draw(12, 10, 500, 0.01, 0.1):
        low, high = confidence_sequence(units(row), LEVEL)
        found = decide(units(row), -MARGIN, 0.0)
        if found is not None and found.decision == "pass":
            assert low >= -MARGIN - 1e-9
        if found is None:
            assert low < -MARGIN and high > 0
        assert (anytime_p(units(row), -MARGIN) <= ALPHA) == (low >= -MARGIN - 1e-9)


def test_graded_differences_are_bounded_by_their_range() -> None:
    """Rare total losses that cost the margin on average: sign flips would pass half of these (n = 50)."""
    rng = np.random.default_rng(13)
    passed = 0
    for _ in range(400):
        values = np.where(rng.random(200) < 0.02, -1.0, 0.0) + rng.normal(0, 1e-3, 200).clip(-0.01, 0.01)
        found = decide(units(np.clip(values, -1, 1)), -MARGIN, 0.0)
        passed += found is not None and found.decision == "pass"
    assert passed / 400 <= allowed(ALPHA, 400)


def test_groups_bet_as_one_and_copies_prove_nothing() -> None:
    """Forty groups of ten equal rows, the loss of the margin in a few of them."""
    rng = np.random.default_rng(14)
    passed = 0
    for _ in range(400):
        lost = np.where(rng.random(300) < MARGIN, -1.0, 0.0)
        grouped = SequentialUnits(10 * lost, np.full(300, 10.0), -1.0, 1.0, most=10.0)
        found = decide(grouped, -MARGIN, 0.0)
        passed += found is not None and found.decision == "pass"
    assert passed / 400 <= allowed(ALPHA, 400)


def test_the_mean_of_groups_is_that_of_their_rows() -> None:
    grouped = SequentialUnits(np.array([-3.0, 0.0, 1.0]), np.array([3.0, 1.0, 1.0]), -1.0, 1.0, most=3.0)
    assert grouped.mean == pytest.approx(-0.4)
    low, high = confidence_sequence(grouped)
    assert low <= grouped.mean <= high


def test_no_rows_bound_nothing() -> None:
    assert confidence_sequence(units(np.zeros(0))) == (-1.0, 1.0)
    assert anytime_p(units(np.zeros(0)), 0.0) == 1.0
