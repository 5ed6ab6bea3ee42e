"""Two candidates on the same rows, one metric at a time: difference, interval, tests.

The statistics follow the kind of figure: right/wrong on independent rows by McNemar and Tango; right/wrong over
repeats or groups by clustered standard errors; graded values by betting within their range; functions of the confusion
table by paired bootstrap and approximate randomisation.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from harness.metrics import Metric
from harness.statistics.bootstrap import (
    DRAWS,
    Function,
    ResamplingUnits,
    bias_corrected_interval,
    bootstrap,
    jackknife_difference_se,
    monte_carlo_error,
)
from harness.statistics.clustered import ClusteredMean, clustered_mean, degrees_of_freedom, effective_groups
from harness.statistics.confidence_sequence import anytime_p, confidence_sequence
from harness.statistics.confusion import REFERENCES, label_metric
from harness.statistics.distributions import student_cdf
from harness.statistics.mean_intervals import bounded_mean_interval, bounded_mean_p
from harness.statistics.proportions import exact_p, harm_p, mid_p
from harness.statistics.randomisation import TIE, SignFlip, cluster_sums, randomisation_p
from harness.statistics.tango import tango_interval
from harness.summary.correlations import correlation_of
from harness.summary.estimates import group_means, left_out, percent, seed_of, table_hits, table_interval
from harness.summary.label_units import LabelUnits, label_units
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
from harness.summary.small_count_bounds import (
    MIN_ROWS,
    MOST_SMALL,
    RARE,
    graded_shortfall,
    group_words,
    groups_shortfall,
    labels_shortfall,
    small_share,
    widened_difference,
)

MANY_ALIKE = 30
"""Groups that all have one mean: so many of them say as much as all."""


@dataclass(frozen=True)
class Comparison:
    """a against b. `gain` is positive where a is better, whatever the metric's direction; [low, high] its interval.

    low and high are -inf and inf where the rows cannot bound the gain. harm_p: one-sided p of "a is worse".
    only_a, only_b: rows only that side got right (single right/wrong answers). differing: units (rows or
    groups) on which the sides differ. variance: of a row's difference as far as it decides the number of rows
    needed (SE^2 x rows; SE of table metrics by the jackknife, which needs no seed). mid_p: McNemar's, less
    conservative than p. monte_carlo: standard error of the bounds that comes from the number of draws. no_verdict: why
    nothing may be concluded, in words without a full stop ("" where it may).
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
    no_verdict: str = ""


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
    for family in label_units(metrics, rows, (a, b)):
        found |= compare_tables(family, rows, a, b, names, level, draws)
    for metric in metrics:
        if metric.kind == "correlation":
            comparison = _compare_correlation(metric, rows, (a, b), names, level, draws)
            if comparison is not None:
                found[metric.name] = comparison
    return {m.name: found[m.name] for m in metrics if m.name in found}


def compare_means(
    metric: Metric, rows: RowTable, a: Outcomes, b: Outcomes, names: tuple[str, str], level: float
) -> Comparison | None:
    """A metric of row values; None where no row has a value on both sides."""
    if metric.name not in a.values or metric.name not in b.values:
        return None  # a side that was measured before the metric was there
    values = a.values[metric.name], b.values[metric.name]
    if (a.sequential or b.sequential) and not np.isnan(values[0] + values[1]).all():
        return _at_the_stop(metric, rows, *values, level)
    return _compare_values(metric, rows, values, names, level)


def _compare_values(
    metric: Metric, rows: RowTable, values: tuple[Array, Array], names: tuple[str, str], level: float
) -> Comparison | None:
    """Row values (n,) of both sides, nan where there is none; None where no row has one on both."""
    both = ~(np.isnan(values[0]) | np.isnan(values[1]))
    if not both.any():
        return None
    x, y = values[0][both], values[1][both]
    groups = cluster_codes(rows, both)
    if not metric.proportion and metric.kind == "mean":
        return _graded(metric, x, y, groups, level)
    if groups is None and np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all():
        return _right_or_wrong(metric, x, y, level)
    return _rates(metric, x, y, groups, names, level)


def _at_the_stop(metric: Metric, rows: RowTable, x: Array, y: Array, level: float) -> Comparison:
    """Where the run stopped early: a confidence sequence of the difference, and the p it gives."""
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


