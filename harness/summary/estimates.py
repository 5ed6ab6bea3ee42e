"""One candidate's figures with their 95 % intervals."""

import zlib

import numpy as np

from harness.metrics import Metric
from harness.results import ClassResult, Confusion, Estimate
from harness.statistics import confusion
from harness.statistics.bootstrap import DRAWS, bootstrap, percentile_interval
from harness.statistics.clustered import clustered_mean
from harness.statistics.proportions import wilson
from harness.statistics.units import Units
from harness.summary.optional_stopping import NO_INTERVAL, sequential_estimate
from harness.summary.outcomes import HAS_NO_FORMAT, Outcomes, RowTable, cluster_codes
from harness.summary.rare import widened
from harness.summary.tables import confusion_units


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
    tables = [m for m in metrics if m.kind == "confusion"]
    if tables:
        units = confusion_units(rows, (outcomes,))
        estimate = _unbounded_estimates if outcomes.sequential else _confusion_estimates
        found |= estimate(tables, rows, units, name, draws, level)
    return {m.name: found[m.name] for m in metrics}


def mean_estimate(metric: Metric, rows: RowTable, outcomes: Outcomes, level: float = 0.95) -> Estimate:
    """A mean of row values: Wilson for a rate (with repeats or groups: over as many answers as these are worth), else
    Student's t over rows or groups."""
    if metric.about_format and outcomes.decode in HAS_NO_FORMAT:
        return Estimate(value=None, method=f"n/a for {outcomes.decode}")
    values = outcomes.values[metric.name]
    chosen = ~np.isnan(values)
    values = values[chosen]
    if not len(values):
        return Estimate(value=None, method="no rows")
    if outcomes.sequential:
        return sequential_estimate(metric, rows, outcomes, level)
    groups = cluster_codes(rows, chosen)
    if metric.proportion and groups is None and outcomes.repeats == 1:
        low, high = wilson(float(values.sum()), len(values), level)
        return Estimate(
            value=float(values.mean()), low=low, high=high, method=f"Wilson {percent(level)}", n=len(values)
        )
    mean = clustered_mean(values, groups)
    unit = "rows" if groups is None else "groups"
    if mean.clusters < 2:
        return Estimate(value=mean.mean, method=f"no interval: one of the {unit} only", n=mean.n)
    if metric.proportion:  # t would cover a rate near 0 or 1 too seldom
        trials = mean.trials(level)
        low, high = wilson(mean.mean * trials, trials, level)
        method = f"Wilson {percent(level)} over {mean.clusters} {unit}"
        method += "" if mean.constant else f", worth {trials:,.0f} answers on their own"
    else:
        low, high = mean.interval(level)
        method = f"Student {percent(level)} over {mean.clusters} {unit}"
    return Estimate(value=mean.mean, low=low, high=high, method=method, n=mean.n)


def _unbounded_estimates(
    metrics: list[Metric], rows: RowTable, units: Units, _name: str, _draws: int, _level: float
) -> dict[str, Estimate]:
    """Of a run that stopped early: the figures without intervals."""
    total = units.total
    n = round(float(total.sum())) if units.n else 0
    return {
        m.name: Estimate(value=float(confusion.confusion_metric(m, rows.labels)(total)[0]), method=NO_INTERVAL, n=n)
        if n
        else Estimate(value=None, method="no rows")
        for m in metrics
    }


def _confusion_estimates(
    metrics: list[Metric], rows: RowTable, units: Units, name: str, draws: int, level: float
) -> dict[str, Estimate]:
    if not units.n:
        return {m.name: Estimate(value=None, method="no rows") for m in metrics}
    functions = {m.name: confusion.confusion_metric(m, rows.labels) for m in metrics}
    drawn = bootstrap(units, functions, draws, seed_of(name))
    total = units.total
    by = "groups" if rows.groups is not None else "class"
    found = {}
    for metric in metrics:
        function = functions[metric.name]
        seen = percentile_interval(drawn[metric.name][:, 0], level)
        low, high = widened(units, function, *seen)
        found[metric.name] = Estimate(
            value=float(function(total)[0]),
            low=low,
            high=high,
            method=f"bootstrap {percent(level)} by {by}, {draws:,} draws"
            + (", widened: nearly all alike" if (low, high) != seen else ""),
            n=round(float(total.sum())),
        )
    return found


def confusion_record(rows: RowTable, outcomes: Outcomes) -> tuple[Confusion, dict[str, ClassResult]]:
    """The confusion table and each label's own figures. Repeats of a row weigh one row together."""
    table = confusion_units(rows, (outcomes,)).total[0]
    record = Confusion(
        labels=rows.labels,
        answers=(*rows.labels, confusion.NO_LABEL),
        counts=tuple(tuple(round(float(cell), 9) for cell in line) for line in table),
    )
    figures = zip(
        rows.labels,
        confusion.precision_per_class(table),
        confusion.recall_per_class(table),
        confusion.f1_per_class(table),
        confusion.support_per_class(table),
        strict=True,
    )
    return record, {
        label: ClassResult(precision=float(p), recall=float(r), f1=float(f), support=round(float(s), 9))
        for label, p, r, f, s in figures
    }
