"""Metrics of rows with any number of labels: values of scikit-learn, intervals that cover, blocks of many rows."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from harness.metrics import MICRO_F1, Metric
from harness.summary import label_units as module
from harness.summary.comparison import compare_all
from harness.summary.estimates import counted_results, estimate_all
from harness.summary.label_units import label_units
from harness.summary.outcomes import Outcomes, RowTable

LABELS = 4
NAMES = ("micro_f1", "macro_f1", "micro_precision", "micro_recall")
METRICS = tuple(Metric(name=n, kind="counts", row_value="hits", proportion=False, unit="label") for n in NAMES)


def sets(rng: np.random.Generator, n: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    """(n, labels) references and answers; the labels of a row are hard or easy together."""
    gold = rng.random((n, LABELS)) < np.array([0.5, 0.4, 0.3, 0.2])
    hard = rng.random((n, 1)) < 0.3
    flip = rng.random((n, LABELS)) < np.where(hard, 2 * (1 - right), (1 - right) / 2)
    return gold, gold ^ flip


def outcomes(gold: np.ndarray, answers: np.ndarray) -> Outcomes:
    values = {}
    for k in range(LABELS):
        values[f"hits:l{k}"] = (gold[:, k] & answers[:, k]).astype(float)
        values[f"references:l{k}"] = gold[:, k].astype(float)
        values[f"answers:l{k}"] = answers[:, k].astype(float)
    return Outcomes("generate", values, np.zeros((len(gold), 1), dtype=np.int64))


def table(n: int, groups: np.ndarray | None = None) -> RowTable:
    return RowTable((), np.full(n, -1), groups, {})


def test_the_values_are_scikit_learns() -> None:
    gold, answers = sets(np.random.default_rng(0), 300, 0.85)
    found = estimate_all(METRICS, table(300), outcomes(gold, answers), "a", 200)
    theirs = {
        "micro_f1": f1_score(gold, answers, average="micro"),
        "macro_f1": f1_score(gold, answers, average="macro"),
        "micro_precision": precision_score(gold, answers, average="micro"),
        "micro_recall": recall_score(gold, answers, average="micro"),
    }
    for name, value in theirs.items():
        assert found[name].value == pytest.approx(value), name
    per_label = counted_results(METRICS, table(300), outcomes(gold, answers))
    assert [per_label[f"l{k}"].f1 for k in range(LABELS)] == pytest.approx(list(f1_score(gold, answers, average=None)))


@pytest.mark.parametrize(("n", "right"), [(40, 0.8), (150, 0.95)])
def test_intervals_of_label_sets_cover(n: int, right: float) -> None:
    """120 data sets; the true values are those of 100,000 rows."""
    rng, runs = np.random.default_rng(n), 120
    many = outcomes(*sets(rng, 100_000, right))
    family = next(iter(label_units(METRICS, table(100_000), (many,))))
    from harness.statistics.confusion import label_metric

    true = {m.name: float(label_metric(m, family.labels)(family.units.total)[0]) for m in METRICS}
    covered = dict.fromkeys(NAMES, 0)
    for k in range(runs):
        found = estimate_all(METRICS, table(n), outcomes(*sets(rng, n, right)), f"a{k}", 200)
        for name, estimate in found.items():
            assert estimate.low is not None and estimate.high is not None
            covered[name] += estimate.low <= true[name] <= estimate.high
    least = 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5
    assert min(covered.values()) / runs >= least, covered


def test_equal_candidates_are_seldom_told_apart() -> None:
    rng, runs, n = np.random.default_rng(3), 120, 100
    told = dict.fromkeys(NAMES, 0)
    missed = dict.fromkeys(NAMES, 0)
    for k in range(runs):
        gold, a = sets(rng, n, 0.85)
        flip = rng.random((n, LABELS)) < np.where(rng.random((n, 1)) < 0.3, 0.3, 0.075)
        found = compare_all(
            METRICS, table(n), outcomes(gold, a), outcomes(gold, gold ^ flip), ("a", f"b{k}"), 0.95, 200
        )
        for name, comparison in found.items():
            told[name] += comparison.p <= 0.05
            missed[name] += not comparison.low <= 0 <= comparison.high
    most = 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert max(told.values()) / runs <= most and max(missed.values()) / runs <= most, (told, missed)


def test_a_row_that_is_there_twice_in_one_group_says_nothing_more() -> None:
    gold, answers = sets(np.random.default_rng(5), 80, 0.85)
    once = estimate_all((MICRO_F1,), table(80), outcomes(gold, answers), "a")["micro_f1"]
    twice = outcomes(np.repeat(gold, 2, axis=0), np.repeat(answers, 2, axis=0))
    grouped = estimate_all((MICRO_F1,), table(160, np.repeat(np.arange(80), 2)), twice, "a")["micro_f1"]
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high))


def test_many_rows_are_drawn_in_blocks_and_vary_as_rows_do(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    gold, a = sets(rng, 1200, 0.85)
    b = gold ^ (rng.random((1200, LABELS)) < 0.12)
    sides = outcomes(gold, a), outcomes(gold, b)
    whole = compare_all(METRICS[:1], table(1200), *sides, ("a", "b"), 0.95, 1000)["micro_f1"]
    monkeypatch.setattr(module, "MOST_UNITS", 200)
    blocks = compare_all(METRICS[:1], table(1200), *sides, ("a", "b"), 0.95, 1000)["micro_f1"]
    assert blocks.gain == pytest.approx(whole.gain)
    assert blocks.high - blocks.low == pytest.approx(whole.high - whole.low, rel=0.2)


def test_all_right_leaves_room_below_and_nothing_answered_is_zero() -> None:
    gold = np.ones((30, LABELS), dtype=bool)
    perfect = estimate_all(METRICS, table(30), outcomes(gold, gold), "a", 200)
    assert perfect["micro_f1"].value == 1 and (perfect["micro_f1"].low or 1) < 0.97
    assert perfect["macro_f1"].value == 1 and (perfect["macro_f1"].low or 1) < 0.97
    silent = estimate_all(METRICS, table(30), outcomes(gold, ~gold), "a", 200)
    assert silent["micro_f1"].value == 0 and silent["micro_precision"].value == 0
