"""Minimum rows for a verdict, and bounds where hardly any rows differ."""

import math

import numpy as np

from harness.metrics import Metric
from harness.statistics.bootstrap import ResamplingUnits
from harness.statistics.clustered import ClusteredMean
from harness.statistics.confusion import ANSWERS, HITS, REFERENCES
from harness.statistics.proportions import wilson
from harness.statistics.tango import tango_interval
from harness.summary.outcomes import Array

RARE = 10
"""With fewer units than this that differ (or are wrong), large-sample intervals are widened."""


def largest_change(metric: Metric, labels: tuple[str, ...], total: Array, rows: float) -> float:
    """The most that a figure of the label counts `total` (3, labels) moves when `rows` of its rows change.

    A row that turns wrong takes from its own label's F1 and from that of the answer, together about 1 / rows of the
    label; of an average over labels the smallest ones lose theirs first.
    """
    sizes = total[REFERENCES]
    present = np.sort(sizes[sizes > 0])
    if metric.positive is not None:
        label = labels.index(metric.positive)
        involved = float(sizes[label] + total[ANSWERS, label])
        return float(min(1.0, 2 * rows / involved)) if involved else 1.0
    if metric.name.startswith("macro"):
        lost = np.minimum(1.0, np.maximum(0.0, rows - (np.cumsum(present) - present)) / present)
        return float(lost.mean()) if len(present) else 1.0
    return float(min(1.0, rows / sizes.sum())) if sizes.sum() else 1.0


def widened(
    metric: Metric, labels: tuple[str, ...], units: ResamplingUnits, value: float, low: float, high: float, level: float
) -> tuple[float, float]:
    """The interval of one candidate's figure, as wide at least as what its accuracy leaves open where few units are
    wrong (or right)."""
    right = _shares_right(units)[:, 0]
    if min(units.counts[right < 1 - 1e-9].sum(), units.counts[right > 0].sum()) >= RARE:
        return low, high
    n, correct = units.n, float(units.counts @ right)
    least, most = wilson(correct, n, level)
    rows = _largest_sum(metric, units)
    shares = correct / n - least, most - correct / n
    down, up = (largest_change(metric, labels, units.total[0], rows * share) for share in shares)
    return max(0.0, min(low, value - down)), min(1.0, max(high, value + up))


def widened_difference(
    metric: Metric, labels: tuple[str, ...], units: ResamplingUnits, gain: float, low: float, high: float, level: float
) -> tuple[float, float]:
    """The interval of a difference, as wide at least as Tango's of the few units that got worse or better."""
    right = _shares_right(units)
    change = right[:, 0] - right[:, 1]
    better, worse = (int(units.counts[kinds].sum()) for kinds in (change > 1e-9, change < -1e-9))
    n = units.n
    least, most = tango_interval(worse, better, n, level)
    seen, rows = (better - worse) / n, _largest_sum(metric, units)
    shares = seen - least, most - seen
    down, up = (largest_change(metric, labels, units.total[0], rows * share) for share in shares)
    return max(-1.0, min(low, gain - down)), min(1.0, max(high, gain + up))


def _shares_right(units: ResamplingUnits) -> Array:
    """(kinds, sides) hits of a unit among what it has of references or answers, whichever are more; 1 where it has
    neither."""
    sums = units.tables.sum(axis=-1)
    most = np.maximum(sums[:, :, REFERENCES], sums[:, :, ANSWERS])
    return np.asarray(np.divide(sums[:, :, HITS], most, out=np.ones_like(most), where=most > 0), dtype=np.float64)


def _largest_sum(metric: Metric, units: ResamplingUnits) -> float:
    """References of so many units as there are; for a micro average each as large as the largest, since the units that
    change may be those. (Of a macro average the smallest labels lose theirs first, which is far more.)"""
    total = float(units.total[0, REFERENCES].sum())
    if metric.name not in OF_ALL_LABELS:
        return total
    sums = units.tables.sum(axis=-1)[:, :, REFERENCES:].max(axis=(1, 2))
    return max(total, units.n * float(sums.max()))


MIN_ROWS = 20
"""Rows (or groups) of a graded metric."""

MIN_DIFFERING = 10
"""Of these, with another value on the two sides."""

MIN_EFFECTIVE_GROUPS = 5
"""Groups of one size that say as much as those that are there."""

OF_ALL_LABELS = ("micro_f1", "micro_precision", "micro_recall", "overlap_f1")
"""Label metrics that are no average over labels: labels with few rows do them no harm."""

MIN_ROWS_PER_LABEL = 5
MOST_SMALL = 0.2
"""Labels with fewer rows may make up this share of an average over labels."""


def graded_shortfall(metric: Metric, units: int, differing: int, unit: str) -> str:
    """Why two sides of a graded metric get no verdict; "" where they do. unit: "rows" or "groups"."""
    if metric.bounds is None:
        return f"no verdict: {metric.name} declares no range (low and high of its Metric), so nothing bounds its mean"
    if units < MIN_ROWS:
        return f"no verdict: {units} {unit}, and a graded metric needs at least {MIN_ROWS}"
    if differing < MIN_DIFFERING:
        needed = f"; about {math.ceil(units * MIN_DIFFERING / differing):,} {unit} would have them" if differing else ""
        return f"no verdict: {differing} of {units:,} {unit} differ, and a graded metric needs {MIN_DIFFERING}{needed}"
    return ""


def groups_shortfall(effective: float, groups: int) -> str:
    """Why rows in so few groups (or under so dominating ones) get no verdict; "" where they do."""
    if effective >= MIN_EFFECTIVE_GROUPS - 1e-9:
        return ""
    return (
        f"no verdict: {groups} groups say as much as {effective:.1f} of one size, "
        f"and at least {MIN_EFFECTIVE_GROUPS} are needed"
    )


def labels_shortfall(metric: Metric, sizes: Array) -> str:
    """Why an average over labels of `sizes` (labels,) rows gets no verdict; "" where it does."""
    small = small_labels(sizes, MIN_ROWS_PER_LABEL)
    if small_share(metric, sizes, MIN_ROWS_PER_LABEL) <= MOST_SMALL:
        return ""
    have = "label has" if small == 1 else "labels have"
    return (
        f"no verdict: {small} {have} fewer than {MIN_ROWS_PER_LABEL} rows; such labels may make up "
        f"{100 * MOST_SMALL:.0f} % of {metric.name}"
    )


def small_labels(sizes: Array, least: int) -> int:
    """How many labels have rows, but fewer than `least`."""
    return int(((sizes > 0) & (sizes < least - 1e-9)).sum())


def small_share(metric: Metric, sizes: Array, least: int) -> float:
    """What labels with fewer than `least` rows make up of the figure: by number in a macro average, else by rows."""
    if metric.positive is not None or not sizes.sum() or metric.name in OF_ALL_LABELS:
        return 0.0
    weights = (sizes > 0).astype(float) if metric.name.startswith("macro") else sizes
    return float(weights[sizes < least - 1e-9].sum() / weights.sum())


def group_words(mean: ClusteredMean, unit: str) -> str:
    """ "over 40 groups", with their effective number where sizes differ: "over 40 groups, 3.9 effective"."""
    same = mean.effective > mean.clusters - 0.05
    return f"over {mean.clusters} {unit}" + ("" if same else f", {mean.effective:.1f} effective")
