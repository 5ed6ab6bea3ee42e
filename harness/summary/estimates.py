"""One backend's metrics with 95 % intervals, also by slice."""

import zlib
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.metrics import Estimate, Metric
from harness.results import ClassResult, Confusion
from harness.statistics import confusion
from harness.statistics.bootstrap import (
    DRAWS,
    ResamplingUnits,
    bias_corrected_interval,
    bootstrap,
    jackknife_se,
    percentile_interval,
)
from harness.statistics.clustered import ClusteredMean, clustered_mean, degrees_of_freedom, effective_groups
from harness.statistics.correlation import fisher_z
from harness.statistics.mean_intervals import bounded_mean_interval
from harness.statistics.proportions import wilson
from harness.summary.correlations import correlation_of
from harness.summary.label_units import LabelUnits, items_of_rows, label_units
from harness.summary.optional_stopping import NO_INTERVAL, sequential_estimate
from harness.summary.outcomes import HAS_NO_FORMAT, NOT_ANSWERED, Array, Codes, Outcomes, RowTable, cluster_codes
from harness.summary.small_count_bounds import (
    MIN_ROWS,
    MOST_SMALL,
    RARE,
    group_words,
    small_labels,
    small_share,
    widened,
)

ENOUGH_GROUPS = 30
"""With fewer effective groups the spread between them is too uncertain for an interval of a rate."""


def seed_of(*names: str) -> list[int]:
    """A seed that depends on names only: the same log always gives the same intervals, in whatever order."""
    return [zlib.crc32(name.encode()) for name in names]


def percent(level: float) -> str:
    """A level in words: "95 %"."""
    return f"{100 * level:.0f} %"