def _rates(
    metric: Metric, x: Array, y: Array, groups: Codes | None, names: tuple[str, str], level: float
) -> Comparison:
    """Rates over repeats or groups: Student's t with the bias-reduced standard error, as wide at least as Tango's
    interval over the units where few of them differ."""
    gains = x - y if metric.direction == "higher" else y - x
    mean = clustered_mean(gains, groups)
    sums, sizes = cluster_sums(gains, np.arange(len(gains)) if groups is None else groups)
    unit = "rows" if groups is None else "groups"
    better, worse = int((sums > TIE).sum()), int((sums < -TIE).sum())
    low, high = mean.interval(level)
    tests: SignFlip | ClusteredMean = mean
    method, p_method = f"Student {percent(level)} {group_words(mean, unit)}", f"Student's t over {unit}"
    if mean.constant:  # t knows nothing of differences without any spread
        tests, p_method = (
            SignFlip(sums[:MANY_ALIKE], sizes[:MANY_ALIKE], seed=seed_of(*names, metric.name)),
            f"sign flips of {unit}",
        )
    elif better + worse < RARE:  # three of a thousand, all worse: t would call that significant
        differ = np.abs(sums) > TIE
        tests, p_method = SignFlip(sums[differ], sizes[differ]), f"sign flips of the {unit} that differ"
    if better + worse < RARE or mean.constant:
        rare_low, rare_high = tango_interval(worse, better, len(sums), level)
        low, high = min(low, rare_low), max(high, rare_high)
        method += f", widened: only {better + worse} differ"
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
        variance=_variance(mean),
        no_verdict="" if groups is None else groups_shortfall(mean.effective, mean.clusters),
    )


def _variance(mean: ClusteredMean) -> float:
    return mean.robust_se**2 * mean.n if mean.clusters > 1 else math.nan


def _graded(metric: Metric, x: Array, y: Array, groups: Codes | None, level: float) -> Comparison:
    """Graded values: the betting interval and test of the mean difference, which lies within twice the range."""
    gains = x - y if metric.direction == "higher" else y - x
    mean = clustered_mean(gains, groups)
    means, sizes = group_means(gains, groups)
    unit = "rows" if groups is None else "groups"
    differing = int((np.abs(means) > TIE).sum())
    found = Comparison(
        metric=metric,
        rows=len(gains),
        value_a=float(x.mean()),
        value_b=float(y.mean()),
        gain=mean.mean,
        low=-math.inf,
        high=math.inf,
        method=f"no interval: {len(means)} {unit}, fewer than {MIN_ROWS}",
        p=1.0,
        p_method="",
        harm_p=1.0,
        differing=differing,
        variance=_variance(mean),
        no_verdict=graded_shortfall(metric, len(means), differing, unit)
        or ("" if groups is None else groups_shortfall(mean.effective, mean.clusters)),
    )
    if metric.bounds is None and not differing:  # values without bounds and without any difference bound nothing
        return replace(found, method="no interval: no row differs")
    if len(means) < MIN_ROWS:
        return found
    over = group_words(mean, unit)
    if metric.bounds is None:
        low, high = mean.interval(level)
        method, p_method = f"Student {percent(level)} {over}, no range declared", f"Student's t over {unit}"
        p, harm = mean.p_two_sided(), mean.p_below(0.0)
    else:
        span = metric.bounds[1] - metric.bounds[0]
        low, high = bounded_mean_interval(means, -span, span, level, sizes)
        method, p_method = f"betting {percent(level)} {over}", f"betting over {unit}"
        sides = (bounded_mean_p(means, -span, span, 0.0, side, 0.025, sizes) for side in ("above", "below"))
        p, harm = min(1.0, 2 * min(sides)), bounded_mean_p(means, -span, span, 0.0, "below", 0.05, sizes)
    return replace(found, low=low, high=high, method=method, p=p, p_method=p_method, harm_p=harm)


def _compare_correlation(
    metric: Metric, rows: RowTable, sides: tuple[Outcomes, Outcomes], names: tuple[str, str], level: float, draws: int
) -> Comparison | None:
    """Bootstrap of the difference over rows or groups; its standard error also gives the tests (Student's t)."""
    found = correlation_of(metric, rows, sides, draws, seed_of(*names, metric.name))
    if found is None:
        return None
    sign = 1 if metric.direction == "higher" else -1
    value_a, value_b = (float(v) for v in found.values)
    gains = sign * (found.drawn[:, 0] - found.drawn[:, 1])
    gain, se, units = sign * (value_a - value_b), float(gains.std(ddof=1)), len(found.sizes)
    unit = "rows" if rows.groups is None else "groups"
    shown = Comparison(
        metric=metric,
        rows=found.rows,
        value_a=value_a,
        value_b=value_b,
        gain=gain,
        low=-math.inf,
        high=math.inf,
        method=f"no interval: {found.differing} of {units} {unit} differ",
        p=1.0,
        p_method="",
        harm_p=1.0,
        differing=found.differing,
        variance=math.nan,
        no_verdict=graded_shortfall(metric, units, found.differing, unit)
        or ("" if rows.groups is None else groups_shortfall(effective_groups(found.sizes), units)),
    )
    if any(side.sequential for side in sides):
        return replace(shown, method=NO_INTERVAL)
    if units < MIN_ROWS or not found.differing or not se:
        return shown
    df = degrees_of_freedom(found.sizes)
    low, high = bias_corrected_interval(gain, gains, df, level)
    return replace(
        shown,
        low=max(-2.0, low),
        high=min(2.0, high),
        method=f"paired bootstrap {percent(level)} by {unit.removesuffix('s')}, {len(gains):,} draws",
        p=2 * student_cdf(df, -abs(gain) / se),
        p_method=f"Student's t over {unit}, bootstrapped error",
        harm_p=student_cdf(df, gain / se),
        variance=se**2 * found.rows,
        monte_carlo=se / math.sqrt(2 * len(gains)),
    )


