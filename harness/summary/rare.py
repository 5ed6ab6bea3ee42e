"""What few differing rows hide: with hardly an error seen, an interval made from what was seen is too narrow."""

import numpy as np

from harness.metrics import Metric
from harness.statistics.proportions import wilson
from harness.statistics.tango import tango_interval
from harness.statistics.units import Units
from harness.summary.outcomes import Array

RARE = 10
"""With fewer units than this that differ (or are wrong), large-sample intervals are widened."""


def largest_change(metric: Metric, labels: tuple[str, ...], total: Array, rows: float) -> float:
    """The most that a figure of the table `total` (labels, answers) moves when `rows` of its rows change.

    A row that turns wrong takes from its own label's F1 and from that of the answer, together about 1 / rows of the
    label; of an average over labels the smallest ones lose theirs first.
    """
    sizes = total.sum(axis=-1)
    present = np.sort(sizes[sizes > 0])
    if metric.positive is not None:
        label = labels.index(metric.positive)
        involved = float(sizes[label] + total[:, label].sum())
        return float(min(1.0, 2 * rows / involved)) if involved else 1.0
    if metric.name.startswith("macro"):
        lost = np.minimum(1.0, np.maximum(0.0, rows - (np.cumsum(present) - present)) / present)
        return float(lost.mean()) if len(present) else 1.0
    return float(min(1.0, rows / sizes.sum())) if sizes.sum() else 1.0


def widened(
    metric: Metric, labels: tuple[str, ...], units: Units, value: float, low: float, high: float, level: float
) -> tuple[float, float]:
    """The interval of one candidate's figure, as wide at least as what its accuracy leaves open where few units are
    wrong (or right)."""
    tables = units.tables[:, 0]
    hits = np.trace(tables, axis1=-2, axis2=-1)
    wrong, right = hits < tables.sum(axis=(-2, -1)) - 1e-9, hits > 0
    if min(units.counts[wrong].sum(), units.counts[right].sum()) >= RARE:
        return low, high
    n, correct = units.n, float(units.counts @ (hits / tables.sum(axis=(-2, -1))))
    least, most = wilson(correct, n, level)
    rows = float(units.total[0].sum())
    shares = correct / n - least, most - correct / n
    down, up = (largest_change(metric, labels, units.total[0], rows * share) for share in shares)
    return max(0.0, min(low, value - down)), min(1.0, max(high, value + up))


def widened_difference(
    metric: Metric, labels: tuple[str, ...], units: Units, gain: float, low: float, high: float, level: float
) -> tuple[float, float]:
    """The interval of a difference, as wide at least as Tango's of the few units that got worse or better."""
    hits = np.trace(units.tables, axis1=-2, axis2=-1)
    change = hits[:, 0] - hits[:, 1]
    better, worse = (int(units.counts[kinds].sum()) for kinds in (change > 1e-9, change < -1e-9))
    n = units.n
    least, most = tango_interval(worse, better, n, level)
    seen, rows = (better - worse) / n, float(units.total[0].sum())
    shares = seen - least, most - seen
    down, up = (largest_change(metric, labels, units.total[0], rows * share) for share in shares)
    return max(-1.0, min(low, gain - down)), min(1.0, max(high, gain + up))
