"""Functions of the confusion table: macro-F1 with few rows a class, many classes, and skewed shares."""

from collections.abc import Iterator

import numpy as np
from scipy.optimize import brentq

from harness.metrics import MACRO_F1, WEIGHTED_F1, Metric
from harness.statistics.confusion import counts_of_table, label_metric

from .measure import Cell, Label, Quantity, Scenario, measure
from .product import Array, Codes, Drawn, outcomes, row_table

RIGHT = 0.85
LOST_AND_WON = 0.12
"""Share of rows on which exactly one side is right, where there is no loss."""
ALIKE = 0.5
"""Where both are wrong, the share of rows on which they give the same wrong answer."""


def macro_f1(runs: int, draws: int) -> Iterator[Cell]:
    """Fixed rows a class, then shares like 1 : 1/2 : 1/3 .. with the loss everywhere or in the rare half."""
    for count in (4, 20, 77, 150):
        for size in (1, 2, 3, 5, 10) if count < 100 else (1, 5):
            yield from measure(_even(count, size), runs, draws)
    for n in (100, 400):
        for where in ("everywhere", "in the rare half"):
            yield from measure(skewed(MACRO_F1, 20, n, where), runs, draws)
            yield from measure(skewed(MACRO_F1, 4, n, where), runs, draws)
    for n in (100, 400):
        yield from measure(skewed(WEIGHTED_F1, 20, n, "everywhere"), runs, draws)
        yield from measure(_rare_class(n), runs, draws)


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"label {k:03}" for k in range(count))


def _answer(rng: np.random.Generator, references: Codes, labels: int, losses: Array) -> tuple[Codes, Codes]:
    """Answers of candidate and reference; losses: (labels,) how much less often the candidate is right."""
    n, loss = len(references), losses[references]
    lost = (LOST_AND_WON + loss) / 2
    won = (LOST_AND_WON - loss) / 2
    # A loss beyond LOST_AND_WON takes from the rows that both had right.
    lost, won = np.where(won < 0, loss, lost), np.maximum(won, 0)
    u = rng.random(n)
    only_reference, only_candidate = u < lost, (u >= lost) & (u < lost + won)
    both = u >= lost + won + (1 - RIGHT - won)
    other = (references + rng.integers(1, labels, n)) % labels
    another = np.where(rng.random(n) < ALIKE, other, (references + rng.integers(1, labels, n)) % labels)
    candidate = np.where(both | only_candidate, references, other)
    reference = np.where(both | only_reference, references, another)
    return candidate, reference


def _expected(shares: Array, losses: Array, metric: Metric) -> float:
    """The metric of the candidate's expected table."""
    labels = len(shares)
    right = RIGHT - losses
    table = np.repeat((shares * (1 - right) / (labels - 1))[:, None], labels + 1, axis=1)
    table[:, labels] = 0
    table[np.arange(labels), np.arange(labels)] = shares * right
    return float(label_metric(metric, _names(labels))(counts_of_table(table)))


def _losses(shares: Array, where: Array, loss: float, metric: Metric) -> Array:
    """Losses in the classes `where` that take `loss` off the metric. (labels,)"""
    if loss == 0:
        return np.zeros(len(shares))
    whole = _expected(shares, np.zeros(len(shares)), metric)
    found = brentq(lambda x: whole - _expected(shares, x * where, metric) - loss, 0, RIGHT)
    return np.asarray(found * where)


def _scenario(
    shape: str, size: str, metric: Metric, margin: float, shares: Array, where: Array, sizes: int | Codes
) -> Scenario:
    """sizes: rows in all, drawn by the shares; or rows of each class."""
    labels = len(shares)
    losses = {loss: _losses(shares, where, loss, metric) for loss in (0.0, margin)}
    fixed = None if isinstance(sizes, int) else np.repeat(np.arange(labels), sizes)

    def draw(rng: np.random.Generator, loss: float) -> Drawn:
        references = rng.choice(labels, size=sizes, p=shares) if fixed is None else fixed
        candidate, reference = _answer(rng, references, labels, losses[loss])
        rows = row_table(references.astype(np.int64), _names(labels))
        return Drawn(rows, outcomes({}, candidate[:, None]), outcomes({}, reference[:, None]))

    return Scenario(
        Label("macro_f1", metric.name, f"{shape}, margin {100 * margin:g}", size),
        metric,
        margin,
        draw,
        lambda loss: _expected(shares, losses[loss], metric),
        cost=4.0 if labels < 20 else 12.0,
        most_draws=1000 if labels < 20 else 300 if labels < 50 else 100,
        quantities=_quantities(labels),
    )


def _quantities(labels: int) -> tuple[Quantity, ...]:
    """What is measured; tables of many labels take long."""
    if labels <= 20:
        return ("false pass", "power", "coverage")
    return ("false pass", "coverage") if labels < 100 else ("false pass",)


def _even(count: int, size: int) -> Scenario:
    shares = np.full(count, 1 / count)
    rows = f"{size} row{'s' * (size > 1)} each"
    return _scenario(
        f"{count} classes", rows, MACRO_F1, 0.05, shares, np.ones(count), np.full(count, size, dtype=np.int64)
    )


def skewed(metric: Metric, count: int, n: int, where: str) -> Scenario:
    shares = 1 / np.arange(1, count + 1)
    shares /= shares.sum()
    lossy = np.ones(count) if where == "everywhere" else (np.arange(count) >= count // 2).astype(np.float64)
    return _scenario(f"{count} classes like 1/k, loss {where}", f"n {n}", metric, 0.05, shares, lossy, n)


def _rare_class(n: int) -> Scenario:
    """F1 of a positive label that a tenth of the rows bear."""
    metric = Metric(name="f1", kind="confusion", proportion=False, positive="label 001")
    return _scenario("a positive label of 10 %", f"n {n}", metric, 0.1, np.array([0.9, 0.1]), np.ones(2), n)
