"""The checks of one backend against its reference and limits, and drift against the first baseline."""

import math

import msgspec

from harness.gating.cost_and_latency import RunCosts, cost_checks
from harness.gating.gate_result import CheckResult
from harness.gating.gate_settings import COST, ERRORS, GateSettings
from harness.gating.limits import error_rate_check, limit_check
from harness.gating.pairing import Pairing, undefined
from harness.metrics import Metric
from harness.statistics.noninferiority import LEVEL, noninferiority_verdict
from harness.statistics.power_analysis import smallest_margin
from harness.statistics.rows_needed import distance_told
from harness.summary.comparison import Comparison, comparable, compare_all
from harness.summary.detectable_difference import betting_span, deciding_rows, detectable

DRAWS = 10_000
MORE_DRAWS = 100_000
"""Where a bootstrap bound lies within two of its own Monte-Carlo errors of the margin."""


def checks_of(pairing: Pairing, settings: GateSettings, tests: int, run_costs: RunCosts = ()) -> list[CheckResult]:
    """All checks of one backend but latency; harm is corrected later, over the `tests` paired checks of the gate.

    run_costs: of both sides in further runs, for prices by the hour.
    """
    found = metric_checks(pairing, settings, tests)
    if ERRORS in settings.terms:
        found.append(error_rate_check(pairing, settings.terms[ERRORS]))
    if COST in settings.terms:
        found += cost_checks(pairing, settings.terms[COST], run_costs)
    return found


def metric_checks(pairing: Pairing, settings: GateSettings, tests: int) -> list[CheckResult]:
    """The margins and limits of the task's metrics."""
    found = []
    wanted = tuple(m for m in pairing.metrics if m.name in settings.terms)
    margins = tuple(m for m in wanted if settings.terms[m.name].margin is not None)
    compared = _compare(pairing, margins, settings)
    for metric in wanted:
        terms = settings.terms[metric.name]
        if terms.margin is not None:
            found.append(_paired(pairing, metric, terms.margin, compared.get(metric.name), tests))
        if terms.at_most is not None or terms.at_least is not None:
            found.append(limit_check(pairing, metric, terms))
    return found


def _compare(pairing: Pairing, metrics: tuple[Metric, ...], settings: GateSettings) -> dict[str, Comparison]:
    args = (pairing.rows, pairing.candidate, pairing.reference, pairing.names, pairing.level)
    compared = compare_all(metrics, *args, draws=DRAWS)
    close = tuple(
        c.metric
        for name, c in compared.items()
        if c.monte_carlo and abs(c.low + (settings.terms[name].margin or 0)) < 2 * c.monte_carlo
    )
    return compared | compare_all(close, *args, draws=MORE_DRAWS) if close else compared


def _paired(pairing: Pairing, metric: Metric, margin: float, c: Comparison | None, tests: int) -> CheckResult:
    result = CheckResult(
        name=f"{pairing.backend}: {metric.name} against the reference",
        backend=pairing.backend,
        metric=metric.name,
        kind="paired",
        verdict="incomparable",
        margin=margin,
    )
    lacking = undefined(metric, pairing.candidate, pairing.reference)
    if lacking:
        return _say(result, f"{metric.name} is not defined for {lacking} rows that the candidate has answered.")
    if not comparable(metric, pairing.candidate, pairing.reference):
        modes = f"{pairing.candidate.decode} against {pairing.reference.decode}"
        result = msgspec.structs.replace(result, verdict="advisory")
        return _say(result, f"format errors do not apply or mean different things ({modes}): not gated.")
    if c is None:
        return _say(result, f"no row has a {metric.name} on both sides.")
    sign = 1 if metric.direction == "higher" else -1
    low, high = sorted((sign * c.low, sign * c.high))
    resolves = None if c.no_verdict else _resolved_margin(c)
    verdict = "inconclusive" if c.no_verdict else noninferiority_verdict(c.low, c.high, margin, 1.0)
    needed = deciding_rows(c, margin, tests) if verdict == "inconclusive" and not c.no_verdict else None
    return msgspec.structs.replace(
        result,
        verdict=verdict,
        candidate=c.value_a,
        reference=c.value_b,
        difference=sign * c.gain,
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        level=pairing.level,
        candidates=max(1, len(pairing.candidates)),
        method=c.method,
        rows=c.rows,
        differing=c.differing,
        p=c.p,
        mid_p=c.mid_p,
        harm_p=None if c.no_verdict else min(1.0, c.harm_p * (1 - LEVEL) / (1 - pairing.level_of_one)),
        unit=metric.difference_unit,
        no_verdict=c.no_verdict,
        resolves=resolves,
        detectable=detectable(c),
        needed_rows=None if needed is None else needed.rows,
        needed_verdict=None if needed is None else needed.verdict,
    )


def _resolved_margin(c: Comparison) -> float | None:
    """The smallest margin that these rows pass with 80 % power when nothing has changed; None without any spread."""
    if not c.variance > 0:
        return None
    if c.only_a is not None and c.only_b is not None:
        return smallest_margin(c.rows, (c.only_a + c.only_b) / c.rows)
    return distance_told(c.rows, c.variance, betting_span(c.metric))


def _say(result: CheckResult, sentence: str) -> CheckResult:
    return msgspec.structs.replace(result, sentence=sentence)


def drift_checks(pairing: Pairing, settings: GateSettings, tests: int) -> list[CheckResult]:
    """The margins of [gate] against the first accepted baseline (`pairing.sides[1]`)."""
    first = pairing.sides[1].info
    when = first.created[:10]
    return [
        msgspec.structs.replace(
            check,
            name=f"{pairing.backend}: {check.metric} against the first accepted baseline ({first.run}, {when})",
            scope="first",
        )
        for check in metric_checks(pairing, settings, tests)
        if check.kind == "paired"
    ]


def resolve_drift(checks: list[CheckResult], unchanged: bool) -> list[CheckResult]:
    """A drift that is shown fails the gate; one that is not shown is advice, and so is one that an unchanged candidate
    cannot have brought about."""
    return [
        msgspec.structs.replace(check, verdict="advisory")
        if check.scope == "first" and (check.verdict not in ("pass", "fail") or unchanged)
        else check
        for check in checks
    ]


def drift_warnings(checks: list[CheckResult]) -> list[str]:
    """What to do about a drift that is shown."""
    names = [check.metric for check in checks if check.scope == "first" and _lost(check)]
    if not names:
        return []
    return [
        f"{', '.join(dict.fromkeys(names))}: worse than in the first accepted baseline by more than the margin allows, "
        "though each step since may have passed. If that is wanted, delete the baseline file and accept a run again."
    ]


def _lost(check: CheckResult) -> bool:
    """Whether the loss is shown: not inside the margin, and harm significant after Holm."""
    return check.verdict == "fail"
