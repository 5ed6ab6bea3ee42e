"""Agreement of answers with references that are numbers: rank correlation and quadratic weighted kappa, and their
bootstrap over rows or groups.

Both are functions of weighted pairs, so that a bootstrap draw is a vector of weights (how often each row was drawn).
Rank correlation is Spearman's: Pearson's correlation of midranks (C. Spearman, 1904; M. G. Kendall, Rank Correlation
Methods, 1948, chapter 3 for ties), ranked again on every draw. Quadratic weighted kappa is one minus the observed mean
squared difference over the one that independent answers of the same distributions would have (J. L. Fleiss and
J. Cohen, Educational and Psychological Measurement 1973, 33:613): var x + var y + (mean x - mean y)^2, divisors n.

Intervals are made on Fisher's z = artanh r, where both are close to normal (for the kappa, which is L. I. Lin's
concordance correlation of the levels: Biometrics 1989, 45:255).
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError, did_you_mean

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
CELLS_AT_ONCE = 4_000_000
LARGEST = 1 - 1e-9
"""Fisher's z of a perfect agreement would be infinite."""

Agreement = Callable[[Array, Array, Array], Array]
"""(weights (draws, n), references (n,), answers (n,); nan: an answer without a number) -> (draws,)"""


def rank_correlation(weights: Array, references: Array, answers: Array) -> Array:
    """Spearman's correlation. An answer without a number takes the middle rank: it says nothing about its row."""
    x = _centred_ranks(weights, references)
    given = ~np.isnan(answers)
    y = np.zeros_like(weights)
    if given.any():
        y[:, given] = _centred_ranks(weights[:, given], answers[given])
    above = (weights * x * y).sum(axis=1)
    below = np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1))
    return np.asarray(np.divide(above, below, out=np.zeros_like(above), where=below > 0), dtype=np.float64)


def _centred_ranks(weights: Array, values: Array) -> Array:
    """(draws, n) midranks of `values` (n,) among the drawn rows, minus their mean."""
    _, place, sizes = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    starts = np.cumsum(sizes) - sizes
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    midranks = np.cumsum(tied, axis=1) - tied / 2 - weights.sum(axis=1, keepdims=True) / 2
    return np.asarray(midranks[:, place])


def quadratic_kappa(weights: Array, references: Array, answers: Array) -> Array:
    """Quadratic weighted kappa of levels. An answer without one counts as the level farthest from its reference."""
    y = np.where(np.isnan(answers), _farthest(references), answers)
    total = weights.sum(axis=1)
    mean_x, mean_y = (weights @ v / total for v in (references, y))
    spread = weights @ references**2 / total - mean_x**2 + weights @ y**2 / total - mean_y**2
    expected = spread + (mean_x - mean_y) ** 2
    observed = weights @ (references - y) ** 2 / total
    share = np.zeros_like(observed)
    np.divide(observed, expected, out=share, where=expected > 1e-12)
    return np.asarray(np.where(expected > 1e-12, 1 - share, 0.0), dtype=np.float64)


def _farthest(references: Array) -> Array:
    low, high = references.min(), references.max()
    return np.asarray(np.where(references - low > high - references, low, high), dtype=np.float64)


AGREEMENTS: dict[str, Agreement] = {f.__name__: f for f in (rank_correlation, quadratic_kappa)}


def agreement(name: str) -> Agreement:
    """The function that a metric of kind "correlation" means. Raises UsageError where there is none."""
    if name not in AGREEMENTS:
        raise UsageError(f"metric '{name}' is no correlation{did_you_mean(name, AGREEMENTS)}.")
    return AGREEMENTS[name]


def agreement_draws(
    function: Agreement, references: Array, sides: tuple[Array, ...], units: Codes, draws: int, seed: list[int]
) -> Array:
    """(draws, sides) the function on resamples of whole units, the same for every side. units: (n,) codes from 0."""
    drawn = [
        np.stack([function(weights, references, side) for side in sides], axis=1)
        for weights in _weights(units, draws, np.random.default_rng(seed))
    ]
    return np.concatenate(drawn)


def _weights(units: Codes, draws: int, rng: np.random.Generator) -> Iterator[Array]:
    """How often each row was drawn, in batches (batch, n)."""
    count, n = int(units.max()) + 1, len(units)
    batch = max(1, CELLS_AT_ONCE // max(n, count))
    for start in range(0, draws, batch):
        size = min(batch, draws - start)
        chosen = rng.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(chosen.ravel(), minlength=size * count).reshape(size, count)
        yield times[:, units].astype(np.float64)


def fisher_z(values: Array) -> Array:
    """artanh, finite at perfect agreement."""
    return np.asarray(np.arctanh(np.clip(values, -LARGEST, LARGEST)), dtype=np.float64)
