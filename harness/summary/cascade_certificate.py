"""The operating point of a cascade that is certified: chosen on one part of the rows, tested on the other.

The learning rows give the thresholds and the order in which they are tested: from the setting that only the last stage
answers to the one that the first answers most. The certifying rows test them in this order, each at the gate's own
level by the gate's own paired rule, until the first that does not pass (fixed-sequence testing, `fixed_sequence`). The
chance that the certified setting breaks its promise is 5 % at most, whatever the confidences are worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics import Metric
from harness.statistics.distributions import normal_quantile
from harness.statistics.fixed_sequence import last_rejected
from harness.statistics.multiple_testing import selection_level
from harness.statistics.noninferiority import LEVEL
from harness.statistics.proportions import exact_upper
from harness.statistics.skewed_mean import skewed_mean_interval
from harness.statistics.tango import tango_scores
from harness.summary.cascade_curve import (
    Array,
    StageAnswers,
    evaluate_grid,
    grid_levels,
    path,
    route,
    routed_prices,
    routed_values,
)
from harness.summary.comparison import Comparison, compare_means
from harness.summary.outcomes import Codes, Outcomes, RowTable, RowValues

LEARNING_SHARE = 1 / 3
"""Of the rows: an order of thresholds needs fewer rows than a proof."""
MOST_STEPS = 100
"""Settings that are tested at most."""


@dataclass(frozen=True)
class CascadeRows:
    """The rows that all stages have answered.

    metric: of the values. rows: the rows; repeats: units of each, side by side. reference: (rows x repeats,) values of
    what the loss is against, larger is better. stages: in the order in which they are asked. candidates: cascades
    among which the best will be taken, over which the level is corrected by Bonferroni.
    """

    metric: Metric
    rows: RowTable
    repeats: int
    stages: tuple[StageAnswers, ...]
    reference: Array
    candidates: int = 1

    @property
    def level(self) -> float:
        """Of the two-sided interval whose ends are the one-sided bounds that decide."""
        return selection_level(LEVEL, self.candidates)

    def only(self, chosen: Codes) -> "CascadeRows":
        """These rows."""
        units = (chosen[:, None] * self.repeats + np.arange(self.repeats)).ravel()
        stages = tuple(stage.only(units) for stage in self.stages)
        return CascadeRows(
            self.metric, self.rows.only(chosen), self.repeats, stages, self.reference[units], self.candidates
        )

    def of_rows(self, units: Array) -> Array:
        """Values of units as means of their rows."""
        return units if self.repeats == 1 else np.asarray(units.reshape(-1, self.repeats).mean(axis=1))

    def compare(self, thresholds: Sequence[float]) -> Comparison | None:
        """The cascade against the reference by the gate's paired rule."""
        sign = 1.0 if self.metric.direction == "higher" else -1.0
        values = routed_values(self.stages, route(self.stages, thresholds))
        own, other = (_outcomes(self.metric.name, sign * self.of_rows(v)) for v in (values, self.reference))
        return compare_means(self.metric, self.rows, own, other, ("cascade", "reference"), self.level)


def _outcomes(name: str, values: Array) -> Outcomes:
    kept = RowValues()
    kept.keep(name, values)
    return Outcomes("choose", kept, np.zeros((len(values), 1), dtype=np.int64))


@dataclass(frozen=True)
class Certificate:
    """The certified setting; None: not one could be tested with success. learning, certifying: positions of the rows of
    both parts. tested: settings that stood in the order."""

    thresholds: tuple[float, ...] | None
    learning: Codes
    certifying: Codes
    tested: int


def split_rows(rows: RowTable, share: float = LEARNING_SHARE, seed: int = 0) -> tuple[Codes, Codes]:
    """Positions of the learning and of the certifying rows; the rows of a group stay together. The order is random and
    knows no answer."""
    groups = np.arange(len(rows)) if rows.groups is None else rows.groups
    _, codes = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(int(codes.max(initial=-1)) + 1)
    sizes = np.bincount(codes)[order]
    before = np.cumsum(sizes) - sizes
    learning = np.isin(codes, order[before < share * len(rows)])
    return np.flatnonzero(learning), np.flatnonzero(~learning)


