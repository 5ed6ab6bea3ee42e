"""A certified cascade keeps its promise: simulated over confidences that are calibrated and that are not."""

from collections.abc import Callable

import numpy as np
import pytest

from harness.metrics import ACCURACY
from harness.summary.cascade_curve import CascadeRows, Certificate, StageAnswers, certify_loss
from harness.summary.outcomes import RowTable

Array = np.ndarray
Confidence = Callable[[Array], Array]


def calibrated(p: Array) -> Array:
    return p


def overconfident(p: Array) -> Array:
    return np.asarray(p**0.05)


def coarse(p: Array) -> Array:
    """Agreement of few repeats: many equal confidences."""
    return np.asarray(np.round(4 * p) / 4)


def misleading(p: Array) -> Array:
    """The surest answers are the worst."""
    return np.asarray(1 - p)


KINDS: tuple[Confidence, ...] = (calibrated, overconfident, coarse, misleading)
MARGIN = 0.02


class Population:
    """Rows of which the small model is right with probability p ~ Beta(4, 0.6) and the large one always with `large`.

    loss(t): what the cascade of threshold t truly loses, by a fine grid over p.
    """

    def __init__(self, confidence: Confidence, large: float = 0.9) -> None:
        from scipy.special import betaincinv

        self.confidence, self.large = confidence, large
        self.p = np.asarray(betaincinv(4.0, 0.6, (np.arange(50_000) + 0.5) / 50_000))
        said = confidence(self.p)
        order = np.argsort(-said, kind="stable")
        self.said, self.lost = said[order], np.cumsum(large - self.p[order]) / len(order)

    def loss(self, threshold: float) -> float:
        kept = int(np.searchsorted(-self.said, -threshold, "right"))
        return 0.0 if kept == 0 else float(self.lost[kept - 1])

    def draw(self, n: int, rng: np.random.Generator) -> CascadeRows:
        p = rng.beta(4.0, 0.6, n)
        right = (rng.random(n) < p).astype(float)
        large = (rng.random(n) < self.large).astype(float)
        return rows_of(self.confidence(p), right, large)


def rows_of(confidence: Array, small: Array, large: Array) -> CascadeRows:
    table = RowTable((), np.zeros(len(small), dtype=np.int64), None, {})
    nothing = np.full(len(small), -np.inf)
    stages = StageAnswers("small", confidence, small), StageAnswers("large", nothing, large)
    return CascadeRows(ACCURACY, table, 1, stages, large)


def broken(found: Certificate, population: Population) -> bool:
    return found.thresholds is not None and population.loss(found.thresholds[0]) > MARGIN


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [200, 500, 1500, 5000])
def test_the_certified_cascade_breaks_its_promise_in_one_of_twenty_at_most(kind: Confidence, n: int) -> None:
    rng, runs, population = np.random.default_rng(n), 2000, Population(kind)
    found = [certify_loss(population.draw(n, rng), MARGIN) for _ in range(runs)]
    share = np.mean([broken(one, population) for one in found])
    assert share <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    if kind is not misleading and n >= 1500:
        assert np.mean([one.thresholds is not None for one in found]) > 0.9, "and it certifies something"