def compare_tables(
    family: LabelUnits,
    rows: RowTable,
    a: Outcomes,
    b: Outcomes,
    names: tuple[str, str],
    level: float,
    draws: int,
) -> dict[str, Comparison]:
    """Metrics of label counts, all on the same draws; empty where no row was answered by both.

    Weighted recall is accuracy, and recall of a label that of its rows: they are compared as rates.
    """
    units, labels, metrics = family.units, family.labels, family.metrics
    if not units.n:
        return {}
    if a.sequential or b.sequential:
        return {m.name: _without_interval(m, units, label_metric(m, labels)) for m in metrics}
    rates = {m.name: c for m in metrics if (c := _as_rate(m, rows, a, b, names, level)) is not None}
    others = [m for m in metrics if m.name not in rates]
    if not others:
        return rates
    functions = {m.name: label_metric(m, labels) for m in others}
    drawn = bootstrap(units, functions, draws, seed_of(*names))
    tests = randomisation_p(units, functions, draws, seed_of(*names, "randomisation"))
    return rates | {
        m.name: _compare_table(m, labels, units, functions[m.name], drawn[m.name], tests[m.name], level) for m in others
    }


def _as_rate(
    metric: Metric, rows: RowTable, a: Outcomes, b: Outcomes, names: tuple[str, str], level: float
) -> Comparison | None:
    if metric.name not in ("weighted_recall", "recall"):
        return None
    hits = [table_hits(rows, side) for side in (a, b)]
    if metric.name == "recall":
        if metric.positive not in rows.labels:
            return None
        gold = rows.references == rows.labels.index(metric.positive)
        hits = [np.where(gold, values, np.nan) for values in hits]
    return _compare_values(metric, rows, (hits[0], hits[1]), names, level)


def _compare_table(
    metric: Metric,
    labels: tuple[str, ...],
    units: ResamplingUnits,
    function: Function,
    drawn: Array,
    tests: tuple[float, float],
    level: float,
) -> Comparison:
    """drawn: the figure on each draw, (draws, 2)."""
    sign = 1 if metric.direction == "higher" else -1
    gains = sign * (drawn[:, 0] - drawn[:, 1])
    value_a, value_b = (float(v) for v in function(units.total))
    gain = sign * (value_a - value_b)
    sizes, rows = units.total[0, REFERENCES], float(units.sizes.sum())
    differs = (units.tables[:, 0] != units.tables[:, 1]).any(axis=(1, 2))
    differing = int(units.counts[differs].sum())
    se = jackknife_difference_se(units, function)
    low, high, method = -math.inf, math.inf, "no interval: too many labels have one row"
    if units.n > 1 and small_share(metric, sizes, 2) <= MOST_SMALL:
        (low, high), method = table_interval(units, gain, gains, level, se if units.grouped else 0.0)
        method = f"paired {method}"
        if differing < RARE:
            low, high = widened_difference(metric, labels, units, gain, low, high, level)
            method += ", widened: few differ"
    return Comparison(
        metric=metric,
        rows=round(rows),
        value_a=value_a,
        value_b=value_b,
        gain=gain,
        low=low,
        high=high,
        method=method + left_out(labels, sizes),
        p=tests[0],
        p_method=f"approximate randomisation, {len(drawn):,} replicates",
        harm_p=tests[1],
        differing=differing,
        variance=se**2 * rows,
        monte_carlo=monte_carlo_error(gains, level),
        no_verdict=labels_shortfall(metric, sizes)
        or (groups_shortfall(effective_groups(units.sizes), units.n) if units.grouped else ""),
    )


def _without_interval(metric: Metric, units: ResamplingUnits, function: Function) -> Comparison:
    """A metric of the table where the run stopped early: the figures alone."""
    value_a, value_b = (float(v) for v in function(units.total))
    differs = (units.tables[:, 0] != units.tables[:, 1]).any(axis=(1, 2))
    return Comparison(
        metric=metric,
        rows=round(float(units.sizes.sum())),
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
