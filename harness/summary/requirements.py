"""What a verdict rests on at least: with less, a figure may be shown, and nothing is concluded from it."""

import math

from harness.metrics import Metric
from harness.statistics.clustered import ClusteredMean
from harness.summary.outcomes import Array

MIN_ROWS = 20
"""Rows (or groups) of a graded metric."""

MIN_DIFFERING = 10
"""Of these, with another value on the two sides."""

MIN_EFFECTIVE_GROUPS = 5
"""Groups of one size that say as much as those that are there."""

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
    if metric.positive is not None or not sizes.sum():
        return 0.0
    weights = (sizes > 0).astype(float) if metric.name.startswith("macro") else sizes
    return float(weights[sizes < least - 1e-9].sum() / weights.sum())


def group_words(mean: ClusteredMean, unit: str) -> str:
    """ "over 40 groups", with their effective number where sizes differ: "over 40 groups, 3.9 effective"."""
    same = mean.effective > mean.clusters - 0.05
    return f"over {mean.clusters} {unit}" + ("" if same else f", {mean.effective:.1f} effective")
