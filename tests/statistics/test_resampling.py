"""Bootstrap and randomisation from counts must be what redrawing the rows themselves would give."""

import numpy as np
import pytest

from harness.statistics import confusion
from harness.statistics.bootstrap import (
    ResamplingUnits,
    bootstrap,
    count_units,
    draw_tables,
    jackknife_difference_se,
    monte_carlo_error,
    percentile_interval,
)
from harness.statistics.randomisation import randomisation_p

FUNCTIONS = {"macro_f1": confusion.macro_f1, "accuracy": confusion.accuracy}


def _rows(n: int, seed: int, labels: int = 3, right: tuple[float, float] = (0.8, 0.75)) -> np.ndarray:
    """(n, 3): gold, answer of side 0, answer of side 1; some without a label."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, labels, n)
    hard = rng.random(n)
    sides = [np.where(hard < p, gold, rng.integers(0, labels + 1, n)) for p in right]
    return np.stack([gold, *sides], axis=1)


def _pair(rows: np.ndarray, labels: int = 3) -> ResamplingUnits:
    units = ((int(g), ((0, int(g), int(a), 1.0), (1, int(g), int(b), 1.0))) for g, a, b in rows)
    return count_units(units, sides=2, labels=labels)


def _tables(rows: np.ndarray, labels: int = 3) -> np.ndarray:
    tables = np.zeros((2, labels, labels + 1))
    for side in (0, 1):
        np.add.at(tables[side], (rows[:, 0], rows[:, side + 1]), 1)
    return confusion.counts_of_table(tables)


def test_counting_units_keeps_the_tables() -> None:
    rows = _rows(500, 0)
    units = _pair(rows)
    assert units.n == 500
    assert (units.total == _tables(rows)).all()


def test_every_resample_keeps_the_class_sizes() -> None:
    units = _pair(_rows(200, 1))
    sizes = units.total[0, confusion.REFERENCES]
    for tables in draw_tables(units, 50, np.random.default_rng(0)):
        assert (tables[:, :, confusion.REFERENCES] == sizes).all()


def test_the_draws_spread_like_redrawn_rows() -> None:
    """Against the slow way: indices redrawn within each class, tables recomputed."""
    rows = _rows(150, 2)
    rng = np.random.default_rng(3)
    members = [np.flatnonzero(rows[:, 0] == g) for g in range(3)]
    slow = []
    for _ in range(3000):
        chosen = np.concatenate([rng.choice(m, len(m)) for m in members])
        slow.append(confusion.macro_f1(_tables(rows[chosen])))
    slow_difference = np.array(slow)[:, 0] - np.array(slow)[:, 1]
    fast = bootstrap(_pair(rows), FUNCTIONS, draws=20_000, seed=4)["macro_f1"]
    difference = fast[:, 0] - fast[:, 1]
    error = slow_difference.std() / np.sqrt(3000)
    assert difference.mean() == pytest.approx(slow_difference.mean(), abs=4 * error)
    assert difference.std() == pytest.approx(slow_difference.std(), rel=0.06)


def test_the_jackknife_agrees_with_the_bootstrap_and_with_the_closed_form() -> None:
    rows = _rows(400, 5)
    units = _pair(rows)
    draws = bootstrap(units, FUNCTIONS, draws=10_000, seed=0)
    difference = draws["macro_f1"][:, 0] - draws["macro_f1"][:, 1]
    assert jackknife_difference_se(units, confusion.macro_f1) == pytest.approx(difference.std(), rel=0.05)
    # Accuracy is a mean: its stratified jackknife is the stratified standard error exactly.
    change = (rows[:, 1] == rows[:, 0]).astype(float) - (rows[:, 2] == rows[:, 0])
    variance = sum((rows[:, 0] == g).sum() * change[rows[:, 0] == g].var(ddof=1) for g in range(3))
    assert jackknife_difference_se(units, confusion.accuracy) == pytest.approx(np.sqrt(variance) / 400)


def test_the_same_seed_gives_the_same_draws_and_batches_lose_none(monkeypatch: pytest.MonkeyPatch) -> None:
    units = _pair(_rows(100, 6))
    first = bootstrap(units, FUNCTIONS, draws=500, seed=[7, 8])["macro_f1"]
    assert (bootstrap(units, FUNCTIONS, draws=500, seed=[7, 8])["macro_f1"] == first).all()
    assert (bootstrap(units, FUNCTIONS, draws=500, seed=1)["macro_f1"] != first).any()
    monkeypatch.setattr("harness.statistics.bootstrap.CELLS_AT_ONCE", 30 * len(units.counts))
    pieces = bootstrap(units, FUNCTIONS, draws=500, seed=1)["macro_f1"]
    assert pieces.shape == (500, 2)
    assert pieces.std(axis=0) == pytest.approx(first.std(axis=0), rel=0.2)


def test_repeats_are_redrawn_with_their_row() -> None:
    """Five identical repeats are one row said five times: the spread must not shrink."""
    rows = _rows(80, 0, labels=2, right=(0.8, 0.6))
    once = _pair(rows, labels=2)
    five = count_units(
        (
            (int(g), tuple((side, int(g), int(x), 0.2) for _ in range(5) for side, x in enumerate(sides)))
            for g, *sides in rows
        ),
        sides=2,
        labels=2,
    )
    assert five.total == pytest.approx(once.total)
    spread = jackknife_difference_se(once, confusion.macro_f1)
    assert spread > 0
    assert jackknife_difference_se(five, confusion.macro_f1) == pytest.approx(spread)


def test_a_percentile_interval_covers_the_true_value_about_as_often_as_it_says() -> None:
    """200 samples of 300 rows from a known table; 95 % intervals; within 3 Monte-Carlo errors of 95 %."""
    truth = np.array([[0.30, 0.03, 0.01], [0.04, 0.60, 0.02]])
    target = confusion.macro_f1(confusion.counts_of_table(truth))
    rng = np.random.default_rng(9)
    covered = 0.0
    for k in range(200):
        table = np.stack([rng.multinomial(size, row / row.sum()) for size, row in ((102, truth[0]), (198, truth[1]))])
        units = ResamplingUnits(
            tables=confusion.counts_of_table(np.eye(6).reshape(6, 1, 2, 3)),
            counts=table.ravel(),
            strata=np.array([0, 0, 0, 1, 1, 1]),
            rows=np.ones(6),
        )
        low, high = percentile_interval(bootstrap(units, FUNCTIONS, draws=1000, seed=k)["macro_f1"][:, 0])
        covered += float(low <= target <= high)
    assert covered / 200 == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 200) ** 0.5)


def test_the_monte_carlo_error_of_a_bound_is_what_other_seeds_show() -> None:
    units = _pair(_rows(300, 10))
    bounds = []
    for seed in range(40):
        values = bootstrap(units, FUNCTIONS, draws=1000, seed=seed)["macro_f1"][:, 0]
        bounds.append(percentile_interval(values, 0.90)[0])
    assert monte_carlo_error(values, 0.90) == pytest.approx(np.std(bounds), rel=0.6)


def test_randomisation_of_accuracy_is_mcnemars_test() -> None:
    """Swapping only matters on discordant rows: the p-values agree within Monte-Carlo error."""
    from harness.statistics.proportions import exact_p, harm_p

    rows = _rows(400, 11, right=(0.74, 0.78))
    right = rows[:, 1:] == rows[:, :1]
    only_0, only_1 = int((right[:, 0] & ~right[:, 1]).sum()), int((right[:, 1] & ~right[:, 0]).sum())
    assert only_0 < only_1
    two_sided, lower = randomisation_p(_pair(rows), FUNCTIONS, replicates=20_000, seed=0)["accuracy"]
    for ours, exact in ((two_sided, exact_p(only_0, only_1)), (lower, harm_p(only_1, only_0))):
        assert ours == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 20_000) ** 0.5 + 1e-4)


def test_randomisation_of_equal_candidates_says_one_and_never_zero() -> None:
    rows = _rows(50, 12)
    rows[:, 2] = rows[:, 1]
    assert randomisation_p(_pair(rows), FUNCTIONS, replicates=99)["macro_f1"] == (1.0, 1.0)
    far = _rows(300, 13, right=(0.95, 0.2))
    assert randomisation_p(_pair(far), FUNCTIONS, replicates=99)["macro_f1"][0] == pytest.approx(1 / 100)


def test_ten_thousand_draws_on_forty_thousand_rows_cost_what_the_kinds_of_rows_cost() -> None:
    """No clock: the work is bounded by (kinds of units) x draws, and 40,000 rows have at most 2 x 3 x 3 kinds."""
    units = _pair(_rows(40_000, 14, labels=2), labels=2)
    assert len(units.counts) <= 18
    draws = bootstrap(units, {"macro_f1": confusion.macro_f1}, draws=10_000)
    assert draws["macro_f1"].shape == (10_000, 2)


@pytest.mark.slow
def test_false_passes_of_macro_f1_at_the_margin() -> None:
    """1,000 pairs of candidates from one joint table, 600 rows each; the margin is their true loss of macro-F1."""
    joint = np.zeros((2, 3, 3))
    joint[0, :2, :2] = [[0.36, 0.012], [0.03, 0.04]]  # gold 0: candidate's answer by reference's answer
    joint[1, :2, :2] = [[0.05, 0.035], [0.01, 0.455]]
    joint[0, 2, 0], joint[1, 2, 1] = 0.004, 0.004
    joint /= joint.sum()
    sides = (joint.sum(axis=2), joint.sum(axis=1))
    loss = float(np.subtract(*confusion.macro_f1(confusion.counts_of_table(np.stack(sides[::-1])))))
    assert loss > 0.01
    kinds = np.argwhere(joint > 0)
    tables = np.zeros((len(kinds), 2, 2, 3))
    for k, (gold, a, b) in enumerate(kinds):
        tables[k, 0, gold, a] = tables[k, 1, gold, b] = 1
    rng, passes = np.random.default_rng(21), 0
    for seed in range(1000):
        counts = rng.multinomial(600, joint[joint > 0])
        seen = counts > 0
        units = ResamplingUnits(
            tables=confusion.counts_of_table(tables[seen]),
            counts=counts[seen],
            strata=kinds[seen][:, 0],
            rows=np.ones(seen.sum()),
        )
        values = bootstrap(units, {"f": confusion.macro_f1}, draws=2000, seed=seed)["f"]
        passes += percentile_interval(values[:, 0] - values[:, 1], 0.90)[0] > -loss
    assert passes / 1000 <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5
