"""Limits that a figure must keep on its own: by its one-sided 95 % bound, not by its point estimate."""

import math

import msgspec
import numpy as np

from harness.gating.gate_result import CheckResult, Verdict
from harness.gating.gate_settings import ERRORS, Terms
from harness.gating.pairing import undefined
from harness.metrics import OF_LABELS, Estimate, Metric
from harness.statistics.clustered import clustered_mean
from harness.statistics.confusion import REFERENCES
from harness.statistics.noninferiority import LEVEL
from harness.statistics.proportions import clopper_pearson, exact_upper, rows_for_zero_failures
from harness.statistics.rows_needed import RowsNeeded
from harness.summary.estimates import effective_sample_size, estimate_all, few_groups, group_bounds
from harness.summary.label_units import label_units
from harness.summary.outcomes import HAS_NO_FORMAT, cluster_codes
from harness.summary.small_count_bounds import graded_shortfall, group_words, labels_shortfall

from .pairing import Pairing

EXACT = "Clopper-Pearson, one-sided 95 % bounds"
GROUPS_FOR_A_LIMIT = 60
"""One-sided bounds need more groups than intervals of both sides: what few groups miss is all on one side."""


def limit_check(pairing: Pairing, metric: Metric, terms: Terms) -> CheckResult:
    """A metric of the candidate alone: its upper bound at most `at_most`, or its lower bound at least `at_least`."""
    limit = terms.at_most if terms.at_most is not None else terms.at_least
    assert limit is not None
    bound = "at most" if terms.at_most is not None else "at least"
    result = CheckResult(
        name=f"{pairing.backend}: {metric.name} {bound} {limit:g}",
        backend=pairing.backend,
        metric=metric.name,
        kind="absolute",
        verdict="incomparable",
        limit=limit,
    )
    if metric.about_format and pairing.candidate.decode in HAS_NO_FORMAT:
        sentence = f"format errors do not apply to {pairing.candidate.decode}: not gated."
        return msgspec.structs.replace(result, verdict="advisory", sentence=sentence)
    lacking = undefined(metric, pairing.candidate, pairing.reference)
    estimate = _own_estimate(pairing, metric)
    if lacking:
        sentence = f"{metric.name} is not defined for {lacking} of {len(pairing.rows)} rows."
        return msgspec.structs.replace(result, sentence=sentence)
    if estimate.value is not None and estimate.low is None and not metric.proportion:
        return msgspec.structs.replace(
            result,
            verdict="inconclusive",
            candidate=estimate.value,
            method=estimate.method,
            rows=estimate.n,
            unit=metric.difference_unit,
            no_verdict=estimate.method,
        )
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return msgspec.structs.replace(result, sentence=f"{metric.name}: {estimate.method}.")
    shortfall = ""
    if metric.bounds is None:
        shortfall = graded_shortfall(metric, estimate.n, estimate.n, "rows")
    elif metric.kind in OF_LABELS:
        family = next(iter(label_units((metric,), pairing.rows, (pairing.candidate,))))
        shortfall = labels_shortfall(metric, family.units.total[0, REFERENCES])
    verdict = "inconclusive" if shortfall else against_limit(estimate.low, estimate.high, terms)
    needed = None
    if estimate.method == EXACT and verdict == "inconclusive":
        wrong = (estimate.value, limit) if terms.at_most is not None else (1 - estimate.value, 1 - limit)
        needed = rows_for_limit(*wrong)
    return msgspec.structs.replace(
        result,
        verdict=verdict,
        unit=metric.difference_unit,
        no_verdict=shortfall,
        candidate=estimate.value,
        low=estimate.low,
        high=estimate.high,
        level=pairing.level,
        method=estimate.method,
        rows=estimate.n,
        needed_rows=None if needed is None else needed.rows,
        needed_verdict=None if needed is None else needed.verdict,
    )


def _own_estimate(pairing: Pairing, metric: Metric) -> Estimate:
    """At LEVEL; a rate by the exact interval, since the bound decides: over single answers, or over so many as rows
    with repeats or groups are worth."""
    estimate = estimate_all((metric,), pairing.rows, pairing.candidate, pairing.names[0], level=pairing.level)[
        metric.name
    ]
    if metric.kind != "mean" or not metric.proportion or estimate.low is None or estimate.value is None:
        return estimate
    values = pairing.candidate.values[metric.name]
    chosen = ~np.isnan(values)
    groups = cluster_codes(pairing.rows, chosen)
    trials, method = float(estimate.n), EXACT
    if groups is not None or not np.isin(values[chosen], (0, 1)).all():
        mean = clustered_mean(values[chosen], groups)
        if few_groups(mean, GROUPS_FOR_A_LIMIT):
            low, high = group_bounds(values[chosen], groups, 0.0, 1.0, pairing.level)
            method = f"betting, one-sided 95 % bounds {group_words(mean, 'groups')}"
            return msgspec.structs.replace(estimate, low=low, high=high, method=method)
        trials = effective_sample_size(mean, pairing.level)
        method = f"{EXACT}, effective sample size {trials:,.0f}"
    low, high = clopper_pearson(estimate.value * trials, trials, pairing.level)
    return msgspec.structs.replace(estimate, low=low, high=high, method=method)


def error_rate_check(pairing: Pairing, terms: Terms) -> CheckResult:
    """Requests without an answer, errors and never sent ones alike."""
    side = pairing.sides[0]
    rate = side.unanswered / side.asked
    low, high = clopper_pearson(side.unanswered, side.asked, pairing.level)
    verdict = against_limit(low, high, terms)
    assert terms.at_most is not None
    needed = rows_for_limit(rate, terms.at_most) if verdict == "inconclusive" else None
    return CheckResult(
        name=f"{pairing.backend}: {ERRORS} at most {terms.at_most:g}",
        backend=pairing.backend,
        metric=ERRORS,
        kind="absolute",
        verdict=verdict,
        unit="points",
        candidate=rate,
        low=low,
        high=high,
        level=pairing.level,
        method=EXACT,
        limit=terms.at_most,
        rows=side.asked,
        needed_rows=None if needed is None else needed.rows,
        needed_verdict=None if needed is None else needed.verdict,
    )


def against_limit(low: float, high: float, terms: Terms) -> Verdict:
    """Where the interval lies to the limit: within, beyond, or across it."""
    if terms.at_most is not None:
        return "pass" if high <= terms.at_most else "fail" if low > terms.at_most else "inconclusive"
    assert terms.at_least is not None
    return "pass" if low >= terms.at_least else "fail" if high < terms.at_least else "inconclusive"


def rows_for_limit(rate: float, limit: float) -> RowsNeeded | None:
    """Rows in all whose exact bound would decide a limit if the rate stays as it is: the upper one where the rate keeps
    the limit, the lower one where it does not. None where it lies on the limit itself, or a bound cannot pass it."""
    if not 0 <= rate <= 1 or not 0 < limit < 1 or rate == limit:
        return None
    rows = rows_for_zero_failures(limit) if rate < limit else math.ceil(1 / rate)
    while not _beyond(rate, rows, limit):
        rows = math.ceil(rows * 1.02)
    return RowsNeeded(rows, "pass" if rate < limit else "fail")


def _beyond(rate: float, rows: int, limit: float) -> bool:
    if rate < limit:
        return exact_upper(math.ceil(rate * rows), rows) <= limit
    return clopper_pearson(math.floor(rate * rows), rows, LEVEL)[0] > limit
