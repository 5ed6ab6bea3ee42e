"""Figures of a run that stopped asking once its question was answered: valid wherever it stopped.

The number of rows was chosen by looking at the answers, so intervals and tests of a fixed number of rows do not hold:
they would miss the truth too often. Means of bounded row values have confidence sequences instead; functions of the
confusion table, and values without a range, have no interval.
"""

import numpy as np
from numpy.typing import NDArray

from harness.metrics import Estimate, Metric
from harness.statistics.confidence_sequence import SequentialUnits, anytime_p, confidence_sequence
from harness.summary.outcomes import Array, Codes, Outcomes, RowTable

TIE = 1e-12
"""Sums that differ from 0 by rounding only count as 0."""

NO_INTERVAL = "no interval: the run stopped early"
P_METHOD = "betting, valid wherever asking stops"


def bounds_of(metric: Metric) -> tuple[float, float] | None:
    """The range of a row's value; None where the metric declares none or is no mean of rows."""
    if metric.kind != "mean":
        return None
    return metric.bounds


def method_of(level: float, units: SequentialUnits, grouped: bool) -> str:
    """The method of an interval, in words."""
    return f"confidence sequence {100 * level:.0f} % over {len(units.totals)} {'groups' if grouped else 'rows'}"


def units_of(values: Array, groups: Codes | None, turns: Codes | None, low: float, high: float) -> SequentialUnits:
    """The units in the order in which they were asked.

    values: (n,), nan for rows that do not count; groups, turns: as in RowTable; low, high: the range of a value.
    """
    if groups is None or turns is None:
        known = values[~np.isnan(values)]
        return SequentialUnits(known, np.ones(len(known)), low, high)
    of_turn = groups[turns]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(of_turn) != 0)))
    known_in_turn: NDArray[np.bool_] = ~np.isnan(values[turns])
    sizes = np.add.reduceat(known_in_turn.astype(np.float64), starts)
    totals = np.add.reduceat(np.where(known_in_turn, values[turns], 0.0), starts)
    some = sizes > 0
    return SequentialUnits(totals[some], sizes[some], low, high, most=float(np.bincount(groups).max()))


def differing_units(units: SequentialUnits) -> int:
    """Units of differences that are not 0."""
    return int((np.abs(units.totals) > TIE).sum())


def sequential_estimate(metric: Metric, rows: RowTable, outcomes: Outcomes, level: float) -> Estimate:
    """One candidate's mean with its confidence sequence."""
    values = outcomes.values[metric.name]
    known = ~np.isnan(values)
    if not known.any():
        return Estimate(value=None, method="no rows")
    value, n = float(values[known].mean()), int(known.sum())
    bounds = bounds_of(metric)
    if bounds is None:
        return Estimate(value=value, method=f"{NO_INTERVAL}, and the values have no range", n=n)
    units = units_of(values, rows.groups, rows.turns, *bounds)
    low, high = confidence_sequence(units, level)
    return Estimate(value=value, low=low, high=high, method=method_of(level, units, rows.groups is not None), n=n)


def two_sided_p(units: SequentialUnits) -> float:
    """Of "the mean is 0", valid wherever asking stops."""
    return min(1.0, 2 * min(anytime_p(units, 0.0), anytime_p(units.mirrored, 0.0)))
