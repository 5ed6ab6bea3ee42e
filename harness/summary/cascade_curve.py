"""A cascade at every threshold, and the threshold that a certificate allows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics import Metric
from harness.statistics.distributions import normal_quantile
from harness.statistics.mean_intervals import skewed_mean_interval
from harness.statistics.multiple_testing import last_rejected, selection_level
from harness.statistics.noninferiority import LEVEL
from harness.statistics.proportions import exact_upper
from harness.statistics.tango import tango_scores
from harness.summary.comparison import Comparison, compare_means
from harness.summary.outcomes import Codes, Outcomes, RowTable, RowValues

Array = NDArray[np.float64]

LEVELS = {1: 200, 2: 60, 3: 20}
"""Thresholds of each stage by the number of stages that have one; FEW_LEVELS beyond."""
FEW_LEVELS = 8
NEVER = float("inf")
"""The threshold that keeps no answer."""


@dataclass(frozen=True)
class StageAnswers:
    """One stage's answers to the units (u,), which are single answers to a row and repeat.

    confidence: -inf where the answer has none; of the last stage not looked at. values: larger is better. prices: USD
    of each answer; None where one is unknown. latency_s: mean seconds of a request; None where it is unknown.
    """

    name: str
    confidence: Array
    values: Array
    prices: Array | None = None
    latency_s: float | None = None

    def only(self, units: NDArray[np.int64]) -> "StageAnswers":
        """The answers to these units."""
        prices = None if self.prices is None else self.prices[units]
        return StageAnswers(self.name, self.confidence[units], self.values[units], prices, self.latency_s)


def levels(confidence: Array, count: int) -> Array:
    """Thresholds from NEVER downwards at equal steps of the share kept; the last one keeps every answer that has a
    confidence. confidence: (u,), -inf for none."""
    known = np.sort(confidence[np.isfinite(confidence)])[::-1]
    if not len(known):
        return np.array([NEVER])
    places = np.linspace(0, len(known), count + 1).round().astype(np.int64)[1:] - 1
    return np.concatenate([[NEVER], np.unique(known[np.maximum(places, 0)])[::-1]])


def route(stages: Sequence[StageAnswers], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """(u,) number of the stage that answers each unit. thresholds: of all stages but the last."""
    answering = np.full(len(stages[0].values), len(stages) - 1, dtype=np.int64)
    for k in range(len(stages) - 2, -1, -1):
        answering = np.where(stages[k].confidence >= thresholds[k], k, answering)
    return answering


def routed_values(stages: Sequence[StageAnswers], answering: NDArray[np.int64]) -> Array:
    """(u,) the value of the stage that answers."""
    return np.asarray(np.choose(answering, [stage.values for stage in stages]), dtype=np.float64)


def routed_prices(stages: Sequence[StageAnswers], answering: NDArray[np.int64]) -> Array | None:
    """(u,) USD of all stages that were asked; None where a price is unknown."""
    total = np.zeros(len(answering))
    for k, stage in enumerate(stages):
        if stage.prices is None:
            return None
        total += np.where(answering >= k, stage.prices, 0.0)
    return total


@dataclass(frozen=True)
class ThresholdGrid:
    """All combinations of thresholds: each array has one axis for each stage but the last.

    levels: of each axis, falling. value: mean value of the answers. cost: mean USD of an answer; None where a price is
    unknown. reached: of each stage, the share of units that it is asked.
    """

    levels: tuple[Array, ...]
    value: Array
    cost: Array | None
    reached: tuple[Array, ...]

    def thresholds(self, place: int) -> tuple[float, ...]:
        """The thresholds at a place of the flattened grid."""
        where = np.unravel_index(place, self.value.shape)
        return tuple(float(axis[k]) for axis, k in zip(self.levels, where, strict=True))

    @property
    def effort(self) -> Array:
        """What combinations are ordered by: cost; where a price is unknown, the shares that later stages are asked."""
        if self.cost is not None:
            return self.cost
        weights = [10.0**k for k in range(len(self.reached))]
        return np.asarray(sum(w * r for w, r in zip(weights, self.reached, strict=True)))


def grid_levels(stages: Sequence[StageAnswers]) -> tuple[Array, ...]:
    """The thresholds of each stage but the last, from its own confidences."""
    asking = stages[:-1]
    count = LEVELS.get(len(asking), FEW_LEVELS)
    return tuple(levels(stage.confidence, count) for stage in asking)


def evaluate_grid(stages: Sequence[StageAnswers], axes: tuple[Array, ...]) -> ThresholdGrid:
    """Every combination of thresholds. axes: falling thresholds of each stage but the last, as `grid_levels` gives."""
    units, shape = len(stages[0].values), tuple(len(axis) for axis in axes)
    # The first level at which a stage keeps a unit; len(axis): none.
    first = [np.searchsorted(-axis, -stage.confidence, "left") for axis, stage in zip(axes, stages[:-1], strict=True)]
    value, cost = np.zeros(shape), np.zeros(shape)
    known = all(stage.prices is not None for stage in stages)
    reached = []
    for k, stage in enumerate(stages):
        asked = _sums(first[:k], axes[:k], np.ones(units), keep_last=False)
        reached.append(_spread(asked, shape) / units)
        if stage.prices is not None and known:
            cost += _spread(_sums(first[:k], axes[:k], stage.prices, keep_last=False), shape)
        last = k == len(axes)
        value += _spread(_sums(first[: k + 1], axes[: k + 1], stage.values, keep_last=not last), shape)
    return ThresholdGrid(axes, value / units, cost / units if known else None, tuple(reached))


def _sums(first: list[NDArray[np.int64]], axes: tuple[Array, ...], weights: Array, *, keep_last: bool) -> Array:
    """Sums of `weights` over the units that the stages of `axes` pass on; with keep_last the last of them keeps."""
    if not axes:
        return np.asarray(weights.sum())
    sizes = tuple(len(axis) + 1 for axis in axes)
    flat = np.ravel_multi_index(tuple(first), sizes)
    sums = np.bincount(flat, weights=weights, minlength=int(np.prod(sizes)))
    table: Array = np.asarray(sums, dtype=np.float64).reshape(sizes)
    for k, axis in enumerate(axes):
        kept = np.cumsum(table, axis=k)
        total = np.take(kept, [len(axis)], axis=k)
        kept = np.take(kept, np.arange(len(axis)), axis=k)
        table = kept if keep_last and k == len(axes) - 1 else total - kept
    return table


def _spread(sums: Array, shape: tuple[int, ...]) -> Array:
    """Sums over the first axes, repeated along the others."""
    return np.broadcast_to(sums.reshape(sums.shape + (1,) * (len(shape) - sums.ndim)), shape)


def frontier(grid: ThresholdGrid) -> list[int]:
    """Places of the combinations that no cheaper one equals in value, the cheapest first (the Pareto frontier)."""
    effort, value = grid.effort.ravel(), grid.value.ravel()
    order = np.lexsort((-value, effort))
    best = np.maximum.accumulate(np.concatenate([[-np.inf], value[order][:-1]]))
    return [int(place) for place in order[value[order] > best + 1e-12]]


def path(grid: ThresholdGrid, most: int) -> list[int]:
    """Places from the costliest combination, where no stage but the last keeps anything, to the cheapest: the order in
    which thresholds are tested. With one threshold it is every level; with several the Pareto frontier."""
    start = 0  # NEVER everywhere
    if grid.value.ndim == 1:
        places = list(range(grid.value.size))
    else:
        places = [start, *(place for place in reversed(frontier(grid)) if place != start)]
    if len(places) <= most:
        return places
    chosen = np.unique(np.linspace(0, len(places) - 1, most).round().astype(np.int64))
    return [places[k] for k in chosen]


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
