"""The gate of a run that stopped early: its checks taken again from the log, by the function that stopped it.

Tests of a fixed number of rows do not hold where the number was chosen by looking at the answers; what cannot be
decided in sequence is left out and said to be.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from harness.gating.cost_and_latency import cost_checks
from harness.gating.early_stopping import EarlyStopTerms
from harness.gating.gate_result import CheckResult, Verdict
from harness.gating.gate_settings import COST, LATENCY, GateSettings, Terms
from harness.gating.pairing import Pairing
from harness.gating.sequential_checks import (
    ArmValues,
    RowLayout,
    SequentialCheck,
    SequentialResult,
    asked_end,
    checks_of_terms,
    evaluate_sequentially,
)
from harness.records import Row
from harness.statistics.confidence_sequence import LEVEL
from harness.summary.comparison import comparable
from harness.summary.optional_stopping import method_of
from harness.summary.outcomes import HAS_NO_FORMAT

FEW_ROWS = 10
"""A reference of fewer rows is rare."""

FIXED = "the run stopped early: tests of a fixed number of rows do not apply."


def stopped_early(pairing: Pairing) -> bool:
    """Whether asking ended on purpose, on either side."""
    return any(side.early is not None for side in pairing.sides)


def sequential_checks(pairing: Pairing, settings: GateSettings, tests: int) -> list[CheckResult]:
    """Every check of one backend, and a word on each that cannot be made in sequence.

    tests: paired checks in the whole gate, over which harm is corrected.
    """
    early = next(side.early for side in pairing.sides if side.early is not None)
    terms = {early.metric: early.watched[early.metric], **settings.terms}
    found: list[CheckResult] = []
    checks = []
    for check in checks_of_terms(terms, pairing.metrics):
        objection = _objection(pairing, check, early)
        if objection is None:
            checks.append(check)
        else:
            found.append(objection)
    mine, theirs = (_answers(pairing, n) for n in (0, 1))
    within = pairing.sides[0].info.source == pairing.sides[1].info.source
    layout = RowLayout.of(pairing.rows)
    end = asked_end(layout, (pairing.sides[0].outcomes, pairing.reference))
    results = evaluate_sequentially(checks, layout, mine, theirs, end, within=within, tests=max(tests, 1))
    found = [_as_check(pairing, result) for result in results] + found
    known = {check.metric for check in found}
    for name, asked in settings.terms.items():
        if name == COST:
            found += cost_checks(pairing, asked)
        elif name not in known and name not in LATENCY:
            found.append(_blank(pairing, name, "absolute", "advisory", FIXED))
    return found


def _answers(pairing: Pairing, side: int) -> ArmValues:
    of = pairing.sides[side]
    return ArmValues.of(of.outcomes.only(of.positions(pairing.sides[0].ids)))


def _blank(pairing: Pairing, metric: str, kind: str, verdict: str, sentence: str) -> CheckResult:
    return msgspec.convert(
        {
            "name": f"{pairing.backend}: {metric}",
            "backend": pairing.backend,
            "metric": metric,
            "kind": kind,
            "verdict": verdict,
            "sentence": sentence,
        },
        CheckResult,
    )


def _objection(pairing: Pairing, check: SequentialCheck, early: EarlyStopTerms) -> CheckResult | None:
    """Why a check cannot be made; None where it can."""
    name, margin = check.metric.name, check.kind == "margin"
    kind = "sequential" if margin else "absolute"
    watched = early.watched.get(name, Terms())
    if margin and watched.margin is not None and watched.margin != check.bound:
        sentence = f"the run was stopped for a margin of {watched.margin:g}, the gate asks for {check.bound:g}."
        return _blank(pairing, name, kind, "incomparable", sentence)
    sides = (pairing.candidate, pairing.reference) if margin else (pairing.candidate,)
    if check.metric.about_format:
        if margin and not comparable(check.metric, *sides):
            modes = f"{pairing.candidate.decode} against {pairing.reference.decode}"
            sentence = f"format errors do not apply or mean different things ({modes}): not gated."
            return _blank(pairing, name, kind, "advisory", sentence)
        if pairing.candidate.decode in HAS_NO_FORMAT:
            sentence = f"format errors do not apply to {pairing.candidate.decode}: not gated."
            return _blank(pairing, name, kind, "advisory", sentence)
    if check.metric in pairing.metrics and any(name not in side.values for side in sides):
        return _blank(pairing, name, kind, "incomparable", f"one side has no {name}.")
    return None


def _as_check(pairing: Pairing, result: SequentialResult) -> CheckResult:
    check, name = result.check, result.check.metric.name
    margin = check.kind == "margin"
    what = "against the reference, in sequence" if margin else f"{check.kind.replace('_', ' ')} {check.bound:g}"
    made = CheckResult(
        name=f"{pairing.backend}: {name} {what}",
        backend=pairing.backend,
        metric=name,
        kind="sequential" if margin else "absolute",
        verdict="incomparable",
        margin=check.bound if margin else None,
        limit=None if margin else check.bound,
    )
    if result.undefined:
        sentence = f"{name} is not defined for {result.undefined} rows that the candidate has answered."
        return msgspec.structs.replace(made, sentence=sentence)
    if not result.rows:
        return msgspec.structs.replace(made, sentence="no row was answered on both sides.")
    low, high = result.interval()
    verdict: Verdict = "inconclusive" if result.decided is None else result.decided.decision
    sentence = ""
    if verdict == "pass" and pairing.sides[0].contaminated:
        verdict = "inconclusive"
        sentence = "some rows are also in the candidate's training rows; without them the run must ask all rows."
    return msgspec.structs.replace(
        made,
        verdict=verdict,
        sentence=sentence,
        unit=check.metric.difference_unit,
        candidate=result.candidate,
        reference=result.reference,
        difference=None if result.reference is None else result.candidate - result.reference,
        low=low,
        high=high,
        level=LEVEL,
        method=method_of(LEVEL, result.units, pairing.rows.groups is not None),
        rows=result.rows,
        differing=result.differing,
    )


def order_1_warning(checks: list[CheckResult], rows: Sequence[Row]) -> list[CheckResult]:
    """Checks of a run whose rows were drawn by the first version of the order, in which references of few rows come
    late: a pass is open where the rows that are lacking could have cost more than half of the margin."""
    counts = Counter(row.sample.reference for row in rows)
    rare = np.array([counts[row.sample.reference] < FEW_ROWS for row in rows])
    found = []
    for check in checks:
        lacking = rare.mean() - rare[: check.rows].mean() if check.kind == "sequential" and check.rows else 0.0
        if check.verdict == "pass" and check.margin is not None and lacking > check.margin / 2:
            sentence = (
                f"{int(rare.sum())} of {len(rows)} rows have references of fewer than {FEW_ROWS} rows, and an earlier "
                f"version of Bench asked them late: {int(rare[: check.rows].sum())} of the {check.rows} rows asked are "
                "among them. Run it again."
            )
            check = msgspec.structs.replace(check, verdict="inconclusive", sentence=sentence)
        found.append(check)
    return found
