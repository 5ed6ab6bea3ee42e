"""What few differing rows hide: with hardly an error seen, an interval made from what was seen is too narrow."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.statistics.proportions import exact_upper
from harness.statistics.units import Units

Array = NDArray[np.float64]

RARE = 10
"""With fewer units than this that differ (or are wrong), large-sample intervals are widened."""


def hidden_loss(units: Units, seen: NDArray[np.bool_]) -> float:
    """The most that an F1 (macro, weighted or of a class) may change by units like the kinds marked `seen`, generously.

    The exact upper limit (95 %) of their share in all units; all of them may fall into the smallest class, and a
    row that is wrong costs its own class recall and another class precision. Drawing only what was seen, a
    bootstrap would call 0 out of 5 a certainty.
    """
    share = exact_upper(int(units.counts[seen].sum()), units.n)
    sizes = units.total[0].sum(axis=-1)
    present = sizes[sizes > 0]
    return 2 * share * float(sizes.sum() / (len(present) * present.min()))


def widened(units: Units, function: Callable[[Array], Array], low: float, high: float) -> tuple[float, float]:
    """The interval of one candidate's figure, down to what few wrong units hide and up to what few right ones do."""
    tables = units.tables[:, 0]
    hits = np.trace(tables, axis1=-2, axis2=-1)
    wrong, right = hits < tables.sum(axis=(-2, -1)) - 1e-9, hits > 0
    if units.counts[wrong].sum() < RARE:
        best = np.zeros_like(tables[0])
        np.fill_diagonal(best, units.total[0].sum(axis=-1))
        low = max(0.0, min(low, float(function(best)) - hidden_loss(units, wrong)))
    if units.counts[right].sum() < RARE:
        high = min(1.0, max(high, hidden_loss(units, right)))
    return low, high