def certify_loss(data: CascadeRows, margin: float) -> Certificate:
    """The setting that the first stage answers most, at most `margin` worse than the reference."""
    learning, certifying = split_rows(data.rows)
    tested = data.only(certifying)
    settings = _settings(data.only(learning))
    fast = _passing(tested, settings, margin)

    def keeps_margin(k: int) -> bool:
        if fast is not None:
            return bool(fast[k])
        found = tested.compare(settings[k])
        return found is not None and not found.no_verdict and found.low > -margin

    last = last_rejected(len(settings), keeps_margin) if len(certifying) else None
    return Certificate(None if last in (None, 0) else settings[last or 0], learning, certifying, len(settings))


def certify_cost(data: CascadeRows, usd: float) -> Certificate:
    """The costliest setting on the path whose mean cost of an answer is at most `usd`: from the cheapest upwards."""
    learning, certifying = split_rows(data.rows)
    tested = data.only(certifying)
    settings = _settings(data.only(learning))[::-1]
    last = last_rejected(len(settings), lambda k: cost_bound(tested, settings[k]) <= usd) if len(certifying) else None
    return Certificate(None if last is None else settings[last], learning, certifying, len(settings))


def _settings(learning: CascadeRows) -> list[tuple[float, ...]]:
    """The settings in the order of testing, from the learning rows alone."""
    if not len(learning.reference):
        return []
    grid = evaluate_grid(learning.stages, grid_levels(learning.stages))
    return [grid.thresholds(place) for place in path(grid, MOST_STEPS)]


def _passing(data: CascadeRows, settings: list[tuple[float, ...]], margin: float) -> NDArray[np.bool_] | None:
    """Which settings of one threshold pass, all at once, where answers are single, right or wrong, and independent;
    None where they are not. The same as `compare(..).low > -margin`."""
    first, second = data.stages[0], data.stages[-1]
    plain = data.repeats == 1 and data.rows.groups is None and data.metric.proportion
    same = len(data.stages) == 2 and (second.values is data.reference or np.array_equal(second.values, data.reference))
    if not (plain and same and len(settings)):
        return None
    if not np.isin(np.abs(np.concatenate([first.values, second.values])), (0, 1)).all():
        return None
    axis = np.array([thresholds[0] for thresholds in settings])
    place = np.searchsorted(-axis, -first.confidence, "left")
    size = len(axis) + 1
    lost, won = (
        np.cumsum(np.bincount(place, weights=worse, minlength=size), dtype=np.float64)[:-1]
        for worse in (first.values < second.values, first.values > second.values)
    )
    scores = tango_scores(lost, won, len(first.values), -margin)
    return np.asarray(scores > normal_quantile(0.5 + data.level / 2))


def cost_bound(data: CascadeRows, thresholds: Sequence[float]) -> float:
    """The one-sided upper bound of the mean cost of an answer, USD; infinite where a price is unknown.

    The larger of Hall's bound for skewed costs and of one by Clopper and Pearson on how often each stage is asked: rows
    that no costly stage was asked do not show that none will be.
    """
    answering = route(data.stages, thresholds)
    prices = routed_prices(data.stages, answering)
    if prices is None or not len(prices):
        return float("inf")
    high = skewed_mean_interval(data.of_rows(prices), data.rows.groups, data.level)[1]
    n, upper, asked = len(data.rows), 0.5 + data.level / 2, 0.0
    for k, stage in enumerate(data.stages):
        assert stage.prices is not None
        reached = float(data.of_rows((answering >= k).astype(np.float64)).sum())
        asked += (exact_upper(reached, n, upper) if k else 1.0) * float(stage.prices.mean())
    return max(high, asked)
