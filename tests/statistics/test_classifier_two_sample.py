"""Telling two sets of rows apart: the area, its interval, the error rate, and the weights."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.statistics.classifier_two_sample import area_under_curve, classifier_two_sample
from harness.summary.traffic_shift import compare_texts, describe_rows, reweighted


class MeanDifference:
    """A linear classifier of vectors: along the line between both means, through a logistic."""

    def fit(self, rows: Any, labels: Any) -> "MeanDifference":
        x, y = np.array(rows), np.array(labels)
        means = x[y == 0].mean(0), x[y == 1].mean(0)
        self.direction = means[1] - means[0]
        self.middle = float(self.direction @ (means[0] + means[1]) / 2)
        self.prior = float(np.log((y == 1).sum() / (y == 0).sum()))
        return self

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        odds = np.array(rows) @ self.direction - self.middle + self.prior
        p = 1 / (1 + np.exp(-odds))
        return np.stack([1 - p, p], 1)


def test_the_area_counts_pairs_in_order_and_ties_half() -> None:
    first, second = np.array([0.1, 0.4, 0.5]), np.array([0.4, 0.8])
    pairs = [(a < b) + 0.5 * (a == b) for a in first for b in second]
    assert area_under_curve(first, second).value == pytest.approx(np.mean(pairs))


def test_the_interval_of_the_area_holds_what_it_claims() -> None:
    rng = np.random.default_rng(2)
    true = 0.760  # of two normals one standard deviation apart: Phi(1 / sqrt 2)
    held = 0
    for _ in range(1500):
        found = area_under_curve(rng.normal(size=60), rng.normal(1.0, size=90))
        held += found.low <= true <= found.high
    assert held / 1500 == pytest.approx(0.95, abs=0.025)


def test_separated_sets_have_an_interval_all_the_same() -> None:
    found = area_under_curve(np.zeros(30), np.ones(40))
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.85 < found.low < 0.95


def test_equal_sets_are_told_apart_in_one_case_of_forty() -> None:
    rng = np.random.default_rng(3)
    shifted = 0
    for trial in range(1000):
        rows = rng.normal(size=(240, 8))
        found = classifier_two_sample(rows[:100], rows[100:], MeanDifference, seed=trial)
        shifted += found.auc.low > 0.5
    assert 0.01 < shifted / 1000 < 0.045


def test_rows_are_weighted_as_they_occur_in_the_other_set() -> None:
    rng = np.random.default_rng(4)
    first = rng.normal(size=(4000, 2))
    second = rng.normal([0.7, 0.0], size=(3000, 2))
    found = classifier_two_sample(first, second, MeanDifference)
    assert found.auc.low > 0.5
    assert np.average(first[:, 0], weights=found.odds) == pytest.approx(0.7, abs=0.12)
    assert found.odds.mean() == pytest.approx(1.0, abs=0.15)


def test_a_rate_is_reweighted_to_the_traffic() -> None:
    values = np.array([1.0] * 80 + [0.0] * 20)
    weights = np.array([0.5] * 80 + [3.0] * 20)
    estimate, effective = reweighted(values, weights)
    assert estimate.value == pytest.approx(0.4)
    assert effective == pytest.approx(100**2 / (80 * 0.25 + 20 * 9))
    assert estimate.low is not None and estimate.high is not None and estimate.low < 0.4 < estimate.high


def test_texts_of_another_kind_are_told_apart() -> None:
    pytest.importorskip("sklearn")
    evaluated = [f"the parcel number {n} came late again" for n in range(80)]
    traffic = [f"when is my invoice {n} due please" for n in range(60)]
    shift, weights = compare_texts(("evaluated", "traffic"), (evaluated, traffic), 0)
    assert shift.shifted and shift.auc.value == 1.0
    assert len(weights) == 80 and weights.max() < 1
    same, _ = compare_texts(("evaluated", "traffic"), (evaluated, [t.replace("again", "again") for t in evaluated]), 0)
    assert not same.shifted


def test_a_set_is_described_by_its_labels_and_lengths() -> None:
    found = describe_rows("traffic", ["one two", "one two three four"], ["yes", "none of them"], ("yes", "no"))
    assert found.labels == {"yes": 1.0, "no": 0.0}
    assert found.words == (2.5, 3.0, 3.5)
