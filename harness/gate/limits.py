"""Limits that a figure must keep on its own: by its one-sided 95 % bound, not by its point estimate."""

import math

import msgspec
import numpy as np

from harness.metrics import Metric
from harness.results import Estimate
from harness.statistics.noninferiority import LEVEL
from harness.statistics.proportions import clopper_pearson, exact_upper, rows_for_zero_failures
from harness.summary.estimates import estimate_all
from harness.summary.outcomes import HAS_NO_FORMAT

from .absent import undefined
from .pairing import Pairing
from .records import CheckResult, Verdict
from .settings import ERRORS, Terms

EXACT = "Clopper-Pearson, one-sided 95 % bounds"


def limit_check(pairing: Pairing, metric: Metric, terms: Terms) -> CheckResult:
    """A metric of the candidate alone: its upper bound at most `at_most`, or its lower bound at least `at_least`."""
    limit = terms.at_most if terms.at_most is not None else terms.at_least
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
    if lacking or estimate.value is None or estimate.low is None or estimate.high is None:
        sentence = f"{metric.name} is not defined for {lacking or 'any'} of {len(pairing.rows)} rows."
        return msgspec.structs.replace(result, sentence=sentence)
    verdict = against_limit(estimate.low, estimate.high, terms)
    counted = estimate.method == EXACT and terms.at_most is not None and verdict == "inconclusive"
    return msgspec.structs.replace(
        result,
        verdict=verdict,
        candidate=estimate.value,
        low=estimate.low,
        high=estimate.high,
        level=LEVEL,
        method=estimate.method,
        rows=estimate.n,
        needed_rows=rows_for_limit(estimate.value, terms.at_most or 0.0) if counted else None,
    )


def _own_estimate(pairing: Pairing, metric: Metric) -> Estimate:
    """At LEVEL; single 0/1 answers by the exact interval, since the bound decides."""
    values = pairing.candidate.values.get(metric.name)
    if values is not None and metric.proportion and pairing.rows.groups is None:
        values = values[~np.isnan(values)]
        if len(values) and np.isin(values, (0, 1)).all():
            ones = int(values.sum())
            low, high = clopper_pearson(ones, len(values), LEVEL)
            return Estimate(value=ones / len(values), low=low, high=high, method=EXACT, n=len(values))
    name = pairing.names[0]
    return estimate_all((metric,), pairing.rows, pairing.candidate, name, level=LEVEL)[metric.name]


def error_rate_check(pairing: Pairing, terms: Terms) -> CheckResult:
    """Requests without an answer, errors and never sent ones alike."""
    side = pairing.sides[0]
    rate = side.unanswered / side.asked
    low, high = clopper_pearson(side.unanswered, side.asked, LEVEL)
    verdict = against_limit(low, high, terms)
    assert terms.at_most is not None
    return CheckResult(
        name=f"{pairing.backend}: {ERRORS} at most {terms.at_most:g}",
        backend=pairing.backend,
        metric=ERRORS,
        kind="absolute",
        verdict=verdict,
        candidate=rate,
        low=low,
        high=high,
        level=LEVEL,
        method=EXACT,
        limit=terms.at_most,
        rows=side.asked,
        needed_rows=rows_for_limit(rate, terms.at_most) if verdict == "inconclusive" else None,
    )


def against_limit(low: float, high: float, terms: Terms) -> Verdict:
    """Where the interval lies to the limit: within, beyond, or across it."""
    if terms.at_most is not None:
        return "pass" if high <= terms.at_most else "fail" if low > terms.at_most else "inconclusive"
    assert terms.at_least is not None
    return "pass" if low >= terms.at_least else "fail" if high < terms.at_least else "inconclusive"


def rows_for_limit(rate: float, limit: float) -> int | None:
    """Rows in all whose exact upper bound would keep the limit at this rate; None where the rate itself does not."""
    if not 0 <= rate < limit < 1:
        return None
    rows = rows_for_zero_failures(limit)
    while exact_upper(math.ceil(rate * rows), rows) > limit:
        rows = math.ceil(rows * 1.02)
    return rows
