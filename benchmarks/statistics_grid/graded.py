"""Graded scores in [0, 1]: well-behaved ones, rare total losses, and scores that mostly agree."""

from collections.abc import Callable, Iterator

import numpy as np

from .measure import Cell, Label, Scenario, measure
from .product import Array, Drawn, by_rows, unit_metric

Draw = Callable[[np.random.Generator, int, float], tuple[Array, Array]]
SIZES = (20, 50, 200, 1000)


def _bell(rng: np.random.Generator, n: int, width: float) -> Array:
    """Nearly normal around 0, never beyond 3 widths."""
    return np.clip(rng.normal(0, width, n), -3 * width, 3 * width)


def _normal(rng: np.random.Generator, n: int, loss: float) -> tuple[Array, Array]:
    reference = 0.6 + _bell(rng, n, 0.08)
    return reference - loss + _bell(rng, n, 0.04), reference


def _rare_losses(rng: np.random.Generator, n: int, loss: float) -> tuple[Array, Array]:
    """The candidate is as good, but for few rows on which it is worth nothing."""
    reference = 0.8 + _bell(rng, n, 0.04)
    return np.where(rng.random(n) < loss / 0.8, 0.0, reference + _bell(rng, n, 0.01)), reference


def _rare_losses_else_equal(rng: np.random.Generator, n: int, loss: float) -> tuple[Array, Array]:
    reference = 0.8 + _bell(rng, n, 0.04)
    return np.where(rng.random(n) < loss / 0.8, 0.0, reference), reference


def _mostly_identical(rng: np.random.Generator, n: int, loss: float) -> tuple[Array, Array]:
    reference = 0.5 + _bell(rng, n, 0.05)
    differs = rng.random(n) < 0.1
    return reference + np.where(differs, _bell(rng, n, 0.05) - loss / 0.1, 0.0), reference


def _one_sided_gains(rng: np.random.Generator, n: int, loss: float) -> tuple[Array, Array]:
    """Small gains on most rows that rare total losses outweigh."""
    reference = 0.7 + _bell(rng, n, 0.03)
    gain = 0.02
    lost = rng.random(n) < (loss + gain) / (0.7 + gain)
    return np.where(lost, 0.0, reference + gain), reference


SHAPES: tuple[tuple[str, Draw, float, float], ...] = (
    ("normal", _normal, 0.02, 0.6),
    ("rare total losses", _rare_losses, 0.05, 0.8),
    ("rare total losses, else equal", _rare_losses_else_equal, 0.05, 0.8),
    ("nine in ten identical", _mostly_identical, 0.02, 0.5),
    ("small gains, rare total losses", _one_sided_gains, 0.05, 0.7),
)
"""Name, draw, margin, and the reference's mean."""


def graded(runs: int, draws: int) -> Iterator[Cell]:
    """All shapes at all sizes."""
    for name, shape, margin, mean in SHAPES:
        for n in SIZES:
            yield from measure(_scenario(name, shape, margin, mean, n), runs, draws)


def _scenario(name: str, shape: Draw, margin: float, mean: float, n: int) -> Scenario:
    metric = unit_metric()

    def draw(rng: np.random.Generator, loss: float) -> Drawn:
        return by_rows(metric, *shape(rng, n, loss))

    label = Label("graded", "graded score", f"{name}, margin {100 * margin:g}", f"n {n}")
    # An equal candidate that agrees on every row shows no difference at all: another verdict than a pass.
    same = shape is _rare_losses_else_equal
    return Scenario(
        label,
        metric,
        margin,
        draw,
        lambda loss: mean - loss,
        cost=2.0,
        quantities=("false pass", "coverage") if same else ("false pass", "power", "coverage"),
    )
