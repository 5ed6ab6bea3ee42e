"""A cascade over answers that exist: which stage answers at which thresholds, and what that is worth and costs.

A cascade asks its stages in order; the first whose confidence reaches its threshold answers, the last one always (the
model cascade of L. Chen, M. Zaharia and J. Zou, FrugalGPT, arXiv 2305.05176). All settings of a grid of thresholds are
evaluated at once from histograms of the confidences and their cumulative sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
