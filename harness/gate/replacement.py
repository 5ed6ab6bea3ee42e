"""The gate's check of the headline metric as the verdict that every output puts into its first sentence."""

from collections.abc import Sequence

from harness.metrics import Metric
from harness.results import AnswerFinding, Estimate, ReplacementVerdict, Summary, VerdictOutcome
from harness.statistics.noninferiority import ALPHA

from .pairing import Pairing
from .records import CheckResult
from .verdict import AGAINST


def verdicts_of(
    checks: Sequence[CheckResult], pairings: Sequence[Pairing], metric: Metric
) -> tuple[ReplacementVerdict, ...]:
    """For each pairing the check of `metric` against the reference that allows the larger loss; none where there is no
    such check, or it has no interval."""
    found = []
    for pairing in pairings:
        mine = [c for c in checks if c.backend == pairing.backend and _is_bound(c, metric)]
        if mine:
            found.append(_verdict(max(mine, key=lambda c: _loss(c, metric)[1]), pairing, metric))
    return tuple(found)


def _is_bound(check: CheckResult, metric: Metric) -> bool:
    bounded = check.low is not None and check.high is not None and check.verdict != "incomparable"
    return check.metric == metric.name and check.kind in AGAINST and check.scope != "first" and bounded


def _loss(check: CheckResult, metric: Metric) -> tuple[float, float]:
    """The interval of the loss, positive is worse."""
    assert check.low is not None
    assert check.high is not None
    ends = (-check.high, -check.low) if metric.direction == "higher" else (check.low, check.high)
    return ends[0] + 0.0, ends[1] + 0.0


def _verdict(check: CheckResult, pairing: Pairing, metric: Metric) -> ReplacementVerdict:
    low, high = _loss(check, metric)
    if check.p is not None and check.p > ALPHA:  # the two-sided test does not call the candidate better
        high = max(high, 0.0)
    candidate, reference = (side.info for side in pairing.sides)
    same = candidate.backend == reference.backend
    sign = -1 if metric.direction == "higher" else 1
    return ReplacementVerdict(
        incumbent=f"{reference.backend} of {reference.run}" if same else reference.backend,
        candidate=f"{candidate.backend} of {candidate.run}" if same else candidate.backend,
        candidates=check.candidates,
        metric=metric.name,
        outcome=_outcome(check, low),
        value_incumbent=check.reference,
        value_candidate=check.candidate,
        loss=Estimate(
            value=None if check.difference is None else sign * check.difference + 0.0,
            low=low,
            high=high,
            method=check.method,
            n=check.rows,
        ),
        level=(1 + check.level) / 2,
        rows=check.rows,
        basis=f"that {candidate.backend} was not trained on" if check.scope == "clean" else "",
        sequential=check.kind == "sequential",
        margin=check.margin,
        margin_source="the gate",
        needed_rows=check.needed_rows,
        needed_for="worse" if check.needed_verdict == "fail" else "within margin" if check.needed_rows else "",
        detectable=check.detectable,
    )


def _outcome(check: CheckResult, low: float) -> VerdictOutcome:
    if check.verdict == "unchanged":
        return "unchanged"
    if check.verdict == "pass":
        return "within margin"
    if check.verdict == "fail":
        return "beyond margin" if check.margin is not None and low > check.margin else "worse"
    return "not shown"


def findings_of(summary: Summary | None, pairings: Sequence[Pairing]) -> list[AnswerFinding]:
    """What the candidate's run found about its answers; equal answers of the two that are compared are said already."""
    names = {pairing.sides[0].info.backend for pairing in pairings}
    compared = [{side.info.backend for side in pairing.sides} for pairing in pairings]
    return [
        finding
        for finding in (() if summary is None else summary.findings)
        if names & set(finding.backends)
        and not (finding.kind == "identical answers" and set(finding.backends) in compared)
    ]