def estimate_all(
    metrics: tuple[Metric, ...],
    rows: RowTable,
    outcomes: Outcomes,
    name: str,
    draws: int = DRAWS,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Every metric of one backend (`name` seeds the bootstrap)."""
    found = {m.name: mean_estimate(m, rows, outcomes, level) for m in metrics if m.kind == "mean"}
    estimate = _unbounded_estimates if outcomes.sequential else _label_estimates
    for family in label_units(metrics, rows, (outcomes,)):
        found |= estimate(family, rows, outcomes, name, draws, level)
    for metric in metrics:
        if metric.kind == "correlation":
            found[metric.name] = _correlation_estimate(metric, rows, outcomes, name, draws, level)
    return {m.name: found[m.name] for m in metrics}


def mean_estimate(metric: Metric, rows: RowTable, outcomes: Outcomes, level: float = 0.95) -> Estimate:
    """A mean of row values: Wilson for a rate (with repeats or groups: over as many answers as these are worth), the
    betting interval for graded values, Student's t where they declare no range."""
    if metric.about_format and outcomes.decode in HAS_NO_FORMAT:
        return Estimate(value=None, method=f"n/a for {outcomes.decode}")
    values = outcomes.values[metric.name]
    chosen = ~np.isnan(values)
    if not chosen.any():
        return Estimate(value=None, method="no rows")
    if outcomes.sequential:
        return sequential_estimate(metric, rows, outcomes, level)
    values, groups = values[chosen], cluster_codes(rows, chosen)
    if metric.proportion:
        return rate_estimate(values, groups, level)
    return _graded_estimate(metric, values, groups, level)


def rate_estimate(values: Array, groups: Codes | None, level: float) -> Estimate:
    """A rate of rows worth 0 to 1 (n,), n > 0. `groups` as in clustered_mean."""
    if groups is None and np.isin(values, (0, 1)).all():
        low, high = wilson(float(values.sum()), len(values), level)
        return Estimate(
            value=float(values.mean()), low=low, high=high, method=f"Wilson {percent(level)}", n=len(values)
        )
    mean = clustered_mean(values, groups)
    unit = "rows" if groups is None else "groups"
    if mean.clusters < 2:
        return Estimate(value=mean.mean, method=f"no interval: one of the {unit} only", n=mean.n)
    if few_groups(mean):
        low, high = group_bounds(values, groups, 0.0, 1.0, level)
        method = f"betting {percent(level)} {group_words(mean, unit)}"
    else:  # t would cover a rate near 0 or 1 too seldom
        trials = effective_sample_size(mean, level)
        low, high = wilson(mean.mean * trials, trials, level)
        method = f"Wilson {percent(level)} {group_words(mean, unit)}"
        method += "" if mean.constant else f", effective sample size {trials:,.0f}"
    return Estimate(value=mean.mean, low=low, high=high, method=method, n=mean.n)


def few_groups(mean: ClusteredMean, enough: int = ENOUGH_GROUPS) -> bool:
    """Whether the rows are in so few effective groups that only a bound over whole groups holds."""
    return mean.effective < min(enough, mean.n / 2)


def effective_sample_size(mean: ClusteredMean, level: float) -> float:
    """How many answers on their own the rows of a rate say as much as; of few rows no more than their groups."""
    trials = mean.trials(level)
    return min(trials, mean.effective) if mean.clusters < mean.n and mean.effective < ENOUGH_GROUPS else trials


def group_bounds(values: Array, groups: Codes | None, low: float, high: float, level: float) -> tuple[float, float]:
    """The betting interval of a mean over rows, or over groups of rows as wholes."""
    means, sizes = group_means(values, groups)
    return bounded_mean_interval(means, low, high, level, weights=sizes)


def group_means(values: Array, groups: Codes | None) -> tuple[Array, Array | None]:
    """Mean and number of rows of each group; the values and None where every row is its own."""
    if groups is None:
        return values, None
    _, codes = np.unique(groups, return_inverse=True)
    sizes = np.bincount(codes).astype(np.float64)
    return np.bincount(codes, weights=values) / sizes, sizes


def _graded_estimate(metric: Metric, values: Array, groups: Codes | None, level: float) -> Estimate:
    mean = clustered_mean(values, groups)
    unit = "rows" if groups is None else "groups"
    if mean.clusters < MIN_ROWS:
        return Estimate(value=mean.mean, method=f"no interval: {mean.clusters} {unit}, fewer than {MIN_ROWS}", n=mean.n)
    over = group_words(mean, unit)
    if metric.bounds is not None:
        low, high = group_bounds(values, groups, *metric.bounds, level)
        return Estimate(value=mean.mean, low=low, high=high, method=f"betting {percent(level)} {over}", n=mean.n)
    if mean.constant:
        return Estimate(value=mean.mean, method="no interval: all values are the same", n=mean.n)
    low, high = mean.interval(level)
    method = f"Student {percent(level)} {over}, no range declared"
    return Estimate(value=mean.mean, low=low, high=high, method=method, n=mean.n)


def _unbounded_estimates(
    family: LabelUnits, _rows: RowTable, _outcomes: Outcomes, _name: str, _draws: int, _level: float
) -> dict[str, Estimate]:
    """Of a run that stopped early: the figures without intervals."""
    units, n = family.units, round(float(family.units.sizes.sum()))
    return {
        m.name: Estimate(value=float(confusion.label_metric(m, family.labels)(units.total)[0]), method=NO_INTERVAL, n=n)
        if n
        else Estimate(value=None, method="no rows")
        for m in family.metrics
    }


def _label_estimates(
    family: LabelUnits, rows: RowTable, outcomes: Outcomes, name: str, draws: int, level: float
) -> dict[str, Estimate]:
    units, labels = family.units, family.labels
    if not units.n:
        return {m.name: Estimate(value=None, method="no rows") for m in family.metrics}
    as_rate = _as_rate if family.metrics[0].kind == "confusion" else partial(_items_as_rate, labels)
    rates = {m.name: found for m in family.metrics if (found := as_rate(m, rows, outcomes, level)) is not None}
    others = [m for m in family.metrics if m.name not in rates]
    functions = {m.name: confusion.label_metric(m, labels) for m in others}
    drawn = bootstrap(units, functions, draws, seed_of(name)) if others else {}
    total = units.total
    return rates | {
        m.name: _table_estimate(m, labels, units, float(functions[m.name](total)[0]), drawn[m.name][:, 0], level)
        for m in others
    }


def _items_as_rate(
    labels: tuple[str, ...], metric: Metric, rows: RowTable, outcomes: Outcomes, level: float
) -> Estimate | None:
    """A micro average as a rate of items, with the interval of one; None for other figures."""
    items = items_of_rows(metric, rows, outcomes, labels)
    if items is None:
        return None
    found, n = rate_estimate(*items, level), int(outcomes.answered.sum())
    if rows.groups is None:  # the items of a row are its group
        found = msgspec.structs.replace(found, method=found.method.replace("groups", "rows"))
    if not metric.name.endswith("f1"):
        return msgspec.structs.replace(found, n=n)
    value, low, high = (None if j is None else 2 * j / (1 + j) for j in (found.value, found.low, found.high))
    method = f"{found.method}, of hits among references and answers"
    return Estimate(value=value, low=low, high=high, method=method, n=n)


def _as_rate(metric: Metric, rows: RowTable, outcomes: Outcomes, level: float) -> Estimate | None:
    """A figure of the table that is a rate of rows, with the interval of one; None for the others.

    Weighted recall is the accuracy of the table; recall of a label that of its rows, precision that of its answers;
    F1 of a label is 2 J / (1 + J), J the share of hits among rows that have the label as reference or answer.
    """
    hits, asked = table_hits(rows, outcomes), outcomes.answered
    if metric.name == "weighted_recall":
        return rate_estimate(hits[asked], cluster_codes(rows, asked), level)
    if metric.positive not in rows.labels or (outcomes.repeats > 1 and metric.name != "recall"):
        return None
    label = rows.labels.index(metric.positive)
    gold, answered = rows.references == label, (outcomes.answers == label).any(axis=1)
    chosen = asked & {"recall": gold, "precision": answered}.get(metric.name, gold | answered)
    if not (asked & gold).any():
        return Estimate(value=None, method=f"no row has the label {metric.positive}")
    if not chosen.any():
        return Estimate(value=0.0, method=f"no interval: no answer is {metric.positive}", n=int(asked.sum()))
    found = rate_estimate(hits[chosen], cluster_codes(rows, chosen), level)
    if metric.name == "f1":
        value, low, high = (None if j is None else 2 * j / (1 + j) for j in (found.value, found.low, found.high))
        method = f"{found.method}, of hits among rows with the label"
        return Estimate(value=value, low=low, high=high, method=method, n=int(asked.sum()))
    return found


def table_hits(rows: RowTable, outcomes: Outcomes) -> Array:
    """(n,) share of a row's answers that are its reference label; nan without an answer."""
    given = outcomes.answers != NOT_ANSWERED
    right = (outcomes.answers == rows.references[:, None]) & given
    counts = given.sum(axis=1)
    return np.asarray(np.divide(right.sum(axis=1), counts, out=np.full(len(rows), np.nan), where=counts > 0))


def _table_estimate(
    metric: Metric, labels: tuple[str, ...], units: ResamplingUnits, value: float, drawn: Array, level: float
) -> Estimate:
    sizes = units.total[0, confusion.REFERENCES]
    n = round(float(units.sizes.sum()))
    if small_share(metric, sizes, 2) > MOST_SMALL:
        ones = small_labels(sizes, 2)
        return Estimate(value=value, method=f"no interval: {ones} labels have one row" + left_out(labels, sizes), n=n)
    if units.n < 2:
        return Estimate(value=value, method="no interval: one row or group only", n=n)
    function = confusion.label_metric(metric, labels)
    seen, method = table_interval(units, value, drawn, level, jackknife_se(units, function) if units.grouped else 0.0)
    low, high = widened(metric, labels, units, value, *seen, level)
    if (low, high) != seen:
        method += ", widened: nearly all alike"
    return Estimate(value=value, low=low, high=high, method=method + left_out(labels, sizes), n=n)


def _correlation_estimate(
    metric: Metric, rows: RowTable, outcomes: Outcomes, name: str, draws: int, level: float
) -> Estimate:
    found = correlation_of(metric, rows, (outcomes,), draws, seed_of(name, metric.name))
    if found is None:
        return Estimate(value=None, method="no rows")
    value, units = float(found.values[0]), len(found.sizes)
    spread = float(found.drawn.std())
    why = NO_INTERVAL if outcomes.sequential else ""
    if not why and (units < MIN_ROWS or found.differing < RARE or not spread):
        why = f"no interval: {found.differing} of {units} units are not answered exactly"
    if why:
        return Estimate(value=value, method=why, n=found.rows)
    z = fisher_z(found.drawn[:, 0])
    ends = bias_corrected_interval(float(fisher_z(found.values)[0]), z, degrees_of_freedom(found.sizes), level)
    unit = "row" if rows.groups is None else "group"
    method = f"bootstrap of Fisher's z {percent(level)} by {unit}, {len(z):,} draws"
    low, high = np.tanh(ends)
    return Estimate(value=value, low=float(low), high=float(high), method=method, n=found.rows)


def table_interval(
    units: ResamplingUnits, value: float, drawn: NDArray[np.float64], level: float, least_se: float
) -> tuple[tuple[float, float], str]:
    """The bootstrap interval of a figure, and how it was made: percentiles where every class could be redrawn on its
    own, else the bias-corrected one over rows or groups."""
    name = f"{percent(level)} by {{}}, {len(drawn):,} draws"
    if len(np.unique(units.strata)) > 1:
        return percentile_interval(drawn, level), f"bootstrap {name.format('class')}"
    sizes = units.sizes
    found = bias_corrected_interval(value, drawn, degrees_of_freedom(sizes), level, least_se)
    if not units.grouped:
        return found, f"bias-corrected bootstrap {name.format('row')}"
    over = f" over {units.n} groups, {effective_groups(sizes):.1f} effective"
    return found, f"bias-corrected bootstrap {name.format('group')}{over}"


def left_out(labels: tuple[str, ...], sizes: Array) -> str:
    """That labels without rows are in no average, by name."""
    absent = [label for label, size in zip(labels, sizes, strict=True) if not size]
    if not absent:
        return ""
    shown = ", ".join(absent[:3]) + (f" and {len(absent) - 3} more" if len(absent) > 3 else "")
    return f"; without labels that have no rows: {shown}"


def confusion_record(rows: RowTable, outcomes: Outcomes) -> tuple[Confusion, dict[str, ClassResult]]:
    """The confusion table and each label's own figures. Repeats of a row weigh one row together."""
    table = _confusion_table(rows, outcomes)
    record = Confusion(
        labels=rows.labels,
        answers=(*rows.labels, confusion.NO_LABEL),
        counts=tuple(tuple(round(float(cell), 9) for cell in line) for line in table),
    )
    return record, class_results(rows.labels, confusion.counts_of_table(table))


def class_results(labels: tuple[str, ...], counts: Array) -> dict[str, ClassResult]:
    """Each label's own figures, of label counts (3, labels)."""
    figures = zip(
        labels,
        confusion.precision_per_class(counts),
        confusion.recall_per_class(counts),
        confusion.f1_per_class(counts),
        confusion.support_per_class(counts),
        strict=True,
    )
    return {
        label: ClassResult(precision=float(p), recall=float(r), f1=float(f), support=round(float(s), 9))
        for label, p, r, f, s in figures
    }


def counted_results(metrics: tuple[Metric, ...], rows: RowTable, outcomes: Outcomes) -> dict[str, ClassResult]:
    """The figures of each label, field or kind of span of a task whose rows have any number of them; with the rate of
    right rows where a score says so ("correct:LABEL")."""
    family = next((f for f in label_units(metrics, rows, (outcomes,)) if f.metrics[0].kind == "counts"), None)
    if family is None or not family.units.n:
        return {}
    found = class_results(family.labels, family.units.total[0])
    for label in found:
        values = outcomes.values[f"correct:{label}"] if f"correct:{label}" in outcomes.values else np.zeros(0)
        chosen = ~np.isnan(values)
        if chosen.any():
            rate = rate_estimate(values[chosen], cluster_codes(rows, chosen), 0.95)
            found[label] = msgspec.structs.replace(found[label], accuracy=rate)
    return found


def _confusion_table(rows: RowTable, outcomes: Outcomes) -> Array:
    """(labels, labels + 1): the answers of a row weigh one row together."""
    known = outcomes.answers != NOT_ANSWERED
    weights = np.divide(known, known.sum(axis=1, keepdims=True), out=np.zeros(known.shape), where=known)
    table = np.zeros((len(rows.labels), len(rows.labels) + 1))
    row, repeat = np.nonzero(known)
    np.add.at(table, (rows.references[row], outcomes.answers[row, repeat]), weights[row, repeat])
    return table


MOST_VALUES = 20
"""Columns of more values, or of another value in every row, are texts and not slices."""

SLICE_DRAWS = 2_000
"""Slices are diagnostics: a coarser interval is enough."""

Slices = dict[str, dict[str, dict[str, dict[str, Estimate]]]]


def slice_estimates(metrics: tuple[Metric, ...], rows: RowTable, outcomes: dict[str, Outcomes]) -> Slices:
    """column -> value -> backend -> metric -> figure; columns of 2 to 20 values, values by falling number of rows."""
    found: Slices = {}
    for column, values in rows.columns.items():
        counts = values.counts()
        if not 2 <= len(counts) <= MOST_VALUES or len(counts) == len(rows):
            continue
        ordered = sorted(counts, key=lambda value: (-counts[value], value))
        found[column] = {}
        for value in ordered:
            chosen = values.rows_of(value)
            part = rows.only(chosen)
            found[column][value] = {
                name: estimate_all(metrics, part, of_all.only(chosen), f"{name}/{column}/{value}", SLICE_DRAWS)
                for name, of_all in outcomes.items()
            }
    return found
