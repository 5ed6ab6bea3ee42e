"""Rows that stand and fall together: equal groups, one with half of the rows, and sizes like 1/k."""

from collections.abc import Callable, Iterator

import numpy as np

from harness.gating.gate_settings import Terms
from harness.metrics import ACCURACY, Metric

from .measure import Cell, Label, Scenario, measure, share_of
from .product import Array, Codes, Drawn, by_rows, unit_metric, verdict

Draw = Callable[[np.random.Generator, float], Drawn]
COUNTS = (5, 12, 30, 100)
RIGHT, DISCORDANCE, MARGIN = 0.8, 0.2, 0.05
TOGETHER = 0.5
"""The share of a group's rows that share the group's own outcome."""


def sizes_of(shape: str, count: int) -> Codes:
    """Rows of every group."""
    if shape == "equal":
        return np.full(count, 8, dtype=np.int64)
    if shape == "one with half of the rows":
        return np.array([4 * (count - 1)] + [4] * (count - 1), dtype=np.int64)
    return np.ceil(40 / np.arange(1, count + 1)).astype(np.int64)


SHAPES = ("equal", "one with half of the rows", "sizes like 1/k")


def groups(runs: int, draws: int) -> Iterator[Cell]:
    """Accuracy, limits and graded scores."""
    for shape in SHAPES:
        for count in COUNTS:
            sizes = sizes_of(shape, count)
            yield from measure(_accuracy(shape, sizes), runs, draws)
            yield from measure(_graded(shape, sizes), runs, draws)
            yield _limit(shape, sizes, runs)


def _accuracy(shape: str, sizes: Codes) -> Scenario:
    codes = np.repeat(np.arange(len(sizes)), sizes)

    def draw(rng: np.random.Generator, loss: float) -> Drawn:
        lost, won = (DISCORDANCE + loss) / 2, (DISCORDANCE - loss) / 2
        p = np.array([RIGHT - lost, lost, won, 1 - RIGHT - won])
        kinds = _outcomes(rng, p, codes, len(sizes))
        candidate = np.isin(kinds, (0, 2)).astype(np.float64)
        reference = np.isin(kinds, (0, 1)).astype(np.float64)
        return by_rows(ACCURACY, candidate, reference, groups=codes)

    return _scenario(shape, sizes, ACCURACY, draw, lambda loss: RIGHT - loss)


def _outcomes(rng: np.random.Generator, p: Array, codes: Codes, count: int) -> Codes:
    """One of four kinds for every row: the group's, or its own."""
    shared = rng.choice(4, size=count, p=p)[codes]
    return np.where(rng.random(len(codes)) < TOGETHER, shared, rng.choice(4, size=len(codes), p=p))


def _graded(shape: str, sizes: Codes) -> Scenario:
    codes = np.repeat(np.arange(len(sizes)), sizes)
    metric = unit_metric()

    def draw(rng: np.random.Generator, loss: float) -> Drawn:
        group = np.clip(rng.normal(0, 0.08, len(sizes)), -0.2, 0.2)[codes]
        reference = 0.6 + rng.uniform(-0.1, 0.1, len(codes))
        return by_rows(metric, reference - loss + group + rng.uniform(-0.05, 0.05, len(codes)), reference, groups=codes)

    return _scenario(shape, sizes, metric, draw, lambda loss: 0.6 - loss)


def _scenario(shape: str, sizes: Codes, metric: Metric, draw: Draw, figure: Callable[[float], float]) -> Scenario:
    what = metric.name if metric is ACCURACY else "graded score"
    label = Label("groups", what, f"groups: {shape}, margin {100 * MARGIN:g}", f"G {len(sizes)}")
    return Scenario(label, metric, MARGIN, draw, figure, cost=2.0)


def _limit(shape: str, sizes: Codes, runs: int) -> Cell:
    """A candidate exactly at its limit."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    p = np.array([RIGHT, 0.0, 0.0, 1 - RIGHT])

    def once(rng: np.random.Generator) -> bool:
        right = (_outcomes(rng, p, codes, len(sizes)) == 0).astype(np.float64)
        return verdict(ACCURACY, Terms(at_least=RIGHT), by_rows(ACCURACY, right, right, groups=codes)) == "pass"

    label = Label("groups", ACCURACY.name, f"groups: {shape}, limit {100 * RIGHT:g} %", f"G {len(sizes)}")
    return share_of(label, "false pass", max(runs // 2, 60), once)
