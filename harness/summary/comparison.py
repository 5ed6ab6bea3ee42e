"""Two candidates on the same rows, one metric at a time: difference, interval, tests.

The statistics follow the kind of figure: right/wrong on independent rows by McNemar and Tango; means over
repeats, groups or graded values by clustered standard errors or, with few clusters, sign flips; functions of
the confusion table by paired bootstrap and approximate randomisation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics import Metric
from harness.statistics.bootstrap import (
    DRAWS,
    bootstrap,
    jackknife_difference_se,
    monte_carlo_error,
    percentile_interval,
)
from harness.statistics.clustered import ClusteredMean, clustered_mean
from harness.statistics.confidence_sequence import anytime_p, confidence_sequence
from harness.statistics.confusion import confusion_metric
from harness.statistics.mcnemar import exact_p, harm_p, mid_p
from harness.statistics.proportions import exact_upper
from harness.statistics.randomisation import randomisation_p
from harness.statistics.signflip import TIE, SignFlip, cluster_sums
from harness.statistics.tango import tango_interval
from harness.statistics.units import Units
from harness.summary.estimates import percent, seed_of
from harness.summary.optional_stopping import (
    NO_INTERVAL,
    P_METHOD,
    bounds_of,
    differing_units,
    method_of,
    two_sided_p,
    units_of,
)
from harness.summary.outcomes import HAS_NO_FORMAT, Array, Codes, Outcomes, RowTable, cluster_codes
from harness.summary.rare import RARE, hidden_loss
from harness.summary.tables import confusion_units

FEW_CLUSTERS = 30


@dataclass(frozen=True)
class Comparison:
    """a against b. `gain` is positive where a is better, whatever the metric's direction; [low, high] its interval.

    low and high are -inf and inf where the rows cannot bound the gain. harm_p: one-sided p of "a is worse".
    only_a, only_b: rows only that side got right (single right/wrong answers). differing: units (rows or
    groups) on which the sides differ. variance: of a row's difference as far as it decides the number of rows
    needed (SE^2 x rows; SE of table metrics by the jackknife, which needs no seed). mid_p: McNemar's, less
    conservative than p. monte_carlo: standard error of the bounds that comes from the number of draws.
    """

    metric: Metric
    rows: int
    value_a: float
    value_b: float
    gain: float
    low: float
    high: float
    method: str
    p: float
    p_method: str
    harm_p: float
    differing: int
    variance: float
    mid_p: float | None = None
    only_a: int | None = None
    only_b: int | None = None
    monte_carlo: float = 0.0


def comparable(metric: Metric, a: Outcomes, b: Outcomes) -> bool:
    """Whether the metric means the same for both: format errors are never paired across decode modes."""
    if not metric.about_format:
        return True
    return a.decode == b.decode and a.decode not in HAS_NO_FORMAT


def compare_all(
    metrics: tuple[Metric, ...],
    rows: RowTable,
    a: Outcomes,
    b: Outcomes,
    names: tuple[str, str],
    level: float = 0.95,
    draws: int = DRAWS,
) -> dict[str, Comparison]:
    """Every metric that both sides have, on the rows both have answered; `names` seed the resampling."""
    found: dict[str, Comparison] = {}
    for metric in metrics:
        if metric.kind == "mean" and comparable(metric, a, b):
            comparison = compare_means(metric, rows, a, b, names, level)
            if comparison is not None:
                found[metric.name] = comparison
    tables = [m for m in metrics if m.kind == "confusion"]
    if tables:
        found |= compare_tables(tables, rows, a, b, names, level, draws)
    return {m.name: found[m.name] for m in metrics if m.name in found}


def compare_means(
    metric: Metric, rows: RowTable, a: Outcomes, b: Outcomes, names: tuple[str, str], level: float
) -> Comparison | None:
    """A metric of row values; None where no row has a value on both sides."""
    if metric.name not in a.values or metric.name not in b.values:
        return None  # a side that was measured before the metric was there
    both = ~(np.isnan(a.values[metric.name]) | np.isnan(b.values[metric.name]))
    if not both.any():
        return None
    x, y = a.values[metric.name][both], b.values[metric.name][both]
    if a.sequential or b.sequential:
        return _at_the_stop(metric, rows, a.values[metric.name], b.values[metric.name], level)
    groups = cluster_codes(rows, both)
    if metric.proportion and groups is None and np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all():
        return _right_or_wrong(metric, x, y, level)
    return _graded(metric, x, y, groups, names, level)


def _at_the_stop(metric: Metric, rows: RowTable, x: Array, y: Array, level: float) -> Comparison:
    """Where asking stopped early: a confidence sequence of the difference, and the p it gives."""
    gains = x - y if metric.direction == "higher" else y - x
    known = ~np.isnan(gains)
    bounds = bounds_of(metric)
    width = bounds[1] - bounds[0] if bounds is not None else float(np.abs(gains[known]).max()) or 1.0
    units = units_of(gains, rows.groups, rows.turns, -width, width)
    low, high = confidence_sequence(units, level) if bounds is not None else (-math.inf, math.inf)
    return Comparison(
        metric=metric,
        rows=int(known.sum()),
        value_a=float(x[known].mean()),
        value_b=float(y[known].mean()),
        gain=units.mean,
        low=low,
        high=high,
        method=NO_INTERVAL if bounds is None else method_of(level, units, rows.groups is not None),
        p=two_sided_p(units) if bounds is not None else 1.0,
        p_method=P_METHOD if bounds is not None else "",
        harm_p=anytime_p(units.mirrored, 0.0) if bounds is not None else 1.0,
        differing=differing_units(units),
        variance=float((units.totals - units.sizes * units.mean).var()) / float(units.sizes.mean()),
    )


def _right_or_wrong(metric: Metric, x: Array, y: Array, level: float) -> Comparison:
    good = 1.0 if metric.direction == "higher" else 0.0
    only_a = int(((x == good) & (y != good)).sum())
    only_b = int(((y == good) & (x != good)).sum())
    n = len(x)
    low, high = tango_interval(only_b, only_a, n, level)
    return Comparison(
        metric=metric,
        rows=n,
        value_a=float(x.mean()),
        value_b=float(y.mean()),
        gain=(only_a - only_b) / n,
        low=low,
        high=high,
        method=f"Tango {percent(level)}",
        p=exact_p(only_b, only_a),
        p_method="exact McNemar",
        harm_p=harm_p(only_b, only_a),
        differing=only_a + only_b,
        variance=(only_a + only_b) / n,
        mid_p=mid_p(only_b, only_a),
        only_a=only_a,
        only_b=only_b,
    )


def _graded(
    metric: Metric, x: Array, y: Array, groups: Codes | None, names: tuple[str, str], level: float
) -> Comparison:
    gains = x - y if metric.direction == "higher" else y - x
    mean = clustered_mean(gains, groups)
    sums, sizes = cluster_sums(gains, np.arange(len(gains)) if groups is None else groups)
    unit = "rows" if groups is None else "groups"
    better, worse = int((sums > TIE).sum()), int((sums < -TIE).sum())
    tests: SignFlip | ClusteredMean = mean
    if len(sums) < FEW_CLUSTERS or mean.constant:  # t knows nothing of differences without any spread
        # Without spread any few groups have the mean of all: no pattern needs to hold a million of them.
        tests = SignFlip(sums[:FEW_CLUSTERS], sizes[:FEW_CLUSTERS], seed=seed_of(*names, metric.name))
        low, high = tests.interval(level)
        method, p_method = f"sign flips {percent(level)} over {len(sums)} {unit}", f"sign flips of {unit}"
    else:
        low, high = mean.interval(level)
        method, p_method = f"Student {percent(level)} over {len(sums)} {unit}", f"Student's t over {unit}"
        if better + worse < RARE:  # three of a thousand, all worse: t would call that significant
            differ = np.abs(sums) > TIE
            tests, p_method = SignFlip(sums[differ], sizes[differ]), f"sign flips of the {unit} that differ"
    if metric.proportion and better + worse < RARE:
        rare_low, rare_high = tango_interval(worse, better, len(sums), level)
        low, high = min(low, rare_low), max(high, rare_high)
        method += f", widened: only {better + worse} differ"
    elif better + worse == 0:  # graded values without any difference bound nothing
        low, high = -math.inf, math.inf
        method = "no interval: no row differs"
    return Comparison(
        metric=metric,
        rows=len(gains),
        value_a=float(x.mean()),
        value_b=float(y.mean()),
        gain=mean.mean,
        low=low,
        high=high,
        method=method,
        p=tests.p_two_sided(),
        p_method=p_method,
        harm_p=tests.p_below(0.0),
        differing=better + worse,
        variance=mean.se**2 * mean.n if mean.clusters > 1 else math.nan,
    )


def compare_tables(
    metrics: list[Metric],
    rows: RowTable,
    a: Outcomes,
    b: Outcomes,
    names: tuple[str, str],
    level: float,
    draws: int,
) -> dict[str, Comparison]:
    """Metrics of the confusion table, all on the same draws; empty where no row was answered by both."""
    units = confusion_units(rows, (a, b))
    if not units.n:
        return {}
    functions = {m.name: confusion_metric(m, rows.labels) for m in metrics}
    if a.sequential or b.sequential:
        return {m.name: _without_interval(m, units, functions[m.name]) for m in metrics}
    drawn = bootstrap(units, functions, draws, seed_of(*names))
    tests = randomisation_p(units, functions, draws, seed_of(*names, "randomisation"))
    differs = (units.tables[:, 0] != units.tables[:, 1]).any(axis=(1, 2))
    differing = int(units.counts[differs].sum())
    allowance = _rare_allowance(units, differs) if differing < RARE else 0.0
    total = units.total
    n = round(float(total[0].sum()))
    found = {}
    for metric in metrics:
        sign = 1 if metric.direction == "higher" else -1
        gains = sign * (drawn[metric.name][:, 0] - drawn[metric.name][:, 1])
        low, high = percentile_interval(gains, level)
        value_a, value_b = (float(v) for v in functions[metric.name](total))
        gain = sign * (value_a - value_b)
        two_sided, lower = tests[metric.name]
        found[metric.name] = Comparison(
            metric=metric,
            rows=n,
            value_a=value_a,
            value_b=value_b,
            gain=gain,
            low=min(low, gain - allowance),
            high=max(high, gain + allowance),
            method=f"paired bootstrap {percent(level)}, {draws:,} draws"
            + (", widened: few differ" if allowance else ""),
            p=two_sided,
            p_method=f"approximate randomisation, {draws:,} replicates",
            harm_p=lower,
            differing=differing,
            variance=jackknife_difference_se(units, functions[metric.name]) ** 2 * n,
            monte_carlo=monte_carlo_error(gains, level),
        )
    return found


def _without_interval(metric: Metric, units: Units, function: Callable[[Array], Array]) -> Comparison:
    """A metric of the table where asking stopped early: the figures alone."""
    value_a, value_b = (float(v) for v in function(units.total))
    differs = (units.tables[:, 0] != units.tables[:, 1]).any(axis=(1, 2))
    return Comparison(
        metric=metric,
        rows=round(float(units.total[0].sum())),
        value_a=value_a,
        value_b=value_b,
        gain=value_a - value_b if metric.direction == "higher" else value_b - value_a,
        low=-math.inf,
        high=math.inf,
        method=NO_INTERVAL,
        p=1.0,
        p_method="",
        harm_p=1.0,
        differing=int(units.counts[differs].sum()),
        variance=math.nan,
    )


def _rare_allowance(units: Units, differs: NDArray[np.bool_]) -> float:
    """What few differing units may hide of an F1 (macro, weighted or of a class), generously.

    u bounds the share of units that differ (Clopper-Pearson, 95 %, within each class). A row that turns wrong
    costs its own class recall and another class precision, so a macro average moves by at most about twice the
    mean of u over classes. Drawing only seen differences, a bootstrap would call 0 out of 5 a certainty.
    """
    shares = []
    for stratum in np.unique(units.strata):
        members = units.strata == stratum
        shares.append(exact_upper(int(units.counts[members & differs].sum()), int(units.counts[members].sum())))
    if len(shares) > 1:
        return 2 * float(np.mean(shares))
    return hidden_loss(units, differs)
